"""Bad input gets a clear answer that names the field, and harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from canary.model.fields import SpecError
from canary.model.spec import parse_spec
from e2e.external import Cluster, external_cluster
from e2e.lab.errors import CommandFailed
from e2e.rollout import Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NAMESPACE = "bad-input"

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s, namespace: bad-input}
spec:
  replicas: 0
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec: {containers: [{name: app, image: none}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: bad-input}
spec: {selector: {app: %(name)s}, ports: [{port: 80}]}
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %(name)s, namespace: bad-input}
spec:
  ingressClassName: %(class)s
  rules:
  - host: %(name)s.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %(name)s, port: {number: 80}}}}]}
"""

METRIC = {"name": "request-success-rate", "thresholdRange": {"min": 99}}
HEADER: dict[str, Any] = {"headers": {"x-canary": {"exact": "yes"}}}
COOKIE: dict[str, Any] = {"headers": {"cookie": {"exact": "canary"}}}
TESTERS = [HEADER]
WEBHOOK = {"name": "gate", "url": "http://gate.staging/check"}


def matched(**headers: object) -> dict[str, Any]:
    """Steps with one that matches by these headers."""
    return {"steps": [{"match": [{"headers": headers}]}]}


def window(**fields: str) -> dict[str, Any]:
    """A freeze with one window; `fields` replace what is right."""
    return {"freeze": {"windows": [{"schedule": "0 18 * * FRI", "duration": "62h", **fields}]}}


def alert(**labels: str) -> dict[str, Any]:
    """A freeze by one alert."""
    return {"freeze": {"alerts": [{"name": "Burning", "labels": labels}]}}


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("several targets", {"targets": [{"name": "a", "ingresses": [{"name": "i"}]}, {"name": "b"}]}),
    ("a release", {"scope": "Release"}),
    ("fine weights", {"steps": [{"weight": 0.01}, {"weight": 0.07}, {"weight": 33.33}, {"weight": 100}]}),
    (
        "testers first",
        {"steps": [{"match": TESTERS}, {"weight": 10, "match": TESTERS}, {"weight": 10}, {"weight": 50}]},
    ),
    ("a header by its presence", matched(**{"X-Canary": {}})),
    ("a header by a pattern", matched(a={"regex": r"^(beta|v2\.[0-9]+)$"})),
    ("a header and a cookie", {"steps": [{"match": [HEADER, COOKIE], "weight": 0}]}),
    ("gates and times", {"steps": [{"weight": 10, "for": "1m", "maxFor": "1m30s", "gate": "manual"}], "bake": "10m"}),
    ("waiting for a human", {"onFailure": "hold"}),
    ("a webhook", {"webhooks": [{**WEBHOOK, "type": "event", "name": "an event's ears"}]}),
    ("a webhook by address", {"webhooks": [{**WEBHOOK, "url": "https://[2001:db8::1]:8443/a?b=c#d"}]}),
    ("frozen", window(timeZone="Europe/Berlin") | {"onFailure": "rollback"}),
    ("frozen on the last Friday", window(schedule="*/5 0-6,18 L * FRI#2")),
    ("frozen by an alert", alert(namespace="staging", severity="")),
    ("nothing known good", {"knownGoodRevisions": 0}),
    ("needless", {"skipAnalysisFor": ["/metadata/labels/app.kubernetes.io~1version", "/spec/containers/0/resources"]}),
    ("nodes on demand", {"schedulingTimeout": "5m"}),
]
"""What is right, and must be so for the API server and for the operator."""

