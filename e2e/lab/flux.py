"""Flux's source- and kustomize-controller, run as programs beside the API server.

They are the real controllers under the names of their service accounts, with the rights that Flux gives them.
"""

from __future__ import annotations

from pathlib import Path

from e2e.lab import users
from e2e.lab.build import KUSTOMIZE_CONTROLLER, SOURCE_CONTROLLER
from e2e.lab.process import Process
from e2e.lab.ready import answers
from e2e.lab.start import Start
from e2e.lab.users import Credentials, User

RECONCILE_ANNOTATION = "reconcile.fluxcd.io/requestedAt"
ARTIFACTS = "10.244.0.1:9790"
_SOURCE_HEALTH = "127.0.0.1:9441"
_KUSTOMIZE_HEALTH = "127.0.0.1:9442"
CRDS: tuple[Path, ...] = (SOURCE_CONTROLLER.program("crds"), KUSTOMIZE_CONTROLLER.program("crds"))


def start_source_controller(start: Start, credentials: Credentials, folder: Path) -> Process:
    """Start the controller that pulls from Git and serves what it pulled as artifacts."""
    storage = folder / "artifacts"
    storage.mkdir(parents=True)
    command = [
        str(SOURCE_CONTROLLER.program("source-controller")),
        "--events-addr=",
        "--metrics-addr=127.0.0.1:9791",
        f"--health-addr={_SOURCE_HEALTH}",
        f"--storage-path={storage}",
        f"--storage-addr={ARTIFACTS}",
        f"--storage-adv-addr={ARTIFACTS}",
    ]
    return start("source-controller", command, env=_environment(credentials, users.SOURCE_CONTROLLER, folder))


def start_kustomize_controller(start: Start, credentials: Credentials, folder: Path) -> Process:
    """Start the controller that applies what source-controller serves."""
    command = [
        str(KUSTOMIZE_CONTROLLER.program("kustomize-controller")),
        "--events-addr=",
        "--metrics-addr=127.0.0.1:9792",
        f"--health-addr={_KUSTOMIZE_HEALTH}",
    ]
    return start("kustomize-controller", command, env=_environment(credentials, users.KUSTOMIZE_CONTROLLER, folder))


def source_controller_ready() -> bool:
    """Whether source-controller says that it is ready."""
    return answers(f"http://{_SOURCE_HEALTH}/readyz")


def kustomize_controller_ready() -> bool:
    """Whether kustomize-controller says that it is ready."""
    return answers(f"http://{_KUSTOMIZE_HEALTH}/readyz")


def _environment(credentials: Credentials, user: User, folder: Path) -> dict[str, str]:
    """What the controllers take from the pod that they usually run in."""
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    kubeconfig = str(credentials.kubeconfig(user))
    return {"KUBECONFIG": kubeconfig, "RUNTIME_NAMESPACE": "flux-system", "TMPDIR": str(scratch), "HOME": str(scratch)}
