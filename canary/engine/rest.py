"""At rest: nothing is on trial. Adopt the target, clean up, and see whether a template is held."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Action, Answer, Decision, Guard, SetFinalizer, told
from canary.engine.held import held, lost, revision_of
from canary.engine.phases import Move, move
from canary.engine.winddown import failure, mark_verdict, no_traffic, wind_down
from canary.engine.world import Finding, World, known_target
from canary.model import reasons
from canary.model.status import Phase, Status


def rest(world: World) -> Answer:
    """One look at a Canary with nothing on trial."""
    target, status = known_target(world), world.status
    if actions := _adoption(world):
        return Decision(status_at_rest(world), actions, after=timedelta())
    if cleaning := (world.route.weight and no_traffic(world)) or mark_verdict(world) or wind_down(world):
        return cleaning
    if target.paused and not (status.phase is Phase.FAILED and target.template_hash == status.template):
        return held(world)
    if status.phase is None:
        return _initialize(world)
    if status.phase is Phase.FAILED and not target.paused:
        return lost(world)
    return Decision(status_at_rest(world))


def _adoption(world: World) -> tuple[Action, ...]:
    finalizer = () if world.canary.finalized else (SetFinalizer(present=True),)
    guard = () if known_target(world).guard == world.canary.name else (Guard(),)
    return (*finalizer, *guard)


def _initialize(world: World) -> Decision:
    if not known_target(world).rolled_out:
        why = Finding(reasons.TARGET_NOT_READY, f"Deployment {known_target(world).name} is not rolled out yet")
        return Decision(conditions.reconciling(world, world.status, why), after=SAFETY_LOOK)
    status = replace(world.status, phase=move(None, Move.ADOPT), stable_revision=revision_of(world))
    why = Finding(reasons.INITIALIZED, f"watching Deployment {known_target(world).name}: the next new template is held")
    return Decision(conditions.ready(world, status, why), events=(told(why),))


def status_at_rest(world: World) -> Status:
    """The status of a Canary that rests, with what was said last kept."""
    status = world.status
    ready = status.condition(conditions.READY)
    if status.phase in (Phase.INITIALIZED, Phase.SUCCEEDED):
        at_rest = Finding(reasons.INITIALIZED, "the template that Flux applied serves")
        known = ready and ready.status == "True"
        return conditions.ready(world, status, Finding(ready.reason, ready.message) if ready and known else at_rest)
    if status.phase is Phase.FAILED:
        return conditions.stalled(world, status, failure(status))
    return conditions.unchanged(world, status)
