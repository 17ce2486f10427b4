"""A container's process: its start, what runs beside it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ContainerProcess:
    """A process that leads a session of its own, in the namespaces that its command line puts it into."""

    def __init__(self, process: asyncio.subprocess.Process, env: Mapping[str, str]) -> None:
        """Take one that is set up; `start` makes it."""
        self._process = process
        self._env = env

    @classmethod
    async def start(cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: BinaryIO) -> ContainerProcess:
        """Start a command line of `launch`, and return once the container's program runs in its namespaces.

        Every program in front of it is replaced by the next, so its pid is known from the start. The shell holds the
        writing end of a pipe as its standard input until it gives way to the container's program: the end of the pipe
        says that all is set up.
        """
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as pipe:
            with os.fdopen(writing, "wb") as held:
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=held, stdout=log, stderr=log, env=env, cwd=cwd, start_new_session=True
                )
            started = cls(process, env)
            try:
                await _end_of(pipe)
            except asyncio.CancelledError:
                started.kill_all()
                raise
        return started

    @property
    def pid(self) -> int:
        """Its number, which is also that of its session and its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end and give its exit code: 128 plus the signal's number, if a signal ended it."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def end(self, deadline: float) -> None:
        """Ask it to end (SIGTERM); at the deadline, a time of the event loop's clock, SIGKILL ends all that is left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._process.wait()
        self.kill_all()
        await self._process.wait()

    def kill_all(self) -> None:
        """Kill the process and all that it started and left behind."""
        _kill_group(self.pid)

    async def run_beside(self, command: Sequence[str]) -> int:
        """Run a command in all of its namespaces and give the exit code; the command is killed on cancellation."""
        beside = await asyncio.create_subprocess_exec(
            *(system_program("nsenter"), f"--target={self.pid}", "--net", "--mount", "--uts", "--wd", "--"),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._env,
            start_new_session=True,
        )
        try:
            return await beside.wait()
        finally:
            if beside.returncode is None:
                _kill_group(beside.pid)


def system_program(name: str) -> str:
    """The path of a system program, whatever PATH the container's environment has."""
    return shutil.which(name, path=SYSTEM_PATH) or name


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


async def _end_of(pipe: BinaryIO) -> None:
    """Wait until nobody holds the other end of a pipe into which nobody writes."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pipe)
