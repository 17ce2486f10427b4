"""The worlds that releases are simulated in: what stable does, and what is wrong with the canary."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.kernel import Floats

NGINX_BOUNDS = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
"""Seconds: the default buckets of ingress-nginx."""

_PARETO_SHAPE = 1.5
_LARGEST_CLUSTER = 200


@dataclass(frozen=True)
class App:
    """Latencies are lognormal, and seen through a histogram."""

    median_seconds: float = 0.05
    sigma: float = 0.86
    """Of the logarithm; p99 is exp(2.326 sigma) times the median: 0.37 s."""
    bounds: Floats = field(default_factory=lambda: NGINX_BOUNDS)


FAST_APP = App(median_seconds=0.010, sigma=0.596)
"""p99 is 40 ms."""


@dataclass(frozen=True)
class Cluster:
    """Bad requests come several at a time."""

    mean: float
    heavy: bool = False
    """Pareto(1.5) sizes up to 200; otherwise geometric ones."""

    def sizes(self, clusters: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """The bad requests in so many clusters (…)."""
        if not self.heavy:
            more = rng.negative_binomial(np.maximum(clusters, 1), 1 / self.mean)
            return np.where(clusters > 0, clusters + more, 0).astype(float)
        each = np.minimum(np.ceil(rng.uniform(size=int(clusters.sum())) ** (-1 / _PARETO_SHAPE)), _LARGEST_CLUSTER)
        sums = np.concatenate(([0.0], each.cumsum()))
        ends = clusters.ravel().cumsum()
        return np.asarray(np.diff(sums[ends], prepend=0.0)).reshape(clusters.shape)


def pareto() -> Cluster:
    """Few large clusters and many small ones."""
    # the sum of P(size > k)
    return Cluster(mean=1 + sum(k**-_PARETO_SHAPE for k in range(1, _LARGEST_CLUSTER)), heavy=True)


@dataclass(frozen=True)
class World:
    """One kind of release. Rates are shares of requests, times are seconds of the release (0: its first traffic)."""

    name: str
    errors: float = 0.001
    """Of both arms."""
    extra_errors: float = 0.0
    """Of the canary, from `onset_seconds`."""
    onset_seconds: float = -math.inf
    incident: float = 0.0
    """Extra errors of both arms for three minutes, from some time in the first five."""
    incident_at_change: bool = False
    """It begins in the very moment in which a new share may take effect."""
    past_incident: float = 0.0
    """The same, before the release."""
    cluster: Cluster | None = None
    error_noise: float = 0.0
    """Standard deviation of the logarithm of each arm's error rate, on its own, remembered for a minute."""
    error_drift: float = 0.0
    """Amplitude of the logarithm of both arms' error rate, in ten minutes."""
    slower: float = 1.0
    """The canary's latencies are so many times stable's, for `slower_seconds`."""
    slower_seconds: float = math.inf
    slower_tail: float = 1.0
    """Those of the slowest `tail` of its requests."""
    tail: float = 0.02
    latency_noise: float = 0.0
    latency_drift: float = 0.0
    missed: float = 0.0
    """The share of scrapes that do not happen: the next one brings their requests."""
    routed: bool = True
    """Otherwise nothing reaches the canary."""
    bake_seconds: float = 0.0
    """No promotion before."""
    app: App = field(default_factory=App)

    @property
    def healthy(self) -> bool:
        """Nothing is wrong with the canary that would last."""
        better = self.extra_errors == 0 and self.slower_tail == 1
        return better and (self.slower == 1 or math.isfinite(self.slower_seconds)) and self.routed


HEALTHY = (
    World("errors 0 %", errors=0.0),
    World("errors 0.1 %"),
    World("errors 1 %", errors=0.01),
    World("errors 5 %", errors=0.05),
    World("common incident +10 pp", incident=0.1),
    World("incident as the share changes", incident=0.1, incident_at_change=True),
    World("errors drift x/÷ 3", errors=0.005, error_drift=math.log(3)),
    World("clusters of 5, 1 %", errors=0.01, cluster=Cluster(5.0)),
    World("clusters of 20, 0.1 %", cluster=Cluster(20.0)),
    World("clusters Pareto, 1 %", errors=0.01, cluster=pareto()),
    World("cold start, 60 s twice as slow", slower=2.0, slower_seconds=60.0),
    World("common latency drift 20 %", latency_drift=0.2),
    World("latency noise 5 % per arm", latency_noise=0.05),
    World("15 % of scrapes missed", missed=0.15),
    World("fast app", app=FAST_APP),
)
NOISY = (
    World("error noise 30 % per arm, 1 %", errors=0.01, error_noise=0.3),
    World("error noise 60 % per arm, 1 %", errors=0.01, error_noise=0.6),
)
OUTAGE = World("outage", extra_errors=1.0)
REGRESSIONS = (
    World("+5 pp", extra_errors=0.05),
    World("0.1 -> 1.1 %", extra_errors=0.01),
    World("0.1 -> 1.1 %, after an incident", extra_errors=0.01, past_incident=0.1),
    World("1 -> 2 %", errors=0.01, extra_errors=0.01),
    World("5 -> 10 %", errors=0.05, extra_errors=0.05),
    World("0.1 -> 0.2 %, bake 15 min", extra_errors=0.001, bake_seconds=900.0),
    World("0 -> 0.1 %", errors=0.0, extra_errors=0.001),
    World("+1 pp in clusters of 20", extra_errors=0.01, cluster=Cluster(20.0)),
    World("latency x2", slower=2.0),
    World("latency x1.5", slower=1.5),
    World("latency x1.25", slower=1.25),
    World("only p99 x3", slower_tail=3.0),
    World("fast app, latency x2", slower=2.0, app=FAST_APP),
)
LEAK = World("leak: +2 pp after 10 min, bake 15 min", extra_errors=0.02, onset_seconds=600.0, bake_seconds=900.0)
NO_TRAFFIC = World("nothing reaches the canary", routed=False)
