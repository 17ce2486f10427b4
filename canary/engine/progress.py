"""Progressing: the canary runs, its share is in effect, and what was measured since decides."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.assess import assess, failure, follow, next_look
from canary.engine.copies import apply_canary, intact_services, wanted_replicas, wanted_services
from canary.engine.decision import SAFETY_LOOK, Answer, Decision, SetWeight, told
from canary.engine.held import held, lost
from canary.engine.outcome import advance, roll_back
from canary.engine.snapshot import canary_template_hash
from canary.engine.winddown import SETTLE, mark_verdict, no_traffic
from canary.engine.world import Finding, World, current_step, known_spec, known_target, known_traffic
from canary.model import reasons
from canary.model.duration import format_duration


def progress(world: World) -> Answer:
    """One look at a rollout: the first part that is not as it must be says what to do."""
    target = known_target(world)
    if marking := mark_verdict(world):
        return marking
    if not target.paused:
        return lost(world)
    if target.template_hash != world.status.template:
        return held(world)
    answer = next((answer for part in _PARTS if (answer := part(world))), None) or assess(world)
    if not isinstance(answer, Decision) or answer.after is None:
        return answer
    return replace(answer, after=min(answer.after, max(_time_left(world), timedelta())))


def deadline(world: World) -> Decision | None:
    """A rollout that has not moved for too long fails; the time that its step may take does not count."""
    allowed = _allowed(world)
    if _time_left(world) > timedelta():
        return None
    waiting = world.status.condition(conditions.RECONCILING)
    cause = f": {waiting.message}" if waiting else ""
    return roll_back(world, reasons.DEADLINE_EXCEEDED, f"no progress within {format_duration(allowed)}{cause}")


def _allowed(world: World) -> timedelta:
    spec, status = known_spec(world), world.status
    step = current_step(world).max_hold if status.step else timedelta()
    return spec.progress_deadline + step + (spec.bake if status.step >= len(spec.steps) else timedelta())


def _time_left(world: World) -> timedelta:
    return (world.status.progressed_at or world.now) + _allowed(world) - world.now


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


def _first_step(world: World) -> Answer | None:
    """A rollout passes through weight 0, and its first share needs no evidence but a canary that is ready."""
    if world.status.step:
        return None
    if world.evidence and not world.evidence.heard:
        return no_traffic(world) or Decision(conditions.unchanged(world, world.status), after=SAFETY_LOOK)
    if world.evidence and world.evidence.problem:
        text = f"no traffic for the canary before it can be judged: {world.evidence.problem.message}"
        return no_traffic(world) or _wait(world, reasons.PROVIDER_FAILED, text)
    return no_traffic(world) or advance(world, (), "the canary is ready")


def _weight_is_in_effect(world: World) -> Decision | None:
    route, status = world.route, world.status
    if route.complete and route.weight == status.weight:
        return None
    return Decision(conditions.unchanged(world, status), (SetWeight(status.weight),), after=SETTLE)


def _wait(world: World, reason: str, text: str) -> Answer:
    """Nothing to do until the world changes or the deadline comes. A share in effect can still fail meanwhile."""
    waiting = conditions.reconciling(world, world.status, Finding(reason, text))
    if not world.route.weight:
        return Decision(waiting, after=SAFETY_LOOK)
    return failure(world) or Decision(waiting, after=min(SAFETY_LOOK, next_look(world)))


_PARTS: tuple[Callable[[World], Answer | None], ...] = (
    deadline,
    _steps_are_the_same,
    follow,
    _canary_runs,
    _stable_serves,
    _first_step,
    _weight_is_in_effect,
)
