"""Deployments as they were observed."""

from typing import Any

import pytest

from canary.model.template import Json
from canary.model.workload import Workload, label_selector
from tests.manifests import deployment, template


def workload(**fields: Any) -> Workload:
    return Workload(deployment(**fields))


class TestRolledOut:
    def test_when_every_pod_runs_the_template_and_is_available(self) -> None:
        assert workload().rolled_out

    def test_at_no_replicas(self) -> None:
        assert workload(replicas=0).rolled_out

    @pytest.mark.parametrize(
        "status",
        [
            {"observedGeneration": 0},
            {"updatedReplicas": 3},
            {"availableReplicas": 3},
            {"replicas": 5},
            {"updatedReplicas": 5, "replicas": 5},
            {"availableReplicas": None},
        ],
        ids=["status-of-an-older-spec", "not-updated", "not-available", "old-pod-left", "scaling-down", "no-count"],
    )
    def test_not_while_anything_is_missing_or_left(self, status: dict[str, Any]) -> None:
        assert not workload(status=status).rolled_out

    def test_not_while_paused(self) -> None:
        assert not workload(paused=True).rolled_out

    def test_not_before_the_controller_has_seen_it(self) -> None:
        manifest = deployment()
        del manifest["status"]
        assert not Workload(manifest).rolled_out


class TestStuck:
    def test_when_the_deployment_controller_says_so(self) -> None:
        condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
        assert workload(status={"conditions": [condition]}).stuck == "timed out"

    def test_without_a_message_by_its_reason(self) -> None:
        condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
        assert workload(status={"conditions": [condition]}).stuck == "ProgressDeadlineExceeded"

    @pytest.mark.parametrize(
        "conditions",
        [
            [],
            [{"type": "Progressing", "reason": "ReplicaSetUpdated", "message": "on its way"}],
            [{"type": "Available", "reason": "ProgressDeadlineExceeded", "message": "another condition"}],
        ],
        ids=["nothing-said", "progressing", "another-type"],
    )
    def test_otherwise_not(self, conditions: list[Json]) -> None:
        assert workload(status={"conditions": conditions}).stuck is None


class TestReplicaFailure:
    def test_is_what_the_api_server_said(self) -> None:
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
        assert workload(status={"conditions": [condition]}).replica_failure == "exceeded quota"

    def test_without_a_message_is_its_reason(self) -> None:
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
        assert workload(status={"conditions": [condition]}).replica_failure == "FailedCreate"

    @pytest.mark.parametrize("conditions", [[], [{"type": "ReplicaFailure", "status": "False", "message": "gone"}]])
    def test_is_none_where_pods_are_made(self, conditions: list[Json]) -> None:
        assert workload(status={"conditions": conditions}).replica_failure is None


class TestVerdict:
    def test_is_the_message_of_our_condition(self) -> None:
        condition = {"type": "Stalled", "status": "True", "message": "rolled back"}
        assert workload(status={"conditions": [condition]}).verdict == "rolled back"

    @pytest.mark.parametrize("conditions", [[], [{"type": "Stalled", "status": "False", "message": "rolled back"}]])
    def test_is_none_where_it_is_not_set(self, conditions: list[Json]) -> None:
        assert workload(status={"conditions": conditions}).verdict is None


def test_what_it_says_of_itself() -> None:
    found = workload(name="app", replicas=3, paused=True, guard="mine", metadata={"deletionTimestamp": "2026"})
    assert (found.name, found.uid, found.resource_version) == ("app", "app-uid", "7")
    assert (found.replicas, found.paused, found.guard, found.deleting) == (3, True, "mine", True)
    assert found.available == 3
    assert found.updated == 3
    assert found.pod_labels == {"app": "podinfo"}
    assert found.selector == {"matchLabels": {"app": "podinfo"}}


def test_what_is_not_said_has_its_default() -> None:
    manifest = deployment(guard=None)
    del manifest["spec"]["replicas"]
    del manifest["metadata"]["labels"]
    found = Workload(manifest)
    assert found.replicas == 1
    assert not found.paused
    assert not found.deleting
    assert found.guard is None


def test_pods_without_labels_have_none() -> None:
    assert workload(pods={"spec": {}}).pod_labels == {}


def test_its_hash_is_that_of_its_template() -> None:
    assert workload(pods=template("podinfo:1")).template_hash == workload(name="other").template_hash
    assert workload(pods=template("podinfo:2")).template_hash != workload().template_hash


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"matchLabels": {"app": "podinfo", "tier": "web"}}, "app=podinfo,tier=web"),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}]}, "tier in (web,api)"),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}, "tier notin (db)"),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, "tier"),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, "!tier"),
        (
            {"matchLabels": {"app": "podinfo"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            "app=podinfo,tier",
        ),
        ({}, ""),
    ],
)
def test_a_selector_is_written_as_the_api_takes_it(selector: Json, text: str) -> None:
    assert label_selector(selector) == text
