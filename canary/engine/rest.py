"""At rest: nothing is on trial. Adopt the targets, clean up, and see whether a template is held."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions, hooks
from canary.engine.decision import SAFETY_LOOK, Action, Answer, Decision, Guard, SetFinalizer, Unguard, told
from canary.engine.held import lost, revision_of
from canary.engine.phases import Move, move
from canary.engine.straight import released
from canary.engine.winddown import failure, no_traffic, wind_down
from canary.engine.world import Finding, World, known_spec, known_stable
from canary.model import names, reasons
from canary.model.status import Phase, Release, Status


def targets_are_adopted(world: World) -> Answer | None:
    """The finalizer is on the Canary, and each target has our label."""
    finalizer = () if world.canary.finalized else (SetFinalizer(present=True),)
    guards = tuple(
        Guard(member.name)
        for member in world.members
        if member.exists and known_stable(member).guard != world.canary.name
    )
    actions: tuple[Action, ...] = (*finalizer, *guards)
    if not actions:
        return None
    why = Finding(reasons.INITIALIZED, "taking the targets in")
    return Decision(status_at_rest(world), why, actions, after=timedelta())


def former_targets_are_given_back(world: World) -> Answer | None:
    """What the spec no longer names is neither labelled nor held, once it has no canary."""
    canaries = {ref.name for ref in world.copies if ref.kind == "Deployment"}
    actions = tuple(
        Unguard(workload.name, workload.resource_version)
        for workload in world.former
        if names.canary_name(workload.name) not in canaries
    )
    if not actions:
        return None
    why = Finding(reasons.RELEASING, f"giving {', '.join(action.target for action in actions)} back")
    return Decision(conditions.unchanged(world, world.status), why, actions, after=timedelta())


def share_is_taken_away(world: World) -> Answer | None:
    """The canary gets no traffic."""
    return no_traffic(world) if world.route.share else None


def canary_is_gone(world: World) -> Answer | None:
    """Nothing of the canary is left."""
    return wind_down(world)


def failed_templates_are_held(world: World) -> Answer | None:
    """After a rollback the failed templates stay held."""
    return lost(world) if world.status.phase is Phase.FAILED else None


def first_release_is_there(world: World) -> Answer | None:
    """A Canary that was never looked at begins with what serves."""
    if world.status.phase is not None:
        return None
    for member in world.members:
        if not known_stable(member).rolled_out:
            why = Finding(reasons.TARGET_NOT_READY, f"Deployment {member.name} is not rolled out yet")
            return Decision(conditions.reconciling(world, world.status, why), why, after=SAFETY_LOOK)
    revision = revision_of(world)
    status = replace(adopted(world, revision), phase=move(None, Move.ADOPT), stable_revision=revision)
    watched = ", ".join(member.name for member in world.members)
    why = Finding(reasons.INITIALIZED, f"watching Deployment {watched}: the next new template is held")
    return Decision(conditions.ready(world, status, why), why, events=(told(why),))


def webhooks_know_the_end(world: World) -> Answer | None:
    """The webhooks of type post-rollout were told."""
    return hooks.after_the_end(world) if world.status.phase in (Phase.SUCCEEDED, Phase.FAILED) else None


def quiet(world: World) -> Answer:
    """Nothing to do until something is observed to change."""
    status = status_at_rest(world)
    said = status.condition(conditions.READY)
    why = Finding(said.reason, said.message) if said else Finding(reasons.INITIALIZED, "nothing is on trial")
    return Decision(status, why)


def adopted(world: World, revision: str) -> Status:
    """The status with what serves now as the release that was promoted last."""
    templates = released(world)
    others = (release for release in world.status.promoted if release.templates != templates)
    kept = max(known_spec(world).known_good, 1)
    promoted = (Release(revision, templates), *others)[:kept]
    return replace(world.status, promoted=promoted, configuration=tuple(sorted(world.configuration.items())))


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
