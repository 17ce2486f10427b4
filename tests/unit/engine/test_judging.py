"""Which scrape counts for what, and that nothing is lost or counted twice."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analysis.dump import dump
from analysis.judge import look
from analysis.state import State
from canary.engine.judging import Memory, expose, learn, remember, save
from canary.model.evidence import Exposure, Saved
from canary.model.scrape import Arms, Counts, Scrape
from tests.manifests import START

BOUNDS = (0.1, 0.25, 0.5, 1.0)
SLOW = (0.5, 0.1, 0.03, 0.01)
IN_EFFECT = START + timedelta(seconds=5)
STEP_1 = Exposure(
    attempt="v2 now",
    arms=Arms("apps", ()),
    step=1,
    weight=5,
    exposed_at=START,
    in_effect_at=IN_EFFECT,
    warm_up=timedelta(),
    window=timedelta(minutes=1),
    saved=None,
)
BEFORE = replace(STEP_1, step=0, weight=0, exposed_at=None, in_effect_at=None)


def counts(requests: float, failed: float = 0.0, bounds: tuple[float, ...] = BOUNDS) -> Counts:
    return Counts(requests, failed, 0.0, tuple(requests * share for share in SLOW[: len(bounds)]))


def scrape(begins: datetime, canary: Counts, stable: Counts | None = None, *, seconds: float = 15) -> Scrape:
    start = begins.timestamp()
    return Scrape(start, start + seconds, canary, stable or counts(5000, 5), BOUNDS)


def history(scrapes: int = 40, **fields: Any) -> list[Scrape]:
    """Stable's past up to the first share."""
    times = [START - timedelta(seconds=15 * number) for number in range(scrapes, 0, -1)]
    return [replace(scrape(begins, Counts()), **fields) for begins in times]


def settled(number: int, canary: Counts) -> Scrape:
    """The n-th scrape wholly under the share."""
    return scrape(IN_EFFECT + timedelta(seconds=15 * number), canary)


def after(*scrapes: Scrape, exposure: Exposure = STEP_1, past: int = 40) -> Memory:
    (memory,) = learn([Memory(BEFORE)], [history(past)])
    (memory,) = learn([expose(memory, exposure)], [scrapes])
    return memory


def known(memory: Memory) -> State:
    assert memory.state is not None
    return memory.state


def failed_errors(memory: Memory) -> bool:
    return bool(look(known(memory), np.array([1.0])).failed_errors[0])


def test_nothing_is_judged_before_the_canary_has_traffic() -> None:
    (memory,) = learn([Memory(BEFORE)], [history()])
    assert memory.state is None
    assert len(memory.history) == 40


def test_stables_past_says_what_is_slow() -> None:
    assert np.isfinite(known(after(settled(0, counts(100)))).thresholds).sum() == 4
    assert np.isfinite(known(after(settled(0, counts(1)), past=0)).thresholds).any(), "or its present"


def test_a_canary_of_long_ago_in_the_history_counts_for_nothing() -> None:
    (memory,) = learn([Memory(BEFORE)], [history(canary=counts(500, 500))])
    (memory,) = learn([expose(memory, STEP_1)], [[settled(0, counts(100))]])
    assert known(memory).tally.requests[0].tolist() == [100, 5000]
    assert look(known(memory), np.array([1.0])).outage[0] < 0


def test_a_scrape_in_which_the_share_changed_tells_of_harm_only() -> None:
    mixed = scrape(START - timedelta(seconds=8), counts(200, 40))
    memory = after(mixed)
    assert (known(memory).errors_blocks[0], known(memory).outage_blocks[0]) == (1, 1)
    assert not known(memory).harmless.any()
    assert memory.recent == ()
    tally = known(memory).tally
    assert (tally.requests[0, 0], tally.bad[0, 0], tally.settled[0, 0]) == (200, 40, 0), "told, but no ground to go on"
    broken = [scrape(START + timedelta(seconds=number), counts(50, 50), seconds=1) for number in range(2)]
    assert failed_errors(after(*broken)), "before the share is in effect everywhere"


def test_what_was_counted_before_it_was_warm_says_nothing_of_its_latency() -> None:
    cold = after(settled(0, counts(100)), exposure=replace(STEP_1, warm_up=timedelta(seconds=30)))
    assert known(cold).tally.timed[0, 0] == 0
    warm = after(
        settled(0, counts(100)), settled(2, counts(100)), exposure=replace(STEP_1, warm_up=timedelta(seconds=30))
    )
    assert known(warm).tally.timed[0, 0] == 100


