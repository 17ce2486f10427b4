"""The set-up that users start from: two environments of podinfo on one cluster, delivered by Flux from Git.

`fleet/` is the platform's repository as a user would have it; the app's repository is podinfo's own `kustomize/` base,
unmodified. The platform's HelmRelease of ingress-nginx is left out: the lab runs that controller itself.

    fleet.git   GitRepository flux-system ─► Kustomization flux-system: namespaces, service accounts, rights
                                             Kustomization apps: sources, overlays, podinfo-ingress
    podinfo.git GitRepository podinfo     ─► Kustomizations podinfo-staging, podinfo-production (each as its own
                                             service account, which may write to its namespace only)

Intervals are as in the original (a minute): tests have Flux look at once, by annotation, as `flux reconcile` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from e2e.lab.build import PODINFO
from e2e.lab.errors import LabError
from e2e.lab.lab import Lab

FLEET = Path(__file__).parent / "fleet"
HOSTS: dict[str, str] = {"staging": "fluxv2infrademo.staging.io", "production": "fluxv2infrademo.io"}
"""Environment, which is also its namespace → the host of its Ingress."""
DEPLOYMENT_FILE = "kustomize/deployment.yaml"
_IMAGE = "image: ghcr.io/stefanprodan/podinfo:"
_FIRST_ARGUMENT = "        - ./podinfo\n"
_PORT = "        - name: http\n"
_LAST_ARGUMENT = "        - --random-error=false\n"


@dataclass(frozen=True)
class Release:
    """A version of podinfo: what a developer would change in `kustomize/deployment.yaml`."""

    tag: str
    """The image's tag. The lab runs the same program whatever the tag; `message` is how versions are told apart."""
    message: str
    """In every answer of `GET /`, as `message`."""
    fail_share: float = 0
    """Share of requests (0 to 1) that get a 500; health checks are left alone."""
    slow_share: float = 0
    """Share of requests (0 to 1) that are answered late."""
    slow_by_milliseconds: int = 0
    port_name: str = "http"
    """Of the port that the Service leads to: by another name the Service has no endpoint."""

    @property
    def spoilt(self) -> bool:
        """Whether anything is wrong with it."""
        return bool(self.fail_share or self.slow_share or self.port_name != "http")

    def edit(self, deployment: str) -> str:
        """Give podinfo's own deployment.yaml with this version in it."""
        at = deployment.index(_IMAGE) + len(_IMAGE)
        rest = deployment[deployment.index("\n", at) :]
        edited = deployment[:at] + self.tag + rest
        _require(edited, _FIRST_ARGUMENT, _LAST_ARGUMENT)
        if self.port_name != "http":
            _require(edited, _PORT)
            edited = edited.replace(_PORT, f"        - name: {self.port_name}\n")
        message = f'        - "--ui-message={self.message}"\n'
        return edited.replace(_LAST_ARGUMENT, _LAST_ARGUMENT + message).replace(_FIRST_ARGUMENT, self._entry_point())

    def _entry_point(self) -> str:
        """The command's first words: podinfo itself, or the program that spoils its answers."""
        if not self.fail_share and not self.slow_share:
            return _FIRST_ARGUMENT
        spoiling = [
            "./unreliable",
            f"--fail-share={self.fail_share}",
            f"--slow-share={self.slow_share}",
            f"--slow-by={self.slow_by_milliseconds}ms",
        ]
        return "".join(f"        - {word}\n" for word in spoiling) + _FIRST_ARGUMENT


def good(number: int) -> Release:
    """A release with nothing wrong."""
    return Release(tag=f"6.10.{number}", message=f"release {number}")


def failing(number: int, share: float = 1 / 3) -> Release:
    """A release that answers a share of its requests with 500."""
    return Release(tag=f"6.10.{number}", message=f"release {number}", fail_share=round(share, 4))


def slow(number: int, milliseconds: int = 400, share: float = 1) -> Release:
    """A release that answers late."""
    return Release(
        tag=f"6.10.{number}", message=f"release {number}", slow_share=share, slow_by_milliseconds=milliseconds
    )


class Reference:
    """The scenario in one lab."""

    def __init__(self, lab: Lab, environments: Sequence[str] = ("staging", "production")) -> None:
        """Name the environments wanted; the namespaces are made in any case."""
        self.lab = lab
        self.environments = tuple(environments)

    def install(self, release: Release | None = None) -> None:
        """Make both repositories and bootstrap Flux, which does the rest; `wait` for it."""
        app = read_tree(PODINFO.program("kustomize"), "kustomize")
        if release is not None:
            app[DEPLOYMENT_FILE] = release.edit(app[DEPLOYMENT_FILE])
        self.lab.git.create("podinfo", app)
        self.lab.git.create("fleet", self._fleet())
        self.lab.apply(FLEET / "clusters/my-cluster/flux-system/gotk-sync.yaml")

    def wait(self, timeout: float = 60) -> None:
        """Wait until Flux has applied everything, every Deployment has its pods and its host answers."""
        for environment in self.environments:
            name = f"podinfo-{environment}"
            self.lab.wait_for(partial(self.flux_ready, name), timeout, f"Kustomization {name} to be ready")
            self.lab.wait_for(
                partial(self._scaled, environment), timeout, f"the HPA of {environment} to reach its floor"
            )
            self.lab.await_host(HOSTS[environment], timeout)

    def push(self, release: Release, *, reconcile: bool = True) -> str:
        """Push a new version as a developer would; gives the commit's hash. Flux is told, unless `reconcile` is off."""
        base = PODINFO.program(DEPLOYMENT_FILE).read_text()
        commit = self.lab.git.commit("podinfo", {DEPLOYMENT_FILE: release.edit(base)}, f"Release {release.tag}")
        if reconcile:
            self.lab.reconcile("gitrepository", "podinfo")
        return commit

    def deployment(self, environment: str = "staging") -> dict[str, Any]:
        """The Deployment of an environment."""
        return self.lab.get("deployment", "podinfo", f"--namespace={environment}")

    def flux_ready(self, name: str) -> bool:
        """Whether a Kustomization in flux-system is ready at its present generation."""
        status = self.lab.get("kustomization", name, "--namespace=flux-system").get("status", {})
        return any(row["type"] == "Ready" and row["status"] == "True" for row in status.get("conditions", []))

    def _scaled(self, environment: str) -> bool:
        """Whether the pods are there that the HPA asks for at the least: it looks only every 15 s."""
        floor = self.lab.get("hpa", "podinfo", f"--namespace={environment}")["spec"]["minReplicas"]
        status = self.deployment(environment).get("status", {})
        return bool(status.get("availableReplicas", 0) >= floor)

    def _fleet(self) -> Mapping[str, str]:
        """The platform's repository, with the overlays of the environments wanted."""
        files = read_tree(FLEET)
        lines = files["apps/kustomization.yaml"].splitlines(keepends=True)
        unwanted = tuple(f"overlays/{name}\n" for name in HOSTS if name not in self.environments)
        files["apps/kustomization.yaml"] = "".join(line for line in lines if not line.endswith(unwanted or ("\0",)))
        return files


def read_tree(folder: Path, prefix: str = "") -> dict[str, str]:
    """The files below a folder, by their paths in it."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(Path(prefix) / file.relative_to(folder)): file.read_text() for file in files}


def _require(text: str, *parts: str) -> None:
    """Fail early if podinfo's base is not the one that these edits were written for."""
    for part in parts:
        if text.count(part) != 1:
            raise LabError(f"{DEPLOYMENT_FILE} of podinfo has no single line {part.strip()!r}")
