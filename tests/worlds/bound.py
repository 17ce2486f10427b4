"""The fewest requests that any test could need (Wald): what the judge's thrift is measured against."""

import math

import numpy as np

from analysis.judge import ERRORS_ALPHA
from analysis.kernel import Floats
from analysis.regression import ERRORS

_GRID = 200_001


def fewest_requests(stable: float, canary: float, weight: float, alpha: float = ERRORS_ALPHA) -> float:
    """Canary requests that a test of this alpha needs on average to tell these rates of bad requests.

    ln(1 / alpha) over the information of one canary request and those of stable beside it: the distance to the
    nearest pair of rates that is tolerated, min over q of KL(canary, r0 q + d) + (1 - weight) / weight · KL(stable, q).
    """
    ratio, excess = ERRORS.tolerated_ratio, ERRORS.tolerated_excess
    largest = (1 - excess) / ratio
    rates = np.exp(np.linspace(math.log(1e-9), math.log(largest), _GRID))
    beside = (1 - weight) / weight
    information = _divergence(canary, np.minimum(ratio * rates + excess, 1.0)) + beside * _divergence(stable, rates)
    return math.log(1 / alpha) / float(information.min())


def _divergence(p: float, q: Floats) -> Floats:
    """Kullback-Leibler, of Bernoulli p from Bernoulli q, in nats."""
    q = np.clip(q, 1e-300, 1 - 1e-16)
    bad = p * np.log(p / q) if p > 0 else np.zeros_like(q)
    good = (1 - p) * np.log((1 - p) / (1 - q)) if p < 1 else np.zeros_like(q)
    return bad + good
