"""Where labs lie on disk, and how one tells a living lab from what a killed one left.

    <temporary folder>/fluxcanary-lab/<name>[-<random>]/   lock, pid, logs/, credentials/, etcd/, git/, …

Process 1 of a lab holds a lock on the file `lock`: no lock, no lab. Folders without one are swept at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.lab.build import cache_dir
from e2e.lab.errors import LabError

LOGS_KEPT = 30


@dataclass(frozen=True)
class LabFolder:
    """The folder of a lab that this process makes."""

    path: Path
    lock: int
    """Descriptor of the locked file, for process 1 to inherit."""

    @classmethod
    def create(cls, name: str, *, keep: bool) -> LabFolder:
        """Make the folder; a kept lab has its bare name, others may run side by side under the same."""
        sweep()
        with _alone():
            return cls._make(labs_dir(), name, keep=keep)

    @classmethod
    def _make(cls, home: Path, name: str, *, keep: bool) -> LabFolder:
        """Make the folder and lock it."""
        if not keep:
            path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=home))
        elif (home / name).exists():
            raise LabError(f"a lab {name!r} is up: `python -m e2e.lab down {name}` takes it down")
        else:
            path = home / name
            path.mkdir()
        path.chmod(0o755)
        (path / "logs").mkdir()
        lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(path, lock)

    def write_pid(self, pid: int) -> None:
        """Note the host's number of process 1, for `down`."""
        (self.path / "pid").write_text(str(pid))

    def close(self) -> None:
        """Let go of the lock, which process 1 still holds."""
        os.close(self.lock)

    def remove(self) -> None:
        """Remove the folder of a lab that is down; its logs are moved to the cache."""
        self.close()
        remove(self.path)


def labs_dir() -> Path:
    """The folder of all labs of this machine."""
    home = Path(tempfile.gettempdir()) / "fluxcanary-lab"
    home.mkdir(exist_ok=True)
    return home


def is_up(path: Path) -> bool:
    """Whether somebody holds the lab's lock."""
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def sweep() -> None:
    """Remove the folders of labs whose maker was killed."""
    with _alone():
        for path in labs_dir().iterdir():
            if path.is_dir() and not is_up(path):
                remove(path)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep others from sweeping away a folder that is being made and not locked yet."""
    with (labs_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(path: Path) -> None:
    """Remove a lab's folder but keep its logs, of the last few labs."""
    kept = kept_logs_dir() / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    if (path / "logs").exists():
        _keep_pod_logs(path)
        shutil.move(path / "logs", kept)
    shutil.rmtree(path, ignore_errors=True)
    by_age = sorted(kept.parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for old in by_age[:-LOGS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _keep_pod_logs(path: Path) -> None:
    """Put what the pods wrote beside the logs of the lab's programs, as NAMESPACE.POD.CONTAINER.log."""
    pods = path / "logs" / "pods"
    for log in path.glob("node/*/*/*.log"):
        pods.mkdir(exist_ok=True)
        shutil.move(log, pods / ".".join(log.relative_to(path / "node").parts))


def kept_logs_dir() -> Path:
    """Where the logs of labs that are gone can be read."""
    return cache_dir() / "logs"
