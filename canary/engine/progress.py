"""Progressing: the canary runs, its share is in effect, and what was measured since decides."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions, hooks
from canary.engine.assess import assess, failure, follow, next_look
from canary.engine.capacity import cannot_start, hold_floor, look_at_pods_after
from canary.engine.copies import (
    apply_canaries,
    intact_services,
    outdated,
    strays,
    too_small,
    wanted_services,
)
from canary.engine.decision import SAFETY_LOOK, Answer, AskReplicaSets, Decision, Delete, SetShare, told
from canary.engine.gates import Way, closed
from canary.engine.outcome import advance, going_on, promote, roll_back
from canary.engine.straight import WORDS, cause_of
from canary.engine.winddown import SETTLE, no_traffic
from canary.engine.world import Finding, World, current_step, exposed, known_spec, known_stable, on_trial
from canary.model import reasons
from canary.model.duration import format_duration
from canary.model.share import NOTHING
from canary.model.status import Cause, Phase, change

TOGETHER = timedelta(seconds=10)
"""Within this long Flux has applied all Deployments of one release."""


def deadline(world: World) -> Decision | None:
    """A rollout that has not moved for too long fails; the time of its step, and at a gate, does not count."""
    if world.status.phase is not Phase.PROGRESSING or time_left(world) > timedelta():
        return None
    waiting = world.status.condition(conditions.RECONCILING)
    cause = f": {waiting.message}" if waiting else ""
    allowed = format_duration(_allowed(world))
    return roll_back(world, reasons.DEADLINE_EXCEEDED, f"no progress within {allowed}{cause}")


def time_left(world: World) -> timedelta:
    """Until the deadline."""
    return (world.status.progressed_at or world.now) + _allowed(world) - world.now


def _allowed(world: World) -> timedelta:
    step = current_step(world).max_hold if world.status.step else timedelta()
    return known_spec(world).progress_deadline + step


def old_share_is_gone(world: World) -> Decision | None:
    """What was on trial before gets no requests any more, in effect, before anything else: no gate keeps its share."""
    return None if world.status.share else no_traffic(world)


def steps_are_the_same(world: World) -> Decision | None:
    """Steps that were edited in mid-rollout begin anew: the share under way is nobody's wish any more."""
    steps, status = known_spec(world).steps, world.status
    if not status.step or (status.step <= len(steps) and steps[status.step - 1].share == status.share):
        return None
    why = Finding(reasons.WEIGHT_CHANGED, "spec.steps was edited: beginning again with the first step")
    status = replace(
        going_on(world, status),
        step=0,
        steps=len(steps),
        share=NOTHING,
        approved=None,
        failure=None,
        progressed_at=world.now,
    )
    return Decision(conditions.reconciling(world, status, why), why, events=(told(why),), after=timedelta())


def goes_straight_through(world: World) -> Answer | None:
    """A release that needs no judgement is promoted as soon as no gate is closed; a human's word opens them all."""
    match world.status.straight:
        case None:
            return None
        case Cause.COMMAND:
            return promote(world, (), "promoted by a command", reasons.STRAIGHT_THROUGH)
        case cause:
            judged = _is_judged_after_all(world) or _others_may_come(world) if cause is Cause.NOTHING_TO_JUDGE else None
            text = f"{change(world.status)} needs no trial: {WORDS[cause]}"
            return judged or closed(world, Way.STRAIGHT_THROUGH) or promote(world, (), text, reasons.STRAIGHT_THROUGH)


def _is_judged_after_all(world: World) -> Answer | None:
    """A Service or Ingress may have come since the rollout began: what users reach by now is judged."""
    if not any(member.routed for member in on_trial(world)):
        return None
    if unknown := tuple(member.name for member in on_trial(world) if member.replica_sets is None):
        return AskReplicaSets(unknown)
    if cause_of(world, world.status.trial):
        return None
    why = Finding(reasons.NEW_REVISION, "requests of users come to it by now: it is judged after all")
    status = replace(going_on(world, world.status), straight=None)
    return Decision(conditions.reconciling(world, status, why), why, events=(told(why),), after=timedelta())


def _others_may_come(world: World) -> Decision | None:
    """Flux applies the Deployments of one release one after the other: the first may be the one that nobody reaches."""
    since = world.status.started_at
    left = since + TOGETHER - world.now if since else timedelta()
    if left <= timedelta():
        return None
    why = Finding(reasons.NEW_REVISION, f"{change(world.status)} is held: waiting for what may come with it")
    return Decision(conditions.reconciling(world, going_on(world, world.status), why), why, after=left)


