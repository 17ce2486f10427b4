"""Bad input gets a clear answer that names the field, and harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

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
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no target", {"targets": []}, "spec.targets"),
    ("two targets", {"targets": [{"name": "a"}, {"name": "b"}]}, "spec.targets"),
    ("target without a name", {"targets": [{}]}, "spec.targets[0].name"),
    ("target with a bad name", {"targets": [{"name": "A_b"}]}, "spec.targets[0].name"),
    ("weight 0", {"steps": [{"weight": 0}]}, "spec.steps[0].weight"),
    ("weight 101", {"steps": [{"weight": 101}]}, "spec.steps[0].weight"),
    ("weight as text", {"steps": [{"weight": "5"}]}, "spec.steps[0].weight"),
    ("weights that fall", {"steps": [{"weight": 20}, {"weight": 10}]}, "spec.steps"),
    ("the same weight twice", {"steps": [{"weight": 10}, {"weight": 10}]}, "spec.steps[1]"),
    ("no steps", {"steps": []}, "spec.steps"),
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
        manifest = yaml.safe_load(canary("bad", "app"))
        manifest["metadata"]["namespace"] = "default"
        manifest["spec"] = {**manifest["spec"], **spec}
        assert field in refusal(cluster, manifest), what
    for what, spec, field in REFUSED_TEMPLATES:
        manifest = yaml.safe_load(metric_template("bad", **spec))
        manifest["metadata"]["namespace"] = "default"
        assert field in refusal(cluster, manifest), what


def refusal(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """What the API server says to an object that it does not take."""
    with pytest.raises(CommandFailed) as refused:
        cluster.kubectl("create", "-f-", "--validate=strict", "--dry-run=server", input=yaml.safe_dump(manifest))
    return refused.value.stderr


def test_a_target_cannot_be_renamed(place: Cluster) -> None:
    place.apply(canary("fixed", "one"))
    with pytest.raises(CommandFailed, match="the name of a target cannot be changed"):
        place.apply(canary("fixed", "another"))


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
    assert "a-first has this target" in await_reason(place, "second", "TargetInUse")
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
