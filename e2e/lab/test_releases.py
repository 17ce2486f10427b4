"""Releases that cannot start, as the cluster reports them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.lab import ready, reference
from e2e.lab.build import PODINFO
from e2e.lab.lab import Lab
from e2e.lab.reference import DEPLOYMENT_FILE, Release

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="a cluster was named, the lab is not used"),
]

QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata: {name: few, namespace: default}
spec: {hard: {requests.cpu: 50m}}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test-releases", flux=False, ingress=False, prometheus=False) as running:
        yield running


def release_to(lab: Lab, release: Release) -> None:
    """Apply podinfo's Deployment with a release in it; the pods of one before are gone then."""
    lab.kubectl("delete", "deployment", "podinfo", "--ignore-not-found", "--cascade=foreground")
    lab.apply(release.edit(PODINFO.program(DEPLOYMENT_FILE).read_text()), namespace="default")


def pod(lab: Lab) -> dict[str, Any]:
    """The status of the one pod; empty as long as there is none."""
    pods = lab.get("pods", "--selector=app=podinfo")["items"]
    status: dict[str, Any] = pods[0].get("status", {}) if pods else {}
    return status


def container(lab: Lab) -> dict[str, Any]:
    rows = pod(lab).get("containerStatuses", [])
    return dict(rows[0]) if rows else {}


def await_waiting(lab: Lab, reason: str) -> dict[str, Any]:
    """Wait until the release's container waits for a reason; its status then."""

    def waits() -> dict[str, Any] | None:
        found = container(lab)
        return found if found.get("state", {}).get("waiting", {}).get("reason") == reason else None

    found = lab.wait_for(waits, 30, reason)
    assert found is not None
    return found


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((row for row in status.get("conditions", []) if row["type"] == kind), {})


def test_image_that_is_not_there_fails_and_is_backed_off_from(lab: Lab) -> None:
    release_to(lab, release := reference.without_image(2))
    error = await_waiting(lab, "ErrImagePull")["state"]["waiting"]["message"]
    backing_off = await_waiting(lab, "ImagePullBackOff")["state"]["waiting"]["message"]
    assert backing_off == f'Back-off pulling image "ghcr.io/stefanprodan/podinfo:{release.tag}": ErrImagePull: {error}'
    assert pod(lab)["phase"] == "Pending"


def test_program_that_ends_at_once_is_started_once_more_and_then_backed_off_from(lab: Lab) -> None:
    release_to(lab, reference.crashing(3))
    found = await_waiting(lab, "CrashLoopBackOff")
    last, message = found["lastState"]["terminated"], found["state"]["waiting"]["message"]
    assert (last["exitCode"], last["reason"]) == (2, "Error")
    assert found["restartCount"] == 1
    assert message.startswith("back-off 10s restarting failed container=podinfod pod=podinfo-")
    lab.wait_for(lambda: container(lab)["restartCount"] == 2, 20, "another start after 10 s")
    assert "back-off 20s" in await_waiting(lab, "CrashLoopBackOff")["state"]["waiting"]["message"]


def test_program_with_too_little_memory_is_killed_for_it(lab: Lab) -> None:
    release_to(lab, reference.out_of_memory(4))
    last = await_waiting(lab, "CrashLoopBackOff")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")


def test_pod_that_no_node_has_room_for_is_unschedulable(lab: Lab) -> None:
    release_to(lab, reference.unschedulable(5))
    lab.wait_for(lambda: condition(pod(lab), "PodScheduled").get("reason") == "Unschedulable", 20, "the scheduler")
    assert "Insufficient cpu" in condition(pod(lab), "PodScheduled")["message"]


def test_pod_whose_config_is_missing_starts_when_it_comes(lab: Lab) -> None:
    release_to(lab, reference.without_config(6))
    waiting = await_waiting(lab, "CreateContainerConfigError")["state"]["waiting"]
    assert waiting["message"] == 'configmap "no-such-config" not found'
    lab.kubectl("create", "configmap", "no-such-config")
    lab.wait_for(lambda: "running" in container(lab).get("state", {}), 20, "the container to run")


def test_pod_that_is_never_ready_runs_all_the_same(lab: Lab) -> None:
    release_to(lab, reference.never_ready(7))
    lab.wait_for(lambda: "running" in container(lab).get("state", {}), 20, "the container to run")
    own = f"http://{pod(lab)['podIP']}:9898"
    lab.wait_for(lambda: ready.answers(f"{own}/healthz"), 20, "the program to answer")
    assert not ready.answers(f"{own}/readyz")
    assert condition(pod(lab), "Ready")["status"] == "False"


def test_quota_refuses_pods_and_the_deployment_says_so(lab: Lab) -> None:
    lab.apply(QUOTA)
    lab.wait_for(lambda: lab.get("resourcequota", "few")["status"].get("used"), 20, "the quota")
    release_to(lab, reference.good(8))
    lab.wait_for(lambda: condition(lab.get("deployment", "podinfo")["status"], "ReplicaFailure"), 20, "ReplicaFailure")
    failure = condition(lab.get("deployment", "podinfo")["status"], "ReplicaFailure")
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert "exceeded quota: few" in failure["message"]
    assert not pod(lab)
    lab.kubectl("delete", "resourcequota", "few")
