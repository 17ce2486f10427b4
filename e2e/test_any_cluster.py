"""What any cluster can show that has Fluxcanary, ingress-nginx and Prometheus: a rollout without Flux.

Here the releases come by `kubectl apply`, so these tests run in the lab and on a user's own cluster alike
(`make e2e KUBECONFIG=…`, INGRESS_URL where ingress-nginx is not at http://localhost).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.external import Cluster
from e2e.lab import ready
from e2e.lab.load import Load

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NAMESPACE = "fluxcanary-e2e"
HOST = "e2e.fluxcanary.example"
SLOW = "--random-delay=true --random-delay-unit=ms --random-delay-min=800 --random-delay-max=1500"

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: fluxcanary-e2e}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: app
        image: ghcr.io/stefanprodan/podinfo:6.9.2
        command: [sh, -c, "exec ./podinfo --port=9898 --ui-message=%(message)s %(flags)s"]
        ports: [{name: http, containerPort: 9898}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 2, timeoutSeconds: 3}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: fluxcanary-e2e}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: app, namespace: fluxcanary-e2e}
spec:
  ingressClassName: nginx
  rules:
  - host: e2e.fluxcanary.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {name: http}}}}]}
"""
CANARY = """
apiVersion: fluxcanary.dev/v1beta1
kind: Canary
metadata: {name: app, namespace: fluxcanary-e2e}
spec:
  targets: [{name: app}]
  steps: [{weight: 20, for: 5s}, {weight: 50, for: 5s}]
  analysis:
    interval: 5s
    metrics:
    - {name: request-success-rate, interval: 30s, thresholdRange: {min: 99}}
    - {name: request-duration, interval: 30s, thresholdRange: {max: 500}}
"""


class App:
    """podinfo in a namespace of its own, released by hand."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def release(self, message: str, flags: str = "") -> None:
        """Apply a version of it."""
        self.cluster.apply(APP % {"message": message, "flags": flags})

    def canary(self) -> dict[str, Any]:
        """The status of its Canary."""
        status: dict[str, Any] = self.cluster.get("canary", "app", "-n", NAMESPACE).get("status") or {}
        return status

    def await_phase(self, phase: str, timeout: float = 180) -> None:
        """Wait for a phase of its Canary."""
        self.cluster.wait_for(lambda: self.canary().get("phase") == phase, timeout, f"phase {phase}")

    def is_served(self) -> bool:
        """Whether the ingress controller has taken it up: for a second good answers and 503 mix."""
        return all(ready.answers(f"{self.cluster.ingress_url}/", host=HOST) for _ in range(50))

    def load(self) -> Load:
        """Requests from outside."""
        return Load(f"{self.cluster.ingress_url}/", host=HOST, rate=50)


@pytest.fixture
def app(cluster: Cluster) -> Iterator[App]:
    """The app, served, with a Canary that holds the next version."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    app = App(cluster)
    try:
        app.release("first")
        cluster.kubectl("rollout", "status", "deployment/app", "-n", NAMESPACE, "--timeout=120s")
        cluster.apply(CANARY)
        app.await_phase("Initialized", 60)
        cluster.wait_for(app.is_served, 60, f"50 good answers in a row from {HOST}")
        yield app
    finally:
        cluster.kubectl("delete", "canary", "app", "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


def test_a_good_version_is_promoted_and_named_by_its_template(app: App) -> None:
    with app.load() as load:
        app.release("second")
        app.await_phase("Succeeded")
    assert app.canary()["revision"]["to"].startswith("template ")
    assert set(load.summary().shares) == {"first", "second"}
    assert load.summary().failed == 0, str(load.summary())


def test_a_slow_version_is_rolled_back_and_a_human_does_not_get_past_the_guard(app: App) -> None:
    with app.load() as load:
        app.release("slow", SLOW)
        app.await_phase("Failed")
    assert "request-duration" in next(c["message"] for c in app.canary()["conditions"] if c["type"] == "Stalled")
    app.cluster.kubectl("rollout", "resume", "deployment/app", "-n", NAMESPACE)
    assert app.cluster.get("deployment", "app", "-n", NAMESPACE)["spec"]["paused"] is True
    assert load.summary().failed == 0, str(load.summary())
