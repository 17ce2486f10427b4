"""Latency from histogram buckets: whether more of the canary's traffic is slow than of stable's.

A request is "bad" at a threshold when it took longer. Shifted stable asks for more than "slower": stable's requests
beyond the threshold divided by a factor, so that a canary slower by less than the factor has no more bad requests.
"""

import numpy as np

from analysis.kernel import Floats

SURVIVALS = np.array([0.5, 0.1, 0.03, 0.01, 0.003])
"""The thresholds are the bucket bounds that these shares of stable's requests come nearest to exceed."""
ENOUGH_REQUESTS = 200
"""Of stable, before thresholds are chosen."""

SAME_BOUND = 1e-6
"""The relative difference up to which a threshold is a bound."""


def choose_thresholds(bounds: Floats, requests: Floats, slower: Floats) -> Floats:
    """The bounds (R, 5) in seconds to watch, each one once, NaN for the rest.

    `bounds` (B,) rise; `requests` (R,) and `slower` (R, B) are stable's: how many there were, and beyond each bound.
    """
    thresholds = np.full((len(requests), len(SURVIVALS)), np.nan)
    enough = requests >= ENOUGH_REQUESTS
    if not bounds.size or not enough.any():
        return thresholds
    # half a request where there was none: a bound that nobody exceeded is watched if no other is nearer
    survival = (slower + 0.5) / (requests[:, None] + 1.0)
    distance = np.abs(np.log(survival)[:, None, :] - np.log(SURVIVALS)[:, None])
    nearest = distance.argmin(axis=-1)
    first = np.ones_like(nearest, dtype=bool)
    for k in range(1, len(SURVIVALS)):
        first[:, k] = (nearest[:, k : k + 1] != nearest[:, :k]).all(axis=-1)
    return np.where(first & enough[:, None], bounds[nearest], np.nan)


def beyond(bounds: Floats, thresholds: Floats, requests: Floats, slower: Floats, factor: float = 1.0) -> Floats:
    """Requests (R, 5) that took longer than each threshold divided by `factor`; 0 where there is no such bound.

    Between two bounds the survival is taken as linear in the logarithm of the time.
    """
    shape = thresholds.shape
    if not bounds.size:
        return np.zeros(shape)
    distance = np.abs(bounds - np.nan_to_num(thresholds, nan=-1.0)[..., None])
    index = distance.argmin(axis=-1)
    # not exactly: a dumped threshold comes back in single precision
    known = distance.min(axis=-1) <= SAME_BOUND * thresholds
    below = np.concatenate((bounds[:1] / 2, bounds[:-1]))
    padded = np.concatenate((requests[:, None], slower), axis=-1)
    at_bound = np.take_along_axis(slower, index, axis=-1)
    at_bound_below = np.take_along_axis(padded, index, axis=-1)
    part = np.minimum(np.log(factor) / np.log(bounds[index] / below[index]), 1.0)
    return np.where(known, at_bound + part * (at_bound_below - at_bound), 0.0)
