"""What the pods of the node share: their way to the API, their images and addresses, and what they compete for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from e2e.lab.node.api import Api
from e2e.lab.node.images import Images
from e2e.lab.node.network import Addresses

_log = logging.getLogger("lab.node")


class Machine:
    """The machine that the pods run on."""

    def __init__(self, api: Api, probing: aiohttp.ClientSession, images: Images, work_dir: Path) -> None:
        """Take what is open already; `probing` is the session of HTTP probes, `work_dir` holds logs and volumes."""
        self.api = api
        self.probing = probing
        self.images = images
        self.work_dir = work_dir
        self.addresses = Addresses()
        # Pods come in crowds, and so do their probes: on two cores some shall wait for their turn.
        self.starts = asyncio.Semaphore(4)
        self.exec_slots = asyncio.Semaphore(8)
        self.connect_slots = asyncio.Semaphore(32)
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside all the rest; an error in it is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)
