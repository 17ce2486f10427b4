"""The guarantee of the kernel, exactly: every outcome of small blocks is enumerated."""

import itertools
from math import comb

import numpy as np
import pytest

from analysis.harmless import RATIOS, TOLERATED
from analysis.kernel import Floats, split_evidence
from analysis.regression import ERRORS, LATENCY, Alternatives

BLOCKS = [(1, 1), (1, 9), (3, 8), (8, 3), (6, 6), (2, 14)]
STABLE_RATES = [0.0, 0.001, 0.05, 0.3, 0.7, 1.0]
EXCESSES = [0.0, 0.0002, 0.05, 0.3]


def binomial(n: int, p: float) -> Floats:
    """The probabilities (n + 1,) of 0 … n."""
    return np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def mean_of_evidence(
    block: tuple[int, int],
    rates: tuple[float, float],
    ratios: Floats,
    tolerated: float,
    excess: float,
    cluster: int = 1,
) -> Floats:
    """The mean (J,) of E; bad requests come in clusters of that size, and evidence is divided by it."""
    bad = [np.arange(n + 1) * float(cluster) for n in block]
    canary, stable = np.meshgrid(*bad, indexing="ij")
    requests = (np.full(canary.shape, float(block[0] * cluster)), np.full(canary.shape, float(block[1] * cluster)))
    x, slope = split_evidence(requests, (canary, stable), ratios, tolerated)
    chance = np.outer(binomial(block[0], rates[0]), binomial(block[1], rates[1]))
    return np.asarray((chance[..., None] * np.exp((x + excess * slope) / cluster)).sum(axis=(0, 1)))


@pytest.mark.parametrize("cluster", [1, 5])
@pytest.mark.parametrize("alternatives", [ERRORS, LATENCY], ids=["errors", "latency"])
def test_a_tolerable_canary_never_gains_evidence_of_a_regression_on_average(
    alternatives: Alternatives, cluster: int
) -> None:
    for block, stable, excess in itertools.product(BLOCKS, STABLE_RATES, EXCESSES):
        most = min(alternatives.tolerated_ratio * stable + excess, 1.0)
        for canary in (0.0, most / 2, most):
            mean = mean_of_evidence(
                block, (canary, stable), alternatives.ratios, alternatives.tolerated_ratio, excess, cluster
            )
            assert mean.max() <= 1 + 1e-12, (block, stable, excess, canary)


def test_a_harmful_canary_never_gains_proof_of_harmlessness_on_average() -> None:
    for block, stable, excess in itertools.product(BLOCKS, STABLE_RATES, EXCESSES):
        least = TOLERATED * stable + excess
        for canary in (least, (least + 1) / 2, 1.0):
            if canary <= 1 and least <= 1:
                mean = mean_of_evidence(block, (canary, stable), RATIOS, TOLERATED, excess)
                assert mean.max() <= 1 + 1e-12, (block, stable, excess, canary)


def test_a_canary_that_is_worse_gains_evidence() -> None:
    mean = mean_of_evidence((6, 6), (0.5, 0.05), ERRORS.ratios, ERRORS.tolerated_ratio, ERRORS.tolerated_excess)
    assert mean.max() > 2


@pytest.mark.parametrize("requests", [(0.0, 50.0), (50.0, 0.0), (0.0, 0.0)])
def test_a_block_without_one_arm_says_exactly_nothing(requests: tuple[float, float]) -> None:
    counts = (np.array([requests[0]]), np.array([requests[1]]))
    x, slope = split_evidence(counts, counts, ERRORS.ratios, ERRORS.tolerated_ratio)
    assert (x == 0).all()
    assert (slope == 0).all()


def test_the_base_rate_does_not_matter_when_both_arms_are_alike() -> None:
    x, slope = split_evidence(
        (np.array([100.0, 100.0]), np.array([900.0, 900.0])),
        (np.array([1.0, 100.0]), np.array([9.0, 900.0])),
        ERRORS.ratios,
        ERRORS.tolerated_ratio,
    )
    assert x[1] == pytest.approx(100 * x[0])
    assert (x < 0).all()
    assert (slope < 0).all()
