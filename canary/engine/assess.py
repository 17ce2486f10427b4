"""The share in effect: what was measured since decides. Only a pass goes on; only proof, or a stated limit, goes back.

Metrics that compare canary with stable are judged whenever there is news, for their test may be looked at at any time;
those with fixed limits once an interval, and `threshold` failed checks of them are a rollback.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from analysis.verdict import Verdict, worst
from canary.engine import conditions, hooks
from canary.engine.decision import SAFETY_LOOK, Answer, AskEvidence, AskSamples, AskWebhooks, Decision
from canary.engine.evidence import compare, hold_to_limits, judge_samples, share_text
from canary.engine.gates import Way, closed, waiting
from canary.engine.outcome import advance, at, counted, fail, going_on, promote, roll_back
from canary.engine.winddown import SETTLE
from canary.engine.world import Finding, World, current_step, known_spec, traffic_on_trial
from canary.model import reasons
from canary.model.duration import format_duration, format_time
from canary.model.evidence import Exposure
from canary.model.scrape import Arms
from canary.model.spec import Metric, OnError, OnFailure, OnInconclusive
from canary.model.status import Check

_SHARE_WINDOW = timedelta(minutes=1)
"""How far back the canary's share of the requests is looked at."""
_GOOD_NEWS = (reasons.CHECKS_PASSED, reasons.JUDGING)
_GOING_WELL = (reasons.WEIGHT_CHANGED, *_GOOD_NEWS, *reasons.GATES)
"""Good news are none after these."""


@dataclass(frozen=True)
class _Look:
    """Where the share is in its time, which counts from when it was written."""

    due: bool
    """Whether this interval's check of the fixed limits was not counted yet."""
    ripe: bool
    """Whether a pass goes on: the least time of the step, and of the bake before a promotion, is over."""
    waited: float | None
    """How much of the time that the share may be held beyond the time for proof has passed, from 0; None before."""
    since: datetime
    """When the interval under way began."""
    next: timedelta
    """From now until time alone changes one of these."""


def follow(world: World) -> AskEvidence | None:
    """The requests of a rollout are followed from its beginning, so that stable's past is known when it counts."""
    if world.evidence is not None or not any(metric.built_in for metric in known_spec(world).analysis.metrics):
        return None
    return AskEvidence(exposure(world))


def exposure(world: World) -> Exposure:
    """What the judge must know."""
    spec, status, route = known_spec(world), world.status, world.route
    in_effect = route.complete and route.share == status.share and route.share and route.since
    traffic = traffic_on_trial(world)
    backends = () if isinstance(traffic, Finding) else traffic.backends
    limited = [metric.interval for metric in spec.analysis.metrics if metric.built_in and not metric.compared]
    return Exposure(
        attempt=f"{status.template} {format_time(status.started_at or world.now)}",
        arms=Arms(world.canary.namespace, backends),
        step=status.step,
        weight=0 if status.share.match else status.weight,
        exposed_at=status.exposed_at,
        in_effect_at=in_effect + SETTLE if in_effect else None,
        warm_up=spec.analysis.warm_up,
        window=max((_SHARE_WINDOW, *limited)),
        saved=status.judge,
    )


def assess(world: World) -> Answer:
    """Judge what is known of the share in effect."""
    if world.status.approved == world.status.step:
        return _next(world, (), "a human said so")
    if world.status.failure is not None:
        return _held_failure(world, world.status.failure)
    look = _look(world)
    checks = _from_requests(world, look)
    if failed := _proven(world, checks):
        return failed
    called = hooks.rollout_checks(world, since=look.since)
    if isinstance(called, AskWebhooks):
        return called
    asked = _queried(world)
    checks += called
    ripe = look.ripe and all(check.verdict is Verdict.PASS for check in checks)
    if asked and world.samples is None and (look.due or ripe):
        return AskSamples(asked)
    checks += judge_samples(asked, world.samples or {})
    if failed := _beyond_limits(world, look, checks):
        return failed
    if asked and world.samples is None:
        return _unchanged(world, look)
    verdict = worst([check.verdict for check in checks])
    share = _share_problem(world)
    if share and verdict is not Verdict.ERROR:
        return _looked(world, checks, Finding(reasons.ROUTING_NOT_EFFECTIVE, f"{at(world)}: holding: {share}"), look)
    return _answer(world, look, checks, verdict)


