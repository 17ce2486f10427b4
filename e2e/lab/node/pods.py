"""Pods as the API server gives them, read once into what the agent needs to know.

Shapes: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/. What is resolved only when a
container starts (`env`, `volumes`) stays as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.lab.node.objects import NODE_ADDRESS, Json

_SUFFIXES = {"m": 0.001} | {
    prefix + kind: float(base**power)
    for kind, base, prefixes in (("i", 1024, "KMGTPE"), ("", 1000, "kMGTPE"))
    for power, prefix in enumerate(prefixes, 1)
}
"""Of a quantity: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""


@dataclass(frozen=True)
class Exec:
    """Run a command beside the container's process; exit code 0 is success."""

    command: tuple[str, ...]


@dataclass(frozen=True)
class HttpGet:
    """Ask for a page; any status from 200 to 399 is success."""

    host: str
    """Empty for the pod's address."""
    port: int
    path: str
    scheme: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Connect:
    """Open a TCP connection (tcpSocket, grpc); that it opens is success."""

    port: int


@dataclass(frozen=True)
class Sleep:
    """Wait; a hook's only."""

    seconds: float


Action = Exec | HttpGet | Connect | Sleep
"""What a probe or a hook does."""


@dataclass(frozen=True)
class Probe:
    """A readiness, liveness or startup probe."""

    action: Action
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
    """One container of a pod's spec."""

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
    pre_stop: Action | None
    memory_limit_bytes: int | None


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
    """What its containers are given to end when a probe fails."""
    terminating_grace_seconds: float | None
    """What the one who deleted it gives them; None as long as nobody has."""
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
        containers=tuple(map(_parse_container, spec["containers"])),
        init_containers=tuple(map(_parse_container, spec.get("initContainers", ()))),
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


def _parse_container(raw: Json) -> Container:
    """Read a container; named ports of its probes and hooks become numbers."""
    ports = {port["name"]: int(port["containerPort"]) for port in raw.get("ports", ()) if "name" in port}
    pre_stop = raw.get("lifecycle", {}).get("preStop")
    limit = raw.get("resources", {}).get("limits", {}).get("memory")
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
        pre_stop=_parse_action(pre_stop, ports) if pre_stop is not None else None,
        memory_limit_bytes=parse_bytes(limit) if limit is not None else None,
    )


def parse_bytes(quantity: str) -> int:
    """Read a quantity of bytes in the API server's own form: `512Mi`, `1500M`, `1e9`, `1000`, `500m`."""
    number, factor = quantity, 1.0
    for suffix, value in _SUFFIXES.items():
        if quantity.endswith(suffix):
            number, factor = quantity.removesuffix(suffix), value
            break
    return int(float(number) * factor)


def _parse_probe(raw: Json | None, ports: Mapping[str, int]) -> Probe | None:
    """Read a probe, if there is one."""
    if raw is None:
        return None
    return Probe(
        action=_parse_action(raw, ports),
        initial_delay_seconds=raw.get("initialDelaySeconds", 0),
        period_seconds=raw.get("periodSeconds", 10),
        timeout_seconds=raw.get("timeoutSeconds", 1),
        failure_threshold=raw.get("failureThreshold", 3),
        success_threshold=raw.get("successThreshold", 1),
    )


def _parse_action(raw: Json, ports: Mapping[str, int]) -> Action:
    """Read what a probe or a hook does: the API server sees to it that it has exactly one of these."""
    if "exec" in raw:
        return Exec(tuple(raw["exec"]["command"]))
    if "sleep" in raw:
        return Sleep(raw["sleep"]["seconds"])
    if "httpGet" not in raw:
        return Connect(_port_number((raw.get("tcpSocket") or raw["grpc"])["port"], ports))
    get = raw["httpGet"]
    return HttpGet(
        host=get.get("host", ""),
        port=_port_number(get["port"], ports),
        path="/" + get.get("path", "/").lstrip("/"),
        scheme=get.get("scheme", "HTTP").lower(),
        headers=tuple((header["name"], header["value"]) for header in get.get("httpHeaders", ())),
    )


def _port_number(port: int | str, ports: Mapping[str, int]) -> int:
    """Resolve a port; 0, which nothing answers on, for a name that the container does not have."""
    return port if isinstance(port, int) else ports.get(port, 0)


def field_value(pod: Pod, path: str, address: str) -> str:
    """What the downward API gives for a field of the pod, whose own address the Pod may not have yet."""
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
