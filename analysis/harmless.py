"""Proof of no harm (non-inferiority): what lets a good release go on early.

The null hypothesis is turned round: "canary's rate of bad requests is at least 1.1 times stable's plus a margin". The
margin is what a wrong step would cost: extra failures times the next share of the traffic <= BUDGET of all requests. So
little proof suffices before 10 %, and much is asked for before 100 %. It begins anew at each step.

The evidence is linear in the margin for each alternative, so two sums do, and solving for the margin gives an upper
bound of canary's excess that holds at every look (a confidence sequence: Howard, Ramdas et al. 2021).
"""

import numpy as np

from analysis.kernel import Floats

BUDGET = 0.005
"""Extra bad requests that a wrong step may cost, as a share of all requests."""
LATENCY_BUDGET = 0.010
"""Likewise for slow requests, at each threshold: a slow request does less harm than a failed one."""
RATIOS = np.array([0.03, 0.25, 0.55, 0.8, 0.95])
LATENCY_RATIOS = np.array([0.25, 0.6, 0.8, 0.92])
TOLERATED = 1.1
LATENCY_TOLERATED = 1.0
BETA = 0.05
"""How often at most harm as large as the margin is taken for none."""

_BISECTIONS = 40


def margin(next_weight: Floats) -> Floats:
    """The excess that is tolerated before the canary gets this share (0 to 1] of the requests."""
    tolerated: Floats = BUDGET / next_weight
    return tolerated


def latency_margin(next_weight: Floats) -> Floats:
    """Likewise of slow requests, at each threshold."""
    tolerated: Floats = LATENCY_BUDGET / next_weight
    return tolerated


def log_harmless(sums: Floats, slopes: Floats, excess: Floats) -> Floats:
    """Log evidence that the excess is below `excess`, shape (…); both sums (…, J), averaged over the alternatives."""
    exponents = sums + slopes * excess[..., None]
    average: Floats = np.logaddexp.reduce(exponents, axis=-1) - np.log(exponents.shape[-1])
    return average


def upper_bound(sums: Floats, slopes: Floats) -> Floats:
    """The excess that canary's is below, with probability 1 - BETA at all looks together; 1 where nothing is known."""
    low, high = np.zeros(sums.shape[:-1]), np.ones(sums.shape[:-1])
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        proven = log_harmless(sums, slopes, middle) >= -np.log(BETA)
        low, high = np.where(proven, low, middle), np.where(proven, middle, high)
    return high
