"""The node of the lab: plays the kubelet for the pods that the real scheduler binds to `lab-node`.

    python -m e2e.lab.node --kubeconfig F --mode process|fake --bin-dir DIR --images FILE.json --work-dir DIR

A lab has no container engine, so a container is a process: it runs in the pod's network namespace (a veth on the
bridge `cni0`), under the pod's host name, in a mount namespace of its own that shows it its volumes and its service
account token. To the API server this is a kubelet: the same status, conditions, probes, restarts and terminations.
In `fake` mode there are no processes, and pods become Ready after a delay: hundreds of them cost next to nothing.

    Node ── watches Pods ──> PodAgent ─┬─ ProcessPod ── ContainerRunner ── a process, its probes, its restarts
                                       └─ FakePod

Where it stands in for the real thing:
- Images are entries of the `--images` file, keyed by name without tag; what is not in there, and the tag `missing`,
  cannot be pulled. The tag is given to the process as IMAGE_TAG.
- All containers see the machine's own file system. Volumes are mounted over it where the mount point exists, or where
  it can be made on an overlay of the nearest existing folder; a mount point directly below `/` that does not exist, and
  one that would hide the image's files, is left out (the log says so). Volumes are emptyDir, configMap, secret,
  projected and downwardAPI; all but tokens are written once, and `readOnly` is not enforced.
- `resources`, `securityContext`, sidecar (restartable init) containers, postStart hooks and ephemeral containers are
  ignored; a gRPC probe only connects. There is no DNS and no Service address: pods talk to pod addresses.
- Containers end with this agent; one that is started again begins anew with the pods that it finds.

Rights it needs: nodes (create, patch, with status), pods (list, watch, delete, patch of status),
serviceaccounts/token (create), configmaps and secrets (get).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import os
import platform
import random
import re
import shlex
import shutil
import signal
import ssl
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

Json = dict[str, Any]
"""An object of the Kubernetes API, or a part of one."""

NODE_NAME = "lab-node"
NODE_ADDRESS = "10.244.0.1"
READY_DELAY_ANNOTATION = "lab.fluxcanary.dev/ready-delay"
WAITING_ANNOTATION = "lab.fluxcanary.dev/waiting"

_BRIDGE = "cni0"
_FIRST_POD_ADDRESS = IPv4Address("10.244.1.0")
_LAST_POD_ADDRESS = IPv4Address("10.244.255.255")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MISSING_TAG = "missing"
_MAX_BACKOFF_SECONDS = 10.0
_BACKOFF_FORGOTTEN_AFTER_SECONDS = 60.0
_HEARTBEAT_SECONDS = 300.0
_WATCH_SECONDS = 240
_LAST_SECONDS = 1.0
"""What containers are given to end by themselves when the agent is told to stop."""

_log = logging.getLogger("lab.node")


# ----------------------------------------------------------------------------------------------- pods, as they are read


@dataclass(frozen=True)
class HttpGet:
    """Where an httpGet probe asks; an empty host means the pod's address."""

    host: str
    port: int
    path: str
    scheme: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Probe:
    """A readiness, liveness or startup probe; exactly one of `command`, `http` and `port` is set."""

    command: tuple[str, ...]
    http: HttpGet | None
    port: int | None
    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int
    success_threshold: int


@dataclass(frozen=True)
class VolumeMount:
    """Where a container sees a volume."""

    volume: str
    path: str
    sub_path: str


@dataclass(frozen=True)
class Container:
    """One container of a pod's spec; `env` and `env_from` are resolved when it starts."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[Json, ...]
    env_from: tuple[Json, ...]
    mounts: tuple[VolumeMount, ...]
    readiness: Probe | None
    liveness: Probe | None
    startup: Probe | None
    pre_stop: Json | None


@dataclass(frozen=True)
class Pod:
    """What the agent needs to know of a Pod; `raw` is kept for the downward API."""

    namespace: str
    name: str
    uid: str
    phase: str
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]
    volumes: tuple[Json, ...]
    restart_policy: str
    grace_seconds: float
    terminating_grace_seconds: float | None
    """None as long as nobody has deleted it."""
    host_network: bool
    readiness_gates: tuple[str, ...]
    annotations: Mapping[str, str]
    conditions: Mapping[str, Json]
    raw: Json = field(repr=False)

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def parse_pod(raw: Json) -> Pod:
    """Read a Pod as the API server gives it, that is with all defaults filled in."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status", {})
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        phase=status.get("phase", "Pending"),
        containers=tuple(map(parse_container, spec["containers"])),
        init_containers=tuple(map(parse_container, spec.get("initContainers", ()))),
        volumes=tuple(spec.get("volumes", ())),
        restart_policy=spec.get("restartPolicy", "Always"),
        grace_seconds=spec.get("terminationGracePeriodSeconds", 30),
        terminating_grace_seconds=meta.get("deletionGracePeriodSeconds", 0) if "deletionTimestamp" in meta else None,
        host_network=spec.get("hostNetwork", False),
        readiness_gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates", ())),
        annotations=meta.get("annotations", {}),
        conditions={condition["type"]: condition for condition in status.get("conditions", ())},
        raw=raw,
    )


def parse_container(raw: Json) -> Container:
    """Read a container; named ports of its probes become numbers."""
    ports = {port["name"]: int(port["containerPort"]) for port in raw.get("ports", ()) if "name" in port}
    return Container(
        name=raw["name"],
        image=raw["image"],
        command=tuple(raw.get("command", ())),
        args=tuple(raw.get("args", ())),
        working_dir=raw.get("workingDir", ""),
        env=tuple(raw.get("env", ())),
        env_from=tuple(raw.get("envFrom", ())),
        mounts=tuple(
            VolumeMount(mount["name"], mount["mountPath"], mount.get("subPath", ""))
            for mount in raw.get("volumeMounts", ())
        ),
        readiness=_parse_probe(raw.get("readinessProbe"), ports),
        liveness=_parse_probe(raw.get("livenessProbe"), ports),
        startup=_parse_probe(raw.get("startupProbe"), ports),
        pre_stop=raw.get("lifecycle", {}).get("preStop"),
    )


def _parse_probe(raw: Json | None, ports: Mapping[str, int]) -> Probe | None:
    """Read a probe, if there is one."""
    if raw is None:
        return None
    connected = raw.get("tcpSocket") or raw.get("grpc")
    return Probe(
        command=tuple(raw.get("exec", {}).get("command", ())),
        http=_parse_http_get(raw["httpGet"], ports) if "httpGet" in raw else None,
        port=_port_number(connected["port"], ports) if connected else None,
        initial_delay_seconds=raw.get("initialDelaySeconds", 0),
        period_seconds=raw.get("periodSeconds", 10),
        timeout_seconds=raw.get("timeoutSeconds", 1),
        failure_threshold=raw.get("failureThreshold", 3),
        success_threshold=raw.get("successThreshold", 1),
    )


