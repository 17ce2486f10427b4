"""A cluster of the user's own, by its kubeconfig: what the tests that run anywhere need of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from e2e.lab import ready
from e2e.lab.errors import CommandFailed
from e2e.lab.lab import kubectl_program

T = TypeVar("T")

DEFAULT_INGRESS_URL = "http://localhost"
"""Where ingress-nginx answers, unless INGRESS_URL says otherwise: as `e2e/kind/` sets it up."""


class Cluster(Protocol):
    """A cluster with ingress-nginx, Prometheus and Fluxcanary: the lab, or any other."""

    @property
    def ingress_url(self) -> str:
        """ingress-nginx's HTTP port."""

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - the word that subprocess has for it
        """Run kubectl and give its standard output. Raises CommandFailed."""

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get` as the API's own JSON."""

    def apply(self, manifests: str) -> str:
        """Server-side apply of YAML."""

    def wait_for(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Poll until the condition's value is true, and give it."""


@dataclass(frozen=True)
class ExternalCluster:
    """The cluster of $KUBECONFIG, where the user has installed Fluxcanary."""

    ingress_url: str

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - the word that subprocess has for it
        """Run kubectl with the environment's kubeconfig."""
        argv = [kubectl_program(), *args]
        done = subprocess.run(argv, input=input, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(argv, done.returncode, done.stderr)
        return done.stdout

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get` as the API's own JSON."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", "--output=json", *args))
        return answer

    def apply(self, manifests: str) -> str:
        """Server-side apply of YAML."""
        return self.kubectl("apply", "--server-side", "--filename=-", input=manifests)

    def wait_for(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Poll until the condition's value is true, and give it."""
        return ready.wait_for(condition, timeout, what)


def external_cluster() -> ExternalCluster | None:
    """The cluster that the command line named, if it did."""
    if not os.environ.get("KUBECONFIG"):
        return None
    return ExternalCluster(os.environ.get("INGRESS_URL", DEFAULT_INGRESS_URL))
