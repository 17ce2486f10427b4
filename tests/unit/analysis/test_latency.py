"""Which bounds are watched, and how many requests lie beyond one that is none."""

import numpy as np
import pytest

from analysis import latency
from analysis.kernel import Floats

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
    nothing = (np.zeros(0), np.full((1, 5), np.nan))
    assert (np.array(latency.beyond(*nothing, np.array([9.0]), np.zeros((1, 0)))) == 0).all()
    assert (latency.likely_part(*nothing, np.array([9.0]), np.zeros((1, 0)), 1.1) == 0).all()


COUNTS = (np.array([1000.0]), np.array([[500.0, 100.0, 10.0, 0.0]]))
"""Requests, and those beyond each of BOUNDS."""


def _thresholds(threshold: float) -> Floats:
    return np.array([[threshold, *[np.nan] * 4]])


def _shifted(threshold: float, factor: float) -> float:
    """Requests beyond a threshold divided by a factor, with the times in a bucket spread evenly."""
    at, below = latency.beyond(BOUNDS, _thresholds(threshold), *COUNTS)
    return float((at + latency.even_part(BOUNDS, _thresholds(threshold), factor) * (below - at))[0, 0])


def test_beyond_a_bound_is_what_was_counted() -> None:
    assert [_shifted(bound, 1.0) for bound in BOUNDS] == pytest.approx([500, 100, 10, 0])


def test_spread_evenly_it_is_linear_in_the_logarithm() -> None:
    assert _shifted(1.0, np.sqrt(10.0)) == pytest.approx(55)
    assert _shifted(0.1, 10**0.25) == pytest.approx(200)


def test_never_further_than_the_bound_below() -> None:
    assert _shifted(1.0, 1000.0) == pytest.approx(100)


def test_below_the_first_bound_all_requests_come_into_it() -> None:
    assert _shifted(0.01, np.sqrt(2.0)) == pytest.approx(750)
    assert _shifted(0.01, 2.0) == pytest.approx(1000)


def test_a_threshold_that_is_no_bound_any_more_counts_nothing() -> None:
    assert _shifted(0.7, 1.0) == 0
    assert _shifted(0.7, 1.1) == 0


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("factor", [1.0, 1.05, 1.1, 1.25, 3.0])
def test_what_is_likely_is_never_less_than_nothing_or_more_than_even(bound: float, factor: float) -> None:
    even = latency.even_part(BOUNDS, _thresholds(bound), factor)[0, 0]
    likely = latency.likely_part(BOUNDS, _thresholds(bound), *COUNTS, factor)[0, 0]
    assert 0 <= likely <= even + 1e-12
    assert bool(likely == 0) is (factor == 1.0)


def test_a_survival_that_falls_as_a_power_of_the_time_is_met_exactly() -> None:
    """Beyond t there are t to the -2: ten times the time, a hundredth of the requests."""
    bounds, requests = np.array([1.0, 10.0]), 1e9
    slower = requests * bounds[None] ** -2.0
    (at,), (below,) = (
        counts[0, :1] for counts in latency.beyond(bounds, _thresholds(10.0), np.array([requests]), slower)
    )
    part = latency.likely_part(bounds, _thresholds(10.0), np.array([requests]), slower, 1.1)[0, 0]
    assert at + part * (below - at) == pytest.approx(requests * (10 / 1.1) ** -2, rel=1e-5)


def test_a_shift_of_a_quarter_in_the_tail_is_beyond_the_tolerance() -> None:
    """Log-normal times, and thresholds in wide buckets: shifted evenly, stable had nearly as many slow requests."""
    bounds = np.array([0.05, 0.1, 0.25, 0.5, 1.0])
    survival = np.array([0.5, 0.2102, 0.0306, 0.00371, 0.000248])  # median 50 ms, sigma 0.86
    slower_canary = 0.0532  # beyond 250 ms / 1.25
    counts = (np.array([1e6]), 1e6 * survival[None])
    at, below = (found[0, 0] / 1e6 for found in latency.beyond(bounds, _thresholds(0.25), *counts))
    even = at + latency.even_part(bounds, _thresholds(0.25), 1.1)[0, 0] * (below - at)
    likely = at + latency.likely_part(bounds, _thresholds(0.25), *counts, 1.1)[0, 0] * (below - at)
    assert slower_canary / even < 1.10
    assert slower_canary / likely > 1.35
