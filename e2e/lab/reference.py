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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from e2e.lab.build import PODINFO
from e2e.lab.errors import LabError
from e2e.lab.lab import Lab

FLEET = Path(__file__).parent / "fleet"
HOSTS: dict[str, str] = {"staging": "fluxv2infrademo.staging.io", "production": "fluxv2infrademo.io"}
"""Environment, which is also its namespace → the host of its Ingress."""
BACKEND_HOSTS: dict[str, str] = {environment: f"backend.{host}" for environment, host in HOSTS.items()}
"""The same for the Ingress of the second app, where a scenario has it."""
DEPLOYMENT_FILE = "kustomize/deployment.yaml"
BACKEND_FILE = "kustomize/backend-deployment.yaml"
_SERVICE_FILES = ("kustomize/service.yaml", "kustomize/backend-service.yaml")
_KUSTOMIZATION_FILE = "kustomize/kustomization.yaml"
_IMAGE = "image: ghcr.io/stefanprodan/podinfo:"
_FIRST_ARGUMENT = "        - ./podinfo\n"
_PORT = "        - name: http\n"
_LAST_ARGUMENT = "        - --random-error=false\n"
_VARIABLES = "        env:\n"
_CPUS = ("cpu: 2000m\n", "cpu: 100m\n")
_MEMORY = ("memory: 512Mi\n", "memory: 64Mi\n")
"""Of both, the limit and the request."""


@dataclass(frozen=True)
class Release:
    """A version of podinfo: what a developer would change in `kustomize/deployment.yaml`."""

    tag: str
    """The image's tag. The lab runs the same program whatever the tag; `message` is how versions are told apart.

    A tag that ends with `missing` cannot be pulled.
    """
    message: str
    """In every answer of `GET /`, as `message`."""
    fail_share: float = 0
    """Share of requests (0 to 1) that get a 500; health checks are left alone."""
    slow_share: float = 0
    """Share of requests (0 to 1) that are answered late."""
    slow_by_milliseconds: int = 0
    port_name: str = "http"
    """Of the port that the Service leads to: by another name the Service has no endpoint."""
    options: tuple[str, ...] = ()
    """More of podinfo's options; it ends at once with exit code 2 when it does not know one."""
    cpu: str = ""
    """CPUs that a pod requests, and its limit; podinfo's own where empty. The node has 64."""
    memory: str = ""
    """The same for memory: podinfo has 40 to 50Mi, and is killed for it where it may not."""
    config_map: str = ""
    """ConfigMap that a container takes its environment from; it does not start before that is there."""

    @property
    def spoilt(self) -> bool:
        """Whether anything is wrong with it."""
        return self.tag.endswith("missing") or self != Release(self.tag, self.message)

    def edit(self, deployment: str) -> str:
        """Give podinfo's own deployment.yaml with this version in it."""
        at = deployment.index(_IMAGE) + len(_IMAGE)
        edited = deployment[:at] + self.tag + deployment[deployment.index("\n", at) :]
        for old, new in self._edits():
            _require(edited, old)
            edited = edited.replace(old, new)
        return edited

    def _edits(self) -> Iterator[tuple[str, str]]:
        """What is replaced by what, beside the tag."""
        words = (f"--ui-message={self.message}", *self.options)
        yield _LAST_ARGUMENT, _LAST_ARGUMENT + "".join(f'        - "{word}"\n' for word in words)
        yield _FIRST_ARGUMENT, self._entry_point()
        if self.port_name != "http":
            yield _PORT, f"        - name: {self.port_name}\n"
        if self.cpu:
            yield from ((old, f'cpu: "{self.cpu}"\n') for old in _CPUS)
        if self.memory:
            yield from ((old, f"memory: {self.memory}\n") for old in _MEMORY)
        if self.config_map:
            yield _VARIABLES, f"        envFrom:\n        - configMapRef: {{name: {self.config_map}}}\n{_VARIABLES}"

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
    return replace(good(number), fail_share=round(share, 4))


def slow(number: int, milliseconds: int = 400, share: float = 1) -> Release:
    """A release that answers late."""
    return replace(good(number), slow_share=share, slow_by_milliseconds=milliseconds)


def without_image(number: int) -> Release:
    """A release whose image is not in the registry: ErrImagePull, then ImagePullBackOff."""
    return replace(good(number), tag=f"6.10.{number}-missing")


def crashing(number: int) -> Release:
    """A release that ends at once, for a mistyped option: CrashLoopBackOff."""
    return replace(good(number), options=("--no-such-option",))


def out_of_memory(number: int) -> Release:
    """A release with a memory limit that is too small for it: OOMKilled, then CrashLoopBackOff."""
    return replace(good(number), memory="8Mi")


def unschedulable(number: int) -> Release:
    """A release that asks for more CPUs than any node has."""
    return replace(good(number), cpu="1000")


