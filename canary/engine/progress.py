"""Progressing: the canary runs, its share is in effect, and what was measured since decides."""

from dataclasses import dataclass, replace
from datetime import timedelta

from analysis.verdict import Verdict, worst
from canary.engine import conditions
from canary.engine.copies import apply_canary, intact_services, wanted_replicas, wanted_services
from canary.engine.decision import SAFETY_LOOK, Answer, AskSamples, Decision, SetWeight, told
from canary.engine.evidence import judge
from canary.engine.held import held, lost
from canary.engine.phases import Move, move
from canary.engine.snapshot import canary_template_hash
from canary.engine.winddown import SETTLE, mark_verdict, no_traffic
from canary.engine.world import Finding, World, current_step, known_spec, known_target, known_traffic
from canary.model import reasons
from canary.model.duration import format_duration
from canary.model.status import Check, change

_GOING_WELL = (reasons.WEIGHT_CHANGED, reasons.CHECKS_PASSED)


def progress(world: World) -> Answer:
    """One look at a rollout: the first part that is not as it must be says what to do."""
    target = known_target(world)
    if marking := mark_verdict(world):
        return marking
    if not target.paused:
        return lost(world)
    if target.template_hash != world.status.template:
        return held(world)
    for part in (deadline, _steps_are_the_same, _canary_runs, _stable_serves, _first_step, _weight_is_in_effect):
        if decision := part(world):
            return decision
    return _evidence(world)


def deadline(world: World) -> Decision | None:
    """A rollout that has not moved for too long fails; the time that its step asks for does not count."""
    spec, status = known_spec(world), world.status
    allowed = spec.progress_deadline + (current_step(world).hold if status.step else timedelta())
    if world.now < (status.progressed_at or world.now) + allowed:
        return None
    waiting = status.condition(conditions.RECONCILING)
    cause = f": {waiting.message}" if waiting else ""
    return _fail(world, reasons.DEADLINE_EXCEEDED, f"no progress within {format_duration(allowed)}{cause}", ())


def _steps_are_the_same(world: World) -> Decision | None:
    """Steps that were edited in mid-rollout begin anew: the share under way is nobody's wish any more."""
    steps, status = known_spec(world).steps, world.status
    if not status.step or (status.step <= len(steps) and steps[status.step - 1].weight == status.weight):
        return None
    why = Finding(reasons.WEIGHT_CHANGED, "spec.steps was edited: beginning again with the first step")
    status = replace(status, step=0, steps=len(steps), weight=0, progressed_at=world.now)
    return Decision(conditions.reconciling(world, status, why), events=(told(why),), after=timedelta())


def _canary_runs(world: World) -> Answer | None:
    """The canary has the held template, enough pods for its step, all available, and Services that reach them."""
    target, traffic, workload = known_target(world), known_traffic(world), world.workload
    wanted = canary_template_hash(target, world.canary, traffic.selector_keys)
    if workload is None or workload.template_hash != wanted:
        return no_traffic(world) or apply_canary(world, services=True, at_least=0)
    if workload.replicas < wanted_replicas(world):
        return apply_canary(world, services=False, at_least=workload.replicas)
    if wanted_services(world) != intact_services(world):
        return apply_canary(world, services=True, at_least=workload.replicas)
    if not workload.rolled_out:
        ready = f"{min(workload.available, workload.updated)} of {workload.replicas} pods are available"
        return _wait(world, reasons.CANARY_NOT_READY, f"Deployment {workload.name}: {ready}")
    if not world.route.endpoints:
        return _wait(world, reasons.CANARY_NOT_READY, "the Services of the canary have no ready endpoint yet")
    return None


def _stable_serves(world: World) -> Answer | None:
    """An ingress controller answers 503 when stable has no endpoint, whatever the weight."""
    if known_target(world).available:
        return None
    return _wait(world, reasons.STABLE_NOT_READY, f"Deployment {known_target(world).name} has no available pod")


def _first_step(world: World) -> Decision | None:
    """A rollout passes through weight 0, and its first share needs no evidence but a canary that is ready."""
    if world.status.step:
        return None
    return no_traffic(world) or _advance(world, "the canary is ready", ())


def _weight_is_in_effect(world: World) -> Decision | None:
    route, status = world.route, world.status
    if route.complete and route.weight == status.weight:
        return None
    return Decision(conditions.unchanged(world, status), (SetWeight(status.weight),), after=SETTLE)


@dataclass(frozen=True)
class _Look:
    """When the share in effect is judged: once an interval, counted from when the routes obey it."""

    elapsed: timedelta
    """How long it has been in effect."""
    due: bool
    """Whether this interval's check was not counted yet."""
    next: timedelta
    """From now until the next one."""


def _look(world: World) -> _Look:
    interval, checked_at = known_spec(world).analysis.interval, world.status.checked_at
    in_effect = (world.route.since or world.now) + SETTLE
    elapsed = world.now - in_effect
    looks = elapsed // interval
    counted = checked_at is not None and checked_at >= in_effect + looks * interval
    return _Look(elapsed, looks >= 1 and not counted, (max(looks, 0) + 1) * interval - elapsed)


