"""The canary's objects, made from the held template and from the Services of stable."""

import copy
from typing import Any

import pytest

from canary.engine.snapshot import (
    canary_deployment,
    canary_replicas,
    canary_service,
    canary_template,
    canary_template_hash,
)
from canary.model import names
from canary.model.template import Json, template_hash
from canary.model.workload import Workload
from tests.manifests import CANARY, SELECTOR_KEYS, deployment, service

OURS = {names.CANARY_LABEL: "podinfo"}
NO_KEYS: frozenset[str] = frozenset()


def pods(labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {"metadata": {"labels": labels or {"app": "podinfo"}}, "spec": spec}


def labels_of(pod_labels: dict[str, str], keys: frozenset[str], own: dict[str, str] | None = None) -> dict[str, str]:
    target = deployment(pods=pods(pod_labels), selector={"matchLabels": own or {"app": "podinfo"}})
    labels: dict[str, str] = canary_template(Workload(target), CANARY, keys)["metadata"]["labels"]
    return labels


class TestLabels:
    def test_only_those_that_a_service_selects_by_are_changed(self) -> None:
        labels = {"app": "podinfo", "tier": "web", "version": "2"}
        assert labels_of(labels, SELECTOR_KEYS) == {**labels, "app": "podinfo-canary", **OURS}

    def test_all_that_some_service_selects_by_are_changed(self) -> None:
        keys = frozenset({"app", "tier"})
        expected = {"app": "podinfo-canary", "tier": "web-canary", "version": "2", **OURS}
        assert labels_of({"app": "podinfo", "tier": "web", "version": "2"}, keys) == expected

    def test_the_targets_own_are_kept_where_one_of_them_is_changed_anyway(self) -> None:
        own = {"app": "podinfo", "instance": "a"}
        assert labels_of({**own}, SELECTOR_KEYS, own) == {"app": "podinfo-canary", "instance": "a", **OURS}

    def test_the_targets_own_are_changed_where_no_service_selects_by_them(self) -> None:
        labels = {"app": "podinfo", "route": "public"}
        expected = {"app": "podinfo-canary", "route": "public-canary", **OURS}
        assert labels_of(labels, frozenset({"route"})) == expected

    def test_a_value_that_is_full_fits_still(self) -> None:
        changed = labels_of({"app": "a" * 63}, SELECTOR_KEYS, {"app": "a" * 63})["app"]
        assert changed != "a" * 63
        assert len(changed) <= 63

    def test_marks_of_flux_and_helm_and_our_guard_are_dropped(self) -> None:
        labels = {"app": "podinfo", names.FLUX_KUSTOMIZE_NAME: "apps", names.GUARD_LABEL: "podinfo"}
        assert labels_of(labels, SELECTOR_KEYS) == {"app": "podinfo-canary", **OURS}

    def test_annotations_are_kept_but_for_such_marks(self) -> None:
        target = deployment(
            pods={
                "metadata": {
                    "labels": {"app": "podinfo"},
                    "annotations": {"prometheus.io/scrape": "true", "meta.helm.sh/release-name": "podinfo"},
                },
                "spec": {},
            }
        )
        held = Workload(target)
        template = canary_template(held, CANARY, SELECTOR_KEYS)
        assert template["metadata"]["annotations"] == {
            "prometheus.io/scrape": "true",
            names.TEMPLATE_ANNOTATION: held.template_hash,
        }

    def test_the_rest_of_the_template_is_the_held_one(self) -> None:
        affinity = {"podAntiAffinity": {"x": [{"labelSelector": {"matchLabels": {"app": "podinfo"}}}]}}
        spec: Json = {"containers": [{"name": "a", "image": "podinfo:2"}], "affinity": affinity}
        target = Workload(deployment(pods={**pods(), "spec": spec}))
        assert canary_template(target, CANARY, SELECTOR_KEYS)["spec"] == spec

    def test_the_target_stays_as_it_is(self) -> None:
        manifest = deployment(pods=pods(containers=[{"name": "a"}]))
        before = copy.deepcopy(manifest)
        made = canary_deployment(Workload(manifest), CANARY, SELECTOR_KEYS, 1)
        made["spec"]["template"]["spec"]["containers"][0]["name"] = "changed"
        made["spec"]["selector"]["matchLabels"]["app"] = "changed"
        assert manifest == before


class TestDeployment:
    TARGET = Workload(
        deployment(
            paused=True,
            labels={"app": "podinfo", "kustomize.toolkit.fluxcd.io/name": "apps", "team": "a"},
            minReadySeconds=3,
            progressDeadlineSeconds=60,
            strategy={"rollingUpdate": {"maxUnavailable": 0}},
        )
    )

    def made(self, target: Workload = TARGET, keys: frozenset[str] = SELECTOR_KEYS) -> Json:
        return canary_deployment(target, CANARY, keys, 2)

    def test_it_is_a_twin_beside_the_target(self) -> None:
        made = self.made()
        assert (made["apiVersion"], made["kind"]) == ("apps/v1", "Deployment")
        assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("podinfo-canary", "staging")

    def test_it_runs_and_is_as_large_as_asked(self) -> None:
        assert "paused" not in self.made()["spec"]
        assert self.made()["spec"]["replicas"] == 2

    def test_it_keeps_how_the_target_rolls_out(self) -> None:
        spec = self.made()["spec"]
        assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (3, 60)
        assert spec["strategy"] == {"rollingUpdate": {"maxUnavailable": 0}}

    def test_it_is_owned_by_the_canary_and_nobody_else(self) -> None:
        assert self.made()["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "fluxcanary.dev/v1beta1",
                "kind": "Canary",
                "name": "podinfo",
                "uid": "canary-uid",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]

    def test_its_labels_say_whose_it_is_and_flux_does_not_know_it(self) -> None:
        assert self.made()["metadata"]["labels"] == {
            "app": "podinfo",
            "team": "a",
            names.CANARY_LABEL: "podinfo",
            names.GUARD_LABEL: "podinfo",
            names.MANAGED_BY_LABEL: "fluxcanary",
        }

    def test_nothing_that_the_api_server_keeps_is_copied(self) -> None:
        assert set(self.made()["metadata"]) == {"name", "namespace", "labels", "ownerReferences"}
        assert "status" not in self.made()

    def test_it_selects_its_own_pods_and_not_those_of_the_target(self) -> None:
        made = self.made()
        assert made["spec"]["selector"] == {"matchLabels": {"app": "podinfo-canary", **OURS}}
        assert matches(made["spec"]["selector"], made["spec"]["template"]["metadata"]["labels"])
        assert not matches(self.TARGET.selector, made["spec"]["template"]["metadata"]["labels"])

    @pytest.mark.parametrize("keys", [NO_KEYS, SELECTOR_KEYS, frozenset({"route"})], ids=["none", "own", "another"])
    def test_a_selector_of_expressions_keeps_the_two_apart_as_well(self, keys: frozenset[str]) -> None:
        selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["podinfo", "other"]}]}
        labels = {"app": "podinfo", "route": "public"}
        target = Workload(deployment(pods=pods(labels), selector=selector))
        made = self.made(target, keys)
        pod_labels = made["spec"]["template"]["metadata"]["labels"]
        assert matches(made["spec"]["selector"], pod_labels)
        assert not matches(made["spec"]["selector"], labels)
        assert not matches(selector, pod_labels)

    def test_its_template_has_the_name_by_which_it_is_known_again(self) -> None:
        named = canary_template_hash(self.TARGET, CANARY, SELECTOR_KEYS)
        assert named == template_hash(self.made()["spec"]["template"])
        assert named != self.TARGET.template_hash


