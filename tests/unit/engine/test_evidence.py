"""From samples to checks."""

import pytest

from analysis.verdict import Verdict
from canary.engine.evidence import judge
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.spec import REQUEST_DURATION, REQUEST_SUCCESS_RATE, Metric, ThresholdRange
from canary.model.status import Check

SUCCESS = Metric(REQUEST_SUCCESS_RATE, ThresholdRange(min=99.0))
DURATION = Metric(REQUEST_DURATION, ThresholdRange(max=500.0))
OWN = Metric("saturation", ThresholdRange(0, 0.5), query="vector(1)")


def judged(metric: Metric, sample: Sample) -> Check:
    (check,) = judge((metric,), {metric.name: sample})
    return check


@pytest.mark.parametrize(
    ("metric", "value", "verdict", "message"),
    [
        (SUCCESS, 99.0, Verdict.PASS, "request-success-rate is 99 %, good is at least 99 %"),
        (SUCCESS, 98.5, Verdict.FAIL, "request-success-rate is 98.5 %, good is at least 99 %"),
        (DURATION, 500.0, Verdict.PASS, "request-duration is 500 ms, good is at most 500 ms"),
        (DURATION, 612.3456, Verdict.FAIL, "request-duration is 612.3 ms, good is at most 500 ms"),
        (OWN, 0.6, Verdict.FAIL, "saturation is 0.6, good is at least 0 and at most 0.5"),
    ],
)
def test_a_number_is_judged_by_its_limits_and_said_with_them(
    metric: Metric, value: float, verdict: Verdict, message: str
) -> None:
    assert judged(metric, Measured(value, at=0.0)) == Check(metric.name, verdict, value, message)


def test_a_query_of_the_user_under_a_built_in_name_has_no_unit() -> None:
    own = Metric(REQUEST_DURATION, ThresholdRange(max=1.0), query="vector(1)")
    assert judged(own, Measured(0.5, at=0.0)).message == "request-duration is 0.5, good is at most 1"


def test_no_data_is_inconclusive_and_a_failed_provider_is_an_error() -> None:
    assert judged(SUCCESS, NoData("no series")) == Check(
        REQUEST_SUCCESS_RATE, Verdict.INCONCLUSIVE, None, "request-success-rate: no series"
    )
    assert judged(SUCCESS, ProviderError("timed out")) == Check(
        REQUEST_SUCCESS_RATE, Verdict.ERROR, None, "request-success-rate: timed out"
    )


def test_what_is_not_finite_is_inconclusive() -> None:
    assert judged(DURATION, Measured(float("nan"), at=0.0)).verdict is Verdict.INCONCLUSIVE


def test_checks_come_in_the_order_of_the_spec() -> None:
    samples: dict[str, Sample] = {metric.name: NoData("none") for metric in (OWN, SUCCESS, DURATION)}
    assert [check.name for check in judge((DURATION, OWN, SUCCESS), samples)] == [
        "request-duration",
        "saturation",
        "request-success-rate",
    ]