UNDECIDED: list[tuple[str, dict[str, Any], str]] = [
    (
        "a field of a header that ingress-nginx has not",
        matched(a={"prefix": "b"}),
        "spec.steps[0].match[0].headers.a.prefix",
    ),
    ("another field of a match", {"steps": [{"match": [{**HEADER, "uri": {}}]}]}, "spec.steps[0].match[0].uri"),
    ("a name that nginx drops", matched(x_canary={}), "spec.steps[0].match[0].headers"),
    ("a broken pattern", matched(a={"regex": "(b"}), "spec.steps[0].match[0].headers.a.regex"),
    ("a day that never comes", window(schedule="0 0 30 2 *"), "spec.freeze.windows[0].schedule"),
    ("a label of another world", alert(**{"a-b": "c"}), "spec.freeze.alerts[0].labels"),
]
"""What the API server lets pass as it was written, so that the operator can refuse it."""

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no target", {"targets": []}, "spec.targets"),
    ("too many targets", {"targets": [{"name": f"app-{number}"} for number in range(21)]}, "spec.targets"),
    ("the same target twice", {"targets": [{"name": "a"}, {"name": "a"}]}, "spec.targets[1]"),
    ("target without a name", {"targets": [{}]}, "spec.targets[0].name"),
    ("target with a bad name", {"targets": [{"name": "A_b"}]}, "spec.targets[0].name"),
    ("an unknown scope", {"scope": "Namespace"}, "spec.scope"),
    ("weight 0", {"steps": [{"weight": 0}]}, "spec.steps[0].weight"),
    ("no weight", {"steps": [{"for": "1m"}]}, "spec.steps[0].weight"),
    ("a weight below 0", {"steps": [{"weight": -1}]}, "spec.steps[0].weight"),
    ("a weight that is too fine", {"steps": [{"weight": 0.005}]}, "spec.steps[0].weight"),
    ("weight 101", {"steps": [{"weight": 101}]}, "spec.steps[0].weight"),
    ("weight as text", {"steps": [{"weight": "5"}]}, "spec.steps[0].weight"),
    ("weights that fall", {"steps": [{"weight": 20}, {"weight": 10}]}, "spec.steps"),
    ("the same weight twice", {"steps": [{"weight": 10}, {"weight": 10}]}, "spec.steps"),
    ("the same share twice", {"steps": [{"match": TESTERS}, {"match": TESTERS}]}, "spec.steps"),
    ("a weight that falls to a match", {"steps": [{"weight": 10}, {"match": TESTERS}]}, "spec.steps"),
    ("no steps", {"steps": []}, "spec.steps"),
    ("a match of nothing", {"steps": [{"match": []}]}, "spec.steps[0].match"),
    ("a match without headers", {"steps": [{"match": [{}]}]}, "spec.steps[0].match[0].headers"),
    ("a header without a name", matched(), "spec.steps[0].match[0].headers"),
    ("two headers at once", matched(a={}, b={}), "spec.steps[0].match[0].headers"),
    ("two headers in turn", {"steps": [{"match": [HEADER, {"headers": {"b": {}}}]}]}, "spec.steps[0].match"),
    ("two cookies", {"steps": [{"match": [COOKIE, COOKIE]}]}, "spec.steps[0].match"),
    ("a header as text", matched(a="b"), "spec.steps[0].match[0].headers.a"),
    ("an exact value that nginx refuses", matched(a={"exact": 'a"b'}), "spec.steps[0].match[0].headers.a.exact"),
    ("a pattern that nginx refuses", matched(a={"regex": "a;b"}), "spec.steps[0].match[0].headers.a.regex"),
    ("a pattern beside a value", matched(a={"exact": "b", "regex": "b"}), "spec.steps[0].match[0].headers[a].regex"),
    ("a cookie without a name", matched(cookie={}), "spec.steps[0].match[0].headers"),
    ("a cookie by a pattern", matched(cookie={"regex": "^canary=1$"}), "spec.steps[0].match[0].headers"),
    ("a cookie with a value", matched(Cookie={"exact": "canary:1"}), "spec.steps[0].match[0].headers"),
    ("an unknown gate", {"steps": [{"weight": 10, "gate": "auto"}]}, "spec.steps[0].gate"),
    ("a duration without a unit", {"steps": [{"weight": 10, "for": "60"}]}, "spec.steps[0].for"),
    ("an age of a step", {"steps": [{"weight": 10, "for": "169h"}]}, "spec.steps[0].for"),
    (
        "proof sought shorter than a step",
        {"steps": [{"weight": 10, "for": "5m", "maxFor": "4m"}]},
        "spec.steps[0].maxFor",
    ),
    ("proof sought shorter than by default", {"steps": [{"weight": 10, "maxFor": "29s"}]}, "spec.steps[0].maxFor"),
    ("baking without a unit", {"bake": "60"}, "spec.bake"),
    ("baking for an age", {"bake": "99999999999999h"}, "spec.bake"),
    ("no requests at all", {"analysis": {"minRequests": 0}}, "spec.analysis.minRequests"),
    ("warming up for a mood", {"analysis": {"warmUp": "cold"}}, "spec.analysis.warmUp"),
    ("promoting on no evidence", {"analysis": {"onInconclusive": "promote"}}, "spec.analysis.onInconclusive"),
    ("advancing on an error", {"analysis": {"onError": "advance"}}, "spec.analysis.onError"),
    ("errors for an age", {"analysis": {"errorLimit": "169h"}}, "spec.analysis.errorLimit"),
    ("an interval of nothing", {"analysis": {"interval": "0s"}}, "spec.analysis.interval"),
    ("threshold 0", {"analysis": {"threshold": 0}}, "spec.analysis.threshold"),
    ("an unknown metric", {"analysis": {"metrics": [{"name": "latency"}]}}, "spec.analysis.metrics[0].name"),
    (
        "a query without a range",
        {"analysis": {"metrics": [{"name": "mine", "query": "up"}]}},
        "spec.analysis.metrics[0].query",
    ),
    (
        "a template without a range",
        {"analysis": {"metrics": [{"name": "mine", "templateRef": {"name": "t"}}]}},
        "spec.analysis.metrics[0].templateRef",
    ),
    (
        "a query beside a template",
        {"analysis": {"metrics": [{**METRIC, "query": "up", "templateRef": {"name": "t"}}]}},
        "spec.analysis.metrics[0].templateRef",
    ),
    (
        "a template of another namespace",
        {"analysis": {"metrics": [{**METRIC, "templateRef": {"name": "t", "namespace": "default"}}]}},
        "spec.analysis.metrics[0].templateRef.namespace",
    ),
    (
        "variables without a template",
        {"analysis": {"metrics": [{**METRIC, "query": "up", "templateVariables": {"a": "b"}}]}},
        "spec.analysis.metrics[0].templateVariables",
    ),
    (
        "a variable that is no text",
        {"analysis": {"metrics": [{**METRIC, "templateRef": {"name": "t"}, "templateVariables": {"a": 5}}]}},
        "spec.analysis.metrics[0].templateVariables.a",
    ),
    (
        "an empty range",
        {"analysis": {"metrics": [{**METRIC, "thresholdRange": {}}]}},
        "spec.analysis.metrics[0].thresholdRange",
    ),
    (
        "a range upside down",
        {"analysis": {"metrics": [{**METRIC, "thresholdRange": {"min": 2, "max": 1}}]}},
        "spec.analysis.metrics[0].thresholdRange",
    ),
    ("going on after a failure", {"onFailure": "advance"}, "spec.onFailure"),
    ("a webhook without a URL", {"webhooks": [{"name": "gate"}]}, "spec.webhooks[0].url"),
    ("an unknown type", {"webhooks": [{**WEBHOOK, "type": "confirm"}]}, "spec.webhooks[0].type"),
    ("a webhook that is no URL", {"webhooks": [{**WEBHOOK, "url": "gate.staging"}]}, "spec.webhooks[0].url"),
    ("a password", {"webhooks": [{**WEBHOOK, "url": "http://me:secret@gate.staging"}]}, "spec.webhooks[0].url"),
    ("no port", {"webhooks": [{**WEBHOOK, "url": "http://gate.staging:0/"}]}, "spec.webhooks[0].url"),
    ("no such port", {"webhooks": [{**WEBHOOK, "url": "http://gate.staging:70000/"}]}, "spec.webhooks[0].url"),
    ("an hour and more", {"webhooks": [{**WEBHOOK, "timeout": "61m"}]}, "spec.webhooks[0].timeout"),
    ("trying for ever", {"webhooks": [{**WEBHOOK, "retries": 11}]}, "spec.webhooks[0].retries"),
    ("silence as failure", {"webhooks": [{**WEBHOOK, "onTimeout": "fail"}]}, "spec.webhooks[0].onTimeout"),
    ("a name of two lines", {"webhooks": [{**WEBHOOK, "name": "a\nb"}]}, "spec.webhooks[0].name"),
    ("a metric's name", {"webhooks": [{**WEBHOOK, "name": "request-duration"}]}, "spec.webhooks[0].name"),
    ("the same webhook twice", {"webhooks": [WEBHOOK, WEBHOOK]}, "spec.webhooks[1]"),
    ("no schedule", {"freeze": {"windows": [{"duration": "1h"}]}}, "spec.freeze.windows[0].schedule"),
    ("four fields", window(schedule="0 18 * *"), "spec.freeze.windows[0].schedule"),
    ("a nickname", window(schedule="@weekly"), "spec.freeze.windows[0].schedule"),
    ("a moment", window(duration="59s"), "spec.freeze.windows[0].duration"),
    ("a freeze for an age", window(duration="169h"), "spec.freeze.windows[0].duration"),
    ("a zone of nobody", window(timeZone="Europe/Atlantis"), "spec.freeze.windows[0].timeZone"),
    ("a zone of the machine", window(timeZone="Local"), "spec.freeze.windows[0].timeZone"),
    ("an alert without a name", {"freeze": {"alerts": [{"labels": {}}]}}, "spec.freeze.alerts[0].name"),
    ("a state of an alert", alert(alertstate="pending"), "spec.freeze.alerts[0].labels"),
    ("a hidden label", alert(__name__="ALERTS"), "spec.freeze.alerts[0].labels"),
    ("too many known good", {"knownGoodRevisions": 21}, "spec.knownGoodRevisions"),
    ("fewer than none known good", {"knownGoodRevisions": -1}, "spec.knownGoodRevisions"),
    ("a pointer from nowhere", {"skipAnalysisFor": ["metadata/labels"]}, "spec.skipAnalysisFor[0]"),
    ("a pointer to everything", {"skipAnalysisFor": ["/"]}, "spec.skipAnalysisFor[0]"),
    ("waiting for nodes for an age", {"schedulingTimeout": "169h"}, "spec.schedulingTimeout"),
    ("the same metric twice", {"analysis": {"metrics": [METRIC, METRIC]}}, "spec.analysis.metrics[1]"),
    ("a deadline of 0", {"progressDeadlineSeconds": 0}, "spec.progressDeadlineSeconds"),
    ("suspend as text", {"suspend": "yes"}, "spec.suspend"),
    ("an unknown field", {"stepWeight": 5}, "spec.stepWeight"),
]