def _parse_http_get(raw: Json, ports: Mapping[str, int]) -> HttpGet:
    """Read the httpGet of a probe or a hook."""
    return HttpGet(
        host=raw.get("host", ""),
        port=_port_number(raw["port"], ports),
        path="/" + raw.get("path", "/").lstrip("/"),
        scheme=raw.get("scheme", "HTTP").lower(),
        headers=tuple((header["name"], header["value"]) for header in raw.get("httpHeaders", ())),
    )


def _port_number(port: int | str, ports: Mapping[str, int]) -> int:
    """Resolve a port; 0, which nothing answers on, for a name that the container does not have."""
    return port if isinstance(port, int) else ports.get(port, 0)


def field_value(pod: Pod, path: str, address: str) -> str:
    """What the downward API gives for a field of the pod."""
    labelled = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if labelled is not None:
        return str(pod.raw["metadata"].get(labelled[1], {}).get(labelled[2], ""))
    known = {"status.podIP": address, "status.podIPs": address, "status.hostIP": NODE_ADDRESS}
    if path in known:
        return known[path]
    value: Any = pod.raw
    for key in path.split("."):
        value = value.get(key, {}) if isinstance(value, dict) else {}
    if isinstance(value, dict):
        return "\n".join(f"{key}={json.dumps(item)}" for key, item in sorted(value.items()))
    return str(value)


