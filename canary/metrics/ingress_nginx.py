"""The counters of ingress-nginx: one query for all of them, and what its answer says.

Canary requests carry stable's Ingress and Service; only the label `canary` tells them, `<namespace>-<service>-<port>`
of the canary's Service. See https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/

Requests, latency buckets and the times of the scrapes are three kinds of series in *one* answer. Prometheus evaluates
one query over one state of its storage, so the three are of the same scrapes; two queries would now and then see a
scrape between them, and latencies of other requests than those counted.
Used by `canary.metrics.scrapes`.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from math import isnan, nan

from canary.metrics.answers import Labels, Matrix, Vector
from canary.metrics.session import AnswerRefused

_REQUESTS = "nginx_ingress_controller_requests"
_BUCKETS = "nginx_ingress_controller_request_duration_seconds_bucket"
_ALWAYS_THERE = "nginx_ingress_controller_config_last_reload_successful"
"""Every controller pod exports it, whether or not it has served a request."""
DENSITY_SECONDS = 120
_SCRAPED_BY = ("job", "instance")
_RENAMED = "exported_{}"
"""What Prometheus makes of a label that the scraped target has itself, without `honorLabels`."""


@dataclass(frozen=True)
class LabelNames:
    """Names of the labels as Prometheus stores them, for those whose relabeling changes them."""

    pod: str = "controller_pod"
    namespace: str = "namespace"
    ingress: str = "ingress"
    service: str = "service"
    canary: str = "canary"
    status: str = "status"
    le: str = "le"


@dataclass(frozen=True)
class Counters:
    """What a controller pod counted of one Service behind one Ingress, for stable or for one canary."""

    by_status: dict[str, float] = field(default_factory=dict)
    """Requests by the status of their answer."""
    by_bound: dict[float, float] = field(default_factory=dict)
    """Requests that took at most so many seconds; of all under infinity."""


Arm = tuple[str, str]
"""Service, and value of the label `canary`: empty for stable."""


@dataclass(frozen=True)
class Pod:
    """One controller pod as it was scraped at a time, in seconds since 1970."""

    at: float
    ingresses: Mapping[tuple[str, str], Mapping[Arm, Counters]] = field(default_factory=dict)
    """Counters by namespace and name of the Ingress."""


@dataclass(frozen=True)
class Reading:
    """The newest scrape of each controller pod at one instant, in seconds since 1970."""

    at: float
    pods: Mapping[str, Pod]


def parse_labels(text: str) -> LabelNames:
    """Label names from `field=label,…`, for instance `namespace=k8s_ns,pod=pod`; the others keep their defaults.

    Raises ValueError, saying what is wrong.
    """
    known = [field.name for field in fields(LabelNames)]
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, label = (piece.strip() for piece in part.partition("="))
        if name not in known:
            raise ValueError(f"{name!r} is none of the labels of ingress-nginx that can be named: {', '.join(known)}")
        if name in given:
            raise ValueError(f"the label {name!r} is named twice")
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label):
            raise ValueError(f"{part!r} must be {name}=LABEL; {label!r} is no name of a Prometheus label")
        given[name] = label
    names = LabelNames(**given)
    labels = [getattr(names, name) for name in known]
    if shared := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"the label {shared[0]!r} cannot mean two things")
    return names


def promql(ingresses: Collection[str], names: LabelNames) -> str:
    """All counters of the Ingresses of these names in any namespace, and when each controller pod was scraped.

    Namespaces are told apart in the answer, for which label holds them differs between installations.
    """
    source = (names.pod, *_SCRAPED_BY)
    arm = [names.namespace, names.ingress, names.service, names.canary]
    arm += [_RENAMED.format(names.namespace), _RENAMED.format(names.service)]
    selector = _selector(ingresses, names)
    # `timestamp` gives the time of the scrape only of a bare selector, so `or` stands outside of it
    return " or ".join(
        (
            f"{_by('sum', *source, *arm, names.status)} ({_REQUESTS}{selector})",
            f"{_by('sum', *source, *arm, names.le)} ({_BUCKETS}{selector})",
            f"{_by('max', *source)} (timestamp({_ALWAYS_THERE}))",
            f"{_by('max', *source)} (timestamp({_REQUESTS}{selector}))",
        )
    )


def density_promql(ingresses: Collection[str], names: LabelNames) -> str:
    """How many scrapes the busiest controller pod had within DENSITY_SECONDS: one number."""
    selector = _selector(ingresses, names)
    span = f"[{DENSITY_SECONDS}s]"
    return f"max(count_over_time({_ALWAYS_THERE}{span}) or count_over_time({_REQUESTS}{selector}{span}))"


def reading(vector: Vector, names: LabelNames) -> Reading:
    """What the answer to `promql` says about one instant. Raises AnswerRefused."""
    sources = _Sources()
    for labels, value in vector.series:
        sources.add(_Series.of(labels, names), value)
    return Reading(vector.at, sources.pods())


def readings(matrix: Matrix, names: LabelNames) -> list[Reading]:
    """What the answer to `promql` says about each instant of a range, oldest first. Raises AnswerRefused."""
    instants: defaultdict[float, _Sources] = defaultdict(_Sources)
    for labels, points in matrix.series:
        series = _Series.of(labels, names)
        for at, value in points:
            instants[at].add(series, value)
    return [Reading(at, sources.pods()) for at, sources in sorted(instants.items())]


_Source = tuple[str, str, str]
"""Pod, job and instance: two jobs may scrape the same pod."""


@dataclass(frozen=True)
class _Series:
    """Where the value of one series of the answer belongs."""

    source: _Source
    ingress: tuple[str, str]
    arm: Arm
    status: str
    bound: float | None
    is_time: bool

    @classmethod
    def of(cls, labels: Labels, names: LabelNames) -> "_Series":
        def meant(name: str) -> str:
            return labels.get(_RENAMED.format(name)) or labels.get(name, "")

        job, instance = (labels.get(name, "") for name in _SCRAPED_BY)
        ingress = labels.get(names.ingress, "")
        return cls(
            # without its own label a pod is told by its address, lest all be taken for one
            source=(labels.get(names.pod) or instance, job, instance),
            ingress=(meant(names.namespace), ingress),
            arm=(meant(names.service), labels.get(names.canary, "")),
            status=labels.get(names.status, ""),
            bound=_bound(labels[names.le]) if labels.get(names.le) else None,
            is_time=not ingress,
        )


class _Sources:
    """What each pod said to each job that scrapes it, at one instant."""

    def __init__(self) -> None:
        self._times: dict[_Source, float] = {}
        self._counters: dict[_Source, dict[tuple[str, str], dict[Arm, Counters]]] = {}

    def add(self, series: _Series, value: float) -> None:
        """Take in one value."""
        if series.is_time:
            self._times[series.source] = value
            return
        arms = self._counters.setdefault(series.source, {}).setdefault(series.ingress, {})
        counters = arms.get(series.arm) or arms.setdefault(series.arm, Counters())
        # The same counter twice: under its old and its new labels, for minutes after a change of relabeling.
        # The older one stands still.
        if series.bound is None:
            counters.by_status[series.status] = max(value, counters.by_status.get(series.status, 0.0))
        else:
            counters.by_bound[series.bound] = max(value, counters.by_bound.get(series.bound, 0.0))

    def pods(self) -> dict[str, Pod]:
        """Of each pod what one job saw: always the same one, for a sum would count every request twice.

        It is the first by name; but one that keeps the counters goes before one that drops them.
        """
        found: dict[str, Pod] = {}
        for source in sorted(self._times, key=lambda source: (source not in self._counters, source)):
            found.setdefault(source[0], Pod(self._times[source], self._counters.get(source, {})))
        return found


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = nan
    if isnan(bound):
        raise AnswerRefused("the bound of a latency bucket is no number")
    return bound


def _by(aggregation: str, *labels: str) -> str:
    return f"{aggregation} by ({', '.join(dict.fromkeys(labels))})"


def _selector(ingresses: Collection[str], names: LabelNames) -> str:
    return f'{{{names.ingress}=~"{_alternatives(ingresses)}"}}'


def _alternatives(names: Collection[str]) -> str:
    """A regular expression between double quotes that matches the names and nothing else."""
    pattern = "|".join(re.escape(name).replace(r"\-", "-") for name in sorted(set(names)))
    return pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
