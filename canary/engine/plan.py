"""plan: one World in, one Decision out.

A pass either writes an intention into the status or acts on one that is written already, never both about traffic:
a crash leaves "intended, not done" or "done, not recorded", and the next pass compares and goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from analysis.verdict import Verdict, worst
from canary.engine import conditions, phases
from canary.engine.checks import first_problem
from canary.engine.decision import (
    Action,
    Apply,
    AskReplicaSets,
    AskSamples,
    Decision,
    Delete,
    Event,
    Guard,
    LiftPause,
    Question,
    SetFinalizer,
    SetWeight,
    Unguard,
)
from canary.engine.evidence import judge
from canary.engine.phases import Move, move
from canary.engine.snapshot import canary_deployment, canary_replicas, canary_service, canary_template_hash
from canary.engine.world import Finding, ObjectRef, World
from canary.model import reasons
from canary.model.duration import format_duration
from canary.model.spec import CanarySpec, Step
from canary.model.status import Check, Phase, Status, change
from canary.model.template import Json
from canary.model.traffic import Traffic
from canary.model.workload import Workload

SETTLE = timedelta(seconds=5)
"""From writing a weight until every worker of the ingress controller obeys it (ingress-nginx: 3.5 s at the most)."""

SAFETY_LOOK = timedelta(seconds=30)
"""How often to look without an event while something is expected of others."""

Answer = Decision | Question


def plan(world: World) -> Answer:
    """What to do now."""
    if world.canary.deleting:
        return _give_back(world)
    if problem := first_problem(world):
        return _blocked(world, problem)
    if _spec(world).suspend:
        return _suspended(world)
    if world.status.phase is Phase.SUSPENDED:
        return _resumed(world)
    return _STAGES[world.status.phase](world)


# --- at rest ---------------------------------------------------------------------------------------------------------


def _rest(world: World) -> Answer:
    target, status = _target(world), world.status
    if actions := _adoption(world):
        return Decision(_settled_status(world), actions, after=timedelta())
    if cleaning := _wind_down(world):
        return cleaning
    if target.paused and not (status.phase is Phase.FAILED and target.template_hash == status.template):
        return _held(world)
    if status.phase is None:
        return _initialize(world)
    if status.phase is Phase.FAILED and not target.paused:
        return _lost(world)
    return Decision(_settled_status(world))


def _adoption(world: World) -> tuple[Action, ...]:
    finalizer = () if world.canary.finalized else (SetFinalizer(present=True),)
    guard = () if _target(world).guard == world.canary.name else (Guard(),)
    return (*finalizer, *guard)


def _initialize(world: World) -> Decision:
    if not _target(world).rolled_out:
        why = Finding(reasons.TARGET_NOT_READY, f"Deployment {_target(world).name} is not rolled out yet")
        return Decision(conditions.reconciling(world, world.status, why), after=SAFETY_LOOK)
    status = replace(world.status, phase=move(None, Move.ADOPT), stable_revision=_revision(world))
    why = Finding(reasons.INITIALIZED, f"watching Deployment {_target(world).name}: the next new template is held")
    return Decision(conditions.ready(world, status, why), events=(Event(why.reason, why.message),))


def _settled_status(world: World) -> Status:
    status = world.status
    ready = status.condition(conditions.READY)
    if status.phase in (Phase.INITIALIZED, Phase.SUCCEEDED):
        at_rest = Finding(reasons.INITIALIZED, "the template that Flux applied serves")
        known = ready and ready.status == "True"
        return conditions.ready(world, status, Finding(ready.reason, ready.message) if ready and known else at_rest)
    if status.phase is Phase.FAILED:
        return conditions.stalled(world, status, _failure(status))
    return conditions.unchanged(world, status)


def _failure(status: Status) -> Finding:
    stalled = status.condition(conditions.STALLED)
    if stalled and stalled.reason in (reasons.ROLLED_BACK, reasons.DEADLINE_EXCEEDED):
        return Finding(stalled.reason, stalled.message)
    return Finding(reasons.ROLLED_BACK, f"{change(status)} was rolled back and stays held")


# --- a template is held ----------------------------------------------------------------------------------------------


def _held(world: World) -> Answer:
    if world.replica_sets is None:
        return AskReplicaSets()
    target, status = _target(world), world.status
    serving = tuple(sorted({replica_set.template for replica_set in world.replica_sets if replica_set.pods}))
    if target.template_hash in serving:
        return _revert(world)
    if status.phase is None and not target.available:
        return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),))
    return _begin(world, serving)


def _revert(world: World) -> Decision:
    target, status = _target(world), world.status
    if status.phase in (Phase.PROGRESSING, Phase.PROMOTING, Phase.FAILED):
        why = Finding(reasons.REVERTED, "the template that serves was applied again: nothing to judge")
        status = replace(status, phase=move(status.phase, Move.REVERT), weight=0, step=0, revision_to="")
        return Decision(conditions.reconciling(world, status, why), events=(_event(why),), after=timedelta())
    return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),))


def _begin(world: World, serving: tuple[str, ...]) -> Decision:
    """A template that was never judged is held: its rollout starts at weight 0, whatever went before."""
    old, target = world.status, _target(world)
    phase = move(old.phase or move(None, Move.ADOPT), Move.HOLD)
    status = replace(
        old,
        phase=phase,
        weight=0,
        step=0,
        steps=len(_spec(world).steps),
        template=target.template_hash,
        stable_templates=serving,
        revision_from=old.stable_revision,
        revision_to=_revision(world),
        started_at=world.now,
        progressed_at=world.now,
        failed_checks=0,
        checked_at=None,
        checks=(),
    )
    newer = ", instead of the one on trial" if old.phase in (Phase.PROGRESSING, Phase.PROMOTING) else ""
    why = Finding(reasons.NEW_REVISION, f"{change(status)} is held{newer}: template {target.template_hash}")
    return Decision(conditions.reconciling(world, status, why), events=(_event(why),), after=timedelta())


def _lost(world: World) -> Decision:
    why = Finding(reasons.TARGET_NOT_HELD, f"Deployment {_target(world).name} is not held: there is nothing to judge")
    status = replace(world.status, phase=move(world.status.phase, Move.LOSE), weight=0, step=0)
    event = Event(why.reason, why.message, warning=True)
    return Decision(conditions.reconciling(world, status, why), events=(event,), after=timedelta())


# --- progressing -----------------------------------------------------------------------------------------------------


def _progress(world: World) -> Answer:
    target = _target(world)
    if not target.paused:
        return _lost(world)
    if target.template_hash != world.status.template:
        return _held(world)
    for part in (_deadline, _canary_runs, _stable_serves, _first_step, _weight_is_in_effect):
        if decision := part(world):
            return decision
    return _evidence(world)


def _deadline(world: World) -> Decision | None:
    spec, status = _spec(world), world.status
    allowed = spec.progress_deadline + (_step(world).hold if status.step else timedelta())
    if world.now < (status.progressed_at or world.now) + allowed:
        return None
    waiting = status.condition(conditions.RECONCILING)
    cause = f": {waiting.message}" if waiting else ""
    return _fail(world, reasons.DEADLINE_EXCEEDED, f"no progress within {format_duration(allowed)}{cause}", ())


def _canary_runs(world: World) -> Decision | None:
    """The canary has the held template, enough pods for its step, all available, and Services that reach them."""
    target, traffic, workload = _target(world), _traffic(world), world.workload
    wanted = canary_template_hash(target, world.canary, traffic.selector_keys)
    if workload is None or workload.template_hash != wanted:
        return _no_traffic(world) or _apply_canary(world, services=True, at_least=0)
    if workload.replicas < _replicas(world):
        return _apply_canary(world, services=False, at_least=workload.replicas)
    if _services(world) != _live_services(world):
        return _apply_canary(world, services=True, at_least=workload.replicas)
    if not workload.rolled_out:
        ready = f"{min(workload.available, workload.updated)} of {workload.replicas} pods are available"
        return _wait(world, reasons.CANARY_NOT_READY, f"Deployment {workload.name}: {ready}")
    if not world.route.endpoints:
        return _wait(world, reasons.CANARY_NOT_READY, "the Services of the canary have no ready endpoint yet")
    return None


def _stable_serves(world: World) -> Decision | None:
    """An ingress controller answers 503 when stable has no endpoint, whatever the weight."""
    if _target(world).available:
        return None
    return _wait(world, reasons.STABLE_NOT_READY, f"Deployment {_target(world).name} has no available pod")


def _first_step(world: World) -> Decision | None:
    """A rollout passes through weight 0, and its first share needs no evidence but a canary that is ready."""
    if world.status.step:
        return None
    return _no_traffic(world) or _advance(world, "the canary is ready", ())


def _weight_is_in_effect(world: World) -> Decision | None:
    route, status = world.route, world.status
    if route.complete and route.weight == status.weight:
        return None
    return Decision(conditions.unchanged(world, status), (SetWeight(status.weight),), after=SETTLE)


def _evidence(world: World) -> Answer:
    """Judge what was measured since the weight took effect, once an interval; only a pass goes on."""
    spec, status, step = _spec(world), world.status, _step(world)
    in_effect = (world.route.since or world.now) + SETTLE
    elapsed = world.now - in_effect
    looks = elapsed // spec.analysis.interval
    next_look = in_effect + (max(looks, 0) + 1) * spec.analysis.interval
    latest_look = in_effect + looks * spec.analysis.interval
    if looks < 1 or (status.checked_at and status.checked_at >= latest_look):
        return Decision(conditions.unchanged(world, status), after=next_look - world.now)
    if world.samples is None:
        return AskSamples(spec.analysis.metrics, elapsed)
    checks = judge(spec.analysis.metrics, world.samples)
    match worst([check.verdict for check in checks]):
        case Verdict.FAIL:
            return _failed_check(world, checks, next_look - world.now)
        case Verdict.PASS if elapsed >= step.hold:
            return _passed_step(world, checks)
        case Verdict.PASS:
            after = min(next_look, in_effect + step.hold) - world.now
            return _looked(world, checks, reasons.CHECKS_PASSED, f"{_at(world)}: the checks pass", after)
        case Verdict.ERROR:
            return _looked(world, checks, reasons.PROVIDER_FAILED, _hold_text(world, checks), next_look - world.now)
        case _:
            return _looked(world, checks, reasons.CHECKS_INCONCLUSIVE, _hold_text(world, checks), next_look - world.now)


def _looked(world: World, checks: tuple[Check, ...], reason: str, text: str, after: timedelta) -> Decision:
    """Say what was seen when it differs from what was said; numbers alone are not worth a write."""
    status = world.status
    if [(c.name, c.verdict) for c in checks] != [(c.name, c.verdict) for c in status.checks]:
        status = replace(status, checks=checks)
    said = status.condition(conditions.RECONCILING)
    why = Finding(reason, text)
    if status.checks is world.status.checks and said and said.reason == reason:
        return Decision(conditions.unchanged(world, status), after=after)
    return Decision(conditions.reconciling(world, status, why), after=after)


def _failed_check(world: World, checks: tuple[Check, ...], after: timedelta) -> Decision:
    failed = world.status.failed_checks + 1
    threshold = _spec(world).analysis.threshold
    text = "; ".join(check.message for check in checks if check.verdict is Verdict.FAIL)
    world = replace(world, status=replace(world.status, failed_checks=failed, checked_at=world.now, checks=checks))
    if failed >= threshold:
        return _fail(world, reasons.ROLLED_BACK, text, checks)
    why = Finding(reasons.CHECKS_FAILED, f"{_at(world)}: failed check {failed} of {threshold}: {text}")
    return Decision(
        conditions.reconciling(world, world.status, why),
        events=(Event(why.reason, why.message, warning=True),),
        after=after,
    )


def _passed_step(world: World, checks: tuple[Check, ...]) -> Decision:
    text = "; ".join(check.message for check in checks)
    if world.status.step < len(_spec(world).steps):
        return _advance(world, text, checks)
    why = Finding(reasons.PROMOTING, f"{_at(world)}: all steps passed: {text}")
    status = replace(
        world.status, phase=move(world.status.phase, Move.PROMOTE), checks=checks, progressed_at=world.now
    )
    return Decision(conditions.reconciling(world, status, why), events=(_event(why),), after=timedelta())


def _advance(world: World, evidence: str, checks: tuple[Check, ...]) -> Decision:
    """Record the decision for the next step; the next pass makes the canary large enough, then moves the traffic."""
    steps = _spec(world).steps
    number = world.status.step + 1
    weight = steps[number - 1].weight
    why = Finding(reasons.WEIGHT_CHANGED, f"step {number} of {len(steps)}: weight {weight} %, for {evidence}")
    status = replace(
        world.status,
        step=number,
        steps=len(steps),
        weight=weight,
        progressed_at=world.now,
        checks=checks or world.status.checks,
    )
    return Decision(conditions.reconciling(world, status, why), events=(_event(why),), after=timedelta())


def _fail(world: World, reason: str, text: str, checks: tuple[Check, ...]) -> Decision:
    old = world.status
    where = f"{_at(world)}: " if old.step else ""
    why = Finding(reason, f"{change(old)} was rolled back and stays held: {where}{text}")
    status = replace(old, phase=move(old.phase, Move.FAIL), weight=0, checks=checks or old.checks)
    event = Event(why.reason, why.message, warning=True)
    return Decision(conditions.stalled(world, status, why), events=(event,), after=timedelta())


# --- promoting -------------------------------------------------------------------------------------------------------


def _promote(world: World) -> Answer:
    target, status = _target(world), world.status
    if target.template_hash != status.template:
        return _held(world) if target.paused else _lost(world)
    if target.paused:
        return Decision(conditions.unchanged(world, status), (LiftPause(target.resource_version),), after=SAFETY_LOOK)
    if not target.rolled_out:
        return _rolling(world)
    if status.weight:
        return Decision(conditions.unchanged(world, replace(status, weight=0)), after=timedelta())
    return _wind_down(world) or _finish(world)


def _rolling(world: World) -> Decision:
    target = _target(world)
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
    return Decision(conditions.ready(world, status, why), events=(_event(why),))


# --- interruptions ---------------------------------------------------------------------------------------------------


def _blocked(world: World, problem: Finding) -> Answer:
    """Something keeps the Canary from working: say so, hold the weight, and let the deadline bound a rollout."""
    if world.status.phase is Phase.PROGRESSING and isinstance(world.spec, CanarySpec):
        told = replace(world, status=conditions.reconciling(world, world.status, problem))
        if late := _deadline(told):
            return late
    if world.status.phase in phases.RESTING and (cleaning := _wind_down(world)):
        return cleaning
    known = world.status.condition(conditions.STALLED)
    new = not (known and known.reason == problem.reason)
    events = (Event(problem.reason, problem.message, warning=True),) if new else ()
    return Decision(conditions.stalled(world, world.status, problem), events=events, after=SAFETY_LOOK)


def _suspended(world: World) -> Decision:
    status = world.status
    if status.phase is not Phase.SUSPENDED:
        status = replace(status, phase=Phase.SUSPENDED, suspended_phase=status.phase)
    if status.suspended_phase in (None, *phases.RESTING) and not _target(world).paused:
        return Decision(conditions.unchanged(world, status))
    why = Finding(reasons.SUSPENDED, f"spec.suspend is set: the weight stays at {status.weight} %, nothing is judged")
    return Decision(conditions.reconciling(world, status, why))


def _resumed(world: World) -> Decision:
    """Back to the phase that was interrupted; the time spent suspended does not count against the deadline."""
    old = world.status
    status = replace(old, phase=old.suspended_phase, suspended_phase=None, progressed_at=old.progressed_at and world.now)
    return Decision(conditions.unchanged(world, status), after=timedelta())


def _give_back(world: World) -> Decision:
    """The Canary is being deleted: traffic first, then our objects, then our marks on the target, then let it go."""
    status, target = world.status, world.target
    why = Finding(reasons.RELEASING, "giving the target back")
    if not world.canary.finalized:
        return Decision(status)
    if cleaning := _wind_down(world):
        return replace(cleaning, status=conditions.reconciling(world, status, why))
    if target and target.guard == world.canary.name:
        return Decision(status, (Unguard(target.resource_version),), after=timedelta())
    return Decision(status, (SetFinalizer(present=False),))


# --- parts -----------------------------------------------------------------------------------------------------------


def _wind_down(world: World) -> Decision | None:
    """No traffic first, in effect, then no objects. None when nothing is left."""
    if idle := _no_traffic(world):
        return idle
    if not world.copies:
        return None
    deletes = tuple(Delete(ref) for ref in world.copies if not ref.deleting)
    return Decision(conditions.unchanged(world, world.status), deletes, after=SETTLE)


def _no_traffic(world: World) -> Decision | None:
    """Weight 0, written and in effect; None once it is."""
    route = world.route
    if route.weight:
        return Decision(conditions.unchanged(world, world.status), (SetWeight(0),), after=SETTLE)
    if route.since and world.now < route.since + SETTLE:
        return Decision(conditions.unchanged(world, world.status), after=route.since + SETTLE - world.now)
    return None


def _apply_canary(world: World, *, services: bool, at_least: int) -> Decision:
    target, traffic = _target(world), _traffic(world)
    replicas = max(_replicas(world), at_least)
    manifests = _services(world) if services else ()
    workload = canary_deployment(target, world.canary, traffic.selector_keys, replicas)
    actions = tuple(Apply(manifest, force=_is_ours(world, manifest)) for manifest in (workload, *manifests))
    return Decision(conditions.unchanged(world, world.status), actions, after=SAFETY_LOOK)


def _is_ours(world: World, manifest: Json) -> bool:
    name = manifest["metadata"]["name"]
    return any(ref == ObjectRef(manifest["kind"], name) for ref in world.copies)


def _services(world: World) -> tuple[Json, ...]:
    traffic = _traffic(world)
    return tuple(canary_service(service, world.canary, traffic.selector_keys) for service in traffic.services)


def _live_services(world: World) -> tuple[Json, ...]:
    """The canary's Services as we would have written them: what others may add or default is left out."""
    live = {service["metadata"]["name"]: service for service in world.route.services}
    return tuple(
        service
        for service in _services(world)
        if (found := live.get(service["metadata"]["name"]))
        and found["spec"].get("selector") == service["spec"]["selector"]
        and [_port(port) for port in found["spec"]["ports"]] == [_port(port) for port in service["spec"]["ports"]]
    )


