"""Templates are held, or no longer are: what that means for the rollout."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import Answer, AskReplicaSets, Decision, LiftPause, told
from canary.engine.phases import Move, move
from canary.engine.straight import WORDS, cause_of
from canary.engine.world import Finding, Member, World, known_spec, known_stable, on_trial
from canary.model import reasons
from canary.model.share import NOTHING
from canary.model.status import Phase, Status, Trial, change

_JUDGED = (Phase.PROGRESSING, Phase.WAITING, Phase.PROMOTING, Phase.FAILED)
"""In these phases `status.trial` is what was decided about."""


def held(world: World) -> Answer | None:
    """Templates are held that are not on trial: let those that serve through, begin a rollout of any other.

    All that is held is one release: a rollout begins anew with every template that joins it, and Flux applies the
    Deployments of one release one after the other.
    """
    fresh = _fresh(world)
    if not fresh:
        return None
    if unknown := tuple(member.name for member in world.members if member.held and member.replica_sets is None):
        return AskReplicaSets(unknown)
    reverted = [member for member in fresh if member.held in member.serving]
    new = [member for member in fresh if member not in reverted]
    if world.status.phase is None and (first := [member for member in new if not known_stable(member).available]):
        return _let_through(world, first, "nothing serves yet that could be compared with it")
    tried = {one.name for one in world.status.trial} if world.status.phase in _JUDGED else set()
    if not new and tried.isdisjoint(member.name for member in reverted):
        return _let_through(world, reverted, "the template serves already")
    left = tuple(_trial(member) for member in world.members if member.held and member not in reverted)
    return _begin(world, left) if left else _revert(world)


def lost(world: World) -> Answer | None:
    """A template on trial is not held any more: it is stable's now, or gone."""
    held_now = {member.name for member in on_trial(world) if member.held}
    left = tuple(one for one in world.status.trial if one.name in held_now)
    if left == world.status.trial:
        return None
    gone = ", ".join(one.name for one in world.status.trial if one not in left)
    why = Finding(reasons.TARGET_NOT_HELD, f"Deployment {gone} is not held, or no target any more")
    if world.status.phase is Phase.FAILED and left:
        status = replace(world.status, trial=left, step=0)
        return Decision(conditions.unchanged(world, status), why, after=timedelta())
    return forgotten(world, why)


def forgotten(world: World, why: Finding) -> Decision:
    """There is nothing on trial any more."""
    status = replace(world.status, phase=move(world.status.phase, Move.LOSE), share=NOTHING, step=0)
    return Decision(
        conditions.reconciling(world, status, why), why, events=(told(why, warning=True),), after=timedelta()
    )


def tried_again(world: World, status: Status) -> Status:
    """The same templates on trial once more, from the beginning."""
    return _fresh_start(world, replace(status, phase=move(status.phase, Move.RETRY)), status.trial)


def revision_of(world: World) -> str:
    """The revision that Flux is applying; without Flux the names of the templates."""
    if world.owner and world.owner.revision:
        return world.owner.revision
    templates = sorted(known_stable(member).template_hash for member in world.members if member.exists)
    return f"template {' '.join(templates)}"


def _fresh(world: World) -> list[Member]:
    """Held with another template than the one on trial."""
    trial = {one.name: one.template for one in world.status.trial} if world.status.phase in _JUDGED else {}
    return [member for member in world.members if member.held and trial.get(member.name) != member.held]


def _trial(member: Member) -> Trial:
    return Trial(member.name, member.held or "")


def _revert(world: World) -> Decision:
    status = world.status
    why = Finding(reasons.REVERTED, "the template that serves was applied again: nothing to judge")
    status = replace(status, phase=move(status.phase, Move.REVERT), share=NOTHING, step=0, revision_to="")
    return Decision(conditions.reconciling(world, status, why), why, events=(told(why),), after=timedelta())


def _let_through(world: World, members: Iterable[Member], because: str) -> Decision:
    lifts = tuple(LiftPause(member.name, known_stable(member).resource_version) for member in members)
    why = Finding(reasons.REVERTED, f"letting {', '.join(lift.target for lift in lifts)} through: {because}")
    return Decision(conditions.unchanged(world, world.status), why, lifts)


def _begin(world: World, trial: tuple[Trial, ...]) -> Decision:
    """Templates that were never judged are held: their rollout starts at no share, whatever went before."""
    old = world.status
    phase = move(old.phase or move(None, Move.ADOPT), Move.HOLD)
    status = _fresh_start(world, replace(old, phase=phase), trial)
    newer = ", instead of what is on trial" if old.phase in _JUDGED[:3] else ""
    straight = f", and goes straight through: {WORDS[status.straight]}" if status.straight else ""
    what = f"template {status.template}" if len(trial) == 1 else ", ".join(f"{t.name} {t.template}" for t in trial)
    why = Finding(reasons.NEW_REVISION, f"{change(status)} is held{newer}: {what}{straight}")
    return Decision(conditions.reconciling(world, status, why), why, events=(told(why),), after=timedelta())


def _fresh_start(world: World, old: Status, trial: tuple[Trial, ...]) -> Status:
    return replace(
        old,
        share=NOTHING,
        step=0,
        steps=len(known_spec(world).steps),
        trial=trial,
        revision_from=old.stable_revision,
        revision_to=revision_of(world),
        straight=cause_of(world, trial),
        approved=None,
        failure=None,
        started_at=world.now,
        progressed_at=world.now,
        failed_checks=0,
        checked_at=None,
        exposed_at=None,
        erring_since=None,
        checks=(),
        evidence=(),
        hooks=(),
    )
