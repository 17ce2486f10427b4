"""What the ingress controller counted between two scrapes, for canary and stable alike."""

from dataclasses import dataclass

from canary.model.traffic import Backend


@dataclass(frozen=True)
class Arms:
    """How the requests of one rollout are told in the counters of the ingress controller."""

    namespace: str
    backends: tuple[Backend, ...]


@dataclass(frozen=True)
class Counts:
    """Requests of one arm, within one scrape interval. Never negative; a reset of a counter is handled before."""

    requests: float = 0.0
    failed: float = 0.0
    """Answered with 5xx."""
    aborted: float = 0.0
    """The client went away before the answer (499)."""
    slower: tuple[float, ...] = ()
    """How many took longer than each of the bounds."""


@dataclass(frozen=True)
class Scrape:
    """One scrape of every pod of the ingress controller, summed. Times are Prometheus's, in seconds since 1970."""

    start: float
    """The oldest scrape that the counts begin at."""
    end: float
    """The newest scrape that they end at."""
    canary: Counts
    stable: Counts
    bounds: tuple[float, ...] = ()
    """Upper bounds of the latency buckets in seconds, rising, without +Inf; empty where none were scraped."""