class TestService:
    def test_it_has_the_ports_of_stable_and_another_selector(self) -> None:
        ports: list[Json] = [
            {
                "name": "http",
                "protocol": "TCP",
                "port": 80,
                "targetPort": "http",
                "appProtocol": "http",
                "nodePort": 30080,
            },
            {"port": 9999},
        ]
        made = canary_service(service(ports=ports), CANARY, SELECTOR_KEYS)
        kept = {key: value for key, value in ports[0].items() if key != "nodePort"}
        assert made["spec"] == {
            "type": "ClusterIP",
            "ports": [kept, {"port": 9999}],
            "selector": {"app": "podinfo-canary", **OURS},
        }
        assert made["metadata"]["name"] == "podinfo-canary"

    def test_a_load_balancer_gets_a_twin_inside_the_cluster(self) -> None:
        stable = service()
        stable["spec"] |= {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "clusterIP": "10.0.0.1"}
        made = canary_service(stable, CANARY, SELECTOR_KEYS)
        assert set(made["spec"]) == {"type", "ports", "selector"}
        assert made["spec"]["type"] == "ClusterIP"

    def test_its_labels_drop_the_marks_of_flux(self) -> None:
        made = canary_service(service(labels={names.FLUX_KUSTOMIZE_NAME: "apps", "team": "a"}), CANARY, SELECTOR_KEYS)
        assert made["metadata"]["labels"] == {"team": "a", **OURS, names.MANAGED_BY_LABEL: "fluxcanary"}

    def test_it_reaches_the_pods_of_the_canary(self) -> None:
        target = Workload(deployment(pods=pods({"app": "podinfo", "tier": "web"})))
        keys = frozenset({"app", "tier"})
        made = canary_service(service(selector={"app": "podinfo", "tier": "web"}), CANARY, keys)
        assert made["spec"]["selector"].items() <= canary_template(target, CANARY, keys)["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("weight", "stable", "replicas"),
    [(1, 1, 1), (5, 4, 1), (50, 4, 2), (51, 4, 3), (100, 3, 3), (10, 10, 1), (11, 10, 2), (50, 0, 1), (35, 20, 7)],
)
def test_a_canary_is_as_large_as_its_share_and_never_empty(weight: int, stable: int, replicas: int) -> None:
    assert canary_replicas(weight, stable) == replicas


def matches(selector: Json, labels: dict[str, str]) -> bool:
    """As the API server does."""
    wanted = (selector.get("matchLabels") or {}).items() <= labels.items()
    return wanted and all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions") or ()
        if expression["operator"] == "In"
    )