def _held_failure(world: World, failed: str) -> Decision:
    """It waits for a human, who may also take `onFailure: hold` back."""
    if known_spec(world).on_failure is OnFailure.ROLLBACK:
        return roll_back(world, reasons.ROLLED_BACK, failed)
    return waiting(
        world, Finding(reasons.FAILURE_HELD, f"{at(world)}: failed, and onFailure is hold: {failed}"), SAFETY_LOOK
    )


def failure(world: World) -> Answer | None:
    """While something is waited for with a share in effect: only what speaks against the canary counts."""
    if world.status.failure is not None or world.status.approved == world.status.step:
        return None
    look = _look(world)
    checks = _from_requests(world, look)
    if failed := _proven(world, checks):
        return failed
    called = hooks.rollout_checks(world, since=look.since)
    if isinstance(called, AskWebhooks):
        return called
    asked = _queried(world)
    if look.due and asked and world.samples is None:
        return AskSamples(asked)
    return _beyond_limits(world, look, checks + called + judge_samples(asked, world.samples or {}))


def next_look(world: World) -> timedelta:
    """From now until time alone may change what the checks say."""
    return _look(world).next


def _look(world: World) -> _Look:
    spec, step, status = known_spec(world), current_step(world), world.status
    interval, checked_at = spec.analysis.interval, status.checked_at
    since = world.route.since or world.now
    in_effect = since + SETTLE
    looks = (world.now - in_effect) // interval
    counted = checked_at is not None and checked_at >= in_effect + looks * interval
    ripe_at, over_at = max(since + step.hold, in_effect), max(since + step.max_hold, in_effect)
    changes = (in_effect + (max(looks, 0) + 1) * interval, ripe_at, over_at, _error_limit(world))
    return _Look(
        due=looks >= 1 and not counted,
        ripe=world.now >= ripe_at,
        waited=(world.now - over_at) / spec.progress_deadline if world.now >= over_at else None,
        since=in_effect + max(looks, 0) * interval,
        next=min((moment - world.now for moment in changes if moment and moment > world.now), default=SAFETY_LOOK),
    )


def _error_limit(world: World) -> datetime | None:
    since = world.status.erring_since
    return since + known_spec(world).analysis.error_limit if since else None


def _from_requests(world: World, look: _Look) -> tuple[Check, ...]:
    """The checks of the built-in metrics."""
    analysis, steps, number = known_spec(world).analysis, known_spec(world).steps, world.status.step
    if world.evidence is None:
        return ()
    next_weight = (steps[number].weight if number < len(steps) else 0) or 100
    compared = compare(
        analysis.metrics, world.evidence, next_weight, waited=look.waited, min_requests=analysis.min_requests
    )
    return compared + hold_to_limits(analysis.metrics, world.evidence)


def _queried(world: World) -> tuple[Metric, ...]:
    return tuple(metric for metric in known_spec(world).analysis.metrics if not metric.built_in)


def _compared(world: World) -> set[str]:
    return {metric.name for metric in known_spec(world).analysis.metrics if metric.compared}


def _proven(world: World, checks: tuple[Check, ...]) -> Decision | None:
    """A comparison that fails is proof: it has been looked at all along, and needs no second look."""
    compared = _compared(world)
    failed = [check for check in checks if check.name in compared and check.verdict is Verdict.FAIL]
    return fail(world, _text(failed), checks) if failed else None


def _share_problem(world: World) -> str | None:
    """What the canary gets in the place of its weight; which requests match, nobody knows."""
    if world.evidence is None or world.status.share.match:
        return None
    return share_text(world.evidence, world.status.weight)


def _beyond_limits(world: World, look: _Look, checks: tuple[Check, ...]) -> Decision | None:
    """A failed check of fixed limits counts once an interval."""
    compared = _compared(world)
    failed = [check for check in checks if check.name not in compared and check.verdict is Verdict.FAIL]
    if not failed or not look.due:
        return None
    return counted(world, checks, tuple(failed), after=look.next)


