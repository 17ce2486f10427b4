"""The work queue, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.operator.queue import Backoff, KeyedQueue
from tests.virtual_time import clock, run

Reconcile = Callable[[str], Awaitable[float | None]]


class Work:
    """A `reconcile` that writes down when it ran, and takes as long and ends as it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, float]] = []
        self.running: Counter[str] = Counter()
        self.most_at_once = 0
        self.seconds = 0.0
        self.answers: list[float | Exception | None] = []

    async def __call__(self, key: str) -> float | None:
        self.started.append((key, clock()))
        self.running[key] += 1
        assert self.running[key] == 1, f"{key} is worked on twice at once"
        self.most_at_once = max(self.most_at_once, self.running.total())
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running[key] -= 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def times(self, key: str) -> list[float]:
        """When work on the key began, in seconds since virtual time began."""
        return [round(at - 1000.0, 6) for started, at in self.started if started == key]


@asynccontextmanager
async def serving(work: Reconcile, **settings: Any) -> AsyncIterator[KeyedQueue[str]]:
    settings = {"jitter": lambda: 0.0, "report": lambda key, error: None} | settings
    queue: KeyedQueue[str] = KeyedQueue(work, clock=clock, **settings)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    try:
        yield queue
    finally:
        queue.stop()
        await task


def test_a_key_is_worked_on_at_once() -> None:
    async def scenario() -> None:
        work = Work()
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(1)
        assert work.times("a") == [0]

    run(scenario())


def test_a_key_added_many_times_while_it_waits_is_worked_on_once() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work, workers=1) as queue:
            queue.add("busy")
            await asyncio.sleep(0.1)
            for _ in range(100):
                queue.add("a")
            assert queue.depth == 1
            await asyncio.sleep(10)
        assert work.times("a") == [1]

    run(scenario())


def test_a_key_added_while_it_is_worked_on_is_worked_on_again_and_never_twice_at_once() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(0.5)
            queue.add("a")
            queue.add("a")
            await asyncio.sleep(10)
        assert work.times("a") == [0, 1]

    run(scenario())


def test_a_key_that_waits_for_itself_takes_no_worker_from_others() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work, workers=2) as queue:
            queue.add("a")
            await asyncio.sleep(0.1)
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(0.1)
            assert work.times("b") == [0.1]

    run(scenario())


def test_no_more_at_once_than_there_are_workers_and_first_come_first_served() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work, workers=3) as queue:
            for number in range(9):
                queue.add(f"{number}")
            await asyncio.sleep(1.5)
            assert queue.running == 3
            assert queue.depth == 3
            assert queue.oldest_age_seconds == pytest.approx(1.5)
            await asyncio.sleep(10)
            assert queue.depth == 0
            assert queue.oldest_age_seconds == 0
        assert work.most_at_once == 3
        assert [key for key, _ in work.started] == [f"{number}" for number in range(9)]

    run(scenario())


@pytest.mark.parametrize(("first", "second"), [(5, 3), (3, 5)])
def test_of_several_delays_the_earliest_counts_and_counts_once(first: float, second: float) -> None:
    async def scenario() -> None:
        work = Work()
        async with serving(work) as queue:
            queue.add_after("a", first)
            queue.add_after("a", second)
            await asyncio.sleep(20)
        assert work.times("a") == [3]

    run(scenario())


def test_an_event_ends_the_delay() -> None:
    async def scenario() -> None:
        work = Work()
        async with serving(work) as queue:
            queue.add_after("a", 5)
            await asyncio.sleep(1)
            queue.add("a")
            await asyncio.sleep(20)
        assert work.times("a") == [1]

    run(scenario())


def test_a_key_that_waits_already_needs_no_other_look_later() -> None:
    async def scenario() -> None:
        work = Work()
        async with serving(work) as queue:
            queue.add("a")
            queue.add_after("a", 5)
            await asyncio.sleep(20)
        assert work.times("a") == [0]

    run(scenario())


def test_a_key_that_is_added_again_and_again_keeps_its_place() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work, workers=1) as queue:
            queue.add("busy")
            await asyncio.sleep(0.5)
            queue.add("noisy")
            queue.add("quiet")
            queue.add("noisy")
            await asyncio.sleep(0.25)
            assert queue.oldest_age_seconds == pytest.approx(0.25)
            await asyncio.sleep(10)
        assert [key for key, _ in work.started] == ["busy", "noisy", "quiet"]

    run(scenario())


