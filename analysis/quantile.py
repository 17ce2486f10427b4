"""A quantile from a histogram, as PromQL's `histogram_quantile` estimates it."""

from analysis.kernel import Floats


def quantile(q: float, bounds: Floats, requests: float, slower: Floats) -> float:
    """The q-quantile in the unit of `bounds` (B,), which rise; `slower` (B,) counts those beyond each bound.

    Linear between two bounds, the first bucket beginning at 0; the largest bound where the quantile lies beyond it.
    """
    allowed = (1 - q) * requests
    below, slower_than_below = 0.0, requests
    for bound, beyond in zip(bounds.tolist(), slower.tolist(), strict=True):
        if beyond <= allowed:
            inside = slower_than_below - beyond
            return float(below + (bound - below) * (slower_than_below - allowed) / inside) if inside else float(below)
        below, slower_than_below = bound, beyond
    return float(below)
