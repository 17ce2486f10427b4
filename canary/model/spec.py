"""What a user wrote: the spec of a Canary, parsed once."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from canary.model.duration import format_duration
from canary.model.fields import SpecError, choice, duration, get, integer, items, required, texts
from canary.model.freeze import NEVER, Freeze, parse_freeze
from canary.model.share import Share, parse_matches, parse_weight
from canary.model.template import Json
from canary.model.webhook import HookType, Webhook, parse_webhook

REQUEST_SUCCESS_RATE = "request-success-rate"
REQUEST_DURATION = "request-duration"
BUILTIN_METRICS = (REQUEST_SUCCESS_RATE, REQUEST_DURATION)

DEFAULT_WEIGHTS = (5, 10, 20, 35, 50)
DEFAULT_STEP_FOR = timedelta(seconds=30)
DEFAULT_STEP_MAX_FOR = timedelta(minutes=2)
DEFAULT_INTERVAL = timedelta(seconds=15)
DEFAULT_THRESHOLD = 2
DEFAULT_WARM_UP = timedelta(seconds=30)
DEFAULT_MIN_REQUESTS = 10
DEFAULT_ERROR_LIMIT = timedelta(minutes=5)
DEFAULT_PROGRESS_DEADLINE = timedelta(seconds=600)
DEFAULT_KNOWN_GOOD = 3
MOST_KNOWN_GOOD = 20
MOST_NAMED = 20
"""Targets, metrics, webhooks."""
MOST_STEPS = 50

_Named = TypeVar("_Named", "Target", "Metric", Webhook)

BAKE_WEIGHT = 95
"""Percent: all but what stable needs to be compared with while a canary bakes."""
RESTARTED = "/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
"""What `kubectl rollout restart` changes in a template."""


class Gate(StrEnum):
    """What a step waits for at its end, besides the evidence."""

    NONE = "none"
    MANUAL = "manual"


class Scope(StrEnum):
    """Which Deployments are one release."""

    TARGETS = "Targets"
    """Those that are named."""
    RELEASE = "Release"
    """Those, and all that the same Flux objects apply in the Canary's namespace."""


@dataclass(frozen=True)
class Target:
    """A Deployment that is rolled out, and the Ingresses that carry its traffic; none named means: found."""

    name: str
    ingresses: tuple[str, ...] = ()
    path: str = "spec.targets[0]"
    """Where it is written, for messages."""


@dataclass(frozen=True)
class Step:
    """A share of the requests. `hold` (written `for`) is never above `max_hold` (`maxFor`)."""

    share: Share
    hold: timedelta = DEFAULT_STEP_FOR
    """How long the share is held at the least."""
    max_hold: timedelta = DEFAULT_STEP_MAX_FOR
    """The longest time that is spent looking for proof."""
    manual: bool = False
    """Whether the step is left only when somebody says so (written `gate: manual`)."""

    @property
    def weight(self) -> float:
        """Of the share, in percent."""
        return self.share.weight


DEFAULT_STEPS = tuple(Step(Share(weight)) for weight in DEFAULT_WEIGHTS)


