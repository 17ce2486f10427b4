"""What is tolerated before the next share, and the bound that is shown."""

import numpy as np
import pytest

from analysis import harmless
from analysis.kernel import split_evidence


def test_the_margin_is_what_a_wrong_step_may_cost() -> None:
    weights = np.array([0.1, 0.5, 1.0])
    assert harmless.margin(weights) * weights == pytest.approx(harmless.BUDGET)
    assert harmless.latency_margin(weights) * weights == pytest.approx(harmless.LATENCY_BUDGET)


def test_nothing_known_bounds_nothing() -> None:
    zeros = np.zeros((2, len(harmless.RATIOS)))
    assert harmless.upper_bound(zeros, zeros) == pytest.approx(1.0)
    assert harmless.log_harmless(zeros, zeros, np.zeros(2)) == pytest.approx(0.0)


def test_the_bound_is_where_the_proof_begins() -> None:
    requests = (np.array([500.0]), np.array([9500.0]))
    x, slope = split_evidence(requests, (np.array([1.0]), np.array([10.0])), harmless.RATIOS, harmless.TOLERATED)
    bound = harmless.upper_bound(x, slope)
    assert 0.001 < bound[0] < 0.02
    assert harmless.log_harmless(x, slope, bound) == pytest.approx(-np.log(harmless.BETA), abs=1e-6)


def test_more_good_requests_bring_the_bound_down() -> None:
    bounds = []
    for size in (100.0, 1000.0, 10_000.0):
        requests = (np.array([size]), np.array([9 * size]))
        x, slope = split_evidence(
            requests, (np.array([size / 1000]), np.array([9 * size / 1000])), harmless.RATIOS, harmless.TOLERATED
        )
        bounds.append(float(harmless.upper_bound(x, slope)[0]))
    assert bounds == sorted(bounds, reverse=True)
