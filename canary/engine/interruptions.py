"""What comes between: a problem, a suspension, the deletion of the Canary."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions, phases
from canary.engine.decision import SAFETY_LOOK, Answer, Decision, MarkVerdict, SetFinalizer, Unguard, told
from canary.engine.held import forgotten
from canary.engine.outcome import going_on
from canary.engine.progress import deadline
from canary.engine.winddown import no_traffic, wind_down
from canary.engine.world import Finding, World
from canary.model import reasons
from canary.model.spec import CanarySpec
from canary.model.status import Phase


def blocked(world: World, problem: Finding) -> Answer:
    """Something keeps the Canary from working: say so, hold the weight, and let the deadline bound a rollout.

    A share that was decided away goes all the same: that needs nothing but our own routes. So does the canary of a
    target that is gone: there is nothing left to compare it with.
    """
    if problem.reason == reasons.TARGET_NOT_FOUND and (world.status.under_way or world.status.phase is Phase.PROMOTING):
        return forgotten(world, problem)
    if world.status.under_way and isinstance(world.spec, CanarySpec):
        as_told = replace(world, status=conditions.reconciling(world, world.status, problem))
        if late := deadline(as_told):
            return late
    if cleaning := _no_longer_wanted(world) or (world.status.phase in phases.RESTING and wind_down(world)):
        return cleaning
    known = world.status.condition(conditions.STALLED)
    new = not (known and known.reason == problem.reason)
    events = (told(problem, warning=True),) if new else ()
    status = conditions.stalled(world, going_on(world, world.status), problem)
    return Decision(status, problem, events=events, after=SAFETY_LOOK)


def suspended(world: World) -> Decision:
    """The user asked for a standstill: nothing is judged, and nothing moves that was not decided before."""
    status = world.status
    if status.phase is not Phase.SUSPENDED:
        status = replace(status, phase=Phase.SUSPENDED, suspended_phase=status.phase)
    if cleaning := _no_longer_wanted(replace(world, status=status)):
        return cleaning
    text = f"spec.suspend is set: the share stays at {world.route.share}, nothing is judged"
    why = Finding(reasons.SUSPENDED, text)
    held = {member.name: member.held for member in world.members if member.held}
    judged = status.suspended_phase is Phase.FAILED and held == {one.name: one.template for one in status.trial}
    if status.suspended_phase in (None, *phases.RESTING) and (judged or not held):
        return Decision(conditions.unchanged(world, status), why)
    return Decision(conditions.reconciling(world, status, why), why)


def resumed(world: World) -> Decision:
    """Back to the phase that was interrupted; the time spent suspended does not count against the deadline."""
    old = world.status
    status = replace(
        old, phase=old.suspended_phase, suspended_phase=None, progressed_at=old.progressed_at and world.now
    )
    why = Finding(reasons.SUSPENDED, "spec.suspend is not set any more")
    return Decision(conditions.unchanged(world, status), why, after=timedelta())


def give_back(world: World) -> Decision:
    """The Canary is being deleted: traffic first, then our objects, then our marks on the targets, then let it go."""
    status = world.status
    why = Finding(reasons.RELEASING, "giving the targets back")
    if not world.canary.finalized:
        return Decision(status, why)
    if cleaning := wind_down(world):
        return replace(cleaning, status=conditions.reconciling(world, status, why))
    targets = [member.stable for member in world.members if member.stable and not world.rival]
    if marks := tuple(MarkVerdict(target.name, None) for target in targets if target.verdict is not None):
        return Decision(status, why, marks, after=timedelta())
    ours = [target for target in (*targets, *world.former) if target.guard == world.canary.name]
    if ours:
        unguards = tuple(Unguard(target.name, target.resource_version) for target in ours)
        return Decision(status, why, unguards, after=timedelta())
    return Decision(status, why, (SetFinalizer(present=False),))


def _no_longer_wanted(world: World) -> Decision | None:
    """Take back a share whose end is decided and not yet done: a rollback, or a newer template."""
    return no_traffic(world) if world.route.share and not world.status.share else None