def never_ready(number: int) -> Release:
    """A release that runs, and whose readiness probe never passes."""
    return replace(good(number), options=("--unready",))


def without_config(number: int) -> Release:
    """A release that needs a ConfigMap which is not there: CreateContainerConfigError."""
    return replace(good(number), config_map="no-such-config")


class Reference:
    """The scenario in one lab."""

    def __init__(
        self, lab: Lab, environments: Sequence[str] = ("staging", "production"), *, backend: bool = False
    ) -> None:
        """Name the environments wanted; the namespaces are made in any case.

        With `backend` a second app, one pod of podinfo under the name `backend`, comes from the same Kustomization,
        with a Deployment, a Service and an Ingress of its own (`BACKEND_HOSTS`), and without an HPA.
        """
        self.lab = lab
        self.environments = tuple(environments)
        self.backend = backend

    def install(self, release: Release | None = None, *, backend: Release | None = None) -> None:
        """Make both repositories and bootstrap Flux, which does the rest; `wait` for it.

        Without `backend` the second app, where there is one, begins with the same release as the first.
        """
        app = read_tree(PODINFO.program("kustomize"), "kustomize")
        if self.backend:
            app |= _backend_files(app)
        app |= self._released(release, backend or (release if self.backend else None))
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
            if self.backend:
                self.lab.await_host(BACKEND_HOSTS[environment], timeout)

    def push(self, release: Release | None = None, *, backend: Release | None = None, reconcile: bool = True) -> str:
        """Push new versions of one app or of both in one commit, as a developer would; gives the commit's hash.

        Flux is told, unless `reconcile` is off.
        """
        files = self._released(release, backend)
        if not files:
            raise LabError("nothing to push: name a release of podinfo, of the backend, or of both")
        tags = " and ".join(one.tag for one in (release, backend) if one is not None)
        commit = self.lab.git.commit("podinfo", files, f"Release {tags}")
        if reconcile:
            self.lab.reconcile("gitrepository", "podinfo")
        return commit

    def deployment(self, environment: str = "staging", name: str = "podinfo") -> dict[str, Any]:
        """The Deployment of an environment: that of `podinfo` or of `backend`."""
        return self.lab.get("deployment", name, f"--namespace={environment}")

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
        if self.backend:
            for environment, host in HOSTS.items():
                files |= _backend_ingress(files, f"apps/podinfo/overlays/{environment}", host)
        return files

    def _released(self, release: Release | None, backend: Release | None) -> dict[str, str]:
        """The files of the app's repository that these releases change."""
        if backend is not None and not self.backend:
            raise LabError("a release of the backend, in a scenario without it: Reference(..., backend=True)")
        base = PODINFO.program(DEPLOYMENT_FILE).read_text()
        files = {}
        if release is not None:
            files[DEPLOYMENT_FILE] = release.edit(base)
        if backend is not None:
            files[BACKEND_FILE] = _renamed(backend.edit(base))
        return files


def _backend_files(app: Mapping[str, str]) -> dict[str, str]:
    """What the second app adds to the app's repository."""
    service, backend_service = _SERVICE_FILES
    return {
        BACKEND_FILE: _renamed(app[DEPLOYMENT_FILE]),
        backend_service: _renamed(app[service]),
        _KUSTOMIZATION_FILE: _listing(app[_KUSTOMIZATION_FILE], "  ", BACKEND_FILE, backend_service),
    }


def _backend_ingress(fleet: Mapping[str, str], folder: str, host: str) -> dict[str, str]:
    """What the second app adds to an overlay of the platform's repository."""
    ingress, kustomization, file = (
        fleet[f"{folder}/ingress.yaml"],
        f"{folder}/kustomization.yaml",
        "backend-ingress.yaml",
    )
    return {
        f"{folder}/{file}": ingress.replace("name: podinfo", "name: backend").replace(host, f"backend.{host}"),
        kustomization: _listing(fleet[kustomization], "", file),
    }


def _renamed(manifest: str) -> str:
    """A manifest of podinfo as one of the second app: its name, and the label by which its pods are found."""
    return manifest.replace("\n  name: podinfo\n", "\n  name: backend\n").replace("app: podinfo\n", "app: backend\n")


def _listing(kustomization: str, indent: str, *files: str) -> str:
    """A kustomization.yaml, which ends with its resources, with more of them."""
    return kustomization.rstrip("\n") + "".join(f"\n{indent}- {Path(file).name}" for file in files) + "\n"


def read_tree(folder: Path, prefix: str = "") -> dict[str, str]:
    """The files below a folder, by their paths in it."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(Path(prefix) / file.relative_to(folder)): file.read_text() for file in files}


def _require(text: str, *parts: str) -> None:
    """Fail early if podinfo's base is not the one that these edits were written for."""
    for part in parts:
        if text.count(part) != 1:
            raise LabError(f"{DEPLOYMENT_FILE} of podinfo has no single line {part.strip()!r}")