def _answer(world: World, look: _Look, checks: tuple[Check, ...], verdict: Verdict) -> Answer:
    """A failure does not count now, or again: go on, hold, or what the user wants done in doubt."""
    unclear = _text([check for check in checks if check.verdict is not Verdict.PASS])
    match verdict:
        case Verdict.PASS if look.ripe:
            return _next(world, checks, _text(checks))
        case Verdict.PASS:
            return _looked(world, checks, Finding(reasons.CHECKS_PASSED, f"{at(world)}: {_text(checks)}"), look)
        case Verdict.FAIL:
            return _unchanged(world, look)
        case Verdict.ERROR:
            return _erring(world, look, checks, unclear)
        case Verdict.INCONCLUSIVE if look.waited is not None:
            return _undecided(world, look, checks, unclear)
        case _:
            return _looked(world, checks, Finding(reasons.JUDGING, f"{at(world)}: {unclear}"), look)


def _erring(world: World, look: _Look, checks: tuple[Check, ...], text: str) -> Decision:
    analysis, since = known_spec(world).analysis, world.status.erring_since or world.now
    world = replace(world, status=replace(world.status, erring_since=since))
    if analysis.on_error is OnError.ROLLBACK and world.now >= since + analysis.error_limit:
        limit = f"the provider of the metrics failed for {format_duration(analysis.error_limit)}"
        return roll_back(world, reasons.ROLLED_BACK, f"{limit}: {text}", checks)
    return _looked(world, checks, Finding(reasons.PROVIDER_FAILED, f"{at(world)}: holding: {text}"), look)


def _next(world: World, checks: tuple[Check, ...], why: str) -> Answer:
    """The step is passed: on with the next one or the promotion, unless a gate is closed."""
    if world.status.step < len(known_spec(world).steps):
        return closed(world, Way.NEXT_STEP) or advance(world, checks, why)
    return closed(world, Way.PROMOTION) or promote(world, checks, f"all steps passed: {why}")


def _undecided(world: World, look: _Look, checks: tuple[Check, ...], text: str) -> Answer:
    limit = f"nothing is decided after {format_duration(current_step(world).max_hold)}"
    match known_spec(world).analysis.on_inconclusive:
        case OnInconclusive.ROLLBACK:
            return roll_back(world, reasons.ROLLED_BACK, f"{limit}: {text}", checks)
        case OnInconclusive.ADVANCE if look.ripe:
            return _next(world, checks, f"{limit}, and onInconclusive is advance: {text}")
        case _:
            why = Finding(reasons.CHECKS_INCONCLUSIVE, f"{at(world)}: holding: {limit}: {text}")
            return _looked(world, checks, why, look)


def _looked(world: World, checks: tuple[Check, ...], why: Finding, look: _Look) -> Decision:
    """Say what was seen when it differs from what was said; numbers alone are not worth a write."""
    status = world.status
    said = status.condition(conditions.RECONCILING)
    well = why.reason in _GOOD_NEWS and said and said.reason in _GOING_WELL
    if well or (said and said.reason == why.reason and _verdicts(checks) == _verdicts(status.checks)):
        return _unchanged(world, look, why)
    erring_since = status.erring_since if why.reason == reasons.PROVIDER_FAILED else None
    status = going_on(world, replace(status, checks=checks, erring_since=erring_since))
    return Decision(conditions.reconciling(world, status, why), why, after=look.next)


def _unchanged(world: World, look: _Look, why: Finding | None = None) -> Decision:
    why = why or Finding(reasons.JUDGING, f"{at(world)}: the next look counts")
    return Decision(conditions.unchanged(world, world.status), why, after=look.next)


def _verdicts(checks: tuple[Check, ...]) -> list[tuple[str, Verdict]]:
    return [(check.name, check.verdict) for check in checks]


def _text(checks: list[Check] | tuple[Check, ...]) -> str:
    return "; ".join(check.message for check in checks)
