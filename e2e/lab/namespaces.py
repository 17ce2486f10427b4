"""The namespaces that a lab lives in: made by one process, gone with it.

    maker ── setpriv --pdeathsig ── unshare --net --pid --mount --kill-child ── init.py (process 1 in there)
                                                                                 └── everything else of the lab

The maker's death, even by SIGKILL, makes the kernel kill `unshare`, then `init.py`, then all the rest. A lab that shall
be kept (`python -m e2e.lab up`) has no such link to its maker; its init process is killed by `down`.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.lab import init
from e2e.lab.errors import CommandFailed, LabError, PartFailed

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_READY_SECONDS = 10
_DESTROY_SECONDS = 10
_UNSHARE = (
    "unshare",
    "--net",
    "--pid",
    "--mount",
    "--fork",
    "--kill-child",
    "--propagation",
    "private",
    "--mount-proc",
)
_libc = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """The network, pid and mount namespaces of one lab."""

    def __init__(self, init_pid: int, maker: subprocess.Popen[bytes] | None = None) -> None:
        """Take namespaces that exist; `create` makes new ones."""
        self.init_pid = init_pid
        self._maker = maker
        self._outside: int | None = None

    @classmethod
    def create(cls, log: Path, *, keep: bool, lock: int) -> Namespaces:
        """Make the namespaces; `lock` is a locked file that stays locked as long as they live.

        The kernel ties the lab's life to the thread that starts it, and `enter` moves only the calling thread: both
        must be the main thread, from which all others inherit.
        """
        if threading.current_thread() is not threading.main_thread():
            raise LabError("a lab can be made in the main thread only")
        tie = () if keep else ("setpriv", "--pdeathsig", "KILL")
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [*tie, *_UNSHARE, sys.executable, "-E", "-s", init.__file__],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lock,),
                cwd="/",
            )
        _await_ready(process, log)
        return cls(only_child(process.pid), process)

    def enter(self) -> None:
        """Move this thread, and so its later threads and children, into the lab's network."""
        if self._outside is None:
            self._outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(f"/proc/{self.init_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_network(inside)
        finally:
            os.close(inside)

    def leave(self) -> None:
        """Go back to the network that `enter` came from."""
        if self._outside is None:
            return
        _set_network(self._outside)
        os.close(self._outside)
        self._outside = None

    def command(self, argv: Sequence[str], *, cwd: Path | None = None) -> list[str]:
        """The command line that runs a program inside."""
        where = [f"--wdns={cwd}"] if cwd is not None else []
        return ["nsenter", "--target", str(self.init_pid), "--net", "--pid", "--mount", *where, "--", *argv]

    @property
    def network_entry(self) -> list[str]:
        """The words before a command that run it in the lab's network, seeing files and processes as its caller."""
        return ["nsenter", f"--target={self.init_pid}", "--net", "--"]

    def call(self, argv: Sequence[str], *, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run a command in the lab's network to its end and give its standard output."""
        answer = subprocess.run(
            [*self.network_entry, *argv], input=text, capture_output=True, text=True, check=False, env=env
        )
        if answer.returncode != 0:
            raise CommandFailed(list(argv), answer.returncode, answer.stderr)
        return answer.stdout

    def destroy(self) -> None:
        """End everything in there."""
        kill_init(self.init_pid)
        if self._maker is not None:
            self._maker.wait()


def kill_init(pid: int) -> None:
    """Kill process 1 of a lab, if it lives; its end is seen only when the kernel has ended all the others."""
    try:
        end_of_life = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(end_of_life, signal.SIGKILL)
        select.select([end_of_life], [], [], _DESTROY_SECONDS)
    finally:
        os.close(end_of_life)


def only_child(pid: int) -> int:
    """The one child of a process that does nothing but wait for it, as unshare and nsenter do."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise LabError(f"process {pid} has {len(children)} children where one was expected")
    return int(children[0])


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for init's one line."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
    said = os.read(process.stdout.fileno(), len(init.READY)) if readable else b""
    process.stdout.close()
    if said != init.READY:
        process.kill()
        process.wait()
        raise PartFailed("namespaces", "could not be made (this needs root on Linux)", log)


def _set_network(descriptor: int) -> None:
    """Call setns(2); Python has it from 3.12 on."""
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise LabError(f"cannot enter a network namespace: {os.strerror(code)}")
