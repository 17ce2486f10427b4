"""One app in a namespace of its own, with a Canary, users, and what may come between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from e2e.interruptions.api import Api, Manifest
from e2e.lab.load import Load
from e2e.rules import Case
from e2e.sights import Sights, share

APP, EXTRA = "podinfo", "extra"
_TWIN = f"{APP}-canary"
_EVERY_SECONDS = 0.1

STEPS: list[dict[str, Any]] = [{"weight": 20, "for": "5s"}, {"weight": 50, "for": "5s"}]
OTHER_STEPS: list[dict[str, Any]] = [{"weight": 30, "for": "5s"}, {"weight": 60, "for": "5s"}]
GATED: list[dict[str, Any]] = [{"weight": 20, "for": "5s", "gate": "manual"}, {"weight": 50, "for": "5s"}]
METRIC: dict[str, Any] = {"name": "request-success-rate", "interval": "10s", "thresholdRange": {"min": 99}}
QUERY: dict[str, Any] = {"name": "one", "query": "vector(1)", "thresholdRange": {"min": 1}}


@dataclass
class App:
    """podinfo in a namespace: version 1 at first."""

    api: Api
    sights: Sights
    namespace: str
    url: str
    """Of the ingress controller."""
    version: int = 1
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Of its Ingress."""
        return f"{self.namespace}.example"

    def create(self, *, gated: bool, extra: bool) -> None:
        """The app, and its Canary; returns when the next template would be held."""
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self.push(1)
        if extra:
            self.api.apply(self.deployment(EXTRA, 1))
        self.api.apply(self._service())
        self.set_ingress()
        self.await_(lambda: self._available(APP) == 2, "the app to be available", 120)
        targets = [{"name": APP}, *([{"name": EXTRA}] if extra else [])]
        analysis = {"interval": "5s", "metrics": [METRIC]}
        self.spec = {"targets": targets, "steps": GATED if gated else STEPS, "analysis": analysis}
        self.set_canary()
        self.await_(lambda: self.phase == "Initialized", "the Canary to be initialized", 60)

    def load(self) -> Load:
        """Its users."""
        return Load(f"{self.url}/", host=self.host, rate=8)

    # what is done to it

    def push(self, version: int) -> None:
        """Apply a version, as Flux does."""
        self.version = version
        self.api.apply(self.deployment(APP, version))

    def set_ingress(self, *paths: str) -> None:
        """Apply its Ingress, with more paths."""
        backend = {"service": {"name": APP, "port": {"number": 9898}}}
        routes = [{"path": path, "pathType": "Prefix", "backend": backend} for path in ("/", *paths)]
        spec = {"ingressClassName": "nginx", "rules": [{"host": self.host, "http": {"paths": routes}}]}
        self.api.apply({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", **self._named(APP), "spec": spec})

    def set_canary(self, **fields: Any) -> None:
        """Apply its Canary, with some fields changed."""
        self.spec |= fields
        self.api.apply(
            {"apiVersion": "fluxcanary.dev/v1beta1", "kind": "Canary", **self._named(APP), "spec": self.spec}
        )

    def command(self, name: str) -> None:
        """`kubectl annotate`."""
        marks = {f"fluxcanary.dev/{name}": str(time.time_ns())}
        self.api.patch("Canary", self.namespace, APP, {"metadata": {"annotations": marks}})

    def delete(self, kind: str, name: str = APP) -> None:
        """Delete an object, and wait until it is gone."""
        self.api.delete(kind, self.namespace, name)
        if kind != "Service":
            self.await_(lambda: self._now(kind, name) is None, f"{kind} {name} to be gone", 60)

    # what is seen of it

    @property
    def status(self) -> dict[str, Any]:
        """Of the Canary."""
        return (self._now("Canary", APP) or {}).get("status") or {}

    @property
    def phase(self) -> str:
        """Of the Canary; empty where there is none."""
        return self.status.get("phase") or ""

    @property
    def weight(self) -> float:
        """The share that is routed to the canary."""
        return share(self._now("Ingress", _TWIN)).percent

    @property
    def canary_exists(self) -> bool:
        """Whether the temporary Deployment is there."""
        return self._now("Deployment", _TWIN) is not None

    @property
    def rolling(self) -> bool:
        """Whether stable's pause was lifted."""
        return not ((self._now("Deployment", APP) or {}).get("spec") or {}).get("paused")

    @property
    def guard(self) -> str | None:
        """The label that says who holds its templates."""
        labels: dict[str, str] = (self._now("Deployment", APP) or {}).get("metadata", {}).get("labels") or {}
        return labels.get("fluxcanary.dev/guard")

    def serves(self, version: int) -> bool:
        """Whether stable has rolled this version out, and nothing else. A held version is not the one that serves."""
        found = self._now("Deployment", APP) or {}
        status, held = found.get("status") or {}, (found.get("spec") or {}).get("paused")
        if held:
            return version != self.version and status.get("availableReplicas") == found["spec"]["replicas"]
        done = status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas")
        observed = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
        image = found["spec"]["template"]["spec"]["containers"][0]["image"] if found else ""
        return bool(done and observed and image.endswith(f".{version}"))

    def leftovers(self) -> list[str]:
        """Objects of a rollout that exist."""
        of = "fluxcanary.dev/canary"
        return [
            name for kind in ("Ingress", "Service", "Deployment") for name in self.api.names(kind, self.namespace, of)
        ]

    def broken(self, targets: tuple[str, ...]) -> list[str]:
        """Invariants that did not hold."""
        return list(Case(self.sights, APP, targets).broken())

    def await_(self, holds: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until something is seen."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                said = [f"{c['type']}={c['status']} {c['message']}" for c in self.status.get("conditions") or ()]
                raise AssertionError(f"no {what} within {timeout:g} s: {self.phase} {self.weight} % {said}")
            time.sleep(_EVERY_SECONDS)

    # manifests

    def deployment(self, name: str, version: int) -> Manifest:
        """A Deployment whose rollouts take some seconds."""
        labels = {"app": name}
        container = {
            "name": name,
            "image": f"ghcr.io/stefanprodan/podinfo:6.10.{version}",
            "command": ["./podinfo", "--port=9898", f"--ui-message=version {version}", "--level=error"],
            "ports": [{"name": "http", "containerPort": 9898}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9898}, "periodSeconds": 1},
        }
        pods = {"containers": [container], "terminationGracePeriodSeconds": 30}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            **self._named(name),
            "spec": {
                "replicas": 2 if name == APP else 1,
                "minReadySeconds": 3,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pods},
            },
        }

    def _service(self) -> Manifest:
        spec = {"selector": {"app": APP}, "ports": [{"name": "http", "port": 9898, "targetPort": "http"}]}
        return {"apiVersion": "v1", "kind": "Service", **self._named(APP), "spec": spec}

    def _named(self, name: str) -> Manifest:
        return {"metadata": {"name": name, "namespace": self.namespace}}

    def _now(self, kind: str, name: str) -> Manifest | None:
        return self.sights.at(kind, name, float("inf"))

    def _available(self, name: str) -> int:
        return int(((self._now("Deployment", name) or {}).get("status") or {}).get("availableReplicas") or 0)
