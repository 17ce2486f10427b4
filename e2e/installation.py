"""Fluxcanary in a lab, installed as a user would.

`deploy/` is applied with kubectl; the operator runs in a pod, under the rights that `deploy/` gives it. The lab has
no image registry: the node runs this checkout where the pod names the operator's image.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from e2e.lab.lab import Image, Lab

ROOT = Path(__file__).parent.parent
OVERLAY = Path(__file__).parent / "overlay"
NAMESPACE = "fluxcanary-system"
USER = f"system:serviceaccount:{NAMESPACE}:fluxcanary"
"""What the API server calls the operator."""

IMAGES: Mapping[str, Image] = {
    "fluxcanary": {"entrypoint": [sys.executable, "-m", "canary.operator"], "cwd": str(ROOT)}
}


def install(lab: Lab) -> None:
    """Apply `deploy/`, told where the lab's Prometheus is, and wait until the operator leads."""
    lab.kubectl("apply", "--server-side", "--kustomize", str(OVERLAY))
    await_operator(lab)


def await_operator(lab: Lab, timeout: float = 60) -> None:
    """Wait until an operator holds the Lease."""

    def leads() -> bool:
        lease = lab.kubectl("get", "lease", "-n", NAMESPACE, "--ignore-not-found", "-o=jsonpath={..holderIdentity}")
        return bool(lease.strip())

    lab.wait_for(leads, timeout, "an operator to lead")


def scale_operator(lab: Lab, replicas: int) -> None:
    """Stop the operator (0) or start it (1), and wait until it is so."""
    lab.kubectl("scale", "deployment/fluxcanary", "-n", NAMESPACE, f"--replicas={replicas}")
    if replicas:
        await_operator(lab)
        return
    lab.wait_for(
        lambda: not lab.kubectl("get", "pods", "-n", NAMESPACE, "-o=name").strip(), 60, "the operator to be gone"
    )


def kill_operator(lab: Lab) -> None:
    """SIGKILL to the operator's process, found by its command line among the processes of this lab."""
    inside = Path(f"/proc/{(lab.folder / 'pid').read_text().strip()}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"canary.operator"] and (process / "ns/pid").readlink() == inside:
                os.kill(int(process.name), signal.SIGKILL)
        except FileNotFoundError:
            continue  # it ended meanwhile


def operator_log(lab: Lab) -> str:
    """What the operators of this lab wrote, oldest pod first."""
    files = sorted((lab.folder / "node" / NAMESPACE).glob("*/operator.log"), key=lambda file: file.stat().st_mtime)
    return "\n".join(file.read_text() for file in files)
