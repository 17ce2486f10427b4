"""The simplest judgement, and several together."""

from itertools import product

import pytest

from analysis.threshold import judge_threshold
from analysis.verdict import Verdict, worst

PASS, FAIL, INCONCLUSIVE, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (99.0, 99.0, None, PASS),
        (98.999, 99.0, None, FAIL),
        (500.0, None, 500.0, PASS),
        (500.001, None, 500.0, FAIL),
        (1.0, 1.0, 1.0, PASS),
        (0.9, 1.0, 2.0, FAIL),
        (2.1, 1.0, 2.0, FAIL),
        (-1e300, None, None, PASS),
    ],
)
def test_both_limits_are_good_and_what_is_beyond_fails(
    value: float, low: float | None, high: float | None, verdict: Verdict
) -> None:
    assert judge_threshold(value, low, high) is verdict


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("low", "high"), [(None, None), (0.0, None), (None, 0.0), (0.0, 1.0)])
def test_what_is_no_number_neither_passes_nor_fails(value: float, low: float | None, high: float | None) -> None:
    assert judge_threshold(value, low, high) is INCONCLUSIVE


@pytest.mark.parametrize("verdicts", list(product(Verdict, repeat=3)))
def test_one_failure_fails_and_only_passes_pass(verdicts: tuple[Verdict, ...]) -> None:
    expected = next((verdict for verdict in (FAIL, ERROR, INCONCLUSIVE) if verdict in verdicts), PASS)
    assert worst(list(verdicts)) is expected


def test_no_check_at_all_does_not_pass() -> None:
    assert worst([]) is INCONCLUSIVE