def rollback_is_asked_for(world: World) -> Answer | None:
    """A webhook wants the rollout back."""
    return hooks.rolls_back(world)


def may_start(world: World) -> Answer | None:
    """Before the canary is made no gate is closed."""
    if world.status.step or any(member.canary for member in exposed(world)):
        return None
    return closed(world, Way.START)


def pods_can_start(world: World) -> Answer | None:
    """No pod of the canary says that it will never start."""
    found = cannot_start(world)
    return roll_back(world, found.reason, found.message) if found else None


def no_strays(world: World) -> Answer | None:
    """What an earlier release left is gone before there is any traffic."""
    deletes = () if world.status.step else tuple(Delete(ref) for ref in strays(world) if not ref.deleting)
    if not deletes:
        return None
    why = Finding(reasons.RELEASING, "deleting what is left of the release before")
    return Decision(conditions.unchanged(world, world.status), why, deletes, after=SETTLE)


def canary_runs(world: World) -> Answer | None:
    """Each canary has the held template, enough pods for the step, all available, and Services that reach them."""
    if old := outdated(world):
        return no_traffic(world) or apply_canaries(world, old, services=True, at_least=False)
    if small := too_small(world):
        return apply_canaries(world, small, services=False, at_least=True)
    if wanted_services(world) != intact_services(world):
        return apply_canaries(world, (), services=True, at_least=True)
    for member in exposed(world):
        workload = member.canary
        if workload is not None and not workload.rolled_out:
            ready = f"{min(workload.available, workload.updated)} of {workload.replicas} pods are available"
            return _wait(world, reasons.CANARY_NOT_READY, f"Deployment {workload.name}: {ready}")
    if not world.route.endpoints:
        return _wait(world, reasons.CANARY_NOT_READY, "the Services of the canary have no ready endpoint yet")
    return None


def stable_serves(world: World) -> Answer | None:
    """An ingress controller answers 503 when stable has no endpoint, whatever the weight."""
    for member in exposed(world):
        if not known_stable(member).available:
            return _wait(world, reasons.STABLE_NOT_READY, f"Deployment {member.name} has no available pod")
    return None


def first_step(world: World) -> Answer | None:
    """A rollout passes through no share, and its first share needs no evidence but a canary that is ready."""
    if world.status.step:
        return None
    if world.evidence and not world.evidence.heard:
        why = Finding(reasons.PROVIDER_FAILED, "waiting for the first answer of Prometheus")
        return Decision(conditions.unchanged(world, world.status), why, after=SAFETY_LOOK)
    if world.evidence and world.evidence.problem:
        text = f"no traffic for the canary before it can be judged: {world.evidence.problem.message}"
        return _wait(world, reasons.PROVIDER_FAILED, text)
    return closed(world, Way.NEXT_STEP) or _pre_rollout(world) or advance(world, (), "the canary is ready")


def share_is_in_effect(world: World) -> Decision | None:
    """All routes of the canary carry the share that was decided."""
    route, status = world.route, world.status
    if route.complete and route.share == status.share:
        return None
    why = Finding(reasons.WEIGHT_CHANGED, f"writing {status.share} to the routes of the canary")
    return Decision(conditions.unchanged(world, status), why, (SetShare(status.share),), after=SETTLE)


def evidence_allows(world: World) -> Answer:
    """What was measured under the share says what comes next."""
    return assess(world)


def capacity_is_kept(world: World) -> Answer | None:
    """Stable stays as large as it is while the canary takes its traffic."""
    return hold_floor(world)


def requests_are_followed(world: World) -> Answer | None:
    """What users get is counted from the beginning."""
    return follow(world)


def _pre_rollout(world: World) -> Answer | None:
    found = None if world.status.approved == world.status.step else hooks.before_traffic(world)
    return _wait(world, found.reason, found.message) if isinstance(found, Finding) else found


def _wait(world: World, reason: str, text: str) -> Answer:
    """Nothing to do until the world changes or the deadline comes. A share in effect can still fail meanwhile."""
    why = Finding(reason, text)
    if world.route.share and (failed := failure(world)):
        return failed
    after = min(SAFETY_LOOK, look_at_pods_after(world), next_look(world) if world.route.share else SAFETY_LOOK)
    return Decision(conditions.reconciling(world, going_on(world, world.status), why), why, after=after)


PARTS = (
    deadline,
    steps_are_the_same,
    goes_straight_through,
    requests_are_followed,
    rollback_is_asked_for,
    may_start,
    pods_can_start,
    no_strays,
    canary_runs,
    stable_serves,
    capacity_is_kept,
    first_step,
    share_is_in_effect,
    evidence_allows,
)
"""The first that is not as it must be says what to do."""
