"""Latency from histogram buckets: whether more of the canary's traffic is slow than of stable's.

A request is "bad" at a threshold when it took longer. Shifted stable asks for more than "slower": stable's requests
beyond the threshold divided by a factor, so that a canary slower by less than the factor has no more bad requests.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.kernel import Bools, Floats

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


def beyond(bounds: Floats, thresholds: Floats, requests: Floats, slower: Floats) -> tuple[Floats, Floats]:
    """Requests (R, 5) that took longer than each threshold, and than the bound below it; 0 where there is none."""
    if not bounds.size:
        return np.zeros(thresholds.shape), np.zeros(thresholds.shape)
    index, known = _find(bounds, thresholds)
    padded = np.concatenate((requests[:, None], slower), axis=-1)
    counts = (np.take_along_axis(slower, index, axis=-1), np.take_along_axis(padded, index, axis=-1))
    return np.where(known, counts[0], 0.0), np.where(known, counts[1], 0.0)


def even_part(bounds: Floats, thresholds: Floats, factor: float) -> Floats:
    """The part (R, 5) of the bucket below each threshold that took longer than the threshold divided by `factor`.

    As if the times in a bucket were spread evenly over its logarithm: generous, for most are near its lower end.
    """
    if not bounds.size:
        return np.zeros(thresholds.shape)
    index, known = _find(bounds, thresholds)
    below = np.concatenate((bounds[:1] / 2, bounds[:-1]))
    return np.where(known, np.minimum(np.log(factor) / np.log(bounds[index] / below[index]), 1.0), 0.0)


def likely_part(bounds: Floats, thresholds: Floats, requests: Floats, slower: Floats, factor: float) -> Floats:
    """The same as it is likely: the survival of these requests falls as a power of the time between two bounds.

    In the tail, where a bucket holds several times the requests beyond it, this is a fraction of the even part, and a
    shift of a quarter is seen that would else be tolerated. A part is never below 0: equal arms stay in the tolerance.
    """
    share = even_part(bounds, thresholds, factor)
    at, below = beyond(bounds, thresholds, requests, slower)
    at, below = at + 0.5, np.maximum(below, at) + 1.0
    return at * np.expm1(share * np.log(below / at)) / (below - at)


def _find(bounds: Floats, thresholds: Floats) -> tuple[NDArray[np.intp], Bools]:
    distance = np.abs(bounds - np.nan_to_num(thresholds, nan=-1.0)[..., None])
    # not exactly: a dumped threshold comes back in single precision
    return distance.argmin(axis=-1), distance.min(axis=-1) <= SAME_BOUND * thresholds