_REFERENCE = re.compile(r"\$\$|\$\(([^()]+)\)")


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` as Kubernetes does: `$$` stands for `$`, unknown names stay as they are."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else env.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


# --------------------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True)
class Image:
    """What stands for a container image: programs on this machine."""

    cwd: Path | None
    path: tuple[Path, ...]
    entrypoint: tuple[str, ...]
    tag: str


class Images:
    """The images that can be pulled."""

    def __init__(self, entries: Mapping[str, Json], bin_dir: Path) -> None:
        """Take the entries of the images file; relative paths in it start at `bin_dir`."""
        self._entries = entries
        self._bin_dir = bin_dir

    def pull(self, reference: str) -> Image | None:
        """Find an image; None if it cannot be pulled."""
        name, tag = split_image(reference)
        entry = self._entries.get(name)
        if entry is None or tag == _MISSING_TAG:
            return None
        return Image(
            cwd=self._bin_dir / entry["cwd"] if "cwd" in entry else None,
            path=tuple(self._bin_dir / folder for folder in entry.get("path", ())),
            entrypoint=tuple(entry.get("entrypoint", ())),
            tag=tag,
        )


def split_image(reference: str) -> tuple[str, str]:
    """Split an image reference into its name and its tag (`latest` if it has none); a digest is dropped."""
    name = reference.partition("@")[0]
    last_colon = name.rfind(":")
    if last_colon <= name.rfind("/"):
        return name, "latest"
    return name[:last_colon], name[last_colon + 1 :]


# ------------------------------------------------------------------------------------------------------------- statuses


@dataclass(frozen=True)
class Ended:
    """The end of a container's process, in the words of a container status."""

    exit_code: int
    started_at: str
    finished_at: str
    container_id: str

    def as_json(self) -> Json:
        """The `terminated` of a container state."""
        return {
            "exitCode": self.exit_code,
            "reason": "Completed" if self.exit_code == 0 else "Error",
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "containerID": self.container_id,
        }


@dataclass
class ContainerState:
    """What a container does at the moment: it waits (for a reason), runs, or has ended for good."""

    name: str
    image: str
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    running_since: str = ""
    ended: Ended | None = None
    last_end: Ended | None = None
    container_id: str = ""
    restarts: int = 0
    started: bool = False
    ready: bool = False

    def as_json(self) -> Json:
        """The entry in containerStatuses."""
        status: Json = {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self._state(),
            "lastState": {"terminated": self.last_end.as_json()} if self.last_end else {},
        }
        if self.container_id:
            digest = hashlib.sha256(self.image.encode()).hexdigest()
            status |= {"containerID": self.container_id, "imageID": f"{split_image(self.image)[0]}@sha256:{digest}"}
        return status

    def _state(self) -> Json:
        if self.ended is not None:
            return {"terminated": self.ended.as_json()}
        if self.waiting is not None:
            reason, message = self.waiting
            return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}
        return {"running": {"startedAt": self.running_since}}


@dataclass
class PodState:
    """What a pod does at the moment."""

    containers: list[ContainerState]
    init_containers: list[ContainerState]
    address: str = ""
    start_time: str = ""
    initialized: bool = False
    terminating: bool = False


def pod_phase(state: PodState) -> str:
    """The phase, by the kubelet's rules."""
    containers = state.containers
    if any(init.ended and init.ended.exit_code for init in state.init_containers):
        return "Failed"
    ends = [container.ended for container in containers if container.ended]
    if len(ends) == len(containers):
        return "Failed" if any(end.exit_code for end in ends) else "Succeeded"
    never_ran = any(container.waiting and not container.last_end for container in containers)
    return "Pending" if never_ran or not state.initialized else "Running"


def pod_conditions(pod: Pod, state: PodState, phase: str) -> dict[str, tuple[bool, str, str]]:
    """Each condition's status, reason and message."""
    unready = [container.name for container in state.containers if not container.ready]
    pending = [init.name for init in state.init_containers if not (init.ended and init.ended.exit_code == 0)]
    if phase in ("Succeeded", "Failed"):
        containers_ready = (False, "PodCompleted" if phase == "Succeeded" else "PodFailed", "")
    else:
        containers_ready = (not unready, "ContainersNotReady", f"containers with unready status: {_names(unready)}")
    closed_gates = [gate for gate in pod.readiness_gates if pod.conditions.get(gate, {}).get("status") != "True"]
    ready = containers_ready
    if containers_ready[0] and closed_gates:
        ready = (False, "ReadinessGatesNotReady", f"closed readiness gates: {_names(closed_gates)}")
    if state.terminating:
        ready = (False, "PodTerminating", "")
    return {
        "PodReadyToStartContainers": (bool(state.address), "", ""),
        "Initialized": (
            state.initialized,
            "ContainersNotInitialized",
            f"containers with incomplete status: {_names(pending)}",
        ),
        "ContainersReady": containers_ready,
        "Ready": ready,
    }


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def pod_status(pod: Pod, state: PodState, previous: Mapping[str, Json], now: str) -> Json:
    """The status to report, as a strategic merge patch; conditions that did not change keep their time."""
    phase = pod_phase(state)
    conditions = [
        _condition(kind, *verdict, previous.get(kind, {}), now)
        for kind, verdict in pod_conditions(pod, state, phase).items()
    ]
    status: Json = {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": [container.as_json() for container in state.containers],
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "startTime": state.start_time,
        "observedGeneration": pod.raw["metadata"].get("generation", 1),
    }
    if state.init_containers:
        status["initContainerStatuses"] = [init.as_json() for init in state.init_containers]
    if state.address:
        # The list is merged by address; an agent that was started again gives the pod a new one.
        status |= {"podIP": state.address, "podIPs": [{"$patch": "replace"}, {"ip": state.address}]}
    return status


def _condition(kind: str, holds: bool, reason: str, message: str, previous: Json, now: str) -> Json:
    status = "True" if holds else "False"
    since = previous.get("lastTransitionTime", now) if previous.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "reason": None if holds or not reason else reason,
        "message": None if holds or not message else message,
        "lastTransitionTime": since,
    }


def timestamp() -> str:
    """The time of now as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --------------------------------------------------------------------------------------------------------- API requests


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


_FINAL = (404, 409, 410, 422)
"""Answers that do not change when the same request is sent again."""


class Api:
    """The API server, as the user of a kubeconfig with a token."""

    def __init__(self, session: aiohttp.ClientSession, server: str, authority: str, trusted: ssl.SSLContext) -> None:
        self._session = session
        self._ssl = trusted
        self.server = server
        self.authority = authority
        """The certificate authority as PEM text: pods get it as ca.crt."""

    @classmethod
    @contextlib.asynccontextmanager
    async def of_kubeconfig(cls, kubeconfig: Path) -> AsyncIterator[Api]:
        """Open a session with what the current context of the file says."""
        server, authority, token = read_kubeconfig(kubeconfig)
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "lab-node"}
        connector = aiohttp.TCPConnector(limit=16)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(
            server, connector=connector, headers=headers, timeout=timeout, read_bufsize=2**22
        ) as session:
            yield cls(session, server, authority, ssl.create_default_context(cadata=authority))

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Json:
        """Send one request and give the decoded answer."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self._session.request(
            method, path, data=data, params=query, headers=headers, ssl=self._ssl
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise ApiError(answer.status, text[:500])
            decoded: Json = json.loads(text)
            return decoded

    async def insist(self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json") -> Json:
        """Send a request until it is answered for good: the API server may be away for a while."""
        pause_seconds = 0.2
        while True:
            try:
                return await self.call(method, path, body, kind=kind)
            except ApiError as refusal:
                if refusal.status in _FINAL:
                    raise
                _log.warning("%s %s: %s", method, path, refusal)
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.warning("%s %s: %s %s", method, path, type(error).__name__, error)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2.0, pause_seconds * 2)

    async def patch(self, path: str, body: Json) -> Json:
        """Apply a strategic merge patch."""
        return await self.insist("PATCH", path, body, kind="application/strategic-merge-patch+json")

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Yield the events of one watch request until the server ends it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_SECONDS + 30)
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS), **query}
        async with self._session.get(path, params=asked, ssl=self._ssl, timeout=timeout) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, await answer.text())
            async for line in answer.content:
                yield json.loads(line)


def read_kubeconfig(file: Path) -> tuple[str, str, str]:
    """Read the server's URL, the PEM text of its authority, and the token of a kubeconfig's current context."""
    config = yaml.safe_load(file.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    if "certificate-authority-data" in cluster:
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    else:
        authority = (file.parent / cluster["certificate-authority"]).read_text()
    return cluster["server"], authority, user["token"]


def _named(items: Sequence[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)


# ----------------------------------------------------------------------------------------- programs, network and mounts


async def run(argv: Sequence[str], stdin: str = "") -> str:
    """Run a system command to its end and give its output; an error carries what it said."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate(stdin.encode())
    finally:
        # Whoever is cancelled here cleans up next, and must not meet the command half done.
        await process.wait()
    if process.returncode != 0:
        raise OSError(f"`{shlex.join(argv)}` ended with {process.returncode}: {errors.decode().strip()}")
    return output.decode()


class Addresses:
    """Gives out pod addresses in turn: one that was used comes back only after all the others.

    So nobody who still has the address of a pod that is gone reaches another pod.
    """

    def __init__(self) -> None:
        self._next = _FIRST_POD_ADDRESS
        self._taken: set[IPv4Address] = set()

    def take(self) -> str:
        """Take the next free address; .0 and .255 are left out, for they look like mistakes."""
        while self._next in self._taken or int(self._next) % 256 in (0, 255):
            self._advance()
        address = self._next
        self._taken.add(address)
        self._advance()
        return str(address)

    def give_back(self, address: str) -> None:
        """Let the address be used again."""
        self._taken.discard(IPv4Address(address))

    def _advance(self) -> None:
        self._next = _FIRST_POD_ADDRESS if self._next >= _LAST_POD_ADDRESS else self._next + 1


class PodNetwork:
    """A network namespace of one pod, joined to the bridge by a veth pair whose inner end is `eth0`."""

    def __init__(self, uid: str, address: str) -> None:
        self.name = f"pod-{uid}"
        self.address = address
        self._outer = f"veth{int(IPv4Address(address)) & 0xFFFF:04x}"

    @staticmethod
    async def prepare_bridge() -> None:
        """Fix the bridge's hardware address, and remove what an agent before this one left behind.

        Left alone the address follows the lowest one among the bridge's ports: pods would lose the way to the node for
        as long as they remember the one before, each time that a pod comes or goes.
        """
        bridge, *_ = json.loads(await run(["ip", "-json", "link", "show", _BRIDGE]))
        ports = json.loads(await run(["ip", "-json", "link", "show", "master", _BRIDGE]))
        spaces = [line.split()[0] for line in (await run(["ip", "netns", "list"])).splitlines() if line]
        steps = [
            f"link set {_BRIDGE} address {bridge['address']}",
            *(f"link del {port['ifname']}" for port in ports if port["ifname"].startswith("veth")),
            *(f"netns del {name}" for name in spaces if name.startswith("pod-")),
        ]
        await run(["ip", "-force", "-batch", "-"], "\n".join(steps))

    async def create(self) -> None:
        """Make it: two `ip` processes, some 10 ms."""
        outside = (
            f"netns add {self.name}",
            f"link add {self._outer} type veth peer name eth0 netns {self.name}",
            f"link set {self._outer} master {_BRIDGE} up",
        )
        inside = (
            "link set lo up",
            f"address add {self.address}/16 dev eth0",
            "link set eth0 up",
            f"route add default via {NODE_ADDRESS}",
        )
        await run(["ip", "-batch", "-"], "\n".join(outside))
        await run(["ip", "-netns", self.name, "-batch", "-"], "\n".join(inside))

    async def remove(self) -> None:
        """Take it down; parts that are already gone do not matter."""
        with contextlib.suppress(OSError):
            await run(["ip", "-force", "-batch", "-"], f"link del {self._outer}\nnetns del {self.name}\n")


@dataclass(frozen=True)
class MountPlan:
    """The shell commands that show a container its volumes, and the mounts that cannot be."""

    commands: tuple[str, ...]
    left_out: tuple[str, ...]


def plan_mounts(mounts: Sequence[tuple[Path, Path]], kept: Sequence[Path], scratch: Path) -> MountPlan:
    """Plan bind mounts of (source, mount point) in a mount namespace of the container's own.

    Nothing is written on the machine's file system: a missing mount point is made on an overlay (in memory) of its
    nearest existing folder. `kept` are folders that must stay visible; `scratch` is an empty folder to mount on, beside
    the sources: what hides it comes last.
    """
    commands: list[str] = []
    left_out: list[str] = []
    shown: list[Path] = []
    real = [(source, Path(os.path.realpath(point))) for source, point in mounts]
    for source, target in sorted(real, key=lambda mount: (scratch.is_relative_to(mount[1]), mount[1])):
        base = _nearest_folder(target)
        if any(folder.is_relative_to(target) for folder in kept):
            left_out.append(f"{target} (would hide the image's files)")
            continue
        if not target.exists() and not any(target.is_relative_to(other) for other in shown):
            if base == base.parent:
                left_out.append(f"{target} (no such folder on this machine)")
                continue
            commands.append(_overlay(base, scratch))
            shown.append(base)
        if not target.exists():
            commands.append(_make_mount_point(source, target))
        commands.append(f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}")
        shown.append(target)
    return MountPlan(tuple(commands), tuple(left_out))


def _nearest_folder(path: Path) -> Path:
    """The deepest folder on the way to a path that exists."""
    return next(folder for folder in path.parents if folder.is_dir())


def _overlay(folder: Path, scratch: Path) -> str:
    """Cover a folder with itself plus a writable layer in memory."""
    layers, covered = shlex.quote(str(scratch)), shlex.quote(str(folder))
    return (
        f"mount -t tmpfs tmpfs {layers} && mkdir {layers}/upper {layers}/work"
        f" && mount -t overlay -o lowerdir={covered},upperdir={layers}/upper,workdir={layers}/work overlay {covered}"
        f" && umount {layers}"
    )


def _make_mount_point(source: Path, target: Path) -> str:
    """Make the folder or the empty file to mount on."""
    if source.is_dir():
        return f"mkdir -p {shlex.quote(str(target))}"
    return f"mkdir -p {shlex.quote(str(target.parent))} && : > {shlex.quote(str(target))}"


# -------------------------------------------------------------------------------------------------------------- volumes


class ConfigMissing(Exception):
    """A ConfigMap, a Secret or a key that a pod needs is not there (yet)."""


class ConfigReader:
    """Reads the ConfigMaps and Secrets that a pod refers to."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """Read all keys of a `configmaps` or `secrets` object."""
        try:
            found = await self._api.insist("GET", f"/api/v1/namespaces/{self._namespace}/{kind}/{name}")
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            if optional:
                return {}
            raise ConfigMissing(f'{kind} "{name}" not found') from refusal
        text = {} if kind == "secrets" else {key: value.encode() for key, value in found.get("data", {}).items()}
        encoded = found.get("data", {}) if kind == "secrets" else found.get("binaryData", {})
        return text | {key: base64.b64decode(value) for key, value in encoded.items()}

    async def key(self, kind: str, reference: Json) -> str | None:
        """Read one key, for an environment variable."""
        optional = bool(reference.get("optional"))
        data = await self.read(kind, reference["name"], optional=optional)
        if reference["key"] in data:
            return data[reference["key"]].decode()
        if optional:
            return None
        raise ConfigMissing(f"couldn't find key {reference['key']} in {kind} {self._namespace}/{reference['name']}")


class Volumes:
    """The volumes of one pod: a folder for each below `folder`."""

    def __init__(self, pod: Pod, address: str, api: Api, folder: Path) -> None:
        self._pod = pod
        self._address = address
        self._api = api
        self._config = ConfigReader(api, pod.namespace)
        self._folder = folder
        self._tokens: list[tuple[Path, Json]] = []

    async def prepare(self) -> None:
        """Make and fill all of them."""
        self._tokens.clear()
        for volume in self._pod.volumes:
            if self._supported(volume):
                self._of(volume["name"]).mkdir(mode=0o777, parents=True, exist_ok=True)
                await self._fill(self._of(volume["name"]), volume)
            else:
                _log.warning("%s: volume %s is of a kind that the lab has not", self._pod.path, volume["name"])

    def source(self, mount: VolumeMount) -> Path | None:
        """What is to be seen at a mount; None if there is no such volume."""
        source = self._of(mount.volume) / mount.sub_path
        if self._of(mount.volume).is_dir() and not source.exists():
            source.mkdir(parents=True)
        return source if source.exists() else None

    async def keep_tokens_fresh(self) -> None:
        """Replace the service account tokens at four fifths of their life, as long as the pod lives."""
        while self._tokens:
            shortest_seconds = min(source.get("expirationSeconds", 3600) for _, source in self._tokens)
            await asyncio.sleep(shortest_seconds * 0.8)
            for file, source in self._tokens:
                _write(file, await self._token(source))

    def _of(self, name: str) -> Path:
        return self._folder / name

    @staticmethod
    def _supported(volume: Json) -> bool:
        return any(kind in volume for kind in ("emptyDir", "configMap", "secret", "projected", "downwardAPI"))

    async def _fill(self, folder: Path, volume: Json) -> None:
        """Write the files of one volume; an emptyDir has none."""
        sources = volume["projected"].get("sources", ()) if "projected" in volume else (volume,)
        for source in sources:
            if "serviceAccountToken" in source:
                token = source["serviceAccountToken"]
                self._tokens.append((folder / token["path"], token))
            for path, content in (await self._files(source)).items():
                _write(folder / path, content)

    async def _files(self, source: Json) -> dict[str, bytes]:
        """The files of one source of a projected volume, or of a plain volume, which looks alike."""
        if "serviceAccountToken" in source:
            token = source["serviceAccountToken"]
            return {token["path"]: await self._token(token)}
        if "downwardAPI" in source:
            items = source["downwardAPI"].get("items", ())
            return {item["path"]: self._field(item) for item in items}
        if "configMap" in source:
            return await self._keys("configmaps", source["configMap"]["name"], source["configMap"])
        if "secret" in source:
            secret = source["secret"]
            return await self._keys("secrets", secret.get("secretName") or secret["name"], secret)
        return {}

    def _field(self, item: Json) -> bytes:
        return field_value(self._pod, item.get("fieldRef", {}).get("fieldPath", ""), self._address).encode()

    async def _keys(self, kind: str, name: str, source: Json) -> dict[str, bytes]:
        """All keys of an object, or those that `items` names, as files."""
        try:
            data = await self._config.read(kind, name, optional=bool(source.get("optional")))
        except ConfigMissing:
            if name != "kube-root-ca.crt":
                raise
            data = {"ca.crt": self._api.authority.encode()}
        if "items" not in source:
            return data
        return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}

    async def _token(self, source: Json) -> bytes:
        """Ask for a service account token that is bound to the pod."""
        account = self._pod.raw["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod", "name": self._pod.name, "uid": self._pod.uid}
        spec: Json = {"expirationSeconds": source.get("expirationSeconds", 3600), "boundObjectRef": bound}
        spec["audiences"] = [source["audience"]] if source.get("audience") else []
        answer = await self._api.insist(
            "POST",
            f"/api/v1/namespaces/{self._pod.namespace}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        return str(answer["status"]["token"]).encode()


def _write(file: Path, content: bytes) -> None:
    """Write a file at once, so that no reader sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
        new.write(content)
    Path(new.name).rename(file)


# ---------------------------------------------------------------------------------------------------------- environment


async def container_environment(
    pod: Pod, container: Container, address: str, config: ConfigReader, base: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a container's process: `base`, then envFrom, then env, which wins."""
    env = dict(base)
    for source in container.env_from:
        for kind, reference in (("configmaps", source.get("configMapRef")), ("secrets", source.get("secretRef"))):
            if reference is not None:
                data = await config.read(kind, reference["name"], optional=bool(reference.get("optional")))
                env |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for entry in container.env:
        value = await _variable(pod, entry, address, config, env)
        if value is not None:
            env[entry["name"]] = value
    return env


async def _variable(pod: Pod, entry: Json, address: str, config: ConfigReader, env: Mapping[str, str]) -> str | None:
    """The value of one entry of `env`; None if it is optional and not there."""
    source = entry.get("valueFrom")
    if source is None:
        return expand(entry.get("value", ""), env)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], address)
    if "configMapKeyRef" in source:
        return await config.key("configmaps", source["configMapKeyRef"])
    if "secretKeyRef" in source:
        return await config.key("secrets", source["secretKeyRef"])
    return ""  # resourceFieldRef: programs take an empty limit for none


# ------------------------------------------------------------------------------------------------- one container's life


class Backoff:
    """The pauses before a container is started again: 1, 2, 4, 8, 10, 10… seconds, from 1 again after a good run."""

    def __init__(self) -> None:
        self._next_seconds = 1.0

    def pause_seconds(self, ran_seconds: float) -> float:
        """The pause after a run that took so long."""
        if ran_seconds >= _BACKOFF_FORGOTTEN_AFTER_SECONDS:
            self._next_seconds = 1.0
        pause = self._next_seconds
        self._next_seconds = min(_MAX_BACKOFF_SECONDS, pause * 2)
        return pause


@dataclass(frozen=True)
class Place:
    """Where the containers of a pod run."""

    pod: Pod
    address: str
    network: str
    """Name of the network namespace; empty for the node's own."""
    volumes: Volumes
    folder: Path
    """For what belongs to this pod and goes with it."""
    logs: Path


class ContainerRunner:
    """Runs one container: starts its process, probes it, starts it again when it ends."""

    def __init__(self, container: Container, state: ContainerState, place: Place, node: Node) -> None:
        self._container = container
        self._state = state
        self._place = place
        self._node = node
        self._process: asyncio.subprocess.Process | None = None
        self._env: dict[str, str] = {}
        self.changed: Callable[[], None] = lambda: None

    async def run(self, restart_policy: str) -> int:
        """Run it until it has ended for good, and give the exit code."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            end = await self._run_once()
            if restart_policy == "Never" or (restart_policy == "OnFailure" and end.exit_code == 0):
                self._set(ended=end)
                return end.exit_code
            pause_seconds = backoff.pause_seconds(time.monotonic() - began)
            message = f"back-off {pause_seconds:g}s restarting failed container={self._container.name}"
            self._set(waiting=("CrashLoopBackOff", message), last_end=end)
            await asyncio.sleep(pause_seconds)
            self._state.restarts += 1

    async def stop(self, grace_seconds: float) -> None:
        """End the process as a kubelet does: preStop hook, SIGTERM, and SIGKILL when the grace is over."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        deadline = time.monotonic() + grace_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + grace_seconds):
                await self._pre_stop()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await process.wait()
        self._kill_all(process)
        await process.wait()

    async def _run_once(self) -> Ended:
        """One run of the process, from its start to its end."""
        process = await self._start()
        self._state.container_id = f"process://{process.pid}-{self._state.restarts}"
        started_at = timestamp()
        self._set(running_since=started_at)
        probes = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            probes.cancel()
        self._kill_all(process)
        if probes.done() and not probes.cancelled():
            probes.result()
        # A process that a signal ended has 128 plus its number, as container engines say it.
        return Ended(code if code >= 0 else 128 - code, started_at, timestamp(), self._state.container_id)

    def _set(
        self,
        *,
        waiting: tuple[str, str] | None = None,
        running_since: str = "",
        ended: Ended | None = None,
        last_end: Ended | None = None,
    ) -> None:
        """Move to another state; a container that has just begun to run is ready at once only without probes."""
        state, running = self._state, bool(running_since)
        state.waiting, state.running_since, state.ended = waiting, running_since, ended
        state.last_end = last_end or state.last_end
        state.started = running and self._container.startup is None
        state.ready = state.started and self._container.readiness is None
        self.changed()

    # -- start

    async def _start(self) -> asyncio.subprocess.Process:
        """Start the process and return once it runs in its namespaces; waits as long as something is missing."""
        image = await self._pulled()
        while True:
            try:
                self._env = await self._environment(image)
                break
            except ConfigMissing as missing:
                self._set(waiting=("CreateContainerConfigError", str(missing)))
                await asyncio.sleep(2)
        async with self._node.starts:
            return await self._spawn(image)

    async def _pulled(self) -> Image:
        """Find the image; one that is not there never comes."""
        image = self._node.images.pull(self._container.image)
        if image is None:
            self._set(waiting=("ImagePullBackOff", f'Back-off pulling image "{self._container.image}"'))
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
        return image

    async def _environment(self, image: Image) -> dict[str, str]:
        """The variables of a container engine, of Kubernetes, and of the pod's spec."""
        pod = self._place.pod
        base = {
            "PATH": ":".join([*map(str, image.path), _SYSTEM_PATH]),
            "HOSTNAME": pod.name,
            "HOME": str(self._place.folder),
            "IMAGE_TAG": image.tag,
            "KUBERNETES_SERVICE_HOST": self._node.apiserver[0],
            "KUBERNETES_SERVICE_PORT": self._node.apiserver[1],
            "KUBERNETES_SERVICE_PORT_HTTPS": self._node.apiserver[1],
        }
        config = ConfigReader(self._node.api, pod.namespace)
        return await container_environment(pod, self._container, self._place.address, config, base)

    async def _spawn(self, image: Image) -> asyncio.subprocess.Process:
        """Start the process: every program in front of it is replaced by the next, so its pid is known from the start.

        The shell holds the writing end of a pipe as its standard input until it gives way to the container's program:
        the end of the pipe says that all is set up.
        """
        reading, writing = os.pipe()
        try:
            with (self._place.logs / f"{self._container.name}.log").open("ab") as log:
                self._process = process = await asyncio.create_subprocess_exec(
                    *self._command_line(image),
                    stdin=writing,
                    stdout=log,
                    stderr=log,
                    env=self._env,
                    cwd=image.cwd or self._place.folder,
                    start_new_session=True,
                )
            os.close(writing)
            writing = -1
            await _end_of_pipe(reading)
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)
        return process

    def _command_line(self, image: Image) -> list[str]:
        """The program, behind those that put it into its namespaces and tie its life to the agent's."""
        container = self._container
        program = [*(container.command or image.entrypoint), *container.args]
        network = [_tool("nsenter"), f"--net=/run/netns/{self._place.network}"] if self._place.network else []
        return [
            *(_tool("setpriv"), "--pdeathsig", "KILL"),
            *network,
            *(_tool("unshare"), "--mount", "--uts", "--propagation", "private"),
            *(_tool("sh"), "-c", self._setup_script(image), "sh"),
            *(expand(word, self._env) for word in program),
        ]

    def _setup_script(self, image: Image) -> str:
        """What the shell does before it gives way: host name, mounts, working directory."""
        mounts = [
            (source, Path(mount.path))
            for mount in self._container.mounts
            if (source := self._place.volumes.source(mount)) is not None
        ]
        kept = [folder.resolve() for folder in (image.cwd, *image.path) if folder is not None]
        scratch = self._place.folder / ".scratch"
        scratch.mkdir(exist_ok=True)
        plan = plan_mounts(mounts, kept, scratch)
        if plan.left_out:
            left_out = ", ".join(plan.left_out)
            self._node.say_once(f"not mounted for container {self._container.name} ({image.tag}): {left_out}")
        steps = [f"echo {shlex.quote(self._place.pod.name)} > /proc/sys/kernel/hostname", *plan.commands]
        if self._container.working_dir:
            steps.append(f"cd {shlex.quote(self._container.working_dir)} 2>/dev/null || true")
        return "\n".join(["set -e", *steps, 'exec "$@" </dev/null'])

    @staticmethod
    def _kill_all(process: asyncio.subprocess.Process) -> None:
        """Kill the process and all that it started and left behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    # -- probes and hooks

    async def _probe(self) -> None:
        """Probe until cancelled: the startup probe first, readiness and liveness once it has passed."""
        container = self._container
        if container.startup is not None:
            if not await self._first_verdict(container.startup):
                return await self._restart("startup")
            self._state.started = True
            self._state.ready = container.readiness is None
            self.changed()
        async with asyncio.TaskGroup() as group:
            if container.readiness is not None:
                group.create_task(self._watch_readiness(container.readiness))
            if container.liveness is not None:
                group.create_task(self._watch_liveness(container.liveness))
        return None

    async def _first_verdict(self, probe: Probe) -> bool:
        async for verdict in verdicts(probe, self._check):
            return verdict
        raise AssertionError("probing never ends by itself")

    async def _watch_readiness(self, probe: Probe) -> None:
        async for ready in verdicts(probe, self._check):
            if ready != self._state.ready:
                self._state.ready = ready
                self.changed()

    async def _watch_liveness(self, probe: Probe) -> None:
        """Restart the container when it is not alive; the first look comes at a random time within a period.

        Pods of one rollout start together, and their probes shall not all run in the same instant ever after.
        """
        await asyncio.sleep(random.uniform(0, probe.period_seconds))  # noqa: S311 - spreads load, guards nothing
        async for alive in verdicts(probe, self._check):
            if not alive:
                return await self._restart("liveness")
        return None

    async def _restart(self, probe: str) -> None:
        """End the process; whoever runs it starts it again."""
        _log.info("%s: container %s failed its %s probe", self._place.pod.path, self._container.name, probe)
        await self.stop(self._place.pod.grace_seconds)

    async def _check(self, probe: Probe) -> bool:
        """Probe once; time spent in the queue for a slot does not count."""
        if probe.command:
            async with self._node.exec_slots:
                return await self._within(probe.timeout_seconds, self._exec(probe.command))
        async with self._node.connect_slots:
            if probe.http is not None:
                return await self._within(probe.timeout_seconds, self._http_get(probe.http))
            return await self._within(probe.timeout_seconds, self._connect(probe.port or 0))

    @staticmethod
    async def _within(seconds: float, check: Coroutine[Any, Any, bool]) -> bool:
        """Whether a check succeeds in time."""
        try:
            async with asyncio.timeout(seconds):
                return await check
        except (TimeoutError, OSError, aiohttp.ClientError):
            return False

    async def _exec(self, command: Sequence[str]) -> bool:
        """Run a command beside the container's process, in all of its namespaces; whether it ends with 0."""
        assert self._process is not None
        target = str(self._process.pid)
        process = await asyncio.create_subprocess_exec(
            *(_tool("nsenter"), "--target", target, "--net", "--mount", "--uts", "--wd", "--"),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._env,
            start_new_session=True,
        )
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                self._kill_all(process)

    async def _http_get(self, get: HttpGet) -> bool:
        """Ask from the node; any answer below 400 will do."""
        url = f"{get.scheme}://{get.host or self._place.address}:{get.port}{get.path}"
        headers = {"User-Agent": "kube-probe/lab", "Connection": "close", **dict(get.headers)}
        async with self._node.probing.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
            return 200 <= answer.status < 400

    async def _connect(self, port: int) -> bool:
        _, writer = await asyncio.open_connection(self._place.address, port)
        writer.close()
        return True

    async def _pre_stop(self) -> None:
        """Run the preStop hook; what comes of it does not matter."""
        hook = self._container.pre_stop or {}
        with contextlib.suppress(OSError, aiohttp.ClientError):
            if "sleep" in hook:
                await asyncio.sleep(hook["sleep"]["seconds"])
            elif "exec" in hook:
                await self._exec(hook["exec"]["command"])
            elif "httpGet" in hook:
                await self._http_get(_parse_http_get(hook["httpGet"], {}))


async def verdicts(probe: Probe, check: Callable[[Probe], Awaitable[bool]]) -> AsyncIterator[bool]:
    """Probe for ever and yield a verdict each time that a threshold is met (and as long as it stays met)."""
    await asyncio.sleep(probe.initial_delay_seconds)
    streak, before = 0, False
    while True:
        due = time.monotonic() + probe.period_seconds
        passed = await check(probe)
        streak = streak + 1 if passed == before else 1
        before = passed
        if streak >= (probe.success_threshold if passed else probe.failure_threshold):
            yield passed
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _end_of_pipe(descriptor: int) -> None:
    """Wait until nobody holds the other end of a pipe."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)


def _tool(name: str) -> str:
    """The path of a system program, whatever PATH the container's environment has."""
    return shutil.which(name, path=_SYSTEM_PATH) or name


# --------------------------------------------------------------------------------------------------------- a pod's life


class PodAgent(ABC):
    """One pod on the node: lives, reports its status when it changes, ends when the pod is deleted."""

    def __init__(self, pod: Pod, node: Node) -> None:
        self.pod = pod
        self.node = node
        self.state = PodState(
            containers=[ContainerState(c.name, c.image) for c in pod.containers],
            init_containers=[ContainerState(c.name, c.image) for c in pod.init_containers],
            start_time=timestamp(),
            initialized=not pod.init_containers,
        )
        self._conditions = dict(pod.conditions)
        self._reported: Json = {}
        self._runners: list[ContainerRunner] = []
        self._cleared = False
        self._news = asyncio.Event()
        self._life = node.spawn(self._live(), f"life of {pod.path}")
        self._reporter = node.spawn(self._report(), f"status of {pod.path}")

    def update(self, pod: Pod) -> None:
        """Take note of a change of the Pod."""
        self.pod = pod
        self.changed()
        if pod.terminating_grace_seconds is not None and not self.state.terminating:
            self.state.terminating = True
            self.node.spawn(self._terminate(pod.terminating_grace_seconds), f"end of {pod.path}")

    def changed(self) -> None:
        """Have the status looked at, and reported if it is another one than before."""
        self._news.set()

    async def leave(self, grace_seconds: float) -> None:
        """End without a word to the API server: the Pod is gone there, or the agent stops."""
        self._reporter.cancel()
        await self._stop(grace_seconds)
        await self._clear_once()

    @abstractmethod
    async def _live(self) -> None:
        """Do what a pod does until it is cancelled."""

    @abstractmethod
    async def _clear(self) -> None:
        """Give back what was taken."""

    async def _report(self) -> None:
        """Write the status as often as it changes."""
        while True:
            await self._news.wait()
            self._news.clear()
            status = pod_status(self.pod, self.state, self._conditions, timestamp())
            if status == self._reported:
                continue
            try:
                await self.node.api.patch(
                    f"{self.pod.path}/status", {"metadata": {"uid": self.pod.uid}, "status": status}
                )
            except ApiError as refusal:
                _log.warning("status of %s: %s", self.pod.path, refusal)
                continue
            self._reported = status
            self._conditions |= {condition["type"]: condition for condition in status["conditions"]}

    async def _terminate(self, grace_seconds: float) -> None:
        """End the pod, then tell the API server that nothing of it is left."""
        self.changed()
        await self._stop(grace_seconds)
        self._reporter.cancel()
        await self._clear_once()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod.uid}}
        with contextlib.suppress(ApiError):
            await self.node.api.insist(
                "DELETE", self.pod.path, {"apiVersion": "v1", "kind": "DeleteOptions", **options}
            )
        self.node.forget(self.pod.uid)

    async def _stop(self, grace_seconds: float) -> None:
        """End what runs, within the grace."""
        self._life.cancel()
        await asyncio.wait([self._life])
        await asyncio.gather(*(runner.stop(grace_seconds) for runner in self._runners))

    async def _clear_once(self) -> None:
        """Clear up, if that has not been done: a Pod's end is met both in `_terminate` and as an event."""
        if not self._cleared:
            self._cleared = True
            await self._clear()


class FakePod(PodAgent):
    """A pod without processes, for measuring how many rollouts an operator can bear."""

    async def _live(self) -> None:
        """Be as the annotations say; another annotation takes effect when the Pod is updated."""
        self.state.address = self.state.address or self.node.addresses.take()
        self.state.initialized = True
        for init in self.state.init_containers:
            init.ended = Ended(0, self.state.start_time, self.state.start_time, f"fake://{init.name}")
        waiting = self.pod.annotations.get(WAITING_ANNOTATION)
        delay_seconds = ready_delay_seconds(self.pod.annotations, self.node.ready_delay_seconds)
        self._show(waiting, ready=delay_seconds == 0)
        if waiting is None and delay_seconds:
            await asyncio.sleep(delay_seconds)
            self._show(waiting, ready=True)

    def update(self, pod: Pod) -> None:
        """Take note of a change, above all of the annotations."""
        asked = [self.pod.annotations.get(key) for key in (WAITING_ANNOTATION, READY_DELAY_ANNOTATION)]
        super().update(pod)
        if not self.state.terminating and asked != [
            pod.annotations.get(key) for key in (WAITING_ANNOTATION, READY_DELAY_ANNOTATION)
        ]:
            self._life.cancel()
            self._life = self.node.spawn(self._live(), f"life of {pod.path}")

    async def _clear(self) -> None:
        if self.state.address:
            self.node.addresses.give_back(self.state.address)

    def _show(self, waiting: str | None, *, ready: bool) -> None:
        for container in self.state.containers:
            container.waiting = (waiting, "") if waiting is not None else None
            container.running_since = self.state.start_time
            container.container_id = f"fake://{self.pod.uid}-{container.name}"
            container.started = waiting is None
            container.ready = waiting is None and ready
        self.changed()


def ready_delay_seconds(annotations: Mapping[str, str], default_seconds: float) -> float:
    """How long a fake pod takes to become ready: `3s`, `0.5s`, `never`, or the default."""
    asked = annotations.get(READY_DELAY_ANNOTATION)
    if asked is None:
        return default_seconds
    return float("inf") if asked == "never" else float(asked.removesuffix("s"))


class ProcessPod(PodAgent):
    """A pod whose containers are processes."""

    def __init__(self, pod: Pod, node: Node) -> None:
        self._folder = node.work_dir / ".pods" / pod.uid
        self._network: PodNetwork | None = None
        self._tokens: asyncio.Task[None] | None = None
        super().__init__(pod, node)

    async def _live(self) -> None:
        """Set up, run the init containers one after the other, then all others together."""
        place = await self._set_up()
        init = list(zip(self.pod.init_containers, self.state.init_containers, strict=True))
        once = "Never" if self.pod.restart_policy == "Never" else "OnFailure"
        for container, state in init:
            if await self._runner(container, state, place).run(once) != 0:
                return
        self.state.initialized = True
        async with asyncio.TaskGroup() as group:
            for container, state in zip(self.pod.containers, self.state.containers, strict=True):
                group.create_task(self._runner(container, state, place).run(self.pod.restart_policy))

    async def _set_up(self) -> Place:
        """Make the pod's network, its folders and its volumes; volumes may have to wait for their ConfigMap."""
        if self.state.init_containers:
            for state in self.state.containers:
                state.waiting = ("PodInitializing", "")
        self.changed()
        logs = self.node.work_dir / self.pod.namespace / self.pod.name
        logs.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        address = await self._connect()
        volumes = Volumes(self.pod, address, self.node.api, self._folder / "volumes")
        while True:
            try:
                await volumes.prepare()
                break
            except ConfigMissing as missing:
                _log.info("%s: %s", self.pod.path, missing)
                await asyncio.sleep(2)
        self._tokens = self.node.spawn(volumes.keep_tokens_fresh(), f"tokens of {self.pod.path}")
        self.state.address = address
        return Place(self.pod, address, self._network.name if self._network else "", volumes, self._folder, logs)

    async def _connect(self) -> str:
        """Give the pod a network of its own, unless it shares the node's."""
        if self.pod.host_network:
            return NODE_ADDRESS
        self._network = PodNetwork(self.pod.uid, self.node.addresses.take())
        async with self.node.starts:
            await self._network.create()
        return self._network.address

    def _runner(self, container: Container, state: ContainerState, place: Place) -> ContainerRunner:
        runner = ContainerRunner(container, state, place, self.node)
        runner.changed = self.changed
        self._runners.append(runner)
        return runner

    async def _clear(self) -> None:
        if self._tokens is not None:
            self._tokens.cancel()
        if self._network is not None:
            async with self.node.starts:
                await self._network.remove()
            self.node.addresses.give_back(self._network.address)
        shutil.rmtree(self._folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------- the node


class Node:
    """The node: registers itself, keeps an agent for each pod bound to it, and shares out what they compete for."""

    def __init__(
        self,
        api: Api,
        probing: aiohttp.ClientSession,
        *,
        agent: type[PodAgent],
        images: Images,
        work_dir: Path,
        apiserver: tuple[str, str],
        default_ready_delay_seconds: float,
    ) -> None:
        self.api = api
        self.probing = probing
        self.images = images
        self.work_dir = work_dir
        self.apiserver = apiserver
        self.ready_delay_seconds = default_ready_delay_seconds
        self.addresses = Addresses()
        # Pods come in crowds, and so do their probes: on two cores some shall wait for their turn.
        self.starts = asyncio.Semaphore(4)
        self.exec_slots = asyncio.Semaphore(8)
        self.connect_slots = asyncio.Semaphore(32)
        self._agent = agent
        self._pods: dict[str, PodAgent] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()

    async def serve(self) -> None:
        """Register, then follow the pods until cancelled."""
        await self._register()
        self.spawn(self._beat(), "heartbeat")
        while True:
            try:
                await self._follow(await self._list())
            except ApiError as refusal:
                if refusal.status != 410:
                    _log.warning("watch of pods: %s", refusal)
                    await asyncio.sleep(0.5)
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.warning("watch of pods: %s %s", type(error).__name__, error)
                await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """End all pods' processes; the pods stay in the API, as those of a node that lost its power."""
        await asyncio.gather(*(pod.leave(_LAST_SECONDS) for pod in self._pods.values()))

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside all the rest; an error in it is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def forget(self, uid: str) -> None:
        """Drop the agent of a pod that is gone."""
        self._pods.pop(uid, None)

    def say_once(self, message: str) -> None:
        """Log what would otherwise be said of every pod of a Deployment."""
        if message not in self._said:
            self._said.add(message)
            _log.info("%s", message)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)

    # -- registration

    async def _register(self) -> None:
        """Create the Node, if it is not there, and make it schedulable: nothing else in the lab removes its taints."""
        labels = {
            "kubernetes.io/hostname": NODE_NAME,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}
        try:
            await self.api.insist("POST", "/api/v1/nodes", node)
        except ApiError as refusal:
            if refusal.status != 409:
                raise
        await self.api.patch(f"/api/v1/nodes/{NODE_NAME}", {"spec": {"taints": None, "unschedulable": None}})
        await self.api.patch(f"/api/v1/nodes/{NODE_NAME}/status", {"status": node_status(timestamp())})

    async def _beat(self) -> None:
        """Say now and then that the node is alive."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await self.api.patch(f"/api/v1/nodes/{NODE_NAME}/status", {"status": node_status(timestamp())})

    # -- pods

    async def _list(self) -> str:
        """Bring the agents in line with the pods that there are; give the resourceVersion to watch from."""
        found = await self.api.call("GET", "/api/v1/pods", query=_OWN_PODS)
        pods = [parse_pod(raw) for raw in found["items"]]
        for uid in set(self._pods) - {pod.uid for pod in pods}:
            self._vanished(uid)
        for pod in pods:
            self._seen(pod)
        return str(found["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Watch from a version on; ends when the history that is needed is gone."""
        while True:
            try:
                async for event in self.api.watch("/api/v1/pods", {**_OWN_PODS, "resourceVersion": version}):
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 410), event["object"].get("message", ""))
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event)
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.warning("watch of pods: %s %s", type(error).__name__, error)
                await asyncio.sleep(0.5)

    def _take(self, event: Json) -> None:
        """Pass an event on to the pod's agent."""
        if event["type"] in ("ADDED", "MODIFIED"):
            self._seen(parse_pod(event["object"]))
        elif event["type"] == "DELETED":
            self._vanished(event["object"]["metadata"]["uid"])

    def _seen(self, pod: Pod) -> None:
        agent = self._pods.get(pod.uid)
        if agent is None and pod.phase in ("Succeeded", "Failed") and pod.terminating_grace_seconds is None:
            return
        if agent is None:
            agent = self._pods[pod.uid] = self._agent(pod, self)
        agent.update(pod)

    def _vanished(self, uid: str) -> None:
        """End a pod that is no longer in the API; one that is at its regular end is left to it."""
        agent = self._pods.pop(uid, None)
        if agent is not None:
            self.spawn(agent.leave(0), f"end of {agent.pod.path}")


_OWN_PODS = {"fieldSelector": f"spec.nodeName={NODE_NAME}"}


def node_status(now: str) -> Json:
    """The status of a healthy node with room for everything."""
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
    conditions = [("Ready", "True", "KubeletReady")] + [
        (f"{what}Pressure", "False", f"KubeletHasNo{what}Pressure") for what in ("Memory", "Disk", "PID")
    ]
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NODE_NAME}],
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": now}
            for kind, status, reason in conditions
        ],
        "nodeInfo": {"kubeletVersion": "lab", "containerRuntimeVersion": "process://1", "operatingSystem": "linux"},
    }


def apiserver_of(flag: str | None, server: str) -> tuple[str, str]:
    """Host and port of the API server as pods reach it: a loopback address is the node's on their side."""
    target = urlsplit(f"//{flag}" if flag else server)
    host, port = target.hostname or NODE_ADDRESS, str(target.port or 443)
    with contextlib.suppress(ValueError):
        host = NODE_ADDRESS if ip_address(host).is_loopback else host
    return host, port


async def serve(options: argparse.Namespace) -> None:
    """Play the node until SIGTERM or SIGINT."""
    processes = options.mode == "process"
    options.work_dir.mkdir(parents=True, exist_ok=True)
    if processes:
        await PodNetwork.prepare_bridge()
    probing = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
    async with Api.of_kubeconfig(options.kubeconfig) as api, probing:
        node = Node(
            api,
            probing,
            agent=ProcessPod if processes else FakePod,
            images=Images(_read_images(options.images), options.bin_dir),
            work_dir=options.work_dir,
            apiserver=apiserver_of(options.apiserver, api.server),
            default_ready_delay_seconds=options.ready_delay,
        )
        serving = asyncio.create_task(node.serve())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await node.stop()


def _read_images(file: Path | None) -> dict[str, Json]:
    """Read the images file; fake pods need none."""
    entries: dict[str, Json] = json.loads(file.read_text()) if file is not None else {}
    return entries


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m e2e.lab.node", description="The node of the lab.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--mode", choices=("process", "fake"), default="process")
    parser.add_argument("--bin-dir", type=Path, default=Path(), help="where relative paths of the images file start")
    parser.add_argument("--images", type=Path, help="JSON: image name → cwd, path, entrypoint")
    parser.add_argument("--work-dir", type=Path, required=True, help="logs as NAMESPACE/POD/CONTAINER.log, and volumes")
    parser.add_argument("--ready-delay", type=float, default=0.2, help="seconds until a fake pod is ready")
    parser.add_argument("--apiserver", help="HOST:PORT of the API server as pods reach it")
    options = parser.parse_args(arguments)
    for name in ("bin_dir", "work_dir"):
        setattr(options, name, getattr(options, name).resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if sys.version_info < (3, 12):
        # The default starts a thread for each process; from 3.12 on this one is the default.
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
