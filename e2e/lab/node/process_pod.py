"""Pods whose containers are processes: what the lab runs unless it is told to fake them."""

from __future__ import annotations

import asyncio
import logging
import shutil

from e2e.lab.node.config import once_there
from e2e.lab.node.container import ContainerRunner
from e2e.lab.node.launch import Place
from e2e.lab.node.machine import Machine
from e2e.lab.node.network import PodNetwork
from e2e.lab.node.objects import NODE_ADDRESS
from e2e.lab.node.pod_agent import PodAgent
from e2e.lab.node.pods import Container, Pod
from e2e.lab.node.statuses import ContainerState
from e2e.lab.node.volumes import Volumes

_log = logging.getLogger("lab.node")


class ProcessPod(PodAgent):
    """A pod whose containers are processes."""

    def __init__(self, pod: Pod, machine: Machine) -> None:
        """Begin at once."""
        self._folder = machine.work_dir / ".pods" / pod.uid
        self._network: PodNetwork | None = None
        self._tokens: asyncio.Task[None] | None = None
        self._runners: list[ContainerRunner] = []
        super().__init__(pod, machine)

    async def _live(self) -> None:
        """Set up, run the init containers one after the other, then all others together."""
        place = await self._set_up()
        once = "Never" if self.pod.restart_policy == "Never" else "OnFailure"
        for container, state in zip(self.pod.init_containers, self.state.init_containers, strict=True):
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
        logs = self.machine.work_dir / self.pod.namespace / self.pod.name
        logs.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        address = await self._connect()
        volumes = Volumes(self.pod, address, self.machine.api, self._folder / "volumes")
        await once_there(volumes.prepare, lambda missing: _log.info("%s: %s", self.pod.path, missing))
        self._tokens = self.machine.spawn(volumes.keep_tokens_fresh(), f"tokens of {self.pod.path}")
        self.state.address = address
        return Place(self.pod, address, self._network.name if self._network else "", volumes, self._folder, logs)

    async def _connect(self) -> str:
        """Give the pod a network of its own, unless it shares the node's; gives the pod's address."""
        if self.pod.host_network:
            return NODE_ADDRESS
        self._network = PodNetwork(self.pod.uid, self.machine.addresses.take())
        async with self.machine.starts:
            await self._network.create()
        return self._network.address

    def _runner(self, container: Container, state: ContainerState, place: Place) -> ContainerRunner:
        runner = ContainerRunner(container, state, place, self.machine, self.changed)
        self._runners.append(runner)
        return runner

    async def _stop(self, grace_seconds: float) -> None:
        await asyncio.gather(*(runner.stop(grace_seconds) for runner in self._runners))

    async def _clear(self) -> None:
        if self._tokens is not None:
            self._tokens.cancel()
        if self._network is not None:
            async with self.machine.starts:
                await self._network.remove()
            self.machine.addresses.give_back(self._network.address)
        shutil.rmtree(self._folder, ignore_errors=True)