def test_a_delay_that_is_over_is_no_delay() -> None:
    async def scenario() -> None:
        work = Work()
        async with serving(work) as queue:
            queue.add_after("a", 0)
            queue.add_after("b", -1)
            await asyncio.sleep(1)
        assert work.times("a") == work.times("b") == [0]

    run(scenario())


def test_the_result_says_when_to_look_again() -> None:
    async def scenario() -> None:
        work = Work()
        work.answers = [10.0, 0.5, None]
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(100)
        assert work.times("a") == [0, 10, 10.5]

    run(scenario())


def test_failures_are_reported_and_tried_again_after_growing_pauses_until_a_success() -> None:
    async def scenario() -> None:
        work = Work()
        error = RuntimeError("no")
        work.answers = [error, error, error, None, error, None]
        reported: list[tuple[str, Exception]] = []
        async with serving(work, report=lambda key, failure: reported.append((key, failure))) as queue:
            queue.add("a")
            await asyncio.sleep(100)
            assert work.times("a") == [0, 0.5, 1.5, 3.5]
            queue.add("a")
            await asyncio.sleep(100)
            assert work.times("a")[4:] == [100, 100.5]
        assert reported == [("a", error)] * 4

    run(scenario())


def test_a_failing_key_keeps_no_other_from_its_turn() -> None:
    async def scenario() -> None:
        async def reconcile(key: str) -> None:
            if key == "bad":
                raise RuntimeError("no")
            seen.append(key)

        seen: list[str] = []
        async with serving(reconcile, workers=1) as queue:
            queue.add("bad")
            queue.add("good")
            await asyncio.sleep(0.1)
        assert seen == ["good"]

    run(scenario())


def test_a_result_that_is_no_time_is_a_failure() -> None:
    async def scenario() -> None:
        work = Work()
        work.answers = [float("nan"), float("inf")]
        reported: list[Exception] = []
        async with serving(work, report=lambda key, error: reported.append(error)) as queue:
            queue.add("a")
            await asyncio.sleep(100)
        assert work.times("a") == [0, 0.5, 1.5]
        assert [str(error) for error in reported] == [
            "reconcile('a') returned nan seconds",
            "reconcile('a') returned inf seconds",
        ]

    run(scenario())


def test_work_that_is_cancelled_from_within_is_tried_again() -> None:
    async def scenario() -> None:
        calls = 0

        async def reconcile(key: str) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise asyncio.CancelledError

        async with serving(reconcile) as queue:
            queue.add("a")
            await asyncio.sleep(10)
        assert calls == 2

    run(scenario())


def test_pauses_double_up_to_a_limit_and_lose_up_to_a_half_by_chance() -> None:
    backoff = Backoff()
    assert [backoff.seconds(failures, 0.0) for failures in (1, 2, 3, 7, 8, 1000)] == [0.5, 1, 2, 32, 60, 60]
    assert backoff.seconds(8, 0.5) == 45
    assert backoff.seconds(8, 0.999) >= 30


@pytest.mark.parametrize("answer", [RuntimeError("no"), 1.0])
def test_a_key_forgotten_while_it_is_worked_on_is_not_looked_at_again(answer: float | Exception) -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        work.answers = [answer]
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(0.5)
            queue.forget("a")
            await asyncio.sleep(100)
        assert work.times("a") == [0]

    run(scenario())


def test_a_key_forgotten_while_it_waits_is_not_looked_at() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work, workers=1) as queue:
            queue.add("busy")
            await asyncio.sleep(0.5)
            queue.add("a")
            queue.add_after("b", 5)
            queue.forget("a")
            queue.forget("b")
            await asyncio.sleep(100)
        assert work.times("a") == work.times("b") == []

    run(scenario())


@pytest.mark.parametrize("forgotten_at_seconds", [1.75, 1.25])  # in the pause after its second try, and during that
def test_the_failures_of_a_forgotten_key_are_forgiven(forgotten_at_seconds: float) -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 0.5
        work.answers = [RuntimeError("no")] * 3
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(forgotten_at_seconds)
            queue.forget("a")
            await asyncio.sleep(10)
            assert work.times("a") == [0, 1]
            queue.add("a")
            await asyncio.sleep(10)
            again, after_its_failure = work.times("a")[2:]
            assert after_its_failure - again == pytest.approx(0.5 + 0.5)

    run(scenario())


