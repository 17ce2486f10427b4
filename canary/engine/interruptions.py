"""What comes between: a problem, a suspension, the deletion of the Canary."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions, phases
from canary.engine.decision import SAFETY_LOOK, Answer, Decision, MarkVerdict, SetFinalizer, Unguard, told
from canary.engine.progress import deadline
from canary.engine.winddown import no_traffic, wind_down
from canary.engine.world import Finding, World, known_target
from canary.model import reasons
from canary.model.spec import CanarySpec
from canary.model.status import Phase


def blocked(world: World, problem: Finding) -> Answer:
    """Something keeps the Canary from working: say so, hold the weight, and let the deadline bound a rollout.

    A share that was decided away goes all the same: that needs nothing but our own routes.
    """
    if world.status.phase is Phase.PROGRESSING and isinstance(world.spec, CanarySpec):
        as_told = replace(world, status=conditions.reconciling(world, world.status, problem))
        if late := deadline(as_told):
            return late
    if cleaning := _no_longer_wanted(world) or (world.status.phase in phases.RESTING and wind_down(world)):
        return cleaning
    known = world.status.condition(conditions.STALLED)
    new = not (known and known.reason == problem.reason)
    events = (told(problem, warning=True),) if new else ()
    return Decision(conditions.stalled(world, world.status, problem), events=events, after=SAFETY_LOOK)


def suspended(world: World) -> Decision:
    """The user asked for a standstill: nothing is judged, and nothing moves that was not decided before."""
    status = world.status
    if status.phase is not Phase.SUSPENDED:
        status = replace(status, phase=Phase.SUSPENDED, suspended_phase=status.phase)
    if cleaning := _no_longer_wanted(replace(world, status=status)):
        return cleaning
    target = known_target(world)
    judged = status.suspended_phase is Phase.FAILED and target.template_hash == status.template
    if status.suspended_phase in (None, *phases.RESTING) and (judged or not target.paused):
        return Decision(conditions.unchanged(world, status))
    why = Finding(
        reasons.SUSPENDED, f"spec.suspend is set: the weight stays at {world.route.weight} %, nothing is judged"
    )
    return Decision(conditions.reconciling(world, status, why))


def resumed(world: World) -> Decision:
    """Back to the phase that was interrupted; the time spent suspended does not count against the deadline."""
    old = world.status
    status = replace(
        old, phase=old.suspended_phase, suspended_phase=None, progressed_at=old.progressed_at and world.now
    )
    return Decision(conditions.unchanged(world, status), after=timedelta())


def give_back(world: World) -> Decision:
    """The Canary is being deleted: traffic first, then our objects, then our marks on the target, then let it go."""
    status, target = world.status, world.target
    why = Finding(reasons.RELEASING, "giving the target back")
    if not world.canary.finalized:
        return Decision(status)
    if cleaning := wind_down(world):
        return replace(cleaning, status=conditions.reconciling(world, status, why))
    if target and target.verdict is not None and world.rival is None:
        return Decision(status, (MarkVerdict(None),), after=timedelta())
    if target and target.guard == world.canary.name:
        return Decision(status, (Unguard(target.resource_version),), after=timedelta())
    return Decision(status, (SetFinalizer(present=False),))


def _no_longer_wanted(world: World) -> Decision | None:
    """Take back a share whose end is decided and not yet done: a rollback, or a newer template."""
    return no_traffic(world) if world.route.weight and not world.status.weight else None
