"""How the parts of a lab are started: the one thing that they need from the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from e2e.lab.process import Process


class Start(Protocol):
    """What a part gets from the lab."""

    def __call__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wrappers: int = 0
    ) -> Process:
        """Start a program under a name, with additions to its environment; see `Process` for `wrappers`."""
        ...
