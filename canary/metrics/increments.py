"""What was counted between two scrapes, from the counters that each controller pod had at both.

Each pod is compared with itself, and only then are pods summed: they are scraped at different times, and restart one
by one. Raw counters, for PromQL's `increase` leaves out the first value of a new series, which is where the canary's
first failures are (https://github.com/prometheus/prometheus/issues/3886).
Pure. Used by `canary.metrics.scrapes`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from canary.metrics.ingress_nginx import Arm, Counters, Pod
from canary.model.scrape import Arms, Counts, Scrape

FORGET_SECONDS = 1800.0
"""A pod that is no longer there, and was scraped last so long before the others, will not come back."""
_NOTHING: Mapping[Arm, Counters] = {}
_NEWBORN = Counters()


@dataclass
class _Growth:
    """By how much the counters of a rollout grew in one pod."""

    canary: Counters = field(default_factory=Counters)
    stable: Counters = field(default_factory=Counters)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Rising, without infinity; none where there is nothing to tell how many requests there were in all."""
        found = self.canary.by_bound.keys() | self.stable.by_bound.keys()
        return tuple(sorted(found - {inf})) if inf in found else ()


def scrape_between(before: Mapping[str, Pod], after: Mapping[str, Pod], arms: Arms) -> Scrape | None:
    """The requests of both arms between two readings of pods by name; None if no pod has a newer scrape.

    A pod that is seen for the first time contributes nothing yet. It may be newborn, its counters all recent; it may
    as well be an old one back after a gap, and weeks of requests would be taken for those of one scrape.
    """
    seen = [(before[name], pod) for name, pod in sorted(after.items()) if name in before and pod.at > before[name].at]
    if not seen:
        return None
    growths = [_growth(old, new, arms) for old, new in seen]
    bounds = _common([growth.bounds for growth in growths])
    return Scrape(
        start=min(old.at for old, _ in seen),
        end=max(new.at for _, new in seen),
        canary=_counts(((growth.canary, growth.bounds) for growth in growths), bounds),
        stable=_counts(((growth.stable, growth.bounds) for growth in growths), bounds),
        bounds=bounds,
    )


def brought_forward(before: Mapping[str, Pod], after: Mapping[str, Pod]) -> dict[str, Pod]:
    """The newest that is known of each pod: what the next reading is to be compared with.

    A pod without a newer scrape stays as it was, so that a missed scrape only makes its next interval longer.
    """
    newest = max((pod.at for pod in after.values()), default=0.0)
    kept = {name: pod for name, pod in before.items() if newest - pod.at <= FORGET_SECONDS}
    return kept | {name: pod for name, pod in after.items() if name not in kept or pod.at > kept[name].at}


def _growth(old: Pod, new: Pod, arms: Arms) -> _Growth:
    growth = _Growth()
    for ingress in {backend.ingress for backend in arms.backends}:
        backends = [backend for backend in arms.backends if backend.ingress == ingress]
        services = {backend.service for backend in backends}
        canaries = {f"{arms.namespace}-{backend.canary_service}-{backend.port}" for backend in backends}
        now = new.ingresses.get((arms.namespace, ingress), _NOTHING)
        then = old.ingresses.get((arms.namespace, ingress), _NOTHING)
        if _was_reset(then, now):
            then = _NOTHING
        for (service, canary), counters in now.items():
            if canary in canaries:
                _add_growth(growth.canary, then.get((service, canary), _NEWBORN), counters)
            elif not canary and service in services:
                _add_growth(growth.stable, then.get((service, canary), _NEWBORN), counters)
    return growth


def _was_reset(then: Mapping[Arm, Counters], now: Mapping[Arm, Counters]) -> bool:
    """Whether the counters of an Ingress in a pod began again at zero: all of them, if any is below what it was.

    They share their fate: they go when the pod restarts, and when the Ingress is deleted. The fate of a pod is not
    that of an Ingress: one that is made anew must not have all requests ever of all others counted again.
    A series that is gone proves nothing.
    """
    return any(_is_below(counters, then[arm]) for arm, counters in now.items() if arm in then)


def _is_below(now: Counters, then: Counters) -> bool:
    return any(value < then.by_status.get(status, 0.0) for status, value in now.by_status.items()) or any(
        value < then.by_bound.get(bound, 0.0) for bound, value in now.by_bound.items()
    )


def _add_growth(total: Counters, then: Counters, now: Counters) -> None:
    """Add the growth of each series; one that was not there before grew from zero, as its pod was there."""
    for status, value in now.by_status.items():
        total.by_status[status] = total.by_status.get(status, 0.0) + value - then.by_status.get(status, 0.0)
    for bound, value in now.by_bound.items():
        total.by_bound[bound] = total.by_bound.get(bound, 0.0) + value - then.by_bound.get(bound, 0.0)


def _common(bounds: list[tuple[float, ...]]) -> tuple[float, ...]:
    """The bounds of most pods; of as many, the most and lowest ones. The buckets of other pods are left out."""
    pods = Counter(filter(None, bounds))
    return min(pods, key=lambda bounds: (-pods[bounds], -len(bounds), bounds), default=())


def _counts(pods: Iterable[tuple[Counters, tuple[float, ...]]], bounds: tuple[float, ...]) -> Counts:
    """One arm, summed over pods."""
    requests = failed = aborted = 0.0
    slower = [0.0] * len(bounds)
    for grown, bounds_of_pod in pods:
        requests += sum(grown.by_status.values())
        failed += sum(value for status, value in grown.by_status.items() if _is_failure(status))
        aborted += grown.by_status.get("499", 0.0)
        if bounds_of_pod == bounds and grown.by_bound:
            for index, bound in enumerate(bounds):
                slower[index] += max(0.0, grown.by_bound.get(inf, 0.0) - grown.by_bound.get(bound, 0.0))
    return Counts(requests, failed, aborted, tuple(slower))


def _is_failure(status: str) -> bool:
    return len(status) == len("5xx") and status.startswith("5")