def test_at_another_step_the_proof_of_harmlessness_begins_anew_and_other_evidence_goes_on() -> None:
    memory = after(*(settled(number, counts(500, 3)) for number in range(4)))
    before = known(memory)
    step_2 = replace(STEP_1, step=2, in_effect_at=IN_EFFECT + timedelta(minutes=2))
    now = known(expose(memory, step_2))
    assert not now.harmless.any()
    assert not now.tally.requests.any()
    assert (now.errors == before.errors).all()
    assert now.errors_blocks == before.errors_blocks
    assert expose(memory, step_2).recent == ()


def test_without_a_share_a_scrape_compares_nothing() -> None:
    memory = after(scrape(START - timedelta(seconds=8), counts(200, 40)), exposure=replace(STEP_1, weight=0))
    assert look(known(memory), np.array([1.0])).errors[0] == pytest.approx(0)


def test_another_rollout_begins_with_no_memory() -> None:
    memory = expose(after(settled(0, counts(500, 500))), replace(STEP_1, attempt="v3 now"))
    assert (memory.state, memory.history, memory.recent) == (None, (), ())


def test_only_the_window_is_kept() -> None:
    memory = after(*(settled(number, counts(10)) for number in range(20)))
    assert len(memory.recent) == 4


@pytest.mark.parametrize("number", [1, 3, 7])
def test_a_process_that_starts_anew_in_the_middle_comes_to_the_same(number: int) -> None:
    scrapes = [settled(n, counts(300, 2 + n)) for n in range(8)]
    whole = after(*scrapes)
    saved = save(after(*scrapes[:number]).state, 1, {"controller": scrapes[number - 1].end})
    (again,) = learn([remember(replace(STEP_1, saved=saved))], [scrapes[number:]])
    one, other = look(known(whole), np.array([0.5])), look(known(again), np.array([0.5]))
    assert other.errors == pytest.approx(one.errors, rel=1e-5)
    assert other.harmless == pytest.approx(one.harmless, rel=1e-5)
    assert known(again).tally.requests.tolist() == known(whole).tally.requests.tolist()


def test_a_memory_of_another_step_is_one_of_that_step() -> None:
    saved = save(after(settled(0, counts(300))).state, 1, {})
    memory = remember(replace(STEP_1, step=2, saved=saved))
    assert not known(memory).tally.requests.any()


@pytest.mark.parametrize("broken", [{"version": 0}, {"floats": "?"}, {"floats": ""}, {"bounds": 3}, {"bounds": None}])
def test_a_memory_that_cannot_be_read_is_none_and_the_judge_begins_anew(broken: dict[str, Any]) -> None:
    state = dump(known(after(settled(0, counts(300)))))
    assert remember(replace(STEP_1, saved=Saved(1, state, {}))).state is not None
    assert remember(replace(STEP_1, saved=Saved(1, state | broken, {}))).state is None


def test_many_rollouts_are_judged_as_each_alone() -> None:
    stories = [[settled(n, counts(50 * (who + 1), who)) for n in range(who % 4)] for who in range(12)]
    together = learn([after(settled(-1, counts(10))) for _ in stories], stories)
    for memory, story in zip(together, stories, strict=True):
        (alone,) = learn([after(settled(-1, counts(10)))], [story])
        assert dump(known(memory)) == dump(known(alone))
        assert memory.recent == alone.recent


def test_rollouts_with_other_buckets_are_told_apart() -> None:
    few = Scrape(IN_EFFECT.timestamp(), IN_EFFECT.timestamp() + 15, counts(100), counts(5000), BOUNDS)
    two = (0.1, 0.25)
    other = replace(few, canary=counts(100, bounds=two), stable=counts(5000, bounds=two), bounds=two)
    one, another = learn([Memory(STEP_1), Memory(STEP_1)], [[few], [other]])
    assert known(one).thresholds[np.isfinite(known(one).thresholds)].tolist() == [0.1, 0.25, 0.5, 1.0]
    assert known(another).thresholds[np.isfinite(known(another).thresholds)].tolist() == [0.1, 0.25]


def test_buckets_that_change_in_the_middle_are_left_out_and_errors_go_on() -> None:
    memory = after(settled(0, counts(100)))
    other = replace(settled(1, counts(100, 1, (9.0,))), stable=counts(5000, 0, (9.0,)), bounds=(9.0,))
    (memory,) = learn([memory], [[other]])
    assert known(memory).tally.requests[0, 0] == 200
    assert known(memory).tally.timed[0, 0] == 100


def test_buckets_that_come_later_are_learnt_then() -> None:
    bare = replace(settled(0, Counts(100)), stable=Counts(5000), bounds=())
    (memory,) = learn([Memory(STEP_1)], [[bare, settled(1, counts(100))]])
    assert np.isfinite(known(memory).thresholds).any()
