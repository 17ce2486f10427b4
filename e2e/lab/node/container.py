"""A container's life: its process is started, probed, started again when it ends, and ended with the pod."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator

from e2e.lab.node.config import ConfigReader, once_there
from e2e.lab.node.environment import container_environment
from e2e.lab.node.images import Image
from e2e.lab.node.launch import Place, base_environment, command_line
from e2e.lab.node.machine import Machine
from e2e.lab.node.memory import await_excess
from e2e.lab.node.objects import timestamp
from e2e.lab.node.pods import Container, Probe
from e2e.lab.node.probes import Prober, verdicts
from e2e.lab.node.process import ContainerProcess
from e2e.lab.node.statuses import ContainerState, Ended

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10, 300
_BACKOFF_FORGOTTEN_AFTER_SECONDS = 2 * _LONGEST_PAUSE_SECONDS
_PULL_ERROR_SHOWN_SECONDS = 2
"""How long a failed pull is seen as such before the kubelet looks again, and finds that it has to wait."""

_log = logging.getLogger("lab.node")


def pauses_seconds() -> Iterator[int]:
    """A kubelet's pauses between one failure and the next attempt: 10, 20, 40, 80, 160, 300, 300… seconds."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


class Backoff:
    """The pauses before a container is started again: none at first, and again none after a run of ten minutes."""

    def __init__(self) -> None:
        self._pauses: Iterator[int] | None = None

    def pause_seconds(self, ran_seconds: float) -> int:
        """The pause after a run that took so long."""
        if self._pauses is None or ran_seconds > _BACKOFF_FORGOTTEN_AFTER_SECONDS:
            self._pauses = pauses_seconds()
            return 0
        return next(self._pauses)


