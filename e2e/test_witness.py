"""The witness itself, on a lab with an API server and little else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from e2e.installation import ROOT
from e2e.lab.lab import Lab
from e2e.witness import Witness, leftovers

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="a cluster was named, the lab is not used"),
]

ROUTE = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: app-canary
  namespace: default
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}
spec: {rules: [{host: app.example.com}]}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test-witness", node=None, flux=False, ingress=False, prometheus=False) as running:
        running.kubectl("apply", "--server-side", "--kustomize", str(ROOT / "crds"))
        running.kubectl("create", "deployment", "app", "--image=app:1")
        yield running


def test_broken_rule_is_raised_at_the_end(lab: Lab) -> None:
    witness = Witness(lab, "default", ["app"])
    with pytest.raises(AssertionError, match="S3: Ingress app-canary carries 20 %"), witness:
        see_route(lab, witness)
    lab.kubectl("delete", "ingress", "app-canary")


def see_route(lab: Lab, witness: Witness) -> None:
    lab.apply(ROUTE)
    lab.wait_for(lambda: witness.history("Ingress", "app-canary"), 10, "the route to be seen")


def test_target_of_which_nothing_is_seen_is_named(lab: Lab) -> None:
    with pytest.raises(AssertionError, match="Deployment podinfo was never seen"), Witness(lab, "default", ["podinfo"]):
        pass


def test_witness_goes_on_after_a_crash_of_the_api_server(lab: Lab) -> None:
    with Witness(lab, "default", ["app"]) as witness:
        lab.kubectl("create", "deployment", "before", "--image=app:1")
        lab.wait_for(lambda: witness.history("Deployment", "before"), 10, "a Deployment to be seen")
        lab.processes["kube-apiserver"].kill()
        lab.restart("kube-apiserver")
        lab.kubectl("create", "deployment", "after", "--image=app:1")
        lab.wait_for(lambda: witness.history("Deployment", "after"), 20, "a Deployment to be seen")
        lab.kubectl("delete", "deployment", "before")
        lab.wait_for(lambda: witness.history("Deployment", "before")[-1].obj is None, 10, "its end to be seen")


def test_something_left_is_waited_for(lab: Lab) -> None:
    with Witness(lab, "default", ["app"]) as witness:
        witness.nothing_left(10)
        lab.kubectl("create", "service", "clusterip", "app-canary", "--tcp=80")
        lab.kubectl("label", "service", "app-canary", "fluxcanary.dev/canary=app")
        with pytest.raises(AssertionError, match=r"S12: .*service/app-canary"):
            witness.nothing_left(0.5)
        lab.kubectl("delete", "service", "app-canary")
        witness.nothing_left(10)


def test_annotation_of_a_route_and_floor_of_an_hpa_are_left_too(lab: Lab) -> None:
    lab.kubectl("create", "ingress", "app", "--rule=app.example.com/=app:80")
    lab.kubectl("annotate", "ingress", "app", "nginx.ingress.kubernetes.io/canary-weight=20")
    lab.kubectl("autoscale", "deployment", "app", "--max=3")
    lab.kubectl("label", "hpa", "app", "fluxcanary.dev/floor=app")
    assert leftovers(lab, "default") == ["horizontalpodautoscaler.autoscaling/app", "ingress/app"]
