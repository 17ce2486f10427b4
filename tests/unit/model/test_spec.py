"""What a user may write, and what is said of what they may not."""

from datetime import timedelta
from typing import Any

import pytest

from canary.model.fields import SpecError
from canary.model.freeze import NEVER
from canary.model.share import Header, Match, Share
from canary.model.spec import (
    DEFAULT_METRICS,
    RESTARTED,
    Analysis,
    CanarySpec,
    Metric,
    OnError,
    OnFailure,
    OnInconclusive,
    Scope,
    Step,
    Target,
    ThresholdRange,
    parse_spec,
)
from canary.model.webhook import HookType

MINIMAL: dict[str, Any] = {"targets": [{"name": "podinfo"}]}


def parsed(**fields: Any) -> CanarySpec:
    return parse_spec({**MINIMAL, **fields})


def refused(**fields: Any) -> SpecError:
    with pytest.raises(SpecError) as failure:
        parsed(**fields)
    return failure.value


def test_a_name_is_all_that_is_needed() -> None:
    spec = parse_spec(MINIMAL)
    assert spec.targets == (Target("podinfo"),)
    assert [(step.weight, step.hold, step.max_hold) for step in spec.steps] == [
        (weight, timedelta(seconds=30), timedelta(minutes=2)) for weight in (5, 10, 20, 35, 50)
    ]
    assert spec.webhooks == ()
    assert spec.freeze == NEVER
    assert spec.on_failure is OnFailure.ROLLBACK
    assert spec.known_good == 3
    assert spec.skip_analysis_for == (RESTARTED,)
    assert spec.scheduling_timeout == timedelta()
    assert spec.scope is Scope.TARGETS
    assert spec.analysis.interval == timedelta(seconds=15)
    assert spec.analysis.threshold == 2
    assert spec.analysis.metrics == (Metric("request-success-rate"), Metric("request-duration"))
    assert all(metric.compared for metric in spec.analysis.metrics)
    assert spec.analysis.warm_up == timedelta(seconds=30)
    assert spec.analysis.min_requests == 10
    assert spec.analysis.on_inconclusive is OnInconclusive.HOLD
    assert spec.analysis.on_error is OnError.HOLD
    assert spec.analysis.error_limit == timedelta(minutes=5)
    assert spec.progress_deadline == timedelta(minutes=10)
    assert spec.suspend is False


def test_everything_can_be_said() -> None:
    spec = parse_spec(
        {
            "targets": [
                {"name": "podinfo", "ingresses": [{"name": "public"}, {"name": "internal"}]},
                {"name": "backend"},
            ],
            "scope": "Release",
            "steps": [
                {"match": [{"headers": {"X-Tester": {"exact": "yes"}}}], "for": "10s"},
                {"weight": 0.5, "for": "90s", "maxFor": "10m"},
                {"weight": 80, "gate": "manual"},
            ],
            "onFailure": "hold",
            "knownGoodRevisions": 0,
            "skipAnalysisFor": ["/metadata/labels/version"],
            "schedulingTimeout": "2m",
            "webhooks": [{"name": "load-test", "type": "rollout", "url": "http://loadtester.test/"}],
            "freeze": {"windows": [{"schedule": "0 16 * * FRI", "duration": "64h"}]},
            "bake": "1h30m",
            "analysis": {
                "interval": "30s",
                "threshold": 5,
                "warmUp": "0s",
                "minRequests": 500,
                "onInconclusive": "advance",
                "onError": "rollback",
                "errorLimit": "90s",
                "metrics": [
                    {"name": "request-duration", "interval": "2m", "thresholdRange": {"max": 250}},
                    {"name": "saturation", "query": "vector(1)", "thresholdRange": {"min": 0, "max": 0.5}},
                    {
                        "name": "queue",
                        "templateRef": {"name": "queue-length"},
                        "templateVariables": {"queue": "mails", "percentile": "99"},
                        "thresholdRange": {"max": 100},
                    },
                ],
            },
            "progressDeadlineSeconds": 60,
            "suspend": True,
        }
    )
    assert spec.targets == (
        Target("podinfo", ("public", "internal")),
        Target("backend", path="spec.targets[1]"),
    )
    assert spec.scope is Scope.RELEASE
    assert spec.steps == (
        Step(Share(0, Match(Header("X-Tester", exact="yes"))), timedelta(seconds=10)),
        Step(Share(0.5), timedelta(seconds=90), timedelta(minutes=10)),
        Step(Share(80), manual=True),
        Step(Share(95), timedelta(minutes=90), timedelta(minutes=90)),
    )
    assert spec.on_failure is OnFailure.HOLD
    assert spec.known_good == 0
    assert spec.skip_analysis_for == (RESTARTED, "/metadata/labels/version")
    assert spec.scheduling_timeout == timedelta(minutes=2)
    assert [hook.name for hook in spec.hooks(HookType.ROLLOUT)] == ["load-test"]
    assert spec.hooks(HookType.ROLLBACK) == ()
    assert [window.schedule for window in spec.freeze.windows] == ["0 16 * * FRI"]
    assert spec.analysis == Analysis(
        interval=timedelta(seconds=30),
        threshold=5,
        metrics=(
            Metric("request-duration", ThresholdRange(max=250), timedelta(minutes=2)),
            Metric("saturation", ThresholdRange(0, 0.5), timedelta(minutes=1), "vector(1)"),
            Metric(
                "queue",
                ThresholdRange(max=100),
                template_ref="queue-length",
                template_variables=(("percentile", "99"), ("queue", "mails")),
            ),
        ),
        warm_up=timedelta(),
        min_requests=500,
        on_inconclusive=OnInconclusive.ADVANCE,
        on_error=OnError.ROLLBACK,
        error_limit=timedelta(seconds=90),
    )
    assert spec.progress_deadline == timedelta(minutes=1)
    assert spec.suspend is True


