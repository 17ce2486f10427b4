"""What can go wrong in the lab.

LabError
├── MissingPackages   Debian packages that are not there and cannot be installed
├── BuildFailed       a part did not compile
├── PartFailed        a program of the lab ended, or was not ready in time
├── CommandFailed     a command run to its end answered with an error
└── TimedOut          a condition that somebody waited for did not come true
"""

from __future__ import annotations

from pathlib import Path


class LabError(Exception):
    """The lab cannot do what was asked of it."""


class MissingPackages(LabError):
    """Programs that the lab takes from Debian are not installed."""


class BuildFailed(LabError):
    """A part of the lab did not compile; the message ends with the tail of the compiler's output."""


class PartFailed(LabError):
    """A program of the lab ended early or was not ready in time; the message ends with the tail of its log."""

    def __init__(self, part: str, what: str, log: Path | None = None) -> None:
        self.part = part
        detail = f"\n{log} ends with:\n{tail(log)}" if log is not None else ""
        super().__init__(f"{part}: {what}{detail}")


class CommandFailed(LabError):
    """A command ended with an exit code other than 0."""

    def __init__(self, argv: list[str], code: int, stderr: str) -> None:
        self.code = code
        self.stderr = stderr
        super().__init__(f"`{' '.join(argv)}` ended with {code}: {stderr.strip()}")


class TimedOut(LabError):
    """A condition did not come true in time."""


def tail(log: Path, lines: int = 20) -> str:
    """Give the last lines of a log, for a message that a person reads."""
    if not log.exists():
        return "(no log was written)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(the log is empty)"
