"""What a user wrote: the spec of a Canary, parsed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

from canary.model.duration import parse_duration
from canary.model.template import Json

REQUEST_SUCCESS_RATE = "request-success-rate"
REQUEST_DURATION = "request-duration"
BUILTIN_METRICS = (REQUEST_SUCCESS_RATE, REQUEST_DURATION)

DEFAULT_WEIGHTS = (5, 10, 20, 35, 50)
DEFAULT_STEP_FOR = timedelta(minutes=1)
DEFAULT_INTERVAL = timedelta(seconds=15)
DEFAULT_THRESHOLD = 2
DEFAULT_PROGRESS_DEADLINE = timedelta(seconds=600)

_T = TypeVar("_T")


class SpecError(ValueError):
    """A field of a Canary that cannot be understood; the text begins with the path of the field."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


@dataclass(frozen=True)
class Target:
    """A Deployment that is rolled out, and the Ingresses that carry its traffic; none named means: found."""

    name: str
    ingresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A share of the traffic, in percent, and how long it is held at the least."""

    weight: int
    hold: timedelta = DEFAULT_STEP_FOR


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
    """One measurement of the canary: a built-in by its name, or a PromQL query that answers one number."""

    name: str
    threshold_range: ThresholdRange
    interval: timedelta = timedelta(minutes=1)
    query: str | None = None


DEFAULT_RANGES = {
    REQUEST_SUCCESS_RATE: ThresholdRange(min=99.0),
    REQUEST_DURATION: ThresholdRange(max=500.0),
}
DEFAULT_METRICS = tuple(Metric(name, DEFAULT_RANGES[name]) for name in BUILTIN_METRICS)


@dataclass(frozen=True)
class Analysis:
    """How often the canary is checked, how many failed checks it may have, and what is measured."""

    interval: timedelta = DEFAULT_INTERVAL
    threshold: int = DEFAULT_THRESHOLD
    metrics: tuple[Metric, ...] = DEFAULT_METRICS


@dataclass(frozen=True)
class CanarySpec:
    """The whole of `spec`. `steps` is never empty and its weights rise."""

    target: Target
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    progress_deadline: timedelta = DEFAULT_PROGRESS_DEADLINE
    suspend: bool = False


def parse_spec(spec: Json) -> CanarySpec:
    """`spec` of a Canary object. Raises SpecError for what the schema of the CRD would have refused, too."""
    targets = _items(spec, "spec", "targets", _target)
    if len(targets) != 1:
        raise SpecError("spec.targets", f"must name exactly one Deployment, has {len(targets)}")
    steps = _items(spec, "spec", "steps", _step) or DEFAULT_STEPS
    for index, (lower, higher) in enumerate(pairwise(steps), start=1):
        if higher.weight <= lower.weight:
            raise SpecError(f"spec.steps[{index}].weight", f"must be above the step before it ({lower.weight})")
    return CanarySpec(
        target=targets[0],
        steps=steps,
        analysis=_analysis(_get(spec, "spec", "analysis", dict, {})),
        progress_deadline=timedelta(
            seconds=_integer(spec, "spec", "progressDeadlineSeconds", DEFAULT_PROGRESS_DEADLINE.seconds, 604_800)
        ),
        suspend=_get(spec, "spec", "suspend", bool, False),
    )


def _target(path: str, item: Json) -> Target:
    ingresses = _items(item, path, "ingresses", lambda at, entry: _required(entry, at, "name", str))
    return Target(name=_required(item, path, "name", str), ingresses=ingresses)


def _step(path: str, item: Json) -> Step:
    _required(item, path, "weight", int)
    return Step(weight=_integer(item, path, "weight", 0, 100), hold=_duration(item, path, "for", DEFAULT_STEP_FOR))


def _analysis(item: Json) -> Analysis:
    path = "spec.analysis"
    metrics = _items(item, path, "metrics", _metric)
    for index, metric in enumerate(metrics):
        if any(metric.name == other.name for other in metrics[:index]):
            raise SpecError(f"{path}.metrics[{index}].name", f"{metric.name!r} is there twice")
    return Analysis(
        interval=_interval(item, path, DEFAULT_INTERVAL),
        threshold=_integer(item, path, "threshold", DEFAULT_THRESHOLD, 1000),
        metrics=metrics or DEFAULT_METRICS,
    )


def _metric(path: str, item: Json) -> Metric:
    name = _required(item, path, "name", str)
    query = _get(item, path, "query", str, None)
    if query is None and name not in BUILTIN_METRICS:
        raise SpecError(f"{path}.name", f"{name!r} is neither built in ({', '.join(BUILTIN_METRICS)}) nor has a query")
    limits = _get(item, path, "thresholdRange", dict, None)
    if limits is None and query is not None:
        raise SpecError(f"{path}.thresholdRange", "is required beside a query")
    good = DEFAULT_RANGES[name] if limits is None else _range(f"{path}.thresholdRange", limits)
    return Metric(name, good, _interval(item, path, timedelta(minutes=1)), query)


def _range(path: str, item: Json) -> ThresholdRange:
    low, high = (_get(item, path, key, (int, float), None) for key in ("min", "max"))
    if low is None and high is None:
        raise SpecError(path, "must have min, max or both")
    if low is not None and high is not None and low > high:
        raise SpecError(path, f"min ({low:g}) is above max ({high:g})")
    return ThresholdRange(low, high)


def _duration(item: Json, path: str, key: str, default: timedelta) -> timedelta:
    text = _get(item, path, key, str, None)
    if text is None:
        return default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SpecError(f"{path}.{key}", str(error)) from None


def _interval(item: Json, path: str, default: timedelta) -> timedelta:
    interval = _duration(item, path, "interval", default)
    if interval < timedelta(seconds=1):
        raise SpecError(f"{path}.interval", "must be at least 1s")
    return interval


def _integer(item: Json, path: str, key: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`."""
    value: int = _get(item, path, key, int, default)
    if not 1 <= value <= most:
        raise SpecError(f"{path}.{key}", f"must be from 1 to {most}, is {value}")
    return value


def _items(item: Json, path: str, key: str, parse: Callable[[str, Json], _T]) -> tuple[_T, ...]:
    entries: Sequence[Any] = _get(item, path, key, list, [])
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise SpecError(f"{path}.{key}[{index}]", "must be an object")
    return tuple(parse(f"{path}.{key}[{index}]", dict(entry)) for index, entry in enumerate(entries))


def _required(item: Json, path: str, key: str, kind: type[_T]) -> _T:
    if item.get(key) is None:
        raise SpecError(f"{path}.{key}", "is required")
    value: _T = _get(item, path, key, kind, None)
    return value


def _get(item: Json, path: str, key: str, kind: type | tuple[type, ...], default: Any) -> Any:  # noqa: ANN401 - JSON
    value = item.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SpecError(f"{path}.{key}", f"has the wrong type ({type(value).__name__})")
    return value
