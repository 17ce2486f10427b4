"""Probes and hooks: a container is asked how it is, and a few answers in a row make a verdict."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from e2e.lab.node.machine import Machine
from e2e.lab.node.pods import Action, Connect, Exec, HttpGet, Probe, Sleep
from e2e.lab.node.process import ContainerProcess

_FAILURES = (TimeoutError, OSError, aiohttp.ClientError)


class Prober:
    """Asks one container: from the node over the network, or by a command beside its process."""

    def __init__(self, process: ContainerProcess, address: str, machine: Machine) -> None:
        self._process = process
        self._address = address
        self._machine = machine

    async def check(self, probe: Probe) -> bool:
        """Probe once; time spent in the queue for a slot does not count."""
        slots = self._machine.exec_slots if isinstance(probe.action, Exec) else self._machine.connect_slots
        async with slots:
            try:
                async with asyncio.timeout(probe.timeout_seconds):
                    return await self._do(probe.action)
            except _FAILURES:
                return False

    async def run_hook(self, hook: Action) -> None:
        """Do what a hook asks for; what comes of it does not matter."""
        with contextlib.suppress(*_FAILURES):
            await self._do(hook)

    async def _do(self, action: Action) -> bool:
        match action:
            case Exec(command):
                return await self._process.run_beside(command) == 0
            case HttpGet():
                return await self._get(action)
            case Connect(port):
                _, writer = await asyncio.open_connection(self._address, port)
                writer.close()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
        return True

    async def _get(self, get: HttpGet) -> bool:
        """Ask for a page on a new connection; redirects are not followed, certificates not looked at."""
        url = f"{get.scheme}://{get.host or self._address}:{get.port}{get.path}"
        headers = {"User-Agent": "kube-probe/lab", "Connection": "close", **dict(get.headers)}
        async with self._machine.probing.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
            return 200 <= answer.status < 400


async def verdicts(probe: Probe, check: Callable[[Probe], Awaitable[bool]]) -> AsyncIterator[bool]:
    """Probe for ever and yield a verdict each time that a threshold is met (and as long as it stays met)."""
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(probe.initial_delay_seconds)
    streak, before = 0, False
    while True:
        due = clock() + probe.period_seconds
        passed = await check(probe)
        streak = streak + 1 if passed == before else 1
        before = passed
        if streak >= (probe.success_threshold if passed else probe.failure_threshold):
            yield passed
        await asyncio.sleep(max(0.0, due - clock()))
