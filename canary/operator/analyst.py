"""Keeps what the judge knows of each rollout under way, and feeds it: one poll of Prometheus serves them all.

All of it can be lost: the status has the judge's memory as of its last write and the scrape that it ends at, and
Prometheus has every scrape since.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from canary.engine.judging import Memory, expose, learn, remember
from canary.metrics.scrapes import Cursor, News, Scrapes
from canary.model.evidence import Evidence, Exposure
from canary.model.measurement import ProviderError

log = structlog.get_logger()

Key = TypeVar("Key", bound=tuple[str, str])


@dataclass
class _Rollout:
    memory: Memory
    cursor: Cursor
    heard: bool = False
    problem: ProviderError | None = None

    def hear(self, memory: Memory, news: News) -> bool:
        """Take the news in; whether there were any."""
        new = bool(news.scrapes) or news.problem != self.problem or not self.heard
        self.memory, self.cursor, self.problem, self.heard = memory, news.cursor, news.problem, True
        return new


class Analyst(Generic[Key]):
    """Answers what is known about the requests of a rollout. `told` is called with the key when that is more."""

    def __init__(self, scrapes: Scrapes[Key], told: Callable[[Key], None]) -> None:
        self._scrapes = scrapes
        self._told = told
        self._rollouts: dict[Key, _Rollout] = {}
        self._followed = asyncio.Event()

    def evidence(self, key: Key, exposure: Exposure) -> Evidence:
        """What is known by now; the rollout is followed from here on."""
        rollout = self._rollouts.get(key)
        if rollout is None or rollout.memory.exposure.attempt != exposure.attempt:
            rollout = self._follow(key, exposure)
        elif rollout.memory.exposure.arms != exposure.arms:
            self._scrapes.follow(key, exposure.arms, rollout.cursor)
        rollout.memory = expose(rollout.memory, exposure)
        return Evidence(
            state=rollout.memory.state,
            cursor=rollout.cursor,
            recent=rollout.memory.recent,
            heard=rollout.heard,
            problem=rollout.problem,
        )

    def forget(self, key: Key) -> None:
        """Follow a rollout no longer."""
        if self._rollouts.pop(key, None):
            self._scrapes.forget(key)

    async def run(self) -> None:
        """Poll while there is anything to follow. Ends by being cancelled."""
        while True:
            await self._followed.wait()
            try:
                await self._poll()
            except Exception as error:
                log.exception("poll failed")
                self._fail(ProviderError(f"the evidence could not be judged: {type(error).__name__}"))
            if not self._rollouts:
                self._followed.clear()
            else:
                await asyncio.sleep(self._scrapes.next_poll_seconds)

    def _follow(self, key: Key, exposure: Exposure) -> _Rollout:
        memory = remember(exposure)
        cursor = exposure.saved.cursor if exposure.saved and memory.state is not None else {}
        self._scrapes.forget(key)
        self._scrapes.follow(key, exposure.arms, cursor)
        self._followed.set()
        rollout = self._rollouts[key] = _Rollout(memory, cursor)
        return rollout

    def _fail(self, problem: ProviderError) -> None:
        """A fault of ours: nothing may be concluded from what is known, and what was told since is asked for again."""
        for key, rollout in self._rollouts.items():
            self._scrapes.follow(key, rollout.memory.exposure.arms, rollout.cursor)
            if rollout.problem != problem:
                rollout.problem, rollout.heard = problem, True
                self._told(key)

    async def _poll(self) -> None:
        """Ask once, judge what is new in one call for all, and say whose rollout has news."""
        followed = dict(self._rollouts)
        heard = await self._scrapes.poll()
        news = {key: one for key, one in heard.items() if self._rollouts.get(key) is followed.get(key)}
        memories = learn([followed[key].memory for key in news], [one.scrapes for one in news.values()])
        for (key, one), memory in zip(news.items(), memories, strict=True):
            if followed[key].hear(memory, one):
                self._told(key)
