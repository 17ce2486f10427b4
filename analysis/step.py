"""What the evidence means for the step under way: go on, go back, or keep looking."""

from dataclasses import dataclass

import numpy as np

from analysis import harmless
from analysis.judge import Judgement
from analysis.kernel import Bools, Floats
from analysis.state import State

SUSPICION = np.log(1.5)
"""Evidence of a regression from which on nothing passes, though it is no proof."""
LAST_SUSPICION = np.log(12.0)
"""The same at the end of all waiting, rising evenly up to then. A canary that had bad luck early comes free in time,
while one that is bad gathers evidence faster than it is let go."""


@dataclass(frozen=True)
class Outcome:
    """Of one metric, for R rollouts; neither of the two: inconclusive."""

    passed: Bools
    failed: Bools


def outcomes(
    state: State, judged: Judgement, *, over: Bools, min_requests: Floats, waited: Floats | float = 0.0
) -> tuple[Outcome, Outcome]:
    """Of errors and of latency. A step passes with proof of harmlessness.

    When the time for proof is `over` (R,), it passes as well with nothing against it in at least `min_requests` (R,)
    of the canary. `waited` (R,): how much of the time that it may be held after that has passed, from 0 to 1.
    """
    limit = SUSPICION + (LAST_SUSPICION - SUSPICION) * np.clip(waited, 0.0, 1.0)
    suspected = (np.maximum(judged.errors, judged.outage) >= limit, judged.latency >= limit)
    proof = (judged.harmless, judged.harmless_latency)
    counted = (state.tally.settled[:, 0], state.tally.timed[:, 0])
    failed = (judged.failed_errors, judged.failed_latency)
    return (
        _outcome(suspected[0], proof[0], over & (counted[0] >= min_requests), failed[0]),
        _outcome(suspected[1], proof[1], over & (counted[1] >= min_requests), failed[1]),
    )


def _outcome(suspected: Bools, proof: Floats, enough: Bools, failed: Bools) -> Outcome:
    harmless_enough = (proof >= -np.log(harmless.BETA)) | enough
    return Outcome(passed=harmless_enough & ~suspected & ~failed, failed=failed)