def _port(port: Mapping[str, object]) -> tuple[object, ...]:
    return (port.get("name"), port["port"], port.get("targetPort", port["port"]))


def _replicas(world: World) -> int:
    return canary_replicas(_step(world).weight, _target(world).replicas)


def _wait(world: World, reason: str, text: str) -> Decision:
    """Nothing to do until the world changes or the deadline comes."""
    return Decision(conditions.reconciling(world, world.status, Finding(reason, text)), after=SAFETY_LOOK)


def _at(world: World) -> str:
    return f"step {world.status.step} of {len(_spec(world).steps)} at {world.status.weight} %"


def _hold_text(world: World, checks: tuple[Check, ...]) -> str:
    unclear = (c.message for c in checks if c.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE))
    return f"{_at(world)}: holding: {'; '.join(unclear)}"


def _event(why: Finding) -> Event:
    return Event(why.reason, why.message)


def _step(world: World) -> Step:
    """The step under way, or the first one before there is any; the last one when the spec has become shorter."""
    steps = _spec(world).steps
    return steps[min(max(world.status.step, 1), len(steps)) - 1]


def _revision(world: World) -> str:
    target = _target(world)
    return world.owner.revision if world.owner and world.owner.revision else f"template {target.template_hash}"


def _spec(world: World) -> CanarySpec:
    assert isinstance(world.spec, CanarySpec), "first_problem stops before"
    return world.spec


def _target(world: World) -> Workload:
    assert world.target is not None, "first_problem stops before"
    return world.target


def _traffic(world: World) -> Traffic:
    assert isinstance(world.traffic, Traffic), "first_problem stops before"
    return world.traffic


_STAGES: Mapping[Phase | None, Callable[[World], Answer]] = {
    None: _rest,
    Phase.INITIALIZED: _rest,
    Phase.SUCCEEDED: _rest,
    Phase.FAILED: _rest,
    Phase.PROGRESSING: _progress,
    Phase.PROMOTING: _promote,
}

