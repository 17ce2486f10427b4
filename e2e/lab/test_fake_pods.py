"""Pods without processes, on the smallest lab that has a node: they play what their annotations say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.lab.lab import Lab
from e2e.lab.node.fake_pod import READY_DELAY_ANNOTATION, WAITING_ANNOTATION

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="a cluster was named, the lab is not used"),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test-fake-pods", node="fake", flux=False, ingress=False, prometheus=False) as running:
        yield running


def create(lab: Lab, name: str, **metadata: Any) -> None:
    spec = {"containers": [{"name": "app", "image": "any.example/app:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
    lab.apply(json.dumps(pod), namespace="default")


def status(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.get("pod", name)["status"]
    return found


def is_ready(lab: Lab, name: str) -> bool:
    conditions = status(lab, name).get("conditions", [])
    return any(row["type"] == "Ready" and row["status"] == "True" for row in conditions)


def waiting_reason(lab: Lab, name: str) -> str | None:
    rows = status(lab, name).get("containerStatuses", [])
    return next((row["state"]["waiting"]["reason"] for row in rows if "waiting" in row["state"]), None)


def test_pod_becomes_ready_and_can_be_deleted(lab: Lab) -> None:
    create(lab, "plain")
    lab.wait_for(lambda: is_ready(lab, "plain"), 10, "the pod to be ready")
    lab.kubectl("delete", "pod", "plain", "--timeout=10s")


def test_another_annotation_takes_effect_at_once(lab: Lab) -> None:
    create(lab, "slow", annotations={READY_DELAY_ANNOTATION: "never"})
    lab.wait_for(lambda: status(lab, "slow")["phase"] == "Running", 10, "the pod to run")
    assert not is_ready(lab, "slow")

    lab.kubectl("annotate", "pod", "slow", f"{WAITING_ANNOTATION}=ImagePullBackOff")
    lab.wait_for(lambda: waiting_reason(lab, "slow") == "ImagePullBackOff", 10, "the container to wait")

    lab.kubectl("annotate", "pod", "slow", f"{WAITING_ANNOTATION}-", f"{READY_DELAY_ANNOTATION}-")
    lab.wait_for(lambda: is_ready(lab, "slow"), 10, "the pod to be ready")


def test_pod_that_a_finalizer_holds_ends_once(lab: Lab) -> None:
    create(lab, "held", finalizers=["example.com/hold"])
    lab.wait_for(lambda: is_ready(lab, "held"), 10, "the pod to be ready")

    lab.kubectl("delete", "pod", "held", "--wait=false")
    lab.wait_for(lambda: lab.get("pod", "held")["metadata"]["deletionGracePeriodSeconds"] == 0, 10, "the pod's end")
    lab.kubectl("annotate", "pod", "held", "example.com/seen=by-the-node")
    create(lab, "later")
    lab.wait_for(lambda: is_ready(lab, "later"), 10, "the node to have seen that")
    ended = [entry for entry in lab.audit(user="node") if entry.verb == "delete" and entry.name == "held"]
    assert len(ended) == 1

    lab.kubectl("patch", "pod", "held", "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    lab.wait_for(lambda: "held" not in lab.kubectl("get", "pods", "--output=name"), 10, "the pod to go")