def test_a_key_forgotten_and_added_again_while_it_is_worked_on_is_looked_at() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        async with serving(work) as queue:
            queue.add("a")
            await asyncio.sleep(0.5)
            queue.forget("a")
            queue.add("a")
            await asyncio.sleep(10)
        assert work.times("a") == [0, 1]

    run(scenario())


def test_stop_finishes_the_work_in_progress_and_begins_no_other() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 1
        work.answers = [0.1]
        queue: KeyedQueue[str] = KeyedQueue(work, workers=1, clock=clock)
        running = asyncio.create_task(queue.run())
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(0.5)
        queue.stop()
        await running
        assert clock() - 1000.0 == pytest.approx(1)
        assert work.times("a") == [0]
        assert work.times("b") == []

    run(scenario())


def test_work_is_done_by_tasks_that_exist_from_the_start() -> None:
    """kopf cancels at its end the tasks that were begun after it, in the middle of their work."""

    async def scenario() -> None:
        tasks: set[asyncio.Task[Any] | None] = set()

        async def reconcile(key: str) -> None:
            tasks.add(asyncio.current_task())
            await asyncio.sleep(1)

        async with serving(reconcile, workers=3) as queue:
            await asyncio.sleep(1)
            before = asyncio.all_tasks()
            for number in range(9):
                queue.add(f"{number}")
            await asyncio.sleep(10)
        assert len(tasks) == 3
        assert tasks <= before

    run(scenario())


def test_cancelling_run_cancels_the_work() -> None:
    async def scenario() -> None:
        work = Work()
        work.seconds = 100
        reported: list[Exception] = []
        queue: KeyedQueue[str] = KeyedQueue(work, clock=clock, report=lambda key, error: reported.append(error))
        running = asyncio.create_task(queue.run())
        queue.add("a")
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert work.running.total() == 0
        assert reported == []
        assert clock() - 1000.0 == pytest.approx(1)

    run(scenario())


def test_delays_that_events_cut_short_do_not_pile_up() -> None:
    async def scenario() -> None:
        work = Work()
        work.answers = [3600.0] * 2000
        async with serving(work) as queue:
            for _ in range(2000):
                queue.add("a")
                await asyncio.sleep(0.01)
            assert len(work.started) == 2000
            assert len(queue._heap) < 100
            await asyncio.sleep(3600)
            assert len(work.started) == 2001

    run(scenario())


KEYS = ["a", "b", "c"]
ACTIONS = st.tuples(
    st.floats(0, 2),  # pause before it
    st.sampled_from(["add", "add", "add_after"]),
    st.sampled_from(KEYS),
    st.floats(0, 5),  # the delay
)
OUTCOMES = st.tuples(
    st.floats(0, 3),  # takes
    st.one_of(st.none(), st.floats(0, 4), st.just("fails")),
)


@settings(max_examples=100, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=40), outcomes=st.lists(OUTCOMES, max_size=60), workers=st.integers(1, 4))
def test_single_flight_and_no_lost_wakeup(
    actions: list[tuple[float, str, str, float]],
    outcomes: list[tuple[float, float | str | None]],
    workers: int,
) -> None:
    async def scenario() -> None:
        script = list(outcomes)
        in_flight: set[str] = set()
        most = 0
        # looks that were asked for, by whomever
        owed = dict.fromkeys(KEYS, 0)

        async def reconcile(key: str) -> float | None:
            nonlocal most
            assert key not in in_flight
            in_flight.add(key)
            most = max(most, len(in_flight))
            # a look answers for all that was asked before it began, and for nothing asked after
            owed[key] = 0
            takes, answer = script.pop(0) if script else (0.0, None)
            await asyncio.sleep(takes)
            in_flight.remove(key)
            if answer == "fails":
                owed[key] += 1
                raise RuntimeError("no")
            assert not isinstance(answer, str)
            if answer is not None:
                owed[key] += 1
            return answer

        failures: list[Exception] = []

        def report(key: str, error: Exception) -> None:
            failures.append(error)

        async with serving(reconcile, workers=workers, report=report) as queue:
            for pause, action, key, delay in actions:
                await asyncio.sleep(pause)
                owed[key] += 1
                if action == "add":
                    queue.add(key)
                else:
                    queue.add_after(key, delay)
            await asyncio.sleep(600 + 63 * len(outcomes))
            # time enough for everything: what is owed now was lost
            assert owed == dict.fromkeys(KEYS, 0)
            assert queue.depth == 0
            assert queue.running == 0
        assert most <= workers
        assert [str(error) for error in failures] == ["no"] * len(failures)

    run(scenario())
