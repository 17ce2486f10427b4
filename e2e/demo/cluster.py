"""What the demo looks at: the Canary, its route and Flux's own view, read from the API server a few times a second."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from canary.model import names
from canary.model.duration import parse_time
from canary.model.names import API_VERSION, NGINX_CANARY_WEIGHT, PLURAL, WEIGHT_SINCE
from e2e.demo.errors import DemoFailed

NAMESPACE = "staging"
APP = "podinfo"
KUSTOMIZATION = "podinfo-staging"
_CANARY = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}/{APP}"
_ROUTE = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses/{names.canary_name('podinfo-ingress')}"
_FLUX = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/{KUSTOMIZATION}"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Sight:
    """A Canary as it was seen once."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    weight: int = 0
    change: str = ""
    """The revisions, `main@4c1ca09 → main@77e0b1d`."""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class FluxSight:
    """A Kustomization as it was seen once."""

    reason: str
    """Of its condition Ready."""
    message: str
    """What it does now (condition Reconciling); what came of it (Ready) once it has come to an end."""


@dataclass(frozen=True)
class Route:
    """The canary's Ingress as it was seen once."""

    weight: int
    since: float
    """When that weight was written: seconds since 1970."""


class Cluster:
    """A client of the API server that reads."""

    def __init__(self, kubeconfig: Path) -> None:
        """Take address, certificate and token from a kubeconfig of the lab."""
        config = json.loads(kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]
        self._http = httpx.Client(
            base_url=server["server"],
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            verify=ssl.create_default_context(cafile=server["certificate-authority"]),
            timeout=10,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def canary(self) -> Sight:
        """The Canary; empty before the operator has looked at it."""
        status = self._get(_CANARY).get("status") or {}
        said = condition(status, "Ready")
        return Sight(
            phase=status.get("phase") or "",
            step=status.get("step") or 0,
            steps=status.get("steps") or 0,
            weight=status.get("canaryWeight") or 0,
            change=(status.get("revision") or {}).get("change") or "",
            reason=said.get("reason", ""),
            message=said.get("message", ""),
        )

    def route(self) -> Route | None:
        """The canary's Ingress; None where there is none."""
        notes = self._get(_ROUTE).get("metadata", {}).get("annotations") or {}
        if WEIGHT_SINCE not in notes:
            return None
        return Route(int(notes[NGINX_CANARY_WEIGHT]), parse_time(notes[WEIGHT_SINCE]).timestamp())

    def flux(self) -> FluxSight:
        """The Kustomization that delivers the app."""
        status = self._get(_FLUX).get("status") or {}
        ready = condition(status, "Ready")
        under_way = ready.get("status") == "Unknown"
        said = (under_way and condition(status, "Reconciling")) or ready
        return FluxSight(ready.get("reason", ""), said.get("message", ""))

    def stable_pods(self) -> frozenset[str]:
        """Names of stable's pods."""
        pods = self._get(_PODS, labelSelector=f"app={APP}")["items"]
        return frozenset(pod["metadata"]["name"] for pod in pods)

    def _get(self, path: str, **query: str) -> Json:
        """One object; empty where there is none."""
        try:
            answer = self._http.get(path, params=query)
        except httpx.HTTPError as error:
            raise DemoFailed(f"kube-apiserver: GET {path}: {error!r}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        if answer.is_error:
            raise DemoFailed(f"kube-apiserver: GET {path}: {answer.status_code}: {answer.text[:300]}")
        found: Json = answer.json()
        return found


def condition(status: Json, type_: str) -> Json:
    """One condition of a status; empty where there is none."""
    found: Json = next((row for row in status.get("conditions") or () if row["type"] == type_), {})
    return found
