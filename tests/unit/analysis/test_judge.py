"""The judge takes scrapes as they come: pooled, mixed, empty, of one rollout or of many."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

from analysis import judge
from analysis.dump import DumpError, dump, load
from analysis.judge import Requests
from analysis.kernel import Floats
from analysis.state import State, begin_step, concatenate, fresh, merge, take

BOUNDS = np.array([0.01, 0.05, 0.1, 0.5])
ROLLOUTS = 4


def scrape(rng: np.random.Generator, canary: float, stable: float, bad: float = 0.01) -> Requests:
    total = rng.poisson(np.broadcast_to([canary, stable], (ROLLOUTS, 2))).astype(float)
    slower = total[..., None] * [0.5, 0.1, 0.03, 0.003]
    return Requests(total, rng.binomial(total.astype(int), bad).astype(float), np.floor(slower), BOUNDS)


def only(requests: Requests, rollout: int) -> Requests:
    one = slice(rollout, rollout + 1)
    return Requests(requests.total[one], requests.bad[one], requests.slower[one], requests.bounds)


def flags(value: bool, count: int = ROLLOUTS) -> np.ndarray:
    return np.full(count, value)


def counted(total: Sequence[float], bad: Sequence[float], rollouts: int = 1) -> Requests:
    """The same for all, without a histogram."""
    return Requests(np.tile(total, (rollouts, 1)), np.tile(bad, (rollouts, 1)), np.zeros((rollouts, 2, 0)), np.zeros(0))


def take_in(state: State, requests: Requests, *, share: float = 0.1, settled: bool = True, warm: bool = True) -> State:
    count = len(requests.total)
    shares = np.full(count, share)
    return judge.update(state, requests, share=shares, settled=flags(settled, count), warm=flags(warm, count))


def numbers(state: State) -> Floats:
    parts: list[Floats] = []

    def collect(array: Floats) -> Floats:
        parts.append(array.reshape(len(array), -1))
        return array

    merge(collect, state)
    return np.concatenate(parts, axis=1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def past(rng: np.random.Generator) -> list[Requests]:
    return [scrape(rng, 0, 1500) for _ in range(40)]


def test_many_rollouts_are_judged_as_each_one_alone(rng: np.random.Generator, past: list[Requests]) -> None:
    together = judge.seed(past)
    alone = [judge.seed([only(one, rollout) for one in past]) for rollout in range(ROLLOUTS)]
    for number in range(12):
        one = scrape(rng, 20 if number % 3 else 0.3, 200)
        settled, warm = rng.uniform(size=(2, ROLLOUTS)) < 0.7
        shares = rng.uniform(0.05, 0.95, ROLLOUTS)
        together = judge.update(together, one, share=shares, settled=settled, warm=warm)
        alone = [
            judge.update(state, only(one, k), share=shares[k : k + 1], settled=settled[k : k + 1], warm=warm[k : k + 1])
            for k, state in enumerate(alone)
        ]
        if number == 6:
            together = begin_step(together, settled)
            alone = [begin_step(state, settled[k : k + 1]) for k, state in enumerate(alone)]
    assert np.array_equal(numbers(together), numbers(concatenate(alone)), equal_nan=True)


def test_the_past_of_the_canary_is_not_looked_at(rng: np.random.Generator, past: list[Requests]) -> None:
    more = np.array([99.0, 0.0])
    other = [Requests(one.total + more, one.bad + more, one.slower, BOUNDS) for one in past]
    assert np.array_equal(numbers(judge.seed(past)), numbers(judge.seed(other)), equal_nan=True)


@pytest.mark.parametrize("total", [[0.0, 1500.0], [20.0, 0.0]])
def test_a_block_without_one_arm_is_no_evidence(total: list[float], past: list[Requests]) -> None:
    state = judge.seed([counted([0, 1500], [0, 3])] * 4)
    after = take_in(state, counted(total, [total[0], 0.0]))
    for name in ("errors", "errors_blocks", "outage", "outage_blocks", "harmless"):
        assert np.array_equal(getattr(after, name), getattr(state, name)), name


def test_a_scrape_that_brings_nothing_changes_nothing(rng: np.random.Generator, past: list[Requests]) -> None:
    state = take_in(judge.seed(past), scrape(rng, 0.5, 2))
    nothing = Requests(np.zeros((ROLLOUTS, 2)), np.zeros((ROLLOUTS, 2)), np.zeros((ROLLOUTS, 2, 4)), BOUNDS)
    assert np.array_equal(numbers(take_in(state, nothing)), numbers(state), equal_nan=True)


def test_scrapes_with_little_traffic_are_pooled() -> None:
    pooled = judge.seed([counted([0, 30], [0, 0])])
    for total, bad in (([1, 0], [1, 0]), ([0, 2], [0, 0]), ([0, 1], [0, 0])):
        assert pooled.outage_blocks[0] == 0
        pooled = take_in(pooled, counted(total, bad))
    whole = take_in(judge.seed([counted([0, 30], [0, 0])]), counted([1, 3], [1, 0]))
    for name in ("errors", "errors_blocks", "outage", "outage_blocks", "harmless"):
        assert np.array_equal(getattr(pooled, name), getattr(whole, name)), name
    assert pooled.open.requests.sum() == 0


def test_a_canary_that_always_fails_is_found_at_hardly_any_traffic() -> None:
    state = judge.seed([counted([0, 1], [0, 0])] * 20)
    failed = 0
    while not judge.look(state, np.array([0.1])).failed_errors[0]:
        failed += 1
        state = take_in(state, counted([1, 0], [1, 0]))
        for _ in range(3):
            state = take_in(state, counted([0, 1], [0, 0]))
    assert failed <= 8


def test_a_mixed_scrape_tells_of_harm_only() -> None:
    state = judge.seed([counted([0, 1500], [0, 3])] * 4)
    after = take_in(state, counted([50, 1000], [50, 2]), settled=False)
    assert (after.outage_blocks[0], after.errors_blocks[0]) == (1, 1)
    assert judge.look(after, np.ones(1)).errors[0] > 1
    assert np.array_equal(after.harmless, state.harmless)
    assert after.tally.settled.sum() == 0
    assert np.array_equal(numbers_of_dispersion(after), numbers_of_dispersion(state))


def test_an_incident_that_begins_with_a_new_share_is_not_taken_for_the_canarys(rng: np.random.Generator) -> None:
    """E exp(evidence) stays at most 1 at the largest odds of the scrape, where the odds of the whole would not do."""
    share, rollouts = 0.2, 200_000
    before, after = rng.poisson([0, 400], (rollouts, 2)), rng.poisson([80, 320], (rollouts, 2))
    bad = rng.binomial(before, 0.001) + rng.binomial(after, 0.1)
    one = Requests((before + after).astype(float), bad.astype(float), np.zeros((rollouts, 2, 0)), np.zeros(0))
    state = take_in(fresh(rollouts, 0), one, share=share, settled=False)
    naive = take_in(fresh(rollouts, 0), one)
    assert np.exp(judge.look(state, np.ones(rollouts)).errors).mean() <= 1
    assert np.exp(judge.look(naive, np.ones(rollouts)).errors).mean() > 1.5, "judged as one share"


def numbers_of_dispersion(state: State) -> Floats:
    return np.concatenate([getattr(state.pairs, field.name) for field in fields(state.pairs)], axis=1)


def test_a_mixed_scrape_does_not_join_an_open_block() -> None:
    state = take_in(judge.seed([counted([0, 30], [0, 0])]), counted([1, 1], [1, 0]))
    assert state.open.requests[0] == pytest.approx([1, 1])
    assert take_in(state, counted([0, 1], [0, 0]), settled=False).open.requests.sum() == 0


def test_latency_counts_only_when_warm(rng: np.random.Generator, past: list[Requests]) -> None:
    state, one = judge.seed(past), scrape(rng, 100, 1000)
    cold = take_in(state, one, warm=False)
    assert np.array_equal(cold.latency, state.latency)
    assert cold.tally.timed.sum() == 0
    assert (take_in(state, one).latency_blocks == 1).all()


def test_thresholds_are_chosen_once(rng: np.random.Generator, past: list[Requests]) -> None:
    state = judge.seed(past)
    assert not np.isnan(state.thresholds).all(axis=1).any()
    few = np.full((ROLLOUTS, 2), 5.0)
    later = take_in(state, Requests(few, few, np.ones((ROLLOUTS, 2, 4)), BOUNDS))
    assert np.array_equal(later.thresholds, state.thresholds, equal_nan=True)


def test_thresholds_are_learnt_late_when_the_past_had_too_few_requests(rng: np.random.Generator) -> None:
    state = judge.seed([scrape(rng, 0, 5)])
    assert np.isnan(state.thresholds).all()
    assert np.isneginf(judge.look(state, np.ones(ROLLOUTS)).harmless_latency).all()
    for _ in range(3):
        state = take_in(state, scrape(rng, 10, 150))
    assert not np.isnan(state.thresholds).all(axis=1).any()
    assert (state.early == 0).all()


def test_a_new_step_forgets_the_proof_and_keeps_the_evidence(rng: np.random.Generator, past: list[Requests]) -> None:
    state = take_in(judge.seed(past), scrape(rng, 100, 1000, bad=0.1))
    after = begin_step(state, np.array([True, False, False, False]))
    assert (after.harmless[0] == 0).all()
    assert after.tally.requests[0].sum() == 0
    assert np.array_equal(after.harmless[1:], state.harmless[1:])
    assert np.array_equal(after.errors, state.errors)
    assert np.array_equal(after.latency, state.latency)


def test_no_single_scrape_convicts(past: list[Requests]) -> None:
    state = judge.seed(past)
    total = np.tile([10_000.0, 10_000.0], (ROLLOUTS, 1))
    worst = Requests(total, total * [1, 0], np.repeat((total * [1, 0])[..., None], 4, axis=2), BOUNDS)
    for scrapes in (1, 2):
        state = take_in(state, worst)
        judged = judge.look(state, np.ones(ROLLOUTS))
        assert (judged.failed_errors == (scrapes == 2)).all()
        assert not judged.failed_latency.any()
    assert judge.look(take_in(state, worst), np.ones(ROLLOUTS)).failed_latency.all()


def test_it_tells_the_threshold_that_moved(rng: np.random.Generator, past: list[Requests]) -> None:
    state = judge.seed(past)
    one = scrape(rng, 300, 1200)
    slower = one.slower.copy()
    slower[:, 0, 2] = np.minimum(slower[:, 0, 2] * 8, slower[:, 0, 1])
    for _ in range(4):
        state = take_in(state, Requests(one.total, one.bad, slower, BOUNDS))
    slowest = judge.look(state, np.ones(ROLLOUTS)).slowest
    assert state.thresholds[np.arange(ROLLOUTS), slowest] == pytest.approx(0.1)


def test_dumped_and_loaded_it_is_the_same_to_seven_digits(rng: np.random.Generator, past: list[Requests]) -> None:
    state = judge.seed(past)
    for _ in range(5):
        state = take_in(state, scrape(rng, 30, 300))
    loaded = load(dump(state, 2))
    assert numbers(loaded) == pytest.approx(numbers(take(state, slice(2, 3))), rel=1e-6, nan_ok=True)


def test_a_loaded_state_still_knows_its_thresholds(rng: np.random.Generator, past: list[Requests]) -> None:
    state, one = judge.seed(past), scrape(rng, 200, 2000)
    straight = take_in(take(state, slice(0, 1)), only(one, 0))
    restarted = take_in(load(dump(state, 0)), only(one, 0))
    assert numbers(restarted) == pytest.approx(numbers(straight), rel=1e-5, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"bounds": "4"}, {"bounds": 5}, {"bounds": 3}, {"floats": "?"}, {"floats": "AAA="}]
)
def test_anything_but_a_dump_is_refused(change: dict[str, object], past: list[Requests]) -> None:
    with pytest.raises(DumpError):
        load({**dump(judge.seed(past)), **change})
