"""Promoting: the judged template rolls out in stable, then the traffic returns and the canary goes."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Answer, Decision, LiftPause, told
from canary.engine.held import held, lost
from canary.engine.phases import Move, move
from canary.engine.winddown import wind_down
from canary.engine.world import Finding, World, known_target
from canary.model import reasons
from canary.model.status import change


def promote(world: World) -> Answer:
    """One look at a promotion: let the template go, wait for it, take the traffic back, clean up."""
    target, status = known_target(world), world.status
    if target.template_hash != status.template:
        return held(world) if target.paused else lost(world)
    if target.paused:
        return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),), after=SAFETY_LOOK)
    if not target.rolled_out:
        return _rolling(world)
    if status.weight:
        why = Finding(reasons.PROMOTING, f"Deployment {target.name} is rolled out: taking the traffic back to it")
        return Decision(conditions.reconciling(world, replace(status, weight=0), why), after=timedelta())
    return wind_down(world) or _finish(world)


def _rolling(world: World) -> Decision:
    target = known_target(world)
    if target.stuck:
        text = f"the rolling update of Deployment {target.name} is stuck, the canary keeps its share: {target.stuck}"
        status = conditions.stalled(world, world.status, Finding(reasons.PROMOTION_STUCK, text))
        return Decision(status, after=SAFETY_LOOK)
    why = Finding(reasons.PROMOTING, f"waiting for the rolling update of Deployment {target.name}")
    return Decision(conditions.reconciling(world, world.status, why), after=SAFETY_LOOK)


def _finish(world: World) -> Decision:
    old = world.status
    why = Finding(reasons.PROMOTED, f"{change(old)} was promoted")
    status = replace(
        old, phase=move(old.phase, Move.FINISH), stable_revision=old.revision_to, stable_templates=(old.template,)
    )
    return Decision(conditions.ready(world, status, why), events=(told(why),))
