"""A pod's life on the node, whatever it is made of: it lives, its status is reported, it ends when it is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod

from e2e.lab.node.api import ApiError
from e2e.lab.node.machine import Machine
from e2e.lab.node.objects import Json, timestamp
from e2e.lab.node.pods import Pod
from e2e.lab.node.statuses import ContainerState, PodState, pod_status

_log = logging.getLogger("lab.node")


class PodAgent(ABC):
    """One pod on the node: lives, reports its status when it changes, ends when the pod is deleted."""

    def __init__(self, pod: Pod, machine: Machine) -> None:
        """Begin at once."""
        self.pod = pod
        self.machine = machine
        self.state = PodState(
            containers=list(map(ContainerState.of, pod.containers)),
            init_containers=list(map(ContainerState.of, pod.init_containers)),
            start_time=timestamp(),
            initialized=not pod.init_containers,
        )
        self._conditions = dict(pod.conditions)
        self._reported: Json = {}
        self._cleared = False
        self._news = asyncio.Event()
        self._life = machine.spawn(self._live(), f"life of {pod.path}")
        self._reporter = machine.spawn(self._report(), f"status of {pod.path}")

    def update(self, pod: Pod) -> None:
        """Take note of a change of the Pod."""
        self.pod = pod
        self.changed()
        if pod.terminating_grace_seconds is not None and not self.state.terminating:
            self.state.terminating = True
            self.machine.spawn(self._terminate(pod.terminating_grace_seconds), f"end of {pod.path}")

    def changed(self) -> None:
        """Have the status looked at, and reported if it is another one than before."""
        self._news.set()

    async def leave(self, grace_seconds: float) -> None:
        """End without a word to the API server: the Pod is gone there, or the agent stops."""
        self._reporter.cancel()
        await self._end(grace_seconds)

    @abstractmethod
    async def _live(self) -> None:
        """Do what a pod does until it is cancelled."""

    @abstractmethod
    async def _stop(self, grace_seconds: float) -> None:
        """End what runs, within the grace."""

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
            body = {"metadata": {"uid": self.pod.uid}, "status": status}
            try:
                await self.machine.api.patch(f"{self.pod.path}/status", body)
            except ApiError as refusal:
                _log.warning("status of %s: %s", self.pod.path, refusal)
                continue
            self._reported = status
            self._conditions |= {condition["type"]: condition for condition in status["conditions"]}

    async def _terminate(self, grace_seconds: float) -> None:
        """End the pod, then tell the API server that nothing of it is left.

        The event of its deletion is what makes the node forget it: a Pod with finalizers stays for a while, and must
        not begin to live again.
        """
        await self._end(grace_seconds)
        self._reporter.cancel()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod.uid}}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        with contextlib.suppress(ApiError):
            await self.machine.api.insist("DELETE", self.pod.path, body)

    async def _end(self, grace_seconds: float) -> None:
        """End all that runs and clear up; a Pod's end may be met twice, in `_terminate` and as an event."""
        self._life.cancel()
        await asyncio.wait([self._life])
        await self._stop(grace_seconds)
        if not self._cleared:
            self._cleared = True
            await self._clear()
