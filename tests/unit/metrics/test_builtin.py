"""The built-in metrics as PromQL."""

import re
from datetime import timedelta

import pytest

from canary.metrics.builtin import promql
from canary.model.spec import REQUEST_DURATION, REQUEST_SUCCESS_RATE, Metric, ThresholdRange
from canary.model.traffic import Backend

LIMITS = ThresholdRange(min=99)
SUCCESS = Metric(REQUEST_SUCCESS_RATE, LIMITS)
DURATION = Metric(REQUEST_DURATION, LIMITS)
BACKEND = Backend("podinfo-ingress", "podinfo", "9898")
LONG = timedelta(hours=1)


def labels_of(query: str) -> re.Pattern[str]:
    """The regular expression that the label `canary` must match as a whole, as Prometheus reads it."""
    found = re.search(r'canary=~"((?:[^"\\]|\\.)*)"', query)
    assert found
    return re.compile(found.group(1).replace('\\"', '"').replace("\\\\", "\\"))


def test_the_success_rate_is_in_percent_of_the_canarys_requests() -> None:
    assert promql(SUCCESS, "staging", [BACKEND], LONG) == (
        "100 - 100 * "
        '(sum(rate(nginx_ingress_controller_requests{namespace="staging",canary=~"staging-podinfo-canary-9898",'
        'status=~"5.."}[60s])) or vector(0))'
        " / sum(rate(nginx_ingress_controller_requests"
        '{namespace="staging",canary=~"staging-podinfo-canary-9898"}[60s]))'
    )


def test_the_duration_is_the_99th_percentile_in_milliseconds() -> None:
    assert promql(DURATION, "staging", [BACKEND], LONG) == (
        "1000 * histogram_quantile(0.99, sum by (le) "
        "(rate(nginx_ingress_controller_request_duration_seconds_bucket"
        '{namespace="staging",canary=~"staging-podinfo-canary-9898"}[60s])))'
    )


def test_a_query_of_the_user_is_taken_as_it_is() -> None:
    own = Metric(REQUEST_SUCCESS_RATE, LIMITS, query='vector(1) # {{"$`')
    assert promql(own, "staging", [BACKEND], LONG) == 'vector(1) # {{"$`'


@pytest.mark.parametrize(
    ("interval", "elapsed", "window"),
    [
        (60, 3600, "[60s]"),
        (60, 60, "[60s]"),
        (60, 20, "[20s]"),
        (60, 19.999, "[19s]"),
        (300, 100000, "[300s]"),
        (60, 0.2, "[1s]"),
    ],
)
@pytest.mark.parametrize("name", [REQUEST_SUCCESS_RATE, REQUEST_DURATION])
def test_it_never_looks_back_beyond_what_the_weight_has_been_in_effect(
    name: str, interval: float, elapsed: float, window: str
) -> None:
    metric = Metric(name, LIMITS, timedelta(seconds=interval))
    assert set(re.findall(r"\[.+?\]", promql(metric, "staging", [BACKEND], timedelta(seconds=elapsed)))) == {window}


def test_every_backend_counts_once() -> None:
    backends = [
        Backend("public", "podinfo", "http"),
        Backend("internal", "podinfo", "9898"),
        Backend("another", "podinfo", "http"),
    ]
    query = promql(DURATION, "staging", backends, LONG)
    assert 'canary=~"staging-podinfo-canary-9898|staging-podinfo-canary-http"' in query


def test_what_means_something_in_a_regular_expression_means_itself() -> None:
    pattern = labels_of(promql(DURATION, "staging", [Backend("i", "pod.info", "8.8")], LONG))
    assert pattern.fullmatch("staging-pod.info-canary-8.8")
    assert not pattern.fullmatch("staging-podXinfo-canary-8.8")
    assert not pattern.fullmatch("staging-pod.info-canary-8X8")


def test_nothing_gets_out_of_its_quotes() -> None:
    evil = '"} or vector(1) #\\'
    query = promql(SUCCESS, evil, [Backend("i", "podinfo", evil)], LONG)
    assert 'namespace="\\"} or vector(1) #\\\\"' in query
    assert labels_of(query).fullmatch(f"{evil}-podinfo-canary-{evil}")


def test_a_line_break_stays_inside_of_its_quotes() -> None:
    assert "\n" not in promql(DURATION, "a\nb", [BACKEND], LONG)
