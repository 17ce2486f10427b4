"""The first process of a lab: sets up its network, says so, and reaps what the others leave.

It runs as process 1 of the lab's own pid, network and mount namespaces (see `namespaces.py`). When it ends, the kernel
ends every other process in there and takes the namespaces down, so that nothing of a lab outlives it. It is run as a
file with the standard library alone, for it should be up at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SETUP: tuple[tuple[str, ...], ...] = (
    # Pod namespaces made by `ip netns add` are mounts in here: on a mount of the lab's own they vanish with the lab.
    ("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run/netns"),
    # /sys shows the network that it was mounted in: mounted anew, the lab sees its own interfaces.
    ("mount", "-t", "sysfs", "sysfs", "/sys"),
    ("ip", "link", "set", "lo", "up"),
    ("ip", "link", "add", "cni0", "type", "bridge"),
    ("ip", "address", "add", "10.244.0.1/16", "dev", "cni0"),
    ("ip", "link", "set", "cni0", "up"),
)
READY = b"ready\n"


def main() -> None:
    """Set up, tell the maker through standard output, then wait for children until killed."""
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    for command in SETUP:
        subprocess.run(command, check=True)
    os.write(sys.stdout.fileno(), READY)
    reap_for_ever()


def reap_for_ever() -> None:
    """Collect the exit codes of orphans: nobody else does for process 1's adopted children."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        _collect()
        signal.sigwait({signal.SIGCHLD})


def _collect() -> None:
    """Take every exit code that is waiting."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
