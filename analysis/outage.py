"""Gross failure: whether the canary is plainly broken, while stable is well.

The split of the bad requests needs many of them at high weights, and stable's at low traffic. A canary that fails most
of its requests is told by itself: each failed one is about 1.2 nats against "it fails at most 30 %", at any weight.
Blocks in which stable is not well either say nothing: then it may be the database that both share.
"""

import numpy as np

from analysis.kernel import Floats

TOLERATED = 0.3
RATES = np.array([0.6, 0.9, 0.999])
WEIGHTS = np.full(3, 1 / 3)
STABLE_IS_WELL = 0.1
"""Stable's largest share of bad requests at which the canary's are its own fault."""
CAP = 5.0
"""Nats that one block may give: two are needed at the least."""


def outage_evidence(requests: tuple[Floats, Floats], bad: tuple[Floats, Floats]) -> Floats:
    """Nats that the canary fails at RATES rather than at most TOLERATED; counts (…) of both arms → (…, 3)."""
    canary, stable = requests
    good, failed = (canary - bad[0])[..., None], bad[0][..., None]
    evidence = failed * np.log(RATES / TOLERATED) + good * np.log((1 - RATES) / (1 - TOLERATED))
    stable_is_well = (stable > 0) & (bad[1] <= STABLE_IS_WELL * stable)
    return np.where(stable_is_well[..., None], np.minimum(evidence, CAP), 0.0)
