"""The screen: lines that stay, and below them on a terminal what is going on just now. Elsewhere the lines alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Screen:
    """Where the demo talks to the person in front of it."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def say(self, text: str, style: str = "") -> None:
        """Write a line as it is."""
        self._console.print(text, style=style, markup=False)

    def note(self, text: str, style: str = "") -> None:
        """Write a line with the time."""
        self.say(f"{self.elapsed:6.1f} s  {text}", style)

    def title(self, text: str) -> None:
        """Write the title of a chapter."""
        self.say("")
        self.note(text, "bold cyan")

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Show that something takes a while, and in the end how long it took."""
        began = time.monotonic()
        if not self._console.is_terminal:
            self.note(f"{what} …")
        with self._spinner(what):
            yield
        self.note(f"{what}: {time.monotonic() - began:.1f} s", "green")

    @contextmanager
    def live(self, render: Callable[[], RenderableType]) -> Iterator[None]:
        """Keep what `render` gives at the bottom of a terminal, drawn anew a few times a second."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=render, console=self._console, refresh_per_second=4, transient=True):
            yield

    def _spinner(self, what: str) -> Progress | nullcontext[None]:
        if not self._console.is_terminal:
            return nullcontext()
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        progress = Progress(*columns, console=self._console, transient=True)
        progress.add_task(what, total=None)
        return progress
