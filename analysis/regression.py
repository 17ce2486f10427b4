"""Regression: the canary has more bad requests than stable, beyond what is tolerated.

One test for errors and, with its own numbers, one for latency at each threshold. No single block may convict: what it
can say is capped (cutting a supermartingale from above is free), which protects from the first burst of an app whose
history shows none.
"""

from dataclasses import dataclass

import numpy as np

from analysis.kernel import Floats


@dataclass(frozen=True)
class Alternatives:
    """Ratios of canary's rate over stable's that are bet on, and how the wealth is spread over them."""

    ratios: Floats
    weights: Floats
    tolerated_ratio: float
    tolerated_excess: float
    """Canary's rate may be tolerated_ratio times stable's + tolerated_excess."""


ERRORS = Alternatives(
    ratios=np.array([1.4, 2.0, 3.5, 8.0, 25.0, 100.0, 700.0, 5000.0]),
    weights=np.array([0.22, 0.25, 0.18, 0.12, 0.08, 0.05, 0.05, 0.05]),
    tolerated_ratio=1.10,
    tolerated_excess=0.0002,
)
LATENCY = Alternatives(
    ratios=np.array([1.3, 1.8, 3.5, 12.0]),
    weights=np.full(4, 0.25),
    tolerated_ratio=1.05,
    tolerated_excess=0.001,
)
LATENCY_FACTOR = 1.15
"""A canary slower by less is no regression."""
HARMLESS_FACTOR = 1.25
"""A canary slower by less may go on."""
CAP = 3.0
"""Nats that one block may give: three are needed at the least."""
