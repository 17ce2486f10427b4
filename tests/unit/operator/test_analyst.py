"""The judge's memory of all rollouts, fed by one poll. Time is that of the event loop, which jumps."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from analysis.state import State
from canary.engine.judging import save
from canary.metrics.answers import Vector
from canary.metrics.scrapes import Scrapes
from canary.model.evidence import Evidence, Exposure
from canary.model.measurement import ProviderError
from canary.model.scrape import Arms
from canary.model.traffic import Backend
from canary.operator.analyst import Analyst
from tests.unit.metrics.recorded_prometheus import NAMESPACE, Recorded, Series
from tests.virtual_time import clock, run

Key = tuple[str, str]
KEY, OTHER = (NAMESPACE, "web"), (NAMESPACE, "other")
PERIOD = 5.0
EXPOSED = 1000.0
"""When the loop's clock begins."""


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(EXPOSED + seconds, UTC)


ARMS = Arms(NAMESPACE, (Backend("web", "web", "80"),))
BEFORE = Exposure("v2", ARMS, 0, 0, None, None, timedelta(), timedelta(minutes=1), None)
STEP_1 = replace(BEFORE, step=1, weight=9, exposed_at=moment(0), in_effect_at=moment(5))


def counters(seconds: float) -> Series:
    """Stable answers 100 requests a second for ever; the canary 10 since it was exposed, one in ten of them wrong."""
    stable, canary = 1e6 + 100 * seconds, max(0.0, 10 * (seconds - EXPOSED))
    series = {("web", "", "200"): stable, ("web", "", "le=0.1"): stable / 2, ("web", "", "le=+Inf"): stable}
    if canary:
        label = f"{NAMESPACE}-web-canary-80"
        series |= {("web", label, "200"): 0.9 * canary, ("web", label, "500"): 0.1 * canary}
    return series


class Scraped(Recorded):
    """A Prometheus that has scraped each few seconds, and is asked now."""

    async def vector(self, promql: str, at: float | None = None) -> Vector | ProviderError:
        self.now = clock()
        return await super().vector(promql, at)


class Following:
    """An analyst, and whom it told."""

    def __init__(self) -> None:
        self.prometheus = Scraped()
        for number in range(500):
            at = EXPOSED + PERIOD * (number - 100)
            self.prometheus.scrape("controller", at, counters(at))
        self.told: list[Key] = []
        self.analyst = Analyst[Key](Scrapes[Key](self.prometheus), told=self.told.append)

    async def for_seconds(self, seconds: float) -> None:
        task = asyncio.create_task(self.analyst.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def evidence(self, exposure: Exposure = STEP_1, key: Key = KEY) -> Evidence:
        return self.analyst.evidence(key, exposure)

    @property
    def requests(self) -> float:
        """Of the canary, in this step."""
        return float(known(self.evidence()).tally.settled[0, 0])


def known(evidence: Evidence) -> State:
    assert evidence.state is not None
    return evidence.state


def test_nothing_is_known_before_prometheus_was_asked() -> None:
    async def story() -> None:
        following = Following()
        assert not following.evidence(BEFORE).heard
        await following.for_seconds(0.1)
        assert following.evidence(BEFORE).heard
        assert following.told == [KEY]

    run(story())


def test_each_scrape_is_told_once_and_judged() -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(31)
        assert following.requests == 250, "of 6 scrapes, the first is from before the share was in effect"
        assert 6 <= len(following.told) <= 9

    run(story())


def test_many_rollouts_cost_one_question() -> None:
    async def story() -> None:
        following = Following()
        following.evidence(key=KEY)
        following.evidence(key=OTHER)
        await following.for_seconds(60)
        questions = following.prometheus.asked.count("vector")
        assert known(following.evidence(key=KEY)).tally.settled.tolist() == (
            known(following.evidence(key=OTHER)).tally.settled.tolist()
        )
        alone = Following()
        alone.evidence()
        await alone.for_seconds(60)
        assert questions <= alone.prometheus.asked.count("vector") + 1

    run(story())


def test_nobody_is_asked_when_nothing_is_followed() -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(20)
        following.analyst.forget(KEY)
        await following.for_seconds(6)
        before = len(following.prometheus.asked)
        await following.for_seconds(600)
        assert len(following.prometheus.asked) == before
        following.evidence()
        await following.for_seconds(6)
        assert len(following.prometheus.asked) > before

    run(story())


def test_a_failure_is_told_once_and_what_was_missed_is_caught_up() -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(20)
        following.prometheus.broken = ProviderError("cannot connect to Prometheus")
        told = len(following.told)
        await following.for_seconds(60)
        assert following.evidence().problem == following.prometheus.broken
        assert len(following.told) == told + 1
        following.prometheus.broken = None
        await following.for_seconds(21)
        assert following.evidence().problem is None
        assert following.requests == 950, "ten a second since the share was in effect"

    run(story())


def test_a_fault_of_ours_ends_nothing_and_nothing_passes_on_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(20)
        monkeypatch.setattr("canary.operator.analyst.learn", lambda *_: 1 / 0)
        await following.for_seconds(20)
        problem = following.evidence().problem
        assert problem is not None
        assert problem.message == "the evidence could not be judged: ZeroDivisionError"
        monkeypatch.undo()
        await following.for_seconds(21)
        assert following.evidence().problem is None
        assert following.requests == 550, "ten a second since the share was in effect: nothing is lost"

    run(story())


@pytest.mark.parametrize("saved_at", [12, 47])
def test_a_process_that_starts_anew_goes_on_where_the_status_says(saved_at: float) -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(saved_at)
        before = following.evidence()
        saved = save(before.state, 1, before.cursor)
        await following.for_seconds(71 - saved_at)
        again = Following()
        again.evidence(replace(STEP_1, saved=saved))
        await again.for_seconds(1)
        assert again.requests == following.requests == 650
        one, other = known(again.evidence()), known(following.evidence())
        assert one.errors[0].tolist() == pytest.approx(other.errors[0].tolist(), rel=1e-5)

    run(story())


def test_another_rollout_of_the_same_canary_begins_with_no_memory() -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(30)
        later = following.evidence(replace(BEFORE, attempt="v3"))
        assert (later.state, later.heard) == (None, False)

    run(story())


def test_other_backends_are_followed_from_where_it_stands() -> None:
    async def story() -> None:
        following = Following()
        following.evidence()
        await following.for_seconds(30)
        more = Arms(NAMESPACE, (*ARMS.backends, Backend("web", "grpc", "9999")))
        changed = replace(STEP_1, arms=more)
        following.evidence(changed)
        await following.for_seconds(31)
        assert float(known(following.evidence(changed)).tally.settled[0, 0]) == 550

    run(story())