def test_empty_lists_and_nulls_mean_the_defaults() -> None:
    assert parsed(steps=[], analysis={"metrics": []}) == parse_spec(MINIMAL)
    assert parsed(steps=None, analysis=None, progressDeadlineSeconds=None, suspend=None) == parse_spec(MINIMAL)


def test_a_built_in_metric_is_compared_with_stable_unless_limits_are_given() -> None:
    success, duration = parsed(
        analysis={
            "metrics": [{"name": "request-success-rate"}, {"name": "request-duration", "thresholdRange": {"max": 250}}]
        }
    ).analysis.metrics
    assert success == DEFAULT_METRICS[0]
    assert success.compared
    assert duration.threshold_range == ThresholdRange(max=250)
    assert not duration.compared


@pytest.mark.parametrize(
    ("step", "hold", "max_hold"),
    [
        ({}, timedelta(seconds=30), timedelta(minutes=2)),
        ({"for": "90s"}, timedelta(seconds=90), timedelta(minutes=2)),
        ({"for": "5m"}, timedelta(minutes=5), timedelta(minutes=5)),
        ({"maxFor": "30s"}, timedelta(seconds=30), timedelta(seconds=30)),
        ({"for": "5m", "maxFor": "1h"}, timedelta(minutes=5), timedelta(hours=1)),
    ],
)
def test_proof_is_looked_for_two_minutes_or_as_long_as_the_step_takes(
    step: dict[str, str], hold: timedelta, max_hold: timedelta
) -> None:
    assert parsed(steps=[{"weight": 5, **step}]).steps == (Step(Share(5), hold, max_hold),)


def test_an_error_never_lets_the_canary_go_on() -> None:
    assert set(OnError) == {"hold", "rollback"}


def test_a_week_is_the_longest() -> None:
    assert parsed(steps=[{"weight": 5, "for": "168h"}]).steps[0].hold == timedelta(days=7)


class TestBake:
    def test_it_is_a_last_step_in_which_stable_keeps_enough_to_compare_with(self) -> None:
        assert [step.weight for step in parsed(bake="15m").steps] == [5, 10, 20, 35, 50, 95]
        assert parsed(bake="15m").steps[-1] == Step(Share(95), timedelta(minutes=15), timedelta(minutes=15))

    def test_proof_is_looked_for_two_minutes_in_a_short_one(self) -> None:
        assert parsed(bake="10s").steps[-1] == Step(Share(95), timedelta(seconds=10), timedelta(minutes=2))

    def test_it_takes_no_share_back(self) -> None:
        assert [step.weight for step in parsed(steps=[{"weight": 99}], bake="15m").steps] == [99, 99]

    def test_none_is_no_step(self) -> None:
        assert parsed(bake="0s").steps == parsed().steps


