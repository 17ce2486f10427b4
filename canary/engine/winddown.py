"""The way down: no traffic first, in effect, then no objects. Needs nothing but what was observed of ours."""

from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import Action, Decision, Delete, HoldFloor, MarkVerdict, SetShare
from canary.engine.world import Finding, Member, World, known_stable
from canary.model import reasons
from canary.model.share import NOTHING
from canary.model.status import Phase, Status, change

SETTLE = timedelta(seconds=5)
"""From writing a share until every worker of the ingress controller obeys it (ingress-nginx: 3.5 s at the most)."""

_WINDING_DOWN = Finding(reasons.RELEASING, "taking the canary away: its traffic first, then its objects")


def no_traffic(world: World) -> Decision | None:
    """No share, written and in effect; None once it is."""
    route, status = world.route, conditions.unchanged(world, world.status)
    if route.share:
        return Decision(status, _WINDING_DOWN, (SetShare(NOTHING),), after=SETTLE)
    if route.since and world.now < route.since + SETTLE:
        return Decision(status, _WINDING_DOWN, after=route.since + SETTLE - world.now)
    return None


def wind_down(world: World) -> Decision | None:
    """No traffic first, in effect, then no objects. None when nothing is left."""
    if idle := no_traffic(world):
        return idle
    if not world.copies and not world.floors:
        return None
    deletes = (Delete(ref) for ref in world.copies if not ref.deleting)
    actions: tuple[Action, ...] = (*(HoldFloor(name, held=False) for name in world.floors), *deletes)
    return Decision(conditions.unchanged(world, world.status), _WINDING_DOWN, actions, after=SETTLE)


def mark_verdict(world: World) -> Decision | None:
    """While Flux waits for held templates that failed, their Deployments say so, and Flux stops waiting.

    Only while it waits: the mark of one template must not meet the health check of the next.
    """
    marks = tuple(mark for member in world.members if (mark := _mark(world, member)))
    if not marks:
        return None
    why = Finding(reasons.ROLLED_BACK, "telling Flux what became of what it waits for")
    return Decision(conditions.unchanged(world, world.status), why, marks, after=timedelta())


def _mark(world: World, member: Member) -> MarkVerdict | None:
    status = world.status
    if not member.exists:
        return None
    failed = status.phase is Phase.FAILED and any(
        (one.name, one.template) == (member.name, member.held) for one in status.trial
    )
    awaited = world.owner is not None and world.owner.awaits_health
    verdict = failure(status) if failed and awaited else None
    if (verdict and verdict.message) == known_stable(member).verdict:
        return None
    return MarkVerdict(member.name, verdict)


def failure(status: Status) -> Finding:
    """Why the last rollout failed, as it was said then."""
    stalled = status.condition(conditions.STALLED)
    if stalled and stalled.reason in reasons.FAILURES:
        return Finding(stalled.reason, stalled.message)
    return Finding(reasons.ROLLED_BACK, f"{change(status)} was rolled back and stays held")
