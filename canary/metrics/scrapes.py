"""Follows the scrapes of ingress-nginx for all rollouts under way together.

One query per poll serves every rollout; nothing is kept but the newest counters of each controller pod. Where a
rollout stands is its *cursor*, the time of each pod's last scrape that was delivered: kept by the caller with what it
concluded, it lets a new process go on where the old one ended, nothing skipped and nothing counted twice.

    follow ──▶ its past is read from Prometheus ──▶ each newer scrape, poll by poll ──▶ forget
                (again at the next poll, if that fails)

The only clock is Prometheus's: times come from its answers.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from canary.metrics import ingress_nginx
from canary.metrics.answers import Matrix, Vector
from canary.metrics.increments import brought_forward, scrape_between
from canary.metrics.ingress_nginx import LabelNames, Pod, Reading
from canary.metrics.rhythm import Rhythm
from canary.metrics.session import AnswerRefused
from canary.model.measurement import ProviderError
from canary.model.scrape import Arms, Scrape

HISTORY_SECONDS = 1800.0
"""How much of the past a rollout gets that has no cursor."""
STEP_SECONDS = 15.0
"""Between two readings of history."""
STEP_PERIODS = 0.9
"""Between two readings of what counts: none may have two scrapes in one; one without a new scrape costs little."""
STALE_SECONDS = 30.0
STALE_PERIODS = 3
"""The newest scrape may be as old as the longer of the two."""
LONGEST_USUAL_PERIOD_SECONDS = 60.0
"""Prometheus's default: until the period is known, a scrape is not called old that may be the newest."""
MAX_SAMPLES = 200_000
"""What a range query is sized for, some 6 MB of JSON: by fewer rollouts at once, and by longer steps."""
SERIES_PER_POD = 32
"""Of one rollout, as a rule: four statuses and twelve buckets of either arm."""
MAX_ROLLOUTS_PER_RANGE = 25

Cursor = Mapping[str, float]
"""Time of the last scrape delivered, by controller pod, in seconds since 1970."""
Key = TypeVar("Key", bound=Hashable)


class CounterProvider(Protocol):
    """Somebody who answers queries for many series. Raises nothing: a failure is a ProviderError."""

    async def vector(self, promql: str, at: float | None = None) -> Vector | ProviderError:
        """All series at one time; now, if none is given."""

    async def matrix(self, promql: str, start: float, end: float, step_seconds: float) -> Matrix | ProviderError:
        """All series at every step from start to end."""


@dataclass(frozen=True)
class News:
    """What is new for one rollout since it was told last."""

    scrapes: tuple[Scrape, ...]
    """In order of time. The first news of a rollout holds its past, scrapes from before it was followed."""
    cursor: Cursor
    """Where the rollout stands after these scrapes."""
    problem: ProviderError | None
    """Why there is nothing new, or may soon be nothing."""


@dataclass(frozen=True)
class _Past:
    """What Prometheus remembers for some rollouts."""

    baselines: Mapping[float, Reading]
    """At each time that a cursor names."""
    readings: Sequence[Reading]
    """In order of time, up to now."""


_NO_SERIES = ProviderError("Prometheus has no series of ingress-nginx: is it scraped?")


@dataclass(frozen=True)
class _Rollout:
    arms: Arms
    start: Cursor
    """Where the caller stood when it began to follow; empty where it knew nothing."""
    pods: Mapping[str, Pod] | None = None
    """The newest counters delivered; None as long as the past has not been read."""

    @property
    def cursor(self) -> Cursor:
        return self.start if self.pods is None else {name: pod.at for name, pod in self.pods.items()}

    def since(self, now: float) -> float:
        """Where its past begins."""
        return min(self.start.values(), default=now - HISTORY_SECONDS)

    def on_baseline(self, baselines: Mapping[float, Reading]) -> "_Rollout":
        """Each pod at exactly the scrape that the cursor names. Where that is lost, none: it is never guessed."""
        found = {name: baselines[at].pods.get(name) for name, at in self.start.items()}
        pods = {name: pod for name, pod in found.items() if pod is not None and pod.at == self.start[name]}
        return replace(self, pods=pods)

    def heard(self, past: Sequence[Reading], reading: Reading) -> "_Told":
        """The rollout after readings in order of time, and the scrapes that were new in them."""
        pods = self.pods or {}
        since = self.since(reading.at)
        scrapes = []
        for heard in (*(earlier for earlier in past if earlier.at >= since), reading):
            # of a pod whose baseline is lost, nothing from before the cursor is counted again
            newer = {name: pod for name, pod in heard.pods.items() if pod.at > self.start.get(name, 0.0)}
            if scrape := scrape_between(pods, newer, self.arms):
                scrapes.append(scrape)
            pods = brought_forward(pods, newer)
        return replace(self, pods=pods), tuple(scrapes)


