"""Promoting: the judged templates roll out in stable, then the traffic returns and the canary goes."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Answer, Decision, LiftPause, told
from canary.engine.held import forgotten
from canary.engine.outcome import to_tell
from canary.engine.phases import Move, move
from canary.engine.rest import adopted
from canary.engine.winddown import wind_down
from canary.engine.world import Finding, World, known_stable, on_trial
from canary.model import reasons
from canary.model.share import NOTHING
from canary.model.status import change


def still_on_trial(world: World) -> Answer | None:
    """Every target has the judged template, held or let go."""
    judged = {trial.name: trial.template for trial in world.status.trial}
    there = {member.name for member in on_trial(world) if known_stable(member).template_hash == judged[member.name]}
    if not (gone := [name for name in judged if name not in there]):
        return None
    text = f"Deployment {', '.join(gone)} has another template than the one that was promoted, or is no target any more"
    return forgotten(world, Finding(reasons.TARGET_NOT_HELD, text))


def templates_are_let_go(world: World) -> Answer | None:
    """No pause is left: all are lifted together, each on condition that its template is still the judged one."""
    held = [member for member in on_trial(world) if member.held]
    if not held:
        return None
    why = Finding(reasons.PROMOTING, f"letting {', '.join(member.name for member in held)} roll out")
    lifts = tuple(LiftPause(member.name, known_stable(member).resource_version) for member in held)
    return Decision(conditions.unchanged(world, world.status), why, lifts, after=SAFETY_LOOK)


def stable_is_rolled_out(world: World) -> Answer | None:
    """Every rolling update has finished."""
    rolling = [known_stable(member) for member in on_trial(world) if not known_stable(member).rolled_out]
    if not rolling:
        return None
    if stuck := next((workload for workload in rolling if workload.stuck), None):
        keeps = ", the canary keeps its share" if world.status.share else ""
        text = f"the rolling update of Deployment {stuck.name} is stuck{keeps}: {stuck.stuck}"
        why = Finding(reasons.PROMOTION_STUCK, text)
        return Decision(conditions.stalled(world, world.status, why), why, after=SAFETY_LOOK)
    waits = ", ".join(workload.name for workload in rolling)
    why = Finding(reasons.PROMOTING, f"waiting for the rolling update of Deployment {waits}")
    return Decision(conditions.reconciling(world, world.status, why), why, after=SAFETY_LOOK)


def traffic_is_back(world: World) -> Answer | None:
    """Stable has all requests again."""
    if not world.status.share:
        return None
    names = ", ".join(member.name for member in on_trial(world))
    why = Finding(reasons.PROMOTING, f"Deployment {names} is rolled out: taking the traffic back to it")
    status = conditions.reconciling(world, replace(world.status, share=NOTHING), why)
    return Decision(status, why, after=timedelta())


def canary_is_gone(world: World) -> Answer | None:
    """Nothing of the canary is left."""
    return wind_down(world)


def finish(world: World) -> Answer:
    """Everything is done."""
    old = world.status
    why = Finding(reasons.PROMOTED, f"{change(old)} was promoted")
    status = replace(
        adopted(world, old.revision_to),
        phase=move(old.phase, Move.FINISH),
        stable_revision=old.revision_to,
        hooks=to_tell(world),
        progressed_at=world.now,
    )
    return Decision(conditions.ready(world, status, why), why, events=(told(why),), after=timedelta())


PARTS = (
    still_on_trial,
    templates_are_let_go,
    stable_is_rolled_out,
    traffic_is_back,
    canary_is_gone,
    finish,
)
