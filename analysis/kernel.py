"""The evidence of one block of requests: to which of the two arms the bad ones belong.

Of all bad requests of a block, canary's share is expected to be its share of the requests when both arms are alike.
Conditional on the total this needs no knowledge of the base rate, which may drift, burst or break as it likes: the
Poisson form of the conditional binomial test (Przyborowski and Wilenski, Biometrika 1940; as a sequential test:
Lindon and Malek, NeurIPS 2022), here with a tolerance that has a relative and an absolute part.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def split_evidence(
    requests: tuple[Floats, Floats], bad: tuple[Floats, Floats], ratio: Floats, tolerated: float
) -> tuple[Floats, Floats]:
    """Nats of evidence, and how much each unit of absolute tolerance adds to it.

    `requests` and `bad` are those of canary and stable, of any one shape (…); `ratio` has the shape (J,): the rates of
    bad requests, canary's over stable's, that are bet on. Both results have the shape (…, J).

    With x, slope = split_evidence(…), E = exp(x + d · slope) has a mean of at most 1, whatever stable's rate p does,
    - for a ratio above `tolerated`, as long as canary's rate is at most tolerated · p + d: evidence of a regression;
    - for one below, as long as canary's rate is at least that: evidence of harmlessness.
    Why: 1 + y <= exp(y), so the mean is at most exp(n_c (A - 1) (p_c - r0 p - d)), as n_c r0 (A - 1) = -n_s (B - 1).
    A block without requests of one arm says nothing: exactly 0.
    """
    canary, stable = (n[..., None] for n in requests)
    canary_bad, stable_bad = (f[..., None] for f in bad)
    known = (canary > 0) & (stable > 0)
    log_b = np.log(np.where(known, tolerated * canary + stable, 1.0) / np.where(known, ratio * canary + stable, 1.0))
    log_a = np.log(ratio / tolerated) + log_b
    evidence = np.where(known, canary_bad * log_a + stable_bad * log_b, 0.0)
    return evidence, stable / tolerated * np.expm1(log_b)
