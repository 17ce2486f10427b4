"""Evidence that may begin late: no wealth is made from nothing, and little is lost by waiting."""

import itertools

import numpy as np
import pytest

from analysis import mixture

ONE = np.array([1.0])


def test_all_stakes_together_are_one() -> None:
    blocks = np.arange(1.0, 100_001.0)
    assert mixture.stake(blocks).sum() == pytest.approx(1 - 5 / 100_009)


@pytest.mark.parametrize("blocks", [0, 1, 2, 7, 960])
def test_what_is_unspent_is_what_was_not_staked(blocks: int) -> None:
    staked = mixture.stake(np.arange(1.0, blocks + 1)).sum()
    assert mixture.unspent(np.array(float(blocks))) == pytest.approx(1 - staked)


def _after(evidence: list[float]) -> float:
    wealth = np.full((1, 1), mixture.FLOOR)
    for number, nats in enumerate(evidence, start=1):
        wealth = mixture.add(wealth, np.array([float(number)]), np.array([[nats]]))
    return float(mixture.log_evidence(wealth, np.array([float(len(evidence))]), ONE)[0])


def test_fair_bets_leave_the_wealth_as_it_is_on_average() -> None:
    win, lose = np.log(1.6), np.log(0.4)
    paths = itertools.product((win, lose), repeat=8)
    assert np.mean([np.exp(_after(list(path))) for path in paths]) == pytest.approx(1.0)


def test_nothing_seen_is_no_evidence() -> None:
    wealth = np.full((1, 1), mixture.FLOOR)
    assert mixture.log_evidence(wealth, np.zeros(1), ONE)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("good", "most_nats"), [(0, 0.7), (20, 5.2), (40, 6.3), (240, 9.5)])
def test_old_good_blocks_cost_a_late_regression_little(good: int, most_nats: float) -> None:
    bad = [1.0] * 20
    assert _after([-2.0] * good + bad) >= sum(bad) - most_nats


def test_wealth_never_falls_below_the_floor() -> None:
    wealth = mixture.add(np.full((1, 1), mixture.FLOOR), np.array([1.0]), np.array([[-1e6]]))
    assert wealth[0, 0] == mixture.FLOOR
