"""How much more bad requests vary from scrape to scrape than independent ones would.

Real errors come in bursts: a retry storm, one broken client, one pod that dies. A test that takes them for independent
calls every burst a regression. The dispersion phi is 1 for independent errors, and for bursts the mean size of the
burst that an error belongs to; evidence is divided by it. (If bad requests come in independent clusters of at most phi,
the quotient keeps its guarantee: exp(a t) <= 1 + t (exp(a) - 1) for t in [0, 1].)

It is estimated from differences between neighbours, so that a slow drift cancels out (von Neumann 1941), at two scales:
the longer one sees noise that lasts for minutes. Both are winsorised, for one incident must not blind the test for
the rest of the release.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from analysis.kernel import Floats

PRIOR_PAIRS = 10.0
PRIOR_DISPERSION = 1.5
LARGEST_JUMP = 8.0
"""A pair counts at most this many times what the dispersion so far makes one expect. An incident has several pairs, and
each one raises what the next may count: with 10 here and 3 below, one incident in stable's past blinds half of the
releases at 100 requests per second to +1 pp of errors. With less, noise that lasts for minutes is told too late."""
HEAVIEST_PAIR = 2.0
"""A pair with more bad requests than this many average pairs is scaled down to that weight."""


@dataclass(frozen=True)
class Pairs:
    """What was seen in neighbouring intervals of one length. All of one shape (…)."""

    squares: Floats
    """Sum of the squared differences, in units of what independent errors would give."""
    bad: Floats
    """Sum of the bad requests of both neighbours: the expectation of `squares` for independent errors."""
    count: Floats
    """Pairs with any bad request."""
    last_requests: Floats
    last_bad: Floats
    """The newest interval that had requests."""


def dispersion(pairs: Pairs, expected: Floats | float = PRIOR_DISPERSION) -> Floats:
    """The estimate; without any pair it is what was expected. Not below 1 where it is used."""
    return (pairs.squares + PRIOR_PAIRS * expected) / (pairs.bad + PRIOR_PAIRS)


def long_dispersion(pairs: Pairs, expected: Floats | float = PRIOR_DISPERSION) -> Floats:
    """The estimate at the longer scale, less its own standard error: its pairs are few."""
    few = np.sqrt(2.0 / np.maximum(pairs.count, 1.0))
    return dispersion(pairs, expected) * np.maximum(1.0 - few, 0.0)


def of_arms(pairs: Pairs, estimate: Callable[[Pairs, Floats | float], Floats]) -> Floats:
    """The larger estimate of both arms, which are axis 1: canary, of which little is known, is expected like stable."""
    stable = estimate(_arm(pairs, 1), PRIOR_DISPERSION)
    return np.maximum(np.maximum(stable, estimate(_arm(pairs, 0), stable)), 1.0)


def _arm(pairs: Pairs, arm: int) -> Pairs:
    return Pairs(*(getattr(pairs, field.name)[:, arm] for field in fields(pairs)))


def add(pairs: Pairs, requests: Floats, bad: Floats) -> Pairs:
    """One more interval of the same shape. One without requests is passed over."""
    seen = requests > 0
    paired = seen & (pairs.last_requests > 0)
    product = np.where(paired, requests * pairs.last_requests, 1.0)
    difference = bad * pairs.last_requests - pairs.last_bad * requests
    weight = np.where(paired, bad + pairs.last_bad, 0.0)
    squares = np.where(paired, difference**2 / product, 0.0)
    squares = np.minimum(squares, LARGEST_JUMP * np.maximum(dispersion(pairs), 1.0) * weight)
    heaviest = HEAVIEST_PAIR * (pairs.bad + PRIOR_PAIRS) / (pairs.count + 1.0)
    scale = np.minimum(1.0, heaviest / np.maximum(weight, 1e-9))
    return Pairs(
        squares=pairs.squares + scale * squares,
        bad=pairs.bad + scale * weight,
        count=pairs.count + (weight > 0),
        last_requests=np.where(seen, requests, pairs.last_requests),
        last_bad=np.where(seen, bad, pairs.last_bad),
    )
