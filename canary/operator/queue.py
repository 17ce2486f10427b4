"""Work by key, one at a time for each: the work queue of controller-runtime.

Watches, timers and commands say only "look at this Canary again" (`add`); what to do is found out by looking. Hence:

- a key that waits already is not queued twice, however many events there are;
- a key that is added while it is worked on is worked on once more afterwards, for the work may have looked too early;
- a key is never worked on twice at once, so a reconciliation needs no locks;
- a failing key is tried again after a growing pause and keeps no other key from its turn.

A key is in at most one of two places: `_ready` (its turn comes as soon as a worker is free and nobody works on it) or
`_due` (not before some time). `add` moves it from the second to the first.

Used by `canary.operator`, with (namespace, name) of a Canary as the key. Not thread-safe: one event loop.
"""

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Generic, TypeVar

import structlog

Key = TypeVar("Key", bound=Hashable)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Backoff:
    """Pauses after failures, doubled each time.

    Up to a half is taken off by chance, so that keys that failed together are not tried again together.
    """

    first_seconds: float = 0.5
    limit_seconds: float = 60.0

    def seconds(self, failures: int, chance: float) -> float:
        """Pause after that many failures in a row (from 1); `chance` in [0, 1)."""
        doublings = min(failures - 1, 32)
        return min(self.limit_seconds, self.first_seconds * 2.0**doublings) * (1 - chance / 2)


def log_failure(key: Hashable, error: Exception) -> None:
    """Report a failed reconciliation where nobody asked for more."""
    log.error("reconciliation failed", key=key, exc_info=error)


class KeyedQueue(Generic[Key]):
    """Calls `reconcile(key)` for each key that was added.

    `reconcile` returns the seconds after which to look again by itself, or None to wait for the next `add`. An
    exception is given to `report`, and the key is tried again after a pause.
    """

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[float | None]],
        workers: int = 16,
        clock: Callable[[], float] = time.monotonic,
        *,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        report: Callable[[Key, Exception], None] = log_failure,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._reconcile = reconcile
        self._workers = workers
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._jitter = jitter
        self._report = report
        # both by key: since when it waits, in order of arrival; and from when on it may be looked at
        self._ready: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        # (due, order of arrival, key); an entry counts only while it agrees with `_due`
        self._heap: list[tuple[float, int, Key]] = []
        self._entries = 0
        self._failures: dict[Key, int] = {}
        # keys being worked on; False for one that was forgotten meanwhile
        self._running: dict[Key, bool] = {}
        self._changed = asyncio.Event()
        self._stopping = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker: delayed ones and those being worked on are not among them."""
        return len(self._ready)

    @property
    def oldest_age_seconds(self) -> float:
        """How long the first of those has been waiting; 0 when there is none. A stuck queue shows here."""
        return max(0.0, self._clock() - next(iter(self._ready.values()))) if self._ready else 0.0

    @property
    def running(self) -> int:
        """Keys being worked on now."""
        return len(self._running)

    def add(self, key: Key) -> None:
        """Look at the key as soon as possible, whatever pause it was in."""
        self._due.pop(key, None)
        if key not in self._ready:
            self._ready[key] = self._clock()
            self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key in that many seconds. Of several such requests the earliest counts."""
        due = self._clock() + seconds
        if key in self._ready or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, key))
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The object is gone: no more looks that were planned, and no memory of failures.

        Work in progress is finished, and what it returns is not followed; an `add` afterwards counts as always.
        """
        self._ready.pop(key, None)
        self._due.pop(key, None)
        self._failures.pop(key, None)
        if key in self._running:
            self._running[key] = False

    def stop(self) -> None:
        """Begin nothing more. `run` returns when the work in progress is finished."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Work until `stop`. Cancelling it cancels the work in progress too.

        All tasks are made at the start: kopf, which shares the loop, cancels at its end whatever was begun after it.
        """
        handed: asyncio.Queue[Key | None] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker(handed))
            while not self._stopping:
                self._changed.clear()
                self._promote()
                for key in self._startable():
                    del self._ready[key]
                    self._running[key] = True
                    handed.put_nowait(key)
                await self._wait_for_change()
            for _ in range(self._workers):
                handed.put_nowait(None)

    async def _worker(self, handed: "asyncio.Queue[Key | None]") -> None:
        while (key := await handed.get()) is not None:
            await self._work(key)

    def _promote(self) -> None:
        """Move the keys whose time has come to those that are ready."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key)

    def _startable(self) -> list[Key]:
        """Ready keys that nobody works on, in order, as many as there are free workers."""
        free = self._workers - len(self._running)
        return list(islice((key for key in self._ready if key not in self._running), free))

    async def _wait_for_change(self) -> None:
        """Until something was added, finished or stopped, or the next key is due."""
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        pause = self._heap[0][0] - self._clock() if self._heap else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()

    async def _work(self, key: Key) -> None:
        try:
            again = await self._outcome(key)
        finally:
            wanted = self._running.pop(key)
            self._changed.set()
        if wanted and again is not None:
            self.add_after(key, again)

    async def _outcome(self, key: Key) -> float | None:
        """Seconds until the next look: what `reconcile` says, or the pause after its failure."""
        try:
            again = await self._reconcile(key)
            if again is not None and not isfinite(again):
                raise ValueError(f"reconcile({key!r}) returned {again} seconds")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # something inside was cancelled, not this work: without this the key would never be looked at again
            return self._failed(key, RuntimeError(f"cancelled from within: {error!r}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it stops this key only
            return self._failed(key, error)
        self._failures.pop(key, None)
        return again

    def _failed(self, key: Key, error: Exception) -> float:
        failures = self._failures.get(key, 0) + 1
        if self._running[key]:
            self._failures[key] = failures
        self._report(key, error)
        return self._backoff.seconds(failures, self._jitter())
