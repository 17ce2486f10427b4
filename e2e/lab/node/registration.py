"""The Node object: that the node is there, is healthy, and has room for everything."""

from __future__ import annotations

import asyncio
import platform

from e2e.lab.node.api import Api, ApiError
from e2e.lab.node.objects import NODE_ADDRESS, NODE_NAME, Json, timestamp

_HEARTBEAT_SECONDS = 300.0
_PATH = f"/api/v1/nodes/{NODE_NAME}"


async def register(api: Api) -> None:
    """Create the Node, if it is not there, and make it schedulable: nothing else in the lab removes its taints."""
    labels = {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}
    try:
        await api.insist("POST", "/api/v1/nodes", node)
    except ApiError as refusal:
        if refusal.status != 409:
            raise
    await api.patch(_PATH, {"spec": {"taints": None, "unschedulable": None}})
    await _report(api)


async def keep_alive(api: Api) -> None:
    """Say now and then that the node is alive."""
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        await _report(api)


async def _report(api: Api) -> None:
    await api.patch(f"{_PATH}/status", {"status": _status(timestamp())})


def _status(now: str) -> Json:
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