_Told = tuple[_Rollout, tuple[Scrape, ...]]


class Scrapes(Generic[Key]):
    """Tells each rollout what ingress-nginx counted for it.

    One poll at a time; `follow` and `forget` may be called while it is under way.
    """

    def __init__(
        self,
        provider: CounterProvider,
        labels: LabelNames | None = None,
        *,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        """The stopwatch takes off the wait for the next poll what the last one took."""
        self._provider = provider
        self._labels = labels or LabelNames()
        self._stopwatch = stopwatch
        self._asked_at = stopwatch()
        self._rollouts: dict[Key, _Rollout] = {}
        self._rhythm = Rhythm()

    @property
    def following(self) -> int:
        """How many rollouts are followed."""
        return len(self._rollouts)

    @property
    def next_poll_seconds(self) -> float:
        """How long to wait, from now, until the next poll: the next scrape should be there then. From 0.5 to 15."""
        return self._rhythm.wait_seconds(self._stopwatch() - self._asked_at)

    def follow(self, key: Key, arms: Arms, cursor: Cursor | None = None) -> None:
        """Follow a rollout from where the caller stands: after a cursor, or with half an hour of the past before now.

        No effect if it is followed by the same arms and stands there already; otherwise it starts again from there.
        """
        followed = self._rollouts.get(key)
        if followed is None or followed.arms != arms or dict(followed.cursor) != dict(cursor or {}):
            self._rollouts[key] = _Rollout(arms, dict(cursor or {}))

    def forget(self, key: Key) -> None:
        """Follow it no longer."""
        self._rollouts.pop(key, None)
        if not self._rollouts:
            # by the next rollout, the scrapes may have got another period
            self._rhythm = Rhythm()

    async def poll(self) -> Mapping[Key, News]:
        """Ask once, and tell each rollout what is new. Never raises for what the provider does.

        What is returned counts as known to the caller; a poll that is cancelled has told nothing. A rollout that was
        forgotten or began anew meanwhile is left out.
        """
        asked = dict(self._rollouts)
        if not asked:
            return {}
        self._asked_at = self._stopwatch()
        reading = await self._read(asked.values())
        if isinstance(reading, ProviderError):
            self._rhythm.in_vain()
            return {key: News((), rollout.cursor, reading) for key, rollout in self._still(asked)}
        self._rhythm.heard(reading.at, {name: pod.at for name, pod in reading.pods.items()})
        problem = self._problem(reading)
        caught_up = await self._catch_up([key for key in asked if asked[key].pods is None], asked, reading)
        news: dict[Key, News] = {}
        for key, rollout in self._still(asked):
            told = caught_up[key] if key in caught_up else rollout.heard((), reading)
            if isinstance(told, ProviderError):
                news[key] = News((), rollout.cursor, told)
                continue
            self._rollouts[key], scrapes = told
            news[key] = News(scrapes, self._rollouts[key].cursor, problem)
        return news

    def _still(self, asked: Mapping[Key, _Rollout]) -> list[tuple[Key, _Rollout]]:
        return [(key, rollout) for key, rollout in asked.items() if self._rollouts.get(key) is rollout]

    def _problem(self, reading: Reading) -> ProviderError | None:
        if not reading.pods:
            return _NO_SERIES
        age_seconds = reading.at - max(pod.at for pod in reading.pods.values())
        period_seconds = self._rhythm.period_seconds or LONGEST_USUAL_PERIOD_SECONDS
        if age_seconds > max(STALE_PERIODS * period_seconds, STALE_SECONDS):
            return ProviderError(f"the newest scrape of ingress-nginx is {age_seconds:.0f} s old")
        return None

    async def _read(self, rollouts: Iterable[_Rollout], at: float | None = None) -> Reading | ProviderError:
        answer = await self._provider.vector(self._promql(rollouts), at)
        if isinstance(answer, ProviderError):
            return answer
        try:
            return ingress_nginx.reading(answer, self._labels)
        except AnswerRefused as refused:
            return ProviderError(str(refused))

    def _promql(self, rollouts: Iterable[_Rollout]) -> str:
        return ingress_nginx.promql(_ingresses(rollouts), self._labels)

    async def _catch_up(
        self, keys: list[Key], rollouts: Mapping[Key, _Rollout], reading: Reading
    ) -> dict[Key, _Told | ProviderError]:
        """Tell each its past, up to the reading. After a failure nothing more is asked: others wait for this poll."""
        if not reading.pods:
            return dict.fromkeys(keys, _NO_SERIES)
        told: dict[Key, _Told | ProviderError] = {}
        # what counts for a verdict is told scrape by scrape; history may be coarser
        begun = [rollouts[key] for key in keys if rollouts[key].start]
        begun_step_seconds = await self._scrape_by_scrape_seconds(begun) if begun else STEP_SECONDS
        # those that go back equally far share a query
        keys = sorted(keys, key=lambda key: (bool(rollouts[key].start), rollouts[key].since(reading.at)))
        while keys:
            first = rollouts[keys[0]]
            step_seconds = begun_step_seconds if first.start else STEP_SECONDS
            step_seconds, size = self._extent(reading.at - first.since(reading.at), len(reading.pods), step_seconds)
            alike = [key for key in keys if bool(rollouts[key].start) is bool(first.start)]
            chunk, keys = alike[:size], keys[min(size, len(alike)) :]
            past = await self._past([rollouts[key] for key in chunk], reading.at, step_seconds)
            if isinstance(past, ProviderError):
                return told | dict.fromkeys(chunk + keys, past)
            for key in chunk:
                told[key] = rollouts[key].on_baseline(past.baselines).heard(past.readings, reading)
                # half an hour of some hundred rollouts is seconds of computing, and others want to run meanwhile
                await asyncio.sleep(0)
        return told

    async def _scrape_by_scrape_seconds(self, rollouts: Iterable[_Rollout]) -> float:
        """At most the scrape period, which Prometheus is asked for: this process may have just begun."""
        answer = await self._provider.vector(ingress_nginx.density_promql(_ingresses(rollouts), self._labels))
        scrapes = max((value for _, value in answer.series), default=0.0) if isinstance(answer, Vector) else 0.0
        return min(STEP_PERIODS * ingress_nginx.DENSITY_SECONDS / max(scrapes, 1.0), STEP_SECONDS)

    def _extent(self, span_seconds: float, pods: int, step_seconds: float) -> tuple[float, int]:
        """Step of a range query, longer than was wished if need be, and how many rollouts it can serve."""
        readings = MAX_SAMPLES / (SERIES_PER_POD * pods)
        step_seconds = max(step_seconds, span_seconds / readings)
        rollouts = readings / max(1.0, span_seconds / step_seconds)
        return step_seconds, max(1, min(int(rollouts), MAX_ROLLOUTS_PER_RANGE))

    async def _past(self, rollouts: Sequence[_Rollout], now: float, step_seconds: float) -> "_Past | ProviderError":
        baselines: dict[float, Reading] = {}
        # the exact scrape that a cursor names: the steps of a range may miss it
        for at in {at for rollout in rollouts for at in rollout.start.values()}:
            baseline = await self._read(rollouts, at)
            if isinstance(baseline, ProviderError):
                return baseline
            baselines[at] = baseline
        start = min(rollout.since(now) for rollout in rollouts)
        answer = await self._provider.matrix(self._promql(rollouts), start, now, step_seconds)
        if isinstance(answer, ProviderError):
            return answer
        try:
            return _Past(baselines, ingress_nginx.readings(answer, self._labels))
        except AnswerRefused as refused:
            return ProviderError(str(refused))


def _ingresses(rollouts: Iterable[_Rollout]) -> set[str]:
    return {backend.ingress for rollout in rollouts for backend in rollout.arms.backends}