def _evidence(world: World) -> Answer:
    """Judge what was measured since the weight took effect, once an interval; only a pass goes on."""
    spec, status, step, look = known_spec(world), world.status, current_step(world), _look(world)
    if not look.due:
        return Decision(conditions.unchanged(world, status), after=look.next)
    if world.samples is None:
        return AskSamples(spec.analysis.metrics, look.elapsed)
    checks = judge(spec.analysis.metrics, world.samples)
    match worst([check.verdict for check in checks]):
        case Verdict.FAIL:
            return _failed_check(world, checks, look.next)
        case Verdict.PASS if look.elapsed >= step.hold:
            return _passed_step(world, checks)
        case Verdict.PASS:
            after = min(look.next, step.hold - look.elapsed)
            return _looked(world, checks, reasons.CHECKS_PASSED, f"{_at(world)}: the checks pass", after)
        case Verdict.ERROR:
            return _looked(world, checks, reasons.PROVIDER_FAILED, _hold_text(world, checks), look.next)
        case _:
            return _looked(world, checks, reasons.CHECKS_INCONCLUSIVE, _hold_text(world, checks), look.next)


def _looked(world: World, checks: tuple[Check, ...], reason: str, text: str, after: timedelta) -> Decision:
    """Say what was seen when it differs from what was said; numbers alone are not worth a write."""
    status = world.status
    said = status.condition(conditions.RECONCILING)
    good_news = reason == reasons.CHECKS_PASSED and said and said.reason in _GOING_WELL
    if good_news or (said and said.reason == reason and _verdicts(checks) == _verdicts(status.checks)):
        return Decision(conditions.unchanged(world, status), after=after)
    return Decision(conditions.reconciling(world, replace(status, checks=checks), Finding(reason, text)), after=after)


def _verdicts(checks: tuple[Check, ...]) -> list[tuple[str, Verdict]]:
    return [(check.name, check.verdict) for check in checks]


def _failed_check(world: World, checks: tuple[Check, ...], after: timedelta) -> Decision:
    failed = world.status.failed_checks + 1
    threshold = known_spec(world).analysis.threshold
    text = "; ".join(check.message for check in checks if check.verdict is Verdict.FAIL)
    world = replace(world, status=replace(world.status, failed_checks=failed, checked_at=world.now, checks=checks))
    if failed >= threshold:
        return _fail(world, reasons.ROLLED_BACK, text, checks)
    why = Finding(reasons.CHECKS_FAILED, f"{_at(world)}: failed check {failed} of {threshold}: {text}")
    return Decision(
        conditions.reconciling(world, world.status, why),
        events=(told(why, warning=True),),
        after=after,
    )


def _passed_step(world: World, checks: tuple[Check, ...]) -> Decision:
    text = "; ".join(check.message for check in checks)
    if world.status.step < len(known_spec(world).steps):
        return _advance(world, text, checks)
    why = Finding(reasons.PROMOTING, f"{_at(world)}: all steps passed: {text}")
    status = replace(world.status, phase=move(world.status.phase, Move.PROMOTE), checks=checks, progressed_at=world.now)
    return Decision(conditions.reconciling(world, status, why), events=(told(why),), after=timedelta())


def _advance(world: World, evidence: str, checks: tuple[Check, ...]) -> Decision:
    """Record the decision for the next step; the next pass makes the canary large enough, then moves the traffic."""
    steps = known_spec(world).steps
    number = world.status.step + 1
    weight = steps[number - 1].weight
    why = Finding(reasons.WEIGHT_CHANGED, f"step {number} of {len(steps)}: weight {weight} %: {evidence}")
    status = replace(
        world.status,
        step=number,
        steps=len(steps),
        weight=weight,
        progressed_at=world.now,
        checks=checks or world.status.checks,
    )
    return Decision(conditions.reconciling(world, status, why), events=(told(why),), after=timedelta())


def _fail(world: World, reason: str, text: str, checks: tuple[Check, ...]) -> Decision:
    old = world.status
    where = f"{_at(world)}: " if old.step else ""
    why = Finding(reason, f"{change(old)} was rolled back and stays held: {where}{text}")
    status = replace(old, phase=move(old.phase, Move.FAIL), weight=0, checks=checks or old.checks)
    events = (told(why, warning=True),)
    return Decision(conditions.stalled(world, status, why), events=events, after=timedelta())


def _wait(world: World, reason: str, text: str) -> Answer:
    """Nothing to do until the world changes or the deadline comes. A share in effect can still fail meanwhile."""
    waiting = conditions.reconciling(world, world.status, Finding(reason, text))
    if not world.route.weight:
        return Decision(waiting, after=SAFETY_LOOK)
    look, metrics = _look(world), known_spec(world).analysis.metrics
    if look.due and world.samples is None:
        return AskSamples(metrics, look.elapsed)
    checks = judge(metrics, world.samples) if look.due and world.samples else ()
    if worst([check.verdict for check in checks]) is Verdict.FAIL:
        return _failed_check(world, checks, look.next)
    return Decision(waiting, after=min(SAFETY_LOOK, look.next))


def _at(world: World) -> str:
    return f"step {world.status.step} of {len(known_spec(world).steps)} at {world.status.weight} %"


def _hold_text(world: World, checks: tuple[Check, ...]) -> str:
    unclear = (c.message for c in checks if c.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE))
    return f"{_at(world)}: holding: {'; '.join(unclear)}"