STRING = {"name": "queue", "type": "string"}
REFUSED_TEMPLATES: list[tuple[str, dict[str, Any], str]] = [
    ("no query", {"variables": []}, "spec.query"),
    ("an empty query", {"query": ""}, "spec.query"),
    ("no type", {"query": "up", "variables": [{"name": "queue"}]}, "spec.variables[0].type"),
    ("an unknown type", {"query": "up", "variables": [{**STRING, "type": "regex"}]}, "spec.variables[0].type"),
    ("a bad name", {"query": "up", "variables": [{**STRING, "name": "a-b"}]}, "spec.variables[0].name"),
    (
        "a built-in variable",
        {"query": "up", "variables": [{**STRING, "name": "canaryService"}]},
        "spec.variables[0].name",
    ),
    ("a variable twice", {"query": "up", "variables": [STRING, STRING]}, "spec.variables[1]"),
    (
        "a default that is no number",
        {"query": "up", "variables": [{"name": "limit", "type": "number", "default": "5m"}]},
        "spec.variables[0].default",
    ),
    (
        "a default that is no duration",
        {"query": "up", "variables": [{"name": "window", "type": "duration", "default": "5"}]},
        "spec.variables[0].default",
    ),
]


def metric_template(name: str, **spec: object) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "fluxcanary.dev/v1beta1",
            "kind": "MetricTemplate",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
    )