@dataclass(frozen=True)
class ThresholdRange:
    """The values of a metric that are good, both ends included."""

    min: float | None = None
    max: float | None = None

    def __contains__(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        low = "" if self.min is None else f"at least {self.min:g}"
        high = "" if self.max is None else f"at most {self.max:g}"
        return " and ".join(filter(None, (low, high)))


@dataclass(frozen=True)
class Metric:
    """One measurement of the canary: a built-in by its name, or one number that a PromQL query answers.

    The query is written in the Canary or in a MetricTemplate, never in both.
    """

    name: str
    threshold_range: ThresholdRange | None = None
    """The fixed limits; None only for a built-in: it is compared with stable over the same scrapes."""
    interval: timedelta = timedelta(minutes=1)
    query: str | None = None
    template_ref: str | None = None
    """The name of a MetricTemplate in the Canary's namespace."""
    template_variables: tuple[tuple[str, str], ...] = ()
    """Name and value, by name; as text, for only the template knows their types."""

    @property
    def built_in(self) -> bool:
        """Whether it is counted from users' requests, rather than asked for."""
        return self.query is None and self.template_ref is None

    @property
    def compared(self) -> bool:
        """Whether the canary is compared with stable, rather than held to fixed limits."""
        return self.threshold_range is None


DEFAULT_METRICS = tuple(Metric(name) for name in BUILTIN_METRICS)


class OnInconclusive(StrEnum):
    """What follows when the longest time of a step is over and the evidence decides nothing."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    ADVANCE = "advance"


class OnError(StrEnum):
    """What follows when the provider has failed for too long. Nothing can advance on that."""

    HOLD = "hold"
    ROLLBACK = "rollback"


class OnFailure(StrEnum):
    """What follows when the evidence is against the canary."""

    ROLLBACK = "rollback"
    HOLD = "hold"


@dataclass(frozen=True)
class Analysis:
    """How the canary is judged: what is measured, what counts as evidence, and what follows where there is none."""

    interval: timedelta = DEFAULT_INTERVAL
    threshold: int = DEFAULT_THRESHOLD
    """The number of failed checks of metrics with fixed limits at which the canary is rolled back."""
    metrics: tuple[Metric, ...] = DEFAULT_METRICS
    warm_up: timedelta = DEFAULT_WARM_UP
    """For this long after its first traffic, the latency of the canary is not judged."""
    min_requests: int = DEFAULT_MIN_REQUESTS
    """Requests that the canary must have answered in a step before the step can pass without proof."""
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    on_error: OnError = OnError.HOLD
    error_limit: timedelta = DEFAULT_ERROR_LIMIT
    """For how long the provider may fail without a break before `on_error` says what follows."""


@dataclass(frozen=True)
class CanarySpec:
    """The whole of `spec`. `steps` is never empty; the last one is the bake, where there is one."""

    targets: tuple[Target, ...]
    scope: Scope = Scope.TARGETS
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    on_failure: OnFailure = OnFailure.ROLLBACK
    webhooks: tuple[Webhook, ...] = ()
    freeze: Freeze = NEVER
    known_good: int = DEFAULT_KNOWN_GOOD
    """How many of the releases that were promoted last need no analysis."""
    skip_analysis_for: tuple[str, ...] = (RESTARTED,)
    """JSON pointers into the pod template: a change of nothing else needs no canary."""
    scheduling_timeout: timedelta = timedelta()
    """How long a pod of the canary may wait for a node."""
    progress_deadline: timedelta = DEFAULT_PROGRESS_DEADLINE
    suspend: bool = False

    def hooks(self, type_: HookType) -> tuple[Webhook, ...]:
        """The webhooks of a type, in the order in which they are written."""
        return tuple(hook for hook in self.webhooks if hook.type is type_)


def parse_spec(spec: Json) -> CanarySpec:
    """`spec` of a Canary object. Raises SpecError for what the schema of the CRD would have refused, too."""
    analysis = _analysis(get(spec, "spec", "analysis", dict, {}))
    return CanarySpec(
        targets=_named_once(items(spec, "spec", "targets", _target), "spec.targets"),
        scope=choice(spec, "spec", "scope", Scope.TARGETS),
        steps=_steps(spec),
        analysis=analysis,
        on_failure=choice(spec, "spec", "onFailure", OnFailure.ROLLBACK),
        webhooks=_webhooks(spec, analysis.metrics),
        freeze=parse_freeze("spec.freeze", get(spec, "spec", "freeze", dict, {})),
        known_good=integer(spec, "spec", "knownGoodRevisions", DEFAULT_KNOWN_GOOD, MOST_KNOWN_GOOD, least=0),
        skip_analysis_for=(RESTARTED, *_pointers(spec, "spec", "skipAnalysisFor")),
        scheduling_timeout=duration(spec, "spec", "schedulingTimeout", timedelta()),
        progress_deadline=timedelta(
            seconds=integer(spec, "spec", "progressDeadlineSeconds", DEFAULT_PROGRESS_DEADLINE.seconds, 604_800)
        ),
        suspend=get(spec, "spec", "suspend", bool, False),
    )


def _named_once(found: tuple[_Named, ...], path: str, *, least: int = 1) -> tuple[_Named, ...]:
    if len(found) < least:
        raise SpecError(path, "must have at least one entry")
    if len(found) > MOST_NAMED:
        raise SpecError(path, f"must have at most {MOST_NAMED} entries, has {len(found)}")
    for index, one in enumerate(found):
        if any(one.name == other.name for other in found[:index]):
            raise SpecError(f"{path}[{index}].name", f"{one.name!r} is there twice")
    return found


def _webhooks(spec: Json, metrics: tuple[Metric, ...]) -> tuple[Webhook, ...]:
    """Their answers stand among the checks of metrics, by name."""
    webhooks = _named_once(items(spec, "spec", "webhooks", parse_webhook), "spec.webhooks", least=0)
    taken = {metric.name: "a metric" for metric in metrics} | dict.fromkeys(BUILTIN_METRICS, "a built-in metric")
    for index, hook in enumerate(webhooks):
        if what := taken.get(hook.name):
            raise SpecError(f"spec.webhooks[{index}].name", f"{hook.name!r} is the name of {what}")
    return webhooks


def _target(path: str, item: Json) -> Target:
    ingresses = items(item, path, "ingresses", lambda at, entry: required(entry, at, "name", str))
    return Target(required(item, path, "name", str), ingresses, path)


def _steps(spec: Json) -> tuple[Step, ...]:
    steps = items(spec, "spec", "steps", _step) or DEFAULT_STEPS
    if len(steps) > MOST_STEPS:
        raise SpecError("spec.steps", f"must have at most {MOST_STEPS} entries, has {len(steps)}")
    for index, (before, after) in enumerate(pairwise(steps), start=1):
        if after.weight < before.weight or after.share == before.share:
            above = "must be above" if after.share.match == before.share.match else "must not be below"
            raise SpecError(f"spec.steps[{index}].weight", f"{above} that of the step before it ({before.weight:g})")
    bake = duration(spec, "spec", "bake", timedelta())
    if not bake:
        return steps
    weight = max(BAKE_WEIGHT, steps[-1].weight)
    return (*steps, Step(Share(weight), bake, max(bake, DEFAULT_STEP_MAX_FOR)))


def _step(path: str, item: Json) -> Step:
    match = parse_matches(path, item)
    if match is None:
        required(item, path, "weight", (int, float))
    share = Share(parse_weight(path, item), match)
    if not share:
        raise SpecError(f"{path}.weight", "must be above 0 where nothing is matched")
    hold = duration(item, path, "for", DEFAULT_STEP_FOR)
    max_hold = duration(item, path, "maxFor", max(hold, DEFAULT_STEP_MAX_FOR))
    if max_hold < hold:
        raise SpecError(f"{path}.maxFor", f"must be at least as long as for ({format_duration(hold)})")
    return Step(share, hold, max_hold, manual=choice(item, path, "gate", Gate.NONE) is Gate.MANUAL)


def _pointers(item: Json, path: str, key: str) -> tuple[str, ...]:
    """JSON pointers (RFC 6901) that lead into something."""
    found = get(item, path, key, list, [])
    for index, pointer in enumerate(found):
        if not isinstance(pointer, str) or not pointer.startswith("/") or len(pointer) < 2:
            raise SpecError(f"{path}.{key}[{index}]", f"must be a JSON pointer like /metadata/labels, is {pointer!r}")
    return tuple(found)


def _analysis(item: Json) -> Analysis:
    path = "spec.analysis"
    metrics = _named_once(items(item, path, "metrics", _metric), f"{path}.metrics", least=0)
    return Analysis(
        interval=_interval(item, path, DEFAULT_INTERVAL),
        threshold=integer(item, path, "threshold", DEFAULT_THRESHOLD, 1000),
        metrics=metrics or DEFAULT_METRICS,
        warm_up=duration(item, path, "warmUp", DEFAULT_WARM_UP),
        min_requests=integer(item, path, "minRequests", DEFAULT_MIN_REQUESTS, 1_000_000),
        on_inconclusive=choice(item, path, "onInconclusive", OnInconclusive.HOLD),
        on_error=choice(item, path, "onError", OnError.HOLD),
        error_limit=duration(item, path, "errorLimit", DEFAULT_ERROR_LIMIT),
    )


def _metric(path: str, item: Json) -> Metric:
    name = required(item, path, "name", str)
    query = get(item, path, "query", str, None)
    reference = get(item, path, "templateRef", dict, None)
    template = None if reference is None else required(reference, f"{path}.templateRef", "name", str)
    limits = get(item, path, "thresholdRange", dict, None)
    variables = texts(item, path, "templateVariables")
    if query is not None and template is not None:
        raise SpecError(f"{path}.templateRef", "cannot stand beside a query")
    if variables and template is None:
        raise SpecError(f"{path}.templateVariables", "need a templateRef: a query has the built-in variables only")
    if query is None and template is None and name not in BUILTIN_METRICS:
        problem = f"{name!r} is neither built in ({', '.join(BUILTIN_METRICS)}) nor has a query or a templateRef"
        raise SpecError(f"{path}.name", problem)
    if limits is None and not (query is None and template is None):
        raise SpecError(f"{path}.thresholdRange", "is required beside a query or a templateRef")
    good = None if limits is None else _range(f"{path}.thresholdRange", limits)
    return Metric(name, good, _interval(item, path, timedelta(minutes=1)), query, template, variables)


def _range(path: str, item: Json) -> ThresholdRange:
    low, high = (get(item, path, key, (int, float), None) for key in ("min", "max"))
    if low is None and high is None:
        raise SpecError(path, "must have min, max or both")
    if low is not None and high is not None and low > high:
        raise SpecError(path, f"min ({low:g}) is above max ({high:g})")
    return ThresholdRange(low, high)


def _interval(item: Json, path: str, default: timedelta) -> timedelta:
    interval = duration(item, path, "interval", default)
    if interval < timedelta(seconds=1):
        raise SpecError(f"{path}.interval", "must be at least 1s")
    return interval
