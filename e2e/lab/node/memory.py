"""Memory limits: a container that takes more than it may is ended, as the kernel does in a cgroup.

A lab has no cgroups of its own. Each container with a limit is looked at twice a second instead, so it may have taken
more for a moment; as under `memory.oom.group`, which the kubelet sets, all of its processes go.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_LOOK_AGAIN_SECONDS = 0.5
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def await_excess(pid: int, limit_bytes: int) -> None:
    """Return once a process and its descendants have more resident memory than the limit; never, if they end first."""
    while True:
        if resident_bytes(pid) > limit_bytes:
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and its descendants; 0 for what has ended. Shared pages count for each."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        children = [child for task in process.glob("task/*/children") for child in task.read_text().split()]
    except OSError:
        return 0
    return pages * _PAGE_BYTES + sum(resident_bytes(int(child)) for child in children)
