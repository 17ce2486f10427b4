"""Whether there is room: pods of the canary that cannot start, and stable's own size while the canary takes traffic."""

from collections.abc import Iterator
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Decision, HoldFloor
from canary.engine.world import Finding, World, exposed, known_spec
from canary.model import reasons
from canary.model.autoscaler import may_hold
from canary.model.pod import Startup, why_not_starting


def cannot_start(world: World) -> Finding | None:
    """Why some pod of a canary will not start, however long it is waited for."""
    problem = next((startup.problem for startup in _startups(world) if startup.problem), None)
    return Finding(problem.reason, problem.message) if problem else None


def look_at_pods_after(world: World) -> timedelta:
    """From now until time alone may tell that a pod will not start."""
    moments = [startup.look_again_at - world.now for startup in _startups(world) if startup.look_again_at]
    return min(moments, default=SAFETY_LOOK)


def _startups(world: World) -> Iterator[Startup]:
    timeout = known_spec(world).scheduling_timeout
    for member in exposed(world):
        if member.canary is not None and member.held:
            refused = member.canary.replica_failure
            yield why_not_starting(member.pods, member.held, refused, world.now, timeout)


def hold_floor(world: World) -> Decision | None:
    """Keep what scales stable from shrinking it, before its traffic goes to the canary."""
    names = tuple(
        member.autoscaler.name
        for member in exposed(world)
        if member.autoscaler and may_hold(member.autoscaler) and member.autoscaler.floor in (None, world.canary.name)
    )
    if not names:
        return None
    why = Finding(reasons.STABLE_NOT_READY, f"keeping HorizontalPodAutoscaler {', '.join(names)} from shrinking stable")
    actions = tuple(HoldFloor(name, held=True) for name in names)
    return Decision(conditions.unchanged(world, world.status), why, actions, after=SAFETY_LOOK)
