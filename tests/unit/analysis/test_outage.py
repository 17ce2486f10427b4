"""A canary that is plainly broken."""

import itertools

import numpy as np
import pytest

from analysis.outage import CAP, RATES, TOLERATED, outage_evidence


def evidence(canary: tuple[float, float], stable: tuple[float, float]) -> list[float]:
    """Arms as (requests, bad)."""
    pairs = [(np.array([c]), np.array([s])) for c, s in zip(canary, stable, strict=True)]
    return [float(nats) for nats in outage_evidence(pairs[0], pairs[1])[0]]


def test_each_failed_request_is_worth_the_same_at_any_share() -> None:
    assert (
        max(evidence((1, 1), (1, 0))) == pytest.approx(max(evidence((1, 1), (1000, 0)))) == pytest.approx(1.2, abs=0.01)
    )


def test_no_block_says_more_than_the_cap() -> None:
    assert max(evidence((10_000, 10_000), (10_000, 0))) == CAP


def test_nothing_while_stable_is_not_well() -> None:
    assert max(evidence((10, 10), (100, 10))) > 0
    assert evidence((10, 10), (100, 11)) == [0, 0, 0]


def test_nothing_without_stable() -> None:
    assert evidence((10, 10), (0, 0)) == [0, 0, 0]


def test_a_canary_within_what_is_tolerated_gains_nothing_on_average() -> None:
    for rate, (index, _) in itertools.product((0.0, 0.1, TOLERATED), enumerate(RATES)):
        one = (evidence((1, 0), (9, 0))[index], evidence((1, 1), (9, 0))[index])
        assert (1 - rate) * np.exp(one[0]) + rate * np.exp(one[1]) <= 1 + 1e-12
