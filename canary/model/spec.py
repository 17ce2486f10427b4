"""What a user wrote: the spec of a Canary, parsed once."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise

from canary.model.duration import format_duration
from canary.model.fields import SpecError, choice, duration, get, integer, items, required, texts
from canary.model.template import Json

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


@dataclass(frozen=True)
class Target:
    """A Deployment that is rolled out, and the Ingresses that carry its traffic; none named means: found."""

    name: str
    ingresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A share of the traffic, in percent. `hold` (written `for`) is never above `max_hold` (`maxFor`)."""

    weight: int
    hold: timedelta = DEFAULT_STEP_FOR
    """How long the share is held at the least."""
    max_hold: timedelta = DEFAULT_STEP_MAX_FOR
    """The longest time that is spent looking for proof."""


DEFAULT_STEPS = tuple(Step(weight) for weight in DEFAULT_WEIGHTS)


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
    """The whole of `spec`. `steps` is never empty and its weights rise."""

    target: Target
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    bake: timedelta = timedelta()
    """The least time between the canary's first traffic and its promotion."""
    progress_deadline: timedelta = DEFAULT_PROGRESS_DEADLINE
    suspend: bool = False


def parse_spec(spec: Json) -> CanarySpec:
    """`spec` of a Canary object. Raises SpecError for what the schema of the CRD would have refused, too."""
    targets = items(spec, "spec", "targets", _target)
    if len(targets) != 1:
        raise SpecError("spec.targets", f"must name exactly one Deployment, has {len(targets)}")
    steps = items(spec, "spec", "steps", _step) or DEFAULT_STEPS
    for index, (lower, higher) in enumerate(pairwise(steps), start=1):
        if higher.weight <= lower.weight:
            raise SpecError(f"spec.steps[{index}].weight", f"must be above the step before it ({lower.weight})")
    return CanarySpec(
        target=targets[0],
        steps=steps,
        analysis=_analysis(get(spec, "spec", "analysis", dict, {})),
        bake=duration(spec, "spec", "bake", timedelta()),
        progress_deadline=timedelta(
            seconds=integer(spec, "spec", "progressDeadlineSeconds", DEFAULT_PROGRESS_DEADLINE.seconds, 604_800)
        ),
        suspend=get(spec, "spec", "suspend", bool, False),
    )


def _target(path: str, item: Json) -> Target:
    ingresses = items(item, path, "ingresses", lambda at, entry: required(entry, at, "name", str))
    return Target(name=required(item, path, "name", str), ingresses=ingresses)


def _step(path: str, item: Json) -> Step:
    required(item, path, "weight", int)
    hold = duration(item, path, "for", DEFAULT_STEP_FOR)
    max_hold = duration(item, path, "maxFor", max(hold, DEFAULT_STEP_MAX_FOR))
    if max_hold < hold:
        raise SpecError(f"{path}.maxFor", f"must be at least as long as for ({format_duration(hold)})")
    return Step(integer(item, path, "weight", 0, 100), hold, max_hold)


def _analysis(item: Json) -> Analysis:
    path = "spec.analysis"
    metrics = items(item, path, "metrics", _metric)
    for index, metric in enumerate(metrics):
        if any(metric.name == other.name for other in metrics[:index]):
            raise SpecError(f"{path}.metrics[{index}].name", f"{metric.name!r} is there twice")
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
