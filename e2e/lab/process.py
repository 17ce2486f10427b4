"""A program that runs inside the lab, with its log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.lab.errors import LabError, PartFailed
from e2e.lab.namespaces import Namespaces, only_child

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder from which `python -m e2e.lab.…` can be started."""


class Process:
    """One program inside the lab; signals reach the program itself, not the nsenter in front of it.

    `wrappers` is the number of further programs in front of it that wait for a child, as unshare does.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrappers: int = 0,
    ) -> None:
        """Start it: standard output and error are appended to `log`; `env` is added to a plain environment."""
        self.name = name
        self.argv = list(argv)
        self.log = log
        with log.open("ab") as output:
            self._entry = subprocess.Popen(
                namespaces.command(self.argv, cwd=cwd or CHECKOUT),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**plain_environment(), **(env or {})},
                start_new_session=True,
            )
        self.pid = self._entry.pid
        for _ in range(1 + wrappers):
            self.pid = self._child_of(self.pid)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._entry.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._entry.poll()

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.running:
            os.kill(self.pid, number)

    def wait(self, timeout_seconds: float = 30) -> int:
        """Wait for its end and give its exit code."""
        try:
            return self._entry.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise PartFailed(self.name, f"still runs after {timeout_seconds} s", self.log) from None

    def terminate(self, timeout_seconds: float = 30) -> int:
        """Ask it to end (SIGTERM) and wait until it has."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_seconds)

    def kill(self) -> int:
        """End it as a crash would (SIGKILL)."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def fail_if_ended(self) -> None:
        """Raise an error that names the program and shows its last words, if it is gone."""
        if not self.running:
            raise PartFailed(self.name, f"ended with {self.returncode}", self.log)

    def _child_of(self, pid: int) -> int:
        """Find the child of nsenter, or of another wrapper, which forks a moment after its start.

        A program may end before it is found; what it leaves is its exit code, and no child to signal.
        """
        deadline = time.monotonic() + 5
        while self.running and time.monotonic() < deadline:
            try:
                return only_child(pid)
            except (LabError, FileNotFoundError):
                time.sleep(0.001)
        if self.running:
            raise PartFailed(self.name, "was not started", self.log)
        return pid


def plain_environment() -> dict[str, str]:
    """The environment of the lab's programs: the caller's, without what would lead them elsewhere."""
    unwanted = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "kubeconfig"}
    own = {key: value for key, value in os.environ.items() if key.lower() not in unwanted}
    return {**own, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
