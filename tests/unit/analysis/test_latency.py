"""Which bounds are watched, and how many requests lie beyond one that is none."""

import numpy as np
import pytest

from analysis import latency

BOUNDS = np.array([0.01, 0.1, 1.0, 10.0])


def test_the_bounds_nearest_to_the_wanted_survivals_each_once() -> None:
    slower = np.array([[520.0, 90.0, 11.0, 0.0]])
    thresholds = latency.choose_thresholds(BOUNDS, np.array([1000.0]), slower)
    # 0.03 and 0.01 both come nearest to 11 of 1000; nobody exceeded 10 s, which is nearer to 0.003 than 1 s is
    assert thresholds[0, :3] == pytest.approx([0.01, 0.1, 1.0])
    known = thresholds[~np.isnan(thresholds)]
    assert len(set(known)) == len(known)


def test_none_before_there_are_enough_requests() -> None:
    slower = np.array([[90.0, 20.0, 3.0, 0.0], [100.0, 20.0, 3.0, 0.0]])
    thresholds = latency.choose_thresholds(BOUNDS, np.array([latency.ENOUGH_REQUESTS - 1.0, 200.0]), slower)
    assert np.isnan(thresholds[0]).all()
    assert not np.isnan(thresholds[1]).all()


def test_none_without_a_histogram() -> None:
    assert np.isnan(latency.choose_thresholds(np.zeros(0), np.array([1e6]), np.zeros((1, 0)))).all()
    assert (latency.beyond(np.zeros(0), np.full((1, 5), np.nan), np.array([9.0]), np.zeros((1, 0))) == 0).all()


def _beyond(threshold: float, factor: float) -> float:
    thresholds = np.array([[threshold, np.nan, np.nan, np.nan, np.nan]])
    counts = latency.beyond(BOUNDS, thresholds, np.array([1000.0]), np.array([[500.0, 100.0, 10.0, 0.0]]), factor)
    assert (counts[0, 1:] == 0).all()
    return float(counts[0, 0])


def test_beyond_a_bound_is_what_was_counted() -> None:
    assert [_beyond(bound, 1.0) for bound in BOUNDS] == pytest.approx([500, 100, 10, 0])


def test_between_two_bounds_it_is_linear_in_the_logarithm() -> None:
    assert _beyond(1.0, np.sqrt(10.0)) == pytest.approx(55)
    assert _beyond(0.1, 10**0.25) == pytest.approx(200)


def test_never_further_than_the_bound_below() -> None:
    assert _beyond(1.0, 1000.0) == pytest.approx(100)


def test_below_the_first_bound_all_requests_come_into_it() -> None:
    assert _beyond(0.01, np.sqrt(2.0)) == pytest.approx(750)
    assert _beyond(0.01, 2.0) == pytest.approx(1000)


def test_a_threshold_that_is_no_bound_any_more_counts_nothing() -> None:
    assert _beyond(0.7, 1.0) == 0
