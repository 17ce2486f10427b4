"""How bursty errors are: 1 for independent ones, the size of a burst for bursts, whatever else goes on."""

from dataclasses import fields

import numpy as np
import pytest

from analysis import dispersion
from analysis.dispersion import Pairs
from analysis.kernel import Floats

REQUESTS = 15_000.0
SCRAPES = 400


def nothing(*shape: int) -> Pairs:
    return Pairs(*(np.zeros(shape) for _ in fields(Pairs)))


def after(bad: Floats, requests: Floats | float = REQUESTS) -> Pairs:
    """`bad` (scrapes, R)."""
    pairs = nothing(bad.shape[1])
    for row, total in zip(bad, np.broadcast_to(requests, bad.shape), strict=True):
        pairs = dispersion.add(pairs, total, row)
    return pairs


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_independent_errors_have_a_dispersion_of_one(rng: np.random.Generator) -> None:
    pairs = after(rng.binomial(int(REQUESTS), 0.01, (SCRAPES, 50)).astype(float))
    assert dispersion.dispersion(pairs).mean() == pytest.approx(1.0, abs=0.05)


def test_without_anything_seen_it_is_what_was_expected() -> None:
    assert dispersion.dispersion(nothing(3)) == pytest.approx(dispersion.PRIOR_DISPERSION)
    assert dispersion.dispersion(nothing(3), 4.0) == pytest.approx(4.0)


def test_bursts_have_that_of_the_burst_an_error_belongs_to(rng: np.random.Generator) -> None:
    clusters = rng.poisson(30, (SCRAPES, 50))
    bad = clusters + rng.negative_binomial(np.maximum(clusters, 1), 1 / 5.0)
    # geometric sizes of mean 5: E s^2 / E s = 9; winsorised, a little less
    assert dispersion.dispersion(after(bad.astype(float))).mean() == pytest.approx(9.0, rel=0.15)


def test_a_drift_cancels_out(rng: np.random.Generator) -> None:
    rate = 0.01 * np.exp(np.sin(np.linspace(0, 6.28, SCRAPES)))[:, None]
    pairs = after(rng.binomial(int(REQUESTS), np.broadcast_to(rate, (SCRAPES, 50))).astype(float))
    assert dispersion.dispersion(pairs).mean() == pytest.approx(1.0, abs=0.1)


def test_traffic_that_changes_is_no_dispersion(rng: np.random.Generator) -> None:
    requests = rng.choice([500.0, 20_000.0], (SCRAPES, 50))
    pairs = after(rng.binomial(requests.astype(int), 0.01).astype(float), requests)
    assert dispersion.dispersion(pairs).mean() == pytest.approx(1.0, abs=0.1)


def test_one_incident_does_not_blind_it(rng: np.random.Generator) -> None:
    rates = np.full((120, 50), 0.001)
    rates[80:92] = 0.1
    estimate = dispersion.dispersion(after(rng.binomial(1500, rates).astype(float), 1500.0))
    assert np.quantile(estimate, 0.9) < 3


def test_an_interval_without_requests_is_passed_over() -> None:
    before = after(np.array([[5.0], [9.0]]), 1000.0)
    same = dispersion.add(before, np.zeros(1), np.zeros(1))
    for field in fields(Pairs):
        assert getattr(same, field.name) == pytest.approx(getattr(before, field.name))


def test_the_long_estimate_is_less_its_standard_error() -> None:
    pairs = after(np.array([[5.0], [90.0], [5.0]]), 1000.0)
    few = 1 - np.sqrt(2 / 2)
    assert dispersion.long_dispersion(pairs) == pytest.approx(dispersion.dispersion(pairs) * few)


def test_the_larger_arm_counts_and_canary_is_expected_like_stable() -> None:
    bursty = dispersion.add(
        dispersion.add(nothing(1, 2), np.full((1, 2), 1e4), np.array([[0.0, 0.0]])),
        np.full((1, 2), 1e4),
        np.array([[0.0, 500.0]]),
    )
    stable = dispersion.dispersion(bursty)[0, 1]
    assert stable > 2
    assert dispersion.of_arms(bursty, dispersion.dispersion) == pytest.approx(stable)


def test_it_is_never_below_one() -> None:
    calm = nothing(1, 2)
    for _ in range(100):
        calm = dispersion.add(calm, np.full((1, 2), 1e4), np.full((1, 2), 100.0))
    assert dispersion.of_arms(calm, dispersion.dispersion) == pytest.approx(1.0)
