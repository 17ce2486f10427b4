"""The four verdicts, which are never mixed."""

from enum import StrEnum


class Verdict(StrEnum):
    """What a check says. Only PASS lets a canary go on, and only FAIL counts against it."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """There was not enough data to say."""
    ERROR = "error"
    """The provider of the measurement failed: says nothing about the canary."""


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of several checks together: one failure fails, then errors and missing data hold."""
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if verdicts else Verdict.INCONCLUSIVE
