"""Fixed limits: the simplest judgement."""

import math

from analysis.verdict import Verdict


def judge_threshold(value: float, low: float | None, high: float | None) -> Verdict:
    """PASS when `low` <= value <= `high` (None: no limit); a value that is no number is INCONCLUSIVE."""
    if not math.isfinite(value):
        return Verdict.INCONCLUSIVE
    good = (low is None or value >= low) and (high is None or value <= high)
    return Verdict.PASS if good else Verdict.FAIL