def test_a_step_may_widen_who_is_asked_without_more_weight() -> None:
    testers = {"match": [{"headers": {"X-Tester": {"exact": "yes"}}}]}
    steps = parsed(steps=[testers, {"weight": 5, **testers}, {"weight": 5}]).steps
    assert [str(step.share) for step in steps] == [
        "header X-Tester=yes",
        "header X-Tester=yes, weight 5 %",
        "weight 5 %",
    ]


def metrics(*items: Any) -> dict[str, Any]:
    return {"analysis": {"metrics": list(items)}}


QUERY = {"name": "mine", "query": "vector(1)"}
TEMPLATE: dict[str, Any] = {"name": "mine", "templateRef": {"name": "t"}, "thresholdRange": {"max": 1}}

HOOK = {"name": "a", "type": "rollout", "url": "http://a.b/"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("spec.targets", {"targets": []}, "at least one entry"),
    ("spec.targets", {"targets": None}, "at least one entry"),
    ("spec.targets[1].name", {"targets": [{"name": "a"}, {"name": "a"}]}, "'a' is there twice"),
    ("spec.scope", {"scope": "Namespace"}, "one of Targets, Release"),
    ("spec.steps[0].gate", {"steps": [{"weight": 5, "gate": "closed"}]}, "one of none, manual"),
    ("spec.steps[0].match", {"steps": [{"match": []}]}, "must have an entry"),
    ("spec.onFailure", {"onFailure": "advance"}, "one of rollback, hold"),
    ("spec.knownGoodRevisions", {"knownGoodRevisions": 21}, "from 0 to 20, is 21"),
    ("spec.knownGoodRevisions", {"knownGoodRevisions": -1}, "from 0 to 20, is -1"),
    ("spec.skipAnalysisFor[0]", {"skipAnalysisFor": ["metadata"]}, "must be a JSON pointer"),
    ("spec.skipAnalysisFor[1]", {"skipAnalysisFor": ["/a", "/"]}, "must be a JSON pointer"),
    ("spec.schedulingTimeout", {"schedulingTimeout": 5}, "wrong type"),
    ("spec.webhooks[0].type", {"webhooks": [{"name": "a", "type": "never", "url": "http://a.b"}]}, "one of"),
    ("spec.webhooks[1].name", {"webhooks": [HOOK, HOOK]}, "'a' is there twice"),
    ("spec.freeze.windows[0].schedule", {"freeze": {"windows": [{"schedule": "soon"}]}}, "soon"),
    ("spec.targets", {"targets": "podinfo"}, "wrong type"),
    ("spec.targets[0]", {"targets": ["podinfo"]}, "must be an object"),
    ("spec.targets[0].name", {"targets": [{}]}, "is required"),
    ("spec.targets[0].name", {"targets": [{"name": 7}]}, "wrong type"),
    (
        "spec.targets[0].ingresses[1].name",
        {"targets": [{"name": "a", "ingresses": [{"name": "b"}, {}]}]},
        "is required",
    ),
    ("spec.targets[0].ingresses[0]", {"targets": [{"name": "a", "ingresses": ["b"]}]}, "must be an object"),
    ("spec.steps", {"steps": {"weight": 5}}, "wrong type"),
    ("spec.steps[0]", {"steps": [5]}, "must be an object"),
    ("spec.steps[0].weight", {"steps": [{}]}, "is required"),
    ("spec.steps[0].weight", {"steps": [{"weight": 0}]}, "must be above 0"),
    ("spec.steps[1].weight", {"steps": [{"weight": 5}, {"weight": 101}]}, "from 0 to 100, is 101"),
    ("spec.steps[0].weight", {"steps": [{"weight": "5"}]}, "wrong type"),
    ("spec.steps[0].weight", {"steps": [{"weight": 5.555}]}, "at most two decimals"),
    ("spec.steps[0].weight", {"steps": [{"weight": True}]}, "wrong type"),
    ("spec.steps[1].weight", {"steps": [{"weight": 5}, {"weight": 5}]}, "must be above that of the step before it (5)"),
    (
        "spec.steps[2].weight",
        {"steps": [{"weight": 5}, {"weight": 9}, {"weight": 8}]},
        "must be above that of the step before it (9)",
    ),
    (
        "spec.steps[1].weight",
        {"steps": [{"weight": 9}, {"weight": 8, "match": [{"headers": {"X-Tester": {"exact": "yes"}}}]}]},
        "must not be below that of the step before it (9)",
    ),
    ("spec.steps[0].for", {"steps": [{"weight": 5, "for": "a while"}]}, "'a while' is not a duration"),
    ("spec.steps[0].for", {"steps": [{"weight": 5, "for": 60}]}, "wrong type"),
    ("spec.steps[0].maxFor", {"steps": [{"weight": 5, "maxFor": "29s"}]}, "at least as long as for (30s)"),
    ("spec.steps[1].maxFor", {"steps": [{"weight": 5}, {"weight": 6, "for": "5m", "maxFor": "4m"}]}, "for (5m)"),
    ("spec.steps[0].for", {"steps": [{"weight": 5, "for": "169h"}]}, "at most 168h, is 169h"),
    ("spec.bake", {"bake": 60}, "wrong type"),
    ("spec.bake", {"bake": "168h1ms"}, "at most 168h"),
    ("spec.bake", {"bake": "999999999999999999h"}, "at most 168h"),
    ("spec.analysis", {"analysis": []}, "wrong type"),
    ("spec.analysis.interval", {"analysis": {"interval": "often"}}, "'often' is not a duration"),
    ("spec.analysis.interval", {"analysis": {"interval": "0s"}}, "at least 1s"),
    ("spec.analysis.interval", {"analysis": {"interval": "999ms"}}, "at least 1s"),
    ("spec.analysis.threshold", {"analysis": {"threshold": "2"}}, "wrong type"),
    ("spec.analysis.threshold", {"analysis": {"threshold": 0}}, "from 1 to 1000, is 0"),
    ("spec.analysis.threshold", {"analysis": {"threshold": 1001}}, "from 1 to 1000, is 1001"),
    ("spec.analysis.warmUp", {"analysis": {"warmUp": "cold"}}, "'cold' is not a duration"),
    ("spec.analysis.minRequests", {"analysis": {"minRequests": 0}}, "from 1 to 1000000, is 0"),
    ("spec.analysis.minRequests", {"analysis": {"minRequests": 1.5}}, "wrong type"),
    ("spec.analysis.onInconclusive", {"analysis": {"onInconclusive": "promote"}}, "one of hold, rollback, advance"),
    ("spec.analysis.onInconclusive", {"analysis": {"onInconclusive": True}}, "wrong type"),
    ("spec.analysis.onError", {"analysis": {"onError": "advance"}}, "one of hold, rollback, is 'advance'"),
    ("spec.analysis.errorLimit", {"analysis": {"errorLimit": "5"}}, "'5' is not a duration"),
    ("spec.analysis.metrics[0]", metrics("request-duration"), "must be an object"),
    ("spec.analysis.metrics[0].name", metrics({}), "is required"),
    ("spec.analysis.metrics[0].name", metrics({"name": "latency"}), "'latency' is neither built in"),
    ("spec.analysis.metrics[1].name", metrics({"name": "request-duration"}, {"name": "request-duration"}), "twice"),
    ("spec.analysis.metrics[0].query", metrics({**QUERY, "query": 1}), "wrong type"),
    ("spec.analysis.metrics[0].thresholdRange", metrics(QUERY), "is required beside a query"),
    ("spec.analysis.metrics[0].templateRef", metrics({**TEMPLATE, "query": "up"}), "cannot stand beside a query"),
    ("spec.analysis.metrics[0].templateRef", metrics({**TEMPLATE, "templateRef": "t"}), "wrong type"),
    ("spec.analysis.metrics[0].templateRef.name", metrics({**TEMPLATE, "templateRef": {}}), "is required"),
    ("spec.analysis.metrics[0].thresholdRange", metrics({**TEMPLATE, "thresholdRange": None}), "is required beside"),
    ("spec.analysis.metrics[0].templateVariables", metrics({**TEMPLATE, "templateVariables": []}), "wrong type"),
    (
        "spec.analysis.metrics[0].templateVariables.limit",
        metrics({**TEMPLATE, "templateVariables": {"limit": 5}}),
        "wrong type",
    ),
    (
        "spec.analysis.metrics[0].templateVariables.limit",
        metrics({**TEMPLATE, "templateVariables": {"limit": None}}),
        "is required",
    ),
    (
        "spec.analysis.metrics[0].templateVariables",
        metrics({**QUERY, "thresholdRange": {"max": 1}, "templateVariables": {"a": "b"}}),
        "need a templateRef",
    ),
    ("spec.analysis.metrics[0].thresholdRange", metrics({**QUERY, "thresholdRange": {}}), "min, max or both"),
    (
        "spec.analysis.metrics[0].thresholdRange",
        metrics({**QUERY, "thresholdRange": {"min": 2, "max": 1}}),
        "min (2) is above max (1)",
    ),
    (
        "spec.analysis.metrics[0].thresholdRange.min",
        metrics({"name": "request-duration", "thresholdRange": {"min": "1"}}),
        "wrong type",
    ),
    (
        "spec.analysis.metrics[0].interval",
        metrics({"name": "request-duration", "interval": "soon"}),
        "'soon' is not a duration",
    ),
    ("spec.analysis.metrics[0].interval", metrics({"name": "request-duration", "interval": "0s"}), "at least 1s"),
    ("spec.progressDeadlineSeconds", {"progressDeadlineSeconds": "600"}, "wrong type"),
    ("spec.progressDeadlineSeconds", {"progressDeadlineSeconds": 0}, "from 1 to 604800, is 0"),
    ("spec.progressDeadlineSeconds", {"progressDeadlineSeconds": 604801}, "from 1 to 604800, is 604801"),
    ("spec.suspend", {"suspend": "yes"}, "wrong type"),
    ("spec.suspend", {"suspend": 1}, "wrong type"),
]


