"""The poller of the scrapes of ingress-nginx, against a Prometheus that has scraped what a test says."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.metrics.answers import Matrix, Vector
from canary.metrics.scrapes import (
    HISTORY_SECONDS,
    MAX_ROLLOUTS_PER_RANGE,
    MAX_SAMPLES,
    SERIES_PER_POD,
    Cursor,
    News,
    Scrapes,
)
from canary.model.measurement import ProviderError
from canary.model.scrape import Arms, Counts, Scrape
from canary.model.traffic import Backend
from tests.unit.metrics.recorded_prometheus import NAMESPACE, Recorded, Series

KEY = "uid"
ARMS = Arms(NAMESPACE, (Backend("web", "web", "80"),))
BEGIN = 1_795_248_000.0
DOWN = ProviderError("cannot connect to Prometheus")


def counters(stable: float, canary: float | None = None, failed: float = 0.0) -> Series:
    of_stable: Series = {("web", "", "200"): stable, ("web", "", "le=0.1"): stable / 2, ("web", "", "le=+Inf"): stable}
    if canary is None:
        return of_stable
    label = "test-web-canary-80"
    return {**of_stable, ("web", label, "200"): canary, ("web", label, "500"): failed}


class Watched:
    """The poller of one rollout, and all it was told."""

    def __init__(self, prometheus: Recorded, cursor: Cursor | None = None) -> None:
        self.prometheus = prometheus
        self.scrapes = Scrapes[str](prometheus)
        self.scrapes.follow(KEY, ARMS, cursor)
        self.told: list[Scrape] = []

    async def poll(self, now: float | None = None) -> News:
        self.prometheus.now = now or self.prometheus.now
        news = (await self.scrapes.poll())[KEY]
        self.told += news.scrapes
        return news

    async def polled(self, now: float | None = None) -> list[Scrape]:
        news = await self.poll(now)
        assert news.problem is None
        return list(news.scrapes)

    def total(self) -> tuple[float, float, float]:
        return total(self.told)


def total(scrapes: list[Scrape]) -> tuple[float, float, float]:
    """Requests of stable, of the canary, and failures of the canary."""
    return (
        sum(scrape.stable.requests for scrape in scrapes),
        sum(scrape.canary.requests for scrape in scrapes),
        sum(scrape.canary.failed for scrape in scrapes),
    )


@pytest.fixture
def prometheus() -> Recorded:
    return Recorded()


# ------------------------------------------------------------------------------------------------------------- the past


async def test_a_new_rollout_is_told_half_an_hour_of_its_past(prometheus: Recorded) -> None:
    for index in range(200):
        prometheus.scrape("a", BEGIN + 15 * index, counters(100.0 * index))
    watched = Watched(prometheus)
    past = await watched.polled()
    assert len(past) == HISTORY_SECONDS / 15
    assert {scrape.stable for scrape in past} == {Counts(100.0, slower=(50.0,))}
    assert all(one.end == other.start for one, other in pairwise(past))
    assert (past[0].start, past[-1].end) == (prometheus.now - HISTORY_SECONDS, prometheus.now)
    assert await watched.polled() == []
    assert prometheus.asked == ["vector", "matrix 1800 s", "vector"]


async def test_each_scrape_of_the_past_is_told_once_however_seldom_it_was_scraped(prometheus: Recorded) -> None:
    for index in range(20):
        prometheus.scrape("a", BEGIN + 60 * index, counters(7.0 * index))
    assert [scrape.stable.requests for scrape in await Watched(prometheus).polled()] == [7.0] * 19


async def test_what_comes_after_the_past_is_told_scrape_by_scrape(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    watched = Watched(prometheus)
    assert await watched.polled() == []
    prometheus.scrape("a", BEGIN + 15, counters(30, 5, failed=2))
    assert await watched.polled() == [
        Scrape(BEGIN, BEGIN + 15, Counts(7, failed=2, slower=(0.0,)), Counts(20, slower=(10.0,)), (0.1,))
    ]
    assert (await watched.poll()).cursor == {"a": BEGIN + 15}


async def test_a_past_that_cannot_be_read_is_asked_for_again_and_nothing_guessed(prometheus: Recorded) -> None:
    for index in range(3):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    prometheus.broken_range = DOWN
    assert await watched.poll() == News((), {}, DOWN)
    prometheus.scrape("a", BEGIN + 45, counters(30))
    prometheus.broken_range = None
    assert [scrape.stable.requests for scrape in await watched.polled()] == [10, 10, 10]


async def test_rollouts_that_are_new_together_share_a_range_query(prometheus: Recorded) -> None:
    scrapes = Scrapes[int](prometheus)
    prometheus.scrape("a", BEGIN, counters(10))
    for key in range(MAX_ROLLOUTS_PER_RANGE + 1):
        scrapes.follow(key, ARMS)
    assert scrapes.following == MAX_ROLLOUTS_PER_RANGE + 1
    assert (await scrapes.poll()).keys() == set(range(MAX_ROLLOUTS_PER_RANGE + 1))
    assert prometheus.asked == ["vector", "matrix 1800 s", "matrix 1800 s"]


async def test_one_range_query_is_smaller_the_more_pods_there_are(prometheus: Recorded) -> None:
    scrapes = Scrapes[int](prometheus)
    for pod in range(50):
        prometheus.scrape(f"pod-{pod}", BEGIN, counters(10))
    for key in range(3):
        scrapes.follow(key, ARMS)
    await scrapes.poll()
    assert prometheus.asked == ["vector", *["matrix 1800 s"] * 3]


async def test_after_a_failed_range_query_no_more_are_asked_in_this_poll(prometheus: Recorded) -> None:
    scrapes = Scrapes[int](prometheus)
    prometheus.scrape("a", BEGIN, counters(10))
    for key in range(MAX_ROLLOUTS_PER_RANGE + 1):
        scrapes.follow(key, ARMS)
    prometheus.broken_range = DOWN
    assert {news.problem for news in (await scrapes.poll()).values()} == {DOWN}
    assert prometheus.asked == ["vector", "matrix 1800 s"]


# ----------------------------------------------------------------------------------------------------------- the cursor


async def test_after_a_restart_nothing_is_skipped_and_nothing_counted_twice(prometheus: Recorded) -> None:
    for index in range(5):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
        prometheus.scrape("b", BEGIN + 15 * index + 6, counters(100.0 * index, 3.0 * index))
    first = Watched(prometheus)
    await first.poll()
    cursor = (await first.poll()).cursor
    assert cursor == {"a": BEGIN + 60, "b": BEGIN + 66}
    for index in range(5, 8):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
        prometheus.scrape("b", BEGIN + 15 * index + 6, counters(100.0 * index, 3.0 * index))
    second = Watched(prometheus, cursor)
    await second.poll()
    await second.poll()
    assert second.total() == (330.0, 9.0, 0.0)
    assert all(scrape.start >= BEGIN + 60 for scrape in second.told)


async def test_a_series_born_while_we_were_away_counts_from_zero(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    prometheus.scrape("a", BEGIN + 15, counters(10, 0, failed=37))
    restarted = Watched(prometheus, {"a": BEGIN})
    await restarted.poll()
    assert restarted.total() == (0.0, 37.0, 37.0)


async def test_a_pod_whose_scrape_at_the_cursor_is_lost_counts_only_from_its_first_scrape_after(
    prometheus: Recorded,
) -> None:
    for index in range(4):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    restarted = Watched(prometheus, {"a": BEGIN + 20})
    assert await restarted.polled() == [
        Scrape(BEGIN + 30, BEGIN + 45, Counts(slower=(0.0,)), Counts(10.0, slower=(5.0,)), (0.1,))
    ]


async def test_a_long_absence_is_one_answer_of_a_bounded_size(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    prometheus.scrape("a", BEGIN + 14 * 86400, counters(500))
    restarted = Watched(prometheus, {"a": BEGIN})
    assert [scrape.stable.requests for scrape in await restarted.polled()] == [490.0]
    assert prometheus.readings <= MAX_SAMPLES / SERIES_PER_POD + 1


async def test_a_new_rollout_is_told_no_more_past_beside_one_that_was_long_away(prometheus: Recorded) -> None:
    for index in range(300):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    watched.scrapes.follow("long away", ARMS, {"a": BEGIN})
    assert (await watched.polled())[0].start >= prometheus.now - HISTORY_SECONDS
    assert prometheus.asked.count("matrix 4485 s") == 1


async def test_who_stands_where_it_stood_is_not_told_again(prometheus: Recorded) -> None:
    for index in range(3):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    watched.scrapes.follow(KEY, ARMS)
    cursor = (await watched.poll()).cursor
    watched.scrapes.follow(KEY, ARMS, cursor)
    assert await watched.polled() == []


async def test_who_stands_elsewhere_is_told_from_there(prometheus: Recorded) -> None:
    for index in range(3):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    await watched.poll()
    watched.scrapes.follow(KEY, ARMS, {"a": BEGIN + 15})
    assert [scrape.start for scrape in await watched.polled()] == [BEGIN + 15]


async def test_other_arms_begin_anew(prometheus: Recorded) -> None:
    for index in range(3):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    cursor = (await watched.poll()).cursor
    watched.scrapes.follow(KEY, Arms(NAMESPACE, (Backend("other", "other", "80"),)), cursor)
    assert await watched.polled() == []
    prometheus.scrape("a", BEGIN + 45, counters(99.0))
    assert total(await watched.polled()) == (0.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------- pods and gaps


async def test_two_pods_are_told_as_they_are_scraped(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    prometheus.scrape("b", BEGIN + 7, counters(500))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("a", BEGIN + 15, counters(11))
    assert [(scrape.start, scrape.end) for scrape in await watched.polled()] == [(BEGIN, BEGIN + 15)]
    prometheus.scrape("b", BEGIN + 22, counters(502))
    assert [(scrape.start, scrape.end) for scrape in await watched.polled()] == [(BEGIN + 7, BEGIN + 22)]
    assert watched.total() == (3.0, 0.0, 0.0)


async def test_missed_scrapes_only_make_a_longer_interval(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("a", BEGIN + 15, counters(20))
    prometheus.scrape("a", BEGIN + 30, counters(40))
    assert [(scrape.start, scrape.end, scrape.stable.requests) for scrape in await watched.polled()] == [
        (BEGIN, BEGIN + 30, 30.0)
    ]


async def test_what_was_counted_while_prometheus_was_down_is_told_as_one_scrape(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.broken = DOWN
    assert await watched.poll() == News((), {"a": BEGIN}, DOWN)
    prometheus.broken = None
    prometheus.scrape("a", BEGIN + 1200, counters(1010, 40, failed=1))
    assert [(scrape.start, scrape.end) for scrape in await watched.polled()] == [(BEGIN, BEGIN + 1200)]
    assert watched.total() == (1000.0, 41.0, 1.0)


async def test_a_pod_that_restarts_counts_from_zero(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(1000, 100))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("a", BEGIN + 5, None)
    assert (await watched.poll()).scrapes == ()
    prometheus.scrape("a", BEGIN + 15, counters(8, 2))
    assert total(await watched.polled()) == (8.0, 2.0, 0.0)


async def test_a_new_pod_contributes_from_its_second_scrape_on(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(1000))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("a", BEGIN + 15, counters(1001))
    prometheus.scrape("b", BEGIN + 15, counters(5000))
    assert total(await watched.polled()) == (1.0, 0.0, 0.0)
    prometheus.scrape("a", BEGIN + 30, counters(1001))
    prometheus.scrape("b", BEGIN + 30, counters(5003))
    assert total(await watched.polled()) == (3.0, 0.0, 0.0)


async def test_a_pod_that_is_gone_does_no_harm_and_is_forgotten(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(1000))
    prometheus.scrape("gone", BEGIN, counters(70))
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("gone", BEGIN + 10, None)
    for index in range(1, 130):
        prometheus.scrape("a", BEGIN + 15 * index, counters(1000.0 + index))
        assert total(await watched.polled()) == (1.0, 0.0, 0.0)
    assert (await watched.poll()).cursor.keys() == {"a"}


async def test_two_jobs_that_scrape_one_pod_do_not_count_twice(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, counters(10), job="one")
    prometheus.scrape("a", BEGIN + 1, counters(11), job="two")
    watched = Watched(prometheus)
    await watched.polled()
    prometheus.scrape("a", BEGIN + 15, counters(20), job="one")
    prometheus.scrape("a", BEGIN + 16, counters(21), job="two")
    assert total(await watched.polled()) == (10.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------------- problems


async def test_no_pod_at_all_is_a_problem_and_the_past_is_read_when_there_is_one(prometheus: Recorded) -> None:
    prometheus.now = BEGIN
    watched = Watched(prometheus)
    missing = ProviderError("Prometheus has no series of ingress-nginx: is it scraped?")
    assert await watched.poll() == News((), {}, missing)
    assert prometheus.asked == ["vector"]
    prometheus.scrape("a", BEGIN + 15, counters(10))
    prometheus.scrape("a", BEGIN + 30, counters(30))
    assert total(await watched.polled()) == (20.0, 0.0, 0.0)
    gone = await watched.poll(BEGIN + 1000)
    assert gone == News((), {"a": BEGIN + 30}, missing)


@pytest.mark.parametrize(("period", "fresh", "stale"), [(5, 30, 31), (15, 45, 46), (60, 180, 181)])
async def test_scrapes_that_stopped_are_a_problem_after_three_periods_or_half_a_minute(
    prometheus: Recorded, period: float, fresh: float, stale: float
) -> None:
    watched = Watched(prometheus)
    for index in range(3):
        prometheus.scrape("a", BEGIN + period * index, counters(10.0 * index))
        await watched.polled()
    newest = BEGIN + 2 * period
    assert (await watched.poll(newest + fresh)).problem is None
    assert (await watched.poll(newest + stale)).problem == ProviderError(
        f"the newest scrape of ingress-nginx is {stale} s old"
    )


@pytest.mark.parametrize(("age", "is_problem"), [(60, False), (180, False), (181, True)])
async def test_before_the_period_is_known_it_may_be_a_minute(
    prometheus: Recorded, age: float, is_problem: bool
) -> None:
    prometheus.scrape("a", BEGIN, counters(10))
    assert ((await Watched(prometheus).poll(BEGIN + age)).problem is not None) == is_problem


async def test_one_stopped_pod_among_others_is_no_problem(prometheus: Recorded) -> None:
    watched = Watched(prometheus)
    for index in range(10):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
        if index < 2:
            prometheus.scrape("stopped", BEGIN + 15 * index, counters(10.0 * index))
        await watched.polled()


async def test_an_answer_that_makes_no_sense_is_a_problem(prometheus: Recorded) -> None:
    prometheus.scrape("a", BEGIN, {("web", "", "le=wide"): 1.0})
    watched = Watched(prometheus)
    assert (await watched.poll()).problem == ProviderError("the bound of a latency bucket is no number")
    prometheus.scrape("a", BEGIN + 15, counters(1))
    restarted = await watched.poll()
    assert restarted == News((), {}, ProviderError("the bound of a latency bucket is no number")), "in the past"


# ----------------------------------------------------------------------------------------------------------- the poller


async def test_who_follows_nothing_asks_nothing(prometheus: Recorded) -> None:
    scrapes = Scrapes[str](prometheus)
    assert await scrapes.poll() == {}
    scrapes.follow(KEY, ARMS)
    scrapes.forget(KEY)
    scrapes.forget("never followed")
    assert await scrapes.poll() == {}
    assert (prometheus.asked, scrapes.following) == ([], 0)


async def test_the_next_poll_is_just_after_the_next_scrape_whatever_this_one_took(prometheus: Recorded) -> None:
    stopped_at = [100.0]
    scrapes = Scrapes[str](prometheus, stopwatch=lambda: stopped_at[0])
    scrapes.follow(KEY, ARMS)
    for index in range(3):
        prometheus.scrape("a", BEGIN + 10 * index, counters(0))
        await scrapes.poll()
        prometheus.now += 6
        await scrapes.poll()
    assert scrapes.next_poll_seconds == pytest.approx(10.3 - 6)
    stopped_at[0] += 1.5
    assert scrapes.next_poll_seconds == pytest.approx(10.3 - 6 - 1.5)
    stopped_at[0] += 60
    assert scrapes.next_poll_seconds == 0.5


async def test_the_period_is_learnt_anew_after_the_last_rollout(prometheus: Recorded) -> None:
    watched = Watched(prometheus)
    for index in range(3):
        prometheus.scrape("a", BEGIN + 10 * index, counters(0))
        await watched.polled()
    assert watched.scrapes.next_poll_seconds > 5
    watched.scrapes.forget(KEY)
    assert watched.scrapes.next_poll_seconds == 1.0


class Interrupting(Recorded):
    """Something happens while the answer is on its way."""

    scrapes_of_us: Scrapes[str] | None = None
    meanwhile: str = ""

    async def matrix(self, promql: str, start: float, end: float, step_seconds: float) -> Matrix | ProviderError:
        assert self.scrapes_of_us is not None
        if self.meanwhile == "forget":
            self.scrapes_of_us.forget(KEY)
        if self.meanwhile == "restart":
            self.scrapes_of_us.follow(KEY, ARMS, {"a": BEGIN + 15})
        if self.meanwhile == "cancel":
            raise asyncio.CancelledError
        return await super().matrix(promql, start, end, step_seconds)


@pytest.mark.parametrize("meanwhile", ["forget", "restart", "cancel"])
async def test_what_was_asked_for_another_position_is_not_told(meanwhile: str) -> None:
    prometheus = Interrupting()
    for index in range(3):
        prometheus.scrape("a", BEGIN + 15 * index, counters(10.0 * index))
    watched = Watched(prometheus)
    prometheus.scrapes_of_us, prometheus.meanwhile = watched.scrapes, meanwhile
    if meanwhile == "cancel":
        with pytest.raises(asyncio.CancelledError):
            await watched.scrapes.poll()
    else:
        assert await watched.scrapes.poll() == {}
    prometheus.meanwhile = ""
    if meanwhile == "forget":
        assert watched.scrapes.following == 0
    else:
        told = [scrape.start for scrape in await watched.polled()]
        assert told == ([BEGIN + 15] if meanwhile == "restart" else [BEGIN, BEGIN + 15])


# ------------------------------------------------------------------------------------------------------------- property

STEP = st.tuples(
    st.integers(0, 40),  # requests of stable, of either pod
    st.integers(0, 9),
    st.integers(0, 5),  # of the canary, good and failed
    st.integers(0, 3),
    st.sampled_from(["scraped"] * 6 + ["missed a", "missed b", "restarted b"]),
)


@given(st.lists(STEP, min_size=4, max_size=25), st.data())
@settings(max_examples=150, deadline=None)
def test_restarts_anywhere_change_no_sum(steps: list[tuple[int, int, int, int, str]], data: st.DataObject) -> None:
    """Prometheus scrapes every 15 s; one process polls after each scrape, others are replaced now and then."""
    prometheus = Recorded()
    away = {step for step in range(2, len(steps)) if data.draw(st.booleans(), label=f"away at {step}")}

    async def run() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        a: Mapping[str, float] = {"stable": 500, "good": 0, "bad": 0}
        b = dict(a)
        steady, restarted = Watched(prometheus), Watched(prometheus)
        told: list[Scrape] = []
        cursor: Cursor = {}
        for index, (for_a, for_b, good, bad, event) in enumerate(steps):
            at = BEGIN + 15 * index
            a = {"stable": a["stable"] + for_a, "good": a["good"] + good, "bad": a["bad"]}
            if event == "restarted b":
                b = dict.fromkeys(b, 0)
            b = {"stable": b["stable"] + for_b, "good": b["good"] + good, "bad": b["bad"] + bad}
            for pod, counts, offset in (("a", a, 0.0), ("b", b, 5.5)):
                if event != f"missed {pod}" or index < 2:
                    canary = counts["good"] if counts["good"] + counts["bad"] else None
                    prometheus.scrape(pod, at + offset, counters(counts["stable"], canary, counts["bad"]))
            prometheus.now = at + 6
            await steady.poll()
            if index in away:
                restarted = Watched(prometheus, cursor)
            elif index:
                news = await restarted.poll()
                told += news.scrapes
                cursor = news.cursor
        told += (await restarted.poll()).scrapes
        return steady.total(), total(told)

    once, often = asyncio.run(run())
    assert once == often


async def test_a_vector_is_all_that_two_hundred_rollouts_cost_a_poll(prometheus: Recorded) -> None:
    scrapes = Scrapes[int](prometheus)
    for key in range(200):
        scrapes.follow(key, Arms(NAMESPACE, (Backend(f"web-{key}", f"web-{key}", "80"),)))
    prometheus.scrape("a", BEGIN, counters(1))
    await scrapes.poll()
    prometheus.asked.clear()
    assert len(await scrapes.poll()) == 200
    assert prometheus.asked == ["vector"]


def test_the_recorded_prometheus_is_a_provider() -> None:
    assert isinstance(asyncio.run(Recorded().vector('ingress=~"x"')), Vector)
