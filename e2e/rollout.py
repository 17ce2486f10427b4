"""A Canary in a lab as a test sees it: the object, what became of it, and the releases pushed under it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import yaml

from canary.model.template import template_hash
from e2e.installation import USER
from e2e.lab.audit import AuditEntry
from e2e.lab.lab import Lab
from e2e.lab.load import Load
from e2e.lab.reference import HOSTS, Reference, Release, failing, good
from e2e.witness import await_nothing_left, leftovers

NAMESPACE = "staging"
HOST = HOSTS[NAMESPACE]

SHORT_STEPS: list[dict[str, Any]] = [{"weight": 20, "for": "3s"}, {"weight": 50, "for": "3s"}]
ANALYSIS: dict[str, Any] = {
    "interval": "3s",
    "threshold": 2,
    "metrics": [
        {"name": "request-success-rate", "interval": "10s", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "interval": "10s", "thresholdRange": {"max": 2000}},
        {"name": "controllers-up", "query": "sum(up{job='ingress-nginx'})", "thresholdRange": {"min": 1}},
    ],
}


class Rollouts:
    """The app of the reference scenario with one Canary, and releases numbered one after the other."""

    def __init__(self, lab: Lab, app: Reference) -> None:
        """`app` is installed already."""
        self.lab = lab
        self.app = app
        self._numbers = itertools.count(2)
        self.last = good(1)

    # releases

    def good(self) -> Release:
        """The next release, with nothing wrong."""
        return good(next(self._numbers))

    def failing(self) -> Release:
        """The next release; a third of its requests are answered with 500."""
        return failing(next(self._numbers))

    def push(self, release: Release, *, backend: Release | None = None) -> str:
        """Push it, for the second app as well where asked, and have Flux look; the commit."""
        self.last = release
        return self.app.push(release, backend=backend)

    def command(self, name: str) -> str:
        """`kubectl annotate canary podinfo fluxcanary.dev/<name>=<token>`; the token."""
        token = str(time.time_ns())
        annotation = f"fluxcanary.dev/{name}={token}"
        self.lab.kubectl("annotate", "canary", "podinfo", "-n", NAMESPACE, annotation, "--overwrite")
        return token

    def load(self, rate: float = 100, *, host: str = HOST, headers: Mapping[str, str] | None = None) -> Load:
        """Requests to the app from outside."""
        return Load(f"{self.lab.ingress_url}/", host=host, rate=rate, headers=headers)

    # the Canary

    def create(self, *, steps: list[dict[str, Any]] | None = None, **spec: object) -> None:
        """Add the Canary, and wait until it holds the next template."""
        self.apply(steps=steps, **spec)
        self.await_phase("Initialized", timeout=30)

    def apply(self, *, steps: list[dict[str, Any]] | None = None, **spec: object) -> None:
        """Add or change the Canary."""
        whole = {"targets": [{"name": "podinfo"}], "steps": steps or SHORT_STEPS, "analysis": ANALYSIS, **spec}
        manifest = {
            "apiVersion": "fluxcanary.dev/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": NAMESPACE},
            "spec": whole,
        }
        self.lab.apply(yaml.safe_dump(manifest))

    def delete(self) -> None:
        """Remove the Canary and wait until it is gone."""
        self.lab.kubectl("delete", "canary", "podinfo", "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s")

    def status(self) -> dict[str, Any]:
        """Its status; empty where there is none."""
        status: dict[str, Any] = self.lab.get("canary", "podinfo", "-n", NAMESPACE).get("status") or {}
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        """One of its conditions; empty where there is none."""
        return next((c for c in self.status().get("conditions") or () if c["type"] == type_), {})

    def await_status(self, holds: Callable[[dict[str, Any]], bool], timeout: float, what: str) -> dict[str, Any]:
        """Wait until its status is as wanted, and give it."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if holds(status) else None

        try:
            found = self.lab.wait_for(look, timeout, what)
        except Exception as error:
            raise AssertionError(f"no {what} within {timeout} s: {self.status()}") from error
        assert found is not None
        return found

    def await_phase(self, phase: str, timeout: float) -> dict[str, Any]:
        """Wait until it is in a phase."""
        return self.await_status(lambda status: status.get("phase") == phase, timeout, f"phase {phase}")

    def await_trial(self, release: Release, timeout: float = 60) -> dict[str, Any]:
        """Wait until the rollout of a release has begun."""
        digest = self.held_template(release, timeout)
        return self.await_status(lambda s: s.get("template") == digest, timeout, f"rollout of {release.tag}")

    def held_template(self, release: Release, timeout: float) -> str:
        """Wait until the target has the template of a release; its hash."""

        def applied() -> str | None:
            template = self.app.deployment()["spec"]["template"]
            image = template["spec"]["containers"][0]["image"]
            return template_hash(template) if image.endswith(f":{release.tag}") else None

        found = self.lab.wait_for(applied, timeout, f"Flux to apply {release.tag}")
        assert found is not None
        return found

    # the app

    def serving_tags(self, app: str = "podinfo") -> set[str]:
        """The image tags of stable's pods that are not on their way out."""
        pods = self.lab.get("pods", "-n", NAMESPACE, "-l", f"app={app}")["items"]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in alive}

    def stable_pods(self) -> dict[str, str]:
        """uid → ReplicaSet of stable's pods."""
        pods = self.lab.get("pods", "-n", NAMESPACE, "-l", "app=podinfo")["items"]
        return {pod["metadata"]["uid"]: pod["metadata"]["ownerReferences"][0]["name"] for pod in pods}

    def leftovers(self) -> list[str]:
        """What a rollout has left."""
        return leftovers(self.lab, NAMESPACE)

    def await_nothing_left(self, timeout: float = 60) -> None:
        """Wait until the last of it, the pods in their grace period, is gone."""
        await_nothing_left(self.lab, NAMESPACE, timeout)

    def requests(self, since: datetime) -> list[AuditEntry]:
        """What the operator asked of the API server since then, but for its Lease and the opening of watches."""
        entries = self.lab.audit(since=since, user=USER)
        return [entry for entry in entries if entry.resource != "leases" and entry.verb != "watch"]