def canary(name: str, target: str, **spec: object) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "fluxcanary.dev/v1beta1",
            "kind": "Canary",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"targets": [{"name": target}], **spec},
        }
    )


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with a namespace for these tests."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "canary", "--all", "-n", NAMESPACE, "--timeout=30s")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def condition(cluster: Cluster, name: str, type_: str) -> dict[str, Any]:
    status = cluster.get("canary", name, "-n", NAMESPACE).get("status") or {}
    return next((found for found in status.get("conditions") or () if found["type"] == type_), {})


def await_reason(cluster: Cluster, name: str, reason: str) -> str:
    """Wait until a Canary is stalled for a reason; the message."""
    found = cluster.wait_for(
        lambda: (c := condition(cluster, name, "Stalled")).get("reason") == reason and c, 20, f"{name} to be {reason}"
    )
    assert found
    return str(found["message"])


def test_the_api_server_refuses_what_it_can_decide_and_names_the_field(cluster: Cluster) -> None:
    for what, spec, field in REFUSED:
        assert field in refusal(cluster, in_default(spec)), what
    for what, spec, field in REFUSED_TEMPLATES:
        manifest = yaml.safe_load(metric_template("bad", **spec))
        manifest["metadata"]["namespace"] = "default"
        assert field in refusal(cluster, manifest), what


