"""What is known about a canary from the requests that users sent to it and to stable."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from analysis.state import State
from canary.model.measurement import ProviderError
from canary.model.scrape import Arms, Scrape
from canary.model.template import Json


@dataclass(frozen=True)
class Saved:
    """The judge's memory as the status keeps it, so that a restart neither skips nor counts twice."""

    step: int
    """The step it was written in."""
    state: Json
    """See `analysis.dump`."""
    cursor: Mapping[str, float]
    """By pod of the ingress controller: the newest scrape that is in it, seconds since 1970."""


@dataclass(frozen=True)
class Exposure:
    """What users are exposed to: what the judge must know to tell which scrapes count for what."""

    attempt: str
    """Names the rollout: another one begins with no memory."""
    arms: Arms
    step: int
    weight: float
    """In percent; 0 where nobody knows which share of the requests the canary gets."""
    exposed_at: datetime | None
    """When the canary first got traffic; what was counted before is stable's history."""
    in_effect_at: datetime | None
    """Since when the whole ingress controller obeys the present weight."""
    warm_up: timedelta
    """How long after `exposed_at` canary's latency does not count."""
    window: timedelta
    """How far back `Evidence.recent` goes."""
    saved: Saved | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was counted for one rollout so far."""

    state: State | None
    """Of one rollout; None before anything was counted of the canary."""
    cursor: Mapping[str, float]
    recent: tuple[Scrape, ...] = ()
    """The scrapes within the window of the exposure that lie wholly under the present weight, oldest first."""
    heard: bool = True
    """Whether the provider was asked yet."""
    problem: ProviderError | None = None
    """Why nothing newer is known."""