class ContainerRunner:
    """Runs one container: starts its process, probes it, starts it again when it ends."""

    def __init__(
        self,
        container: Container,
        state: ContainerState,
        place: Place,
        machine: Machine,
        changed: Callable[[], None],
    ) -> None:
        """Take the state to keep up to date; `changed` is called after each change of it."""
        self._container = container
        self._state = state
        self._place = place
        self._machine = machine
        self._changed = changed
        self._process: ContainerProcess | None = None
        self._out_of_memory = False

    async def run(self, restart_policy: str) -> int:
        """Run it until it has ended for good, and give the exit code."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            end = await self._run_once()
            if restart_policy == "Never" or (restart_policy == "OnFailure" and end.exit_code == 0):
                self._set(ended=end)
                return end.exit_code
            self._state.last_end = end
            pause_seconds = backoff.pause_seconds(time.monotonic() - began)
            if pause_seconds:
                self._set(waiting=("CrashLoopBackOff", self._backing_off(pause_seconds)))
                await asyncio.sleep(pause_seconds)
            self._state.restarts += 1

    async def stop(self, grace_seconds: float) -> None:
        """End the process as a kubelet does: preStop hook, SIGTERM, and SIGKILL when the grace is over."""
        process = self._process
        if process is None or not process.running:
            return
        deadline = asyncio.get_running_loop().time() + grace_seconds
        if self._container.pre_stop is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._prober(process).run_hook(self._container.pre_stop)
        await process.end(deadline)

    def _backing_off(self, pause_seconds: int) -> str:
        """What a kubelet says about a container that it does not start yet: 10 s is `10s`, 80 s is `1m20s`."""
        minutes, seconds = divmod(pause_seconds, 60)
        pause, pod = f"{minutes}m{seconds}s" if minutes else f"{seconds}s", self._place.pod
        name = f"container={self._container.name} pod={pod.name}_{pod.namespace}({pod.uid})"
        return f"back-off {pause} restarting failed {name}"

    async def _run_once(self) -> Ended:
        """One run of the process, from its start to its end."""
        self._out_of_memory = False
        self._process = process = await self._start()
        self._state.container_id = f"process://{process.pid}-{self._state.restarts}"
        started_at = timestamp()
        self._set(running_since=started_at)
        watches = [
            self._machine.spawn(self._probe(self._prober(process)), f"probes of {self._place.pod.path}"),
            self._machine.spawn(self._limit_memory(process), f"memory of {self._place.pod.path}"),
        ]
        try:
            code = await process.wait()
        finally:
            for watch in watches:
                watch.cancel()
        process.kill_all()
        return Ended(code, started_at, timestamp(), self._state.container_id, out_of_memory=self._out_of_memory)

    def _set(
        self,
        *,
        waiting: tuple[str, str] | None = None,
        running_since: str = "",
        ended: Ended | None = None,
    ) -> None:
        """Move to another state; a container that has just begun to run is ready at once only without probes."""
        state, running = self._state, bool(running_since)
        state.waiting, state.running_since, state.ended = waiting, running_since, ended
        state.started = running and self._container.startup is None
        state.ready = state.started and self._container.readiness is None
        self._changed()

    # How it is started.

    async def _start(self) -> ContainerProcess:
        """Start the process, once nothing that it needs is missing."""
        image = await self._pulled()
        env = await once_there(
            lambda: self._environment(image),
            lambda missing: self._set(waiting=("CreateContainerConfigError", str(missing))),
        )
        argv = command_line(self._container, image, self._place, env)
        cwd = image.cwd or self._place.folder
        async with self._machine.starts:
            with (self._place.logs / f"{self._container.name}.log").open("ab") as log:
                return await ContainerProcess.start(argv, env=env, cwd=cwd, log=log)

    async def _pulled(self) -> Image:
        """Find the image, as often as it takes; one that is not there never comes."""
        name = self._container.image
        error = f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {name}: not found'
        for pause_seconds in pauses_seconds():
            image = self._machine.images.pull(name)
            if image is not None:
                return image
            self._set(waiting=("ErrImagePull", error))
            await asyncio.sleep(_PULL_ERROR_SHOWN_SECONDS)
            self._set(waiting=("ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {error}'))
            await asyncio.sleep(pause_seconds - _PULL_ERROR_SHOWN_SECONDS)
        raise AssertionError("unreachable")

    async def _environment(self, image: Image) -> dict[str, str]:
        """The variables of a container engine, of Kubernetes, and of the pod's spec."""
        place, api = self._place, self._machine.api
        base = base_environment(image, place, api.server)
        config = ConfigReader(api, place.pod.namespace)
        return await container_environment(place.pod, self._container, place.address, config, base)

    # How it is watched.

    def _prober(self, process: ContainerProcess) -> Prober:
        return Prober(process, self._place.address, self._machine)

    async def _probe(self, prober: Prober) -> None:
        """Probe until cancelled: the startup probe first, readiness and liveness once it has passed."""
        container = self._container
        if container.startup is not None:
            if not await anext(verdicts(container.startup, prober.check)):
                await self._restart("startup")
                return
            self._state.started = True
            self._state.ready = container.readiness is None
            self._changed()
        async with asyncio.TaskGroup() as group:
            if container.readiness is not None:
                group.create_task(self._watch_readiness(container.readiness, prober))
            if container.liveness is not None:
                group.create_task(self._watch_liveness(container.liveness, prober))

    async def _watch_readiness(self, probe: Probe, prober: Prober) -> None:
        """Say that the container is ready, or no longer."""
        async for ready in verdicts(probe, prober.check):
            if ready != self._state.ready:
                self._state.ready = ready
                self._changed()

    async def _watch_liveness(self, probe: Probe, prober: Prober) -> None:
        """Restart the container when it is not alive; the first look comes at a random time within a period.

        Pods of one rollout start together, and their probes shall not all run in the same instant ever after.
        """
        await asyncio.sleep(random.uniform(0, probe.period_seconds))  # noqa: S311 - spreads load, guards nothing
        async for alive in verdicts(probe, prober.check):
            if not alive:
                await self._restart("liveness")
                return

    async def _limit_memory(self, process: ContainerProcess) -> None:
        """End the process when it has more memory than the container's limit."""
        if self._container.memory_limit_bytes is None:
            return
        await await_excess(process.pid, self._container.memory_limit_bytes)
        _log.info("%s: container %s is out of memory", self._place.pod.path, self._container.name)
        self._out_of_memory = True
        process.kill_all()

    async def _restart(self, probe: str) -> None:
        """End the process; whoever runs it starts it again."""
        _log.info("%s: container %s failed its %s probe", self._place.pod.path, self._container.name, probe)
        await self.stop(self._place.pod.grace_seconds)