def test_what_the_api_server_takes_the_operator_understands(cluster: Cluster) -> None:
    for what, spec in ACCEPTED:
        taken = yaml.safe_load(tried(cluster, in_default(spec)))
        assert parse_spec(taken["spec"]).targets, what


def test_what_the_api_server_cannot_decide_reaches_the_operator_unchanged(cluster: Cluster) -> None:
    for what, spec, field in UNDECIDED:
        taken = yaml.safe_load(tried(cluster, in_default(spec)))
        with pytest.raises(SpecError) as refused:
            parse_spec(taken["spec"])
        assert refused.value.path == field, what


def in_default(spec: dict[str, Any]) -> dict[str, Any]:
    """A Canary of the namespace that is always there."""
    manifest: dict[str, Any] = yaml.safe_load(canary("bad", "app"))
    manifest["metadata"]["namespace"] = "default"
    return {**manifest, "spec": {**manifest["spec"], **spec}}


def refusal(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """What the API server says to an object that it does not take."""
    with pytest.raises(CommandFailed) as refused:
        tried(cluster, manifest)
    return refused.value.stderr


def tried(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """An object as the API server would store it."""
    options = ("--validate=strict", "--dry-run=server", "--output=yaml")
    return cluster.kubectl("create", "-f-", *options, input=yaml.safe_dump(manifest))


def test_a_missing_target_is_named_and_found_when_it_comes(place: Cluster) -> None:
    place.apply(canary("early", "late"))
    message = await_reason(place, "early", "TargetNotFound")
    assert "spec.targets[0].name" in message
    assert "'late'" in message
    for manifest in (DEPLOYMENT, SERVICE, INGRESS):
        place.apply(manifest % {"name": "late", "class": "nginx"})
    place.wait_for(lambda: condition(place, "early", "Ready").get("status") == "True", 60, "the target to be found")


def test_a_target_that_no_service_selects_is_not_touched(place: Cluster) -> None:
    place.apply(DEPLOYMENT % {"name": "hidden"})
    place.apply(canary("hidden", "hidden"))
    assert "no Service selects" in await_reason(place, "hidden", "NoService")
    labels = place.get("deployment", "hidden", "-n", NAMESPACE)["metadata"].get("labels", {})
    assert "fluxcanary.dev/guard" not in labels


def test_a_target_without_an_ingress_or_with_one_of_another_class_is_told(place: Cluster) -> None:
    place.apply(DEPLOYMENT % {"name": "app"})
    place.apply(SERVICE % {"name": "app"})
    place.apply(canary("app", "app"))
    assert "no Ingress has a backend" in await_reason(place, "app", "NoIngress")
    place.apply(INGRESS % {"name": "app", "class": "traefik"})
    assert "'traefik'" in await_reason(place, "app", "UnsupportedIngress")


def test_a_missing_or_broken_metric_template_is_named_and_found_when_it_is_right(place: Cluster) -> None:
    for manifest in (DEPLOYMENT, SERVICE, INGRESS):
        place.apply(manifest % {"name": "app", "class": "nginx"})
    metric = {**METRIC, "name": "mine", "templateRef": {"name": "mine"}, "templateVariables": {"queue": "mails"}}
    place.apply(canary("app", "app", analysis={"metrics": [metric]}))
    assert "spec.analysis.metrics[0].templateRef" in await_reason(place, "app", "MetricTemplateNotFound")
    place.apply(metric_template("mine", query="max({{ queue }})", variables=[STRING]))
    assert "{{ queue }} at character 5 is a string" in await_reason(place, "app", "InvalidMetricTemplate")
    place.apply(metric_template("mine", query='max(length{queue="{{ queue }}"})', variables=[STRING]))
    place.wait_for(lambda: condition(place, "app", "Ready").get("status") == "True", 20, "the template to be right")


def test_the_younger_of_two_canaries_on_one_target_is_refused(place: Cluster) -> None:
    for manifest in (DEPLOYMENT, SERVICE, INGRESS):
        place.apply(manifest % {"name": "app", "class": "nginx"})
    place.apply(canary("a-first", "app"))
    place.wait_for(lambda: condition(place, "a-first", "Ready").get("status") == "True", 20, "the first to be ready")
    place.apply(canary("second", "app"))
    assert "Canary a-first has Deployment app already" in await_reason(place, "second", "TargetInUse")
    assert condition(place, "a-first", "Ready")["status"] == "True"
    place.kubectl("delete", "canary", "a-first", "-n", NAMESPACE, "--timeout=30s")
    place.wait_for(lambda: condition(place, "second", "Ready").get("status") == "True", 60, "the second to take over")


@pytest.mark.skipif(external_cluster() is not None, reason="nobody takes the guard away from a cluster in use")
def test_without_the_guard_policy_nothing_is_claimed_to_be_protected(place: Cluster) -> None:
    for manifest in (DEPLOYMENT, SERVICE, INGRESS):
        place.apply(manifest % {"name": "app", "class": "nginx"})
    place.apply(canary("app", "app"))
    place.wait_for(lambda: condition(place, "app", "Guarded").get("status") == "True", 20, "the app to be guarded")
    policy = place.get("mutatingadmissionpolicybinding", "fluxcanary-guard")
    place.kubectl("delete", "mutatingadmissionpolicybinding", "fluxcanary-guard")
    try:
        assert "not held" in await_reason(place, "app", "GuardUnbound")
        assert condition(place, "app", "Guarded")["status"] == "False"
        assert condition(place, "app", "Ready")["status"] == "False"
    finally:
        kept = {key: policy["metadata"][key] for key in ("name", "labels")}
        place.apply(yaml.safe_dump({**policy, "metadata": kept}))
    place.wait_for(lambda: condition(place, "app", "Ready").get("status") == "True", 20, "the app to be ready again")


def test_an_object_of_somebody_else_is_never_taken(rollouts: Rollouts) -> None:
    lab, foreign = rollouts.lab, (SERVICE % {"name": "podinfo-canary"}).replace("bad-input", "staging")
    lab.apply(foreign)
    before = lab.get("service", "podinfo-canary", "-n", "staging")["spec"]
    try:
        rollouts.create()
        rollouts.push(rollouts.good())
        rollouts.await_status(
            lambda s: any(c["reason"] == "NameTaken" for c in s["conditions"]), 60, "the name to be taken"
        )
        assert lab.get("service", "podinfo-canary", "-n", "staging")["spec"] == before
    finally:
        lab.kubectl("delete", "service", "podinfo-canary", "-n", "staging")
    rollouts.await_phase("Progressing", 60)