@pytest.mark.parametrize(("path", "fields", "problem"), REFUSED, ids=[f"{path}-{text}" for path, _, text in REFUSED])
def test_what_is_refused_is_named_by_its_field(path: str, fields: dict[str, Any], problem: str) -> None:
    error = refused(**fields)
    assert error.path == path
    assert str(error).startswith(f"{path}: ")
    assert problem in str(error)


@pytest.mark.parametrize(
    ("value", "good"), [(98.9, False), (99.0, True), (99.5, True), (100.0, True), (100.1, False), (float("nan"), False)]
)
def test_both_ends_of_a_range_are_good(value: float, good: bool) -> None:
    assert (value in ThresholdRange(99.0, 100.0)) is good


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (ThresholdRange(min=99.0), "at least 99"),
        (ThresholdRange(max=0.5), "at most 0.5"),
        (ThresholdRange(1, 2), "at least 1 and at most 2"),
    ],
)
def test_a_range_is_said_in_words(limits: ThresholdRange, text: str) -> None:
    assert str(limits) == text


def test_a_webhook_cannot_have_the_name_of_a_built_in_metric() -> None:
    hook = {"name": "request-duration", "url": "http://gate.staging/"}
    with pytest.raises(SpecError, match=r"^spec\.webhooks\[0\]\.name: 'request-duration' is the name of a built-in"):
        parse_spec({"targets": [{"name": "app"}], "webhooks": [hook]})


def test_a_webhook_cannot_have_the_name_of_one_of_the_users_metrics() -> None:
    metric = {"name": "queue", "query": "queue_length", "thresholdRange": {"max": 5}}
    hook = {"name": "queue", "url": "http://loadtester.test/"}
    with pytest.raises(SpecError, match=r"^spec\.webhooks\[0\]\.name: 'queue' is the name of a metric$"):
        parse_spec({"targets": [{"name": "app"}], "analysis": {"metrics": [metric]}, "webhooks": [hook]})
