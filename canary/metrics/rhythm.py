"""When ingress-nginx is scraped, learnt from the times of its scrapes, and when to ask for the next one.

A question at any time but just after a scrape is answered late or for nothing. All times are Prometheus's, in seconds
since 1970. Pure. Used by `canary.metrics.scrapes`.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median

SETTLED_SECONDS = 0.3
"""From the beginning of a scrape, which is its time, until its samples can be asked for."""
SHORTEST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 15.0
_AGAIN_SECONDS = 1.0
_REMEMBERED = 5
"""Intervals of a pod. The shortest counts, for a scrape that was missed makes an interval longer, never shorter."""
_DOUBT_AFTER = 40
"""So many scrapes later the period may have become shorter; who asks only once a period would not see it."""


class Rhythm:
    """Learns the scrape period while it listens.

    Questions asked at a multiple of the true period would take the multiple for the period for ever. So a period
    counts only once nothing new was there half a period after a scrape; until then it is asked at that time too.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._newest = 0.0
        self._last: dict[str, float] = {}
        self._intervals: dict[str, deque[float]] = {}
        self._quiet_seconds = 0.0
        self._scrapes = 0
        self._in_vain = 0

    @property
    def period_seconds(self) -> float | None:
        """The median over pods; None until a pod was seen to be scraped twice."""
        shortest = [min(intervals) for intervals in self._intervals.values()]
        return median(shortest) if shortest else None

    def wait_seconds(self, since_asked_seconds: float = 0.0) -> float:
        """How long to wait until the next question, so long after the last one."""
        period = self.period_seconds
        if self._in_vain:
            wait = _AGAIN_SECONDS * 2.0 ** min(self._in_vain - 1, 10)
            wait = min(wait, period or (_AGAIN_SECONDS if self._last else LONGEST_WAIT_SECONDS))
        elif period is None:
            wait = _AGAIN_SECONDS
        else:
            due = self._newest + (period if self._quiet_seconds >= period / 2 else period / 2)
            wait = due + SETTLED_SECONDS - self._now - since_asked_seconds
        return min(max(wait, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)

    def heard(self, now: float, scraped: Mapping[str, float]) -> None:
        """Take in an answer: when it was evaluated, and when each pod was scraped last."""
        self._now = now
        for pod, at in scraped.items():
            if pod in self._last and at > self._last[pod]:
                self._intervals.setdefault(pod, deque(maxlen=_REMEMBERED)).append(at - self._last[pod])
        self._last = dict(scraped)
        self._intervals = {pod: intervals for pod, intervals in self._intervals.items() if pod in scraped}
        newest = max(scraped.values(), default=0.0)
        if newest > self._newest:
            self._newest, self._in_vain = newest, 0
            self._scrapes += 1
            if self._scrapes % _DOUBT_AFTER == 0:
                self._quiet_seconds = 0.0
            return
        self._quiet_seconds = max(self._quiet_seconds, now - self._newest)
        if now >= self._newest + (self.period_seconds or 0.0):
            self._in_vain += 1

    def in_vain(self) -> None:
        """Take in that there was no answer."""
        self._in_vain += 1
