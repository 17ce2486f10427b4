"""Whether the canary gets the share of the requests that its weight says.

A canary that the ingress controller does not route to answers no request and fails none: without this, silence would
pass for health.
"""

from math import log

NATS = 12.0
"""Evidence against the weight that is asked for: chance alone gives it once in 160,000 looks."""
FACTOR = 1.5
"""A share within this factor of the weight is in effect, whatever chance says: sessions may stick to one side."""


def is_effective(canary: float, stable: float, weight: float) -> bool:
    """Whether so many requests of both are in keeping with the weight, in percent; True while too few to tell."""
    total, asked = canary + stable, _asked(weight)
    share = canary / total if total else asked
    if asked / FACTOR <= share <= asked * FACTOR:
        return True
    return total * _divergence(share, asked) < NATS


def can_tell(requests: float, weight: float) -> bool:
    """Whether so many requests would show a canary that gets none of them."""
    return requests * _divergence(0.0, _asked(weight)) >= NATS


def _asked(weight: float) -> float:
    return min(weight / 100, 0.99)


def _divergence(share: float, asked: float) -> float:
    """Nats that one request tells `share` from `asked` by (Kullback and Leibler)."""
    return sum(p * log(p / q) for p, q in ((share, asked), (1 - share, 1 - asked)) if p > 0)
