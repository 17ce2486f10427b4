"""A template is held, or no longer is: what that means for the rollout."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import Answer, AskReplicaSets, Decision, LiftPause, told
from canary.engine.phases import Move, move
from canary.engine.world import Finding, World, known_spec, known_target
from canary.model import reasons
from canary.model.status import Phase, change


def held(world: World) -> Answer:
    """A template is held that is not the one on trial: let one that serves through, begin a rollout of any other."""
    if world.replica_sets is None:
        return AskReplicaSets()
    target, status = known_target(world), world.status
    serving = tuple(sorted({replica_set.template for replica_set in world.replica_sets if replica_set.pods}))
    if target.template_hash in serving:
        return _revert(world)
    if status.phase is None and not target.available:
        return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),))
    return _begin(world, serving)


def _revert(world: World) -> Decision:
    target, status = known_target(world), world.status
    if status.phase in (Phase.PROGRESSING, Phase.PROMOTING, Phase.FAILED):
        why = Finding(reasons.REVERTED, "the template that serves was applied again: nothing to judge")
        status = replace(status, phase=move(status.phase, Move.REVERT), weight=0, step=0, revision_to="")
        return Decision(conditions.reconciling(world, status, why), events=(told(why),), after=timedelta())
    return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),))


def _begin(world: World, serving: tuple[str, ...]) -> Decision:
    """A template that was never judged is held: its rollout starts at weight 0, whatever went before."""
    old, target = world.status, known_target(world)
    phase = move(old.phase or move(None, Move.ADOPT), Move.HOLD)
    status = replace(
        old,
        phase=phase,
        weight=0,
        step=0,
        steps=len(known_spec(world).steps),
        template=target.template_hash,
        stable_templates=serving,
        revision_from=old.stable_revision,
        revision_to=revision_of(world),
        started_at=world.now,
        progressed_at=world.now,
        failed_checks=0,
        checked_at=None,
        exposed_at=None,
        erring_since=None,
        checks=(),
        evidence=(),
    )
    newer = ", instead of the one on trial" if old.phase in (Phase.PROGRESSING, Phase.PROMOTING) else ""
    why = Finding(reasons.NEW_REVISION, f"{change(status)} is held{newer}: template {target.template_hash}")
    return Decision(conditions.reconciling(world, status, why), events=(told(why),), after=timedelta())


def lost(world: World) -> Decision:
    """Nobody holds the template any more: whatever was on trial is stable's now, or gone."""
    why = Finding(
        reasons.TARGET_NOT_HELD, f"Deployment {known_target(world).name} is not held: there is nothing to judge"
    )
    status = replace(world.status, phase=move(world.status.phase, Move.LOSE), weight=0, step=0)
    events = (told(why, warning=True),)
    return Decision(conditions.reconciling(world, status, why), events=events, after=timedelta())


def revision_of(world: World) -> str:
    """The revision that Flux is applying; without Flux the name of the template."""
    target = known_target(world)
    return world.owner.revision if world.owner and world.owner.revision else f"template {target.template_hash}"
