"""The abstract cluster: one small hashable value for everything that decides what happens next.

Times are ages in ticks, counted up to where they stop to matter, so that there are finitely many states. `Status` is
the engine's own, with its times turned into ages and its words taken away, and is named by a number.
"""

from datetime import timedelta
from typing import NamedTuple

TICK = timedelta(seconds=5)
"""The clock's only step: as long as a written share needs until it is in effect."""

TAMPERED = -1
"""The share that somebody writes to a canary's route by hand."""
NONE, INTACT, EDITED = 0, 1, 2
"""What there is of a canary's Service."""


class Stable(NamedTuple):
    """A target's Deployment."""

    template: int
    pods: int
    """The templates that its pods run, as a set of bits."""
    paused: bool = False
    guarded: bool = False
    ready: bool = True
    stuck: bool = False
    mark: str = ""
    """The condition by which Flux hears of a failure."""
    maker: int = 0
    """Tells it from the one before that was deleted."""

    @property
    def rolled_out(self) -> bool:
        """Whether its pods run its template and no other."""
        return not self.paused and self.pods == 1 << self.template


class Copy(NamedTuple):
    """A canary's Deployment."""

    template: int
    size: int
    ready: int
    failing: bool = False
    """Its image cannot be pulled."""


class Twin(NamedTuple):
    """A canary's Ingress."""

    share: int
    """By its place in the shares of the setting; 0 is none."""
    age: int
    """Ticks since it was written."""


class App(NamedTuple):
    """A target with all that belongs to it."""

    stable: Stable | None
    copy: Copy | None = None
    service: int = NONE
    twin: Twin | None = None
    public: bool = True
    """Whether stable's Ingress is there."""
    floor: bool = False
    """Whether its autoscaler is kept from shrinking it."""


class Command(NamedTuple):
    """A command that waits, and what was on trial when it was given: names and hashes."""

    name: str
    trial: tuple[tuple[str, str], ...]


class Wish(NamedTuple):
    """The Canary object, but for its status."""

    spec: int = 0
    suspended: bool = False
    deleting: bool = False
    finalized: bool = False
    command: Command | None = None


class State(NamedTuple):
    """Everything."""

    wish: Wish | None
    status: int
    apps: tuple[App, ...]
    waits: bool = False
    """Whether Flux waits for health."""
    failed: tuple[tuple[str, str], ...] = ()
    """What was rolled back and not applied again since: names and hashes. Nobody in the cluster knows this."""

    def with_app(self, index: int, **fields: object) -> "State":
        """The same with one target changed."""
        app = self.apps[index]._replace(**fields)  # type: ignore[arg-type]
        return self._replace(apps=(*self.apps[:index], app, *self.apps[index + 1 :]))

    def with_stable(self, index: int, **fields: object) -> "State":
        """The same with one target's Deployment changed."""
        stable = self.apps[index].stable
        assert stable is not None, "it is there"
        return self.with_app(index, stable=stable._replace(**fields))  # type: ignore[arg-type]


def held(app: App) -> int | None:
    """The template that a target is held with."""
    return app.stable.template if app.stable and app.stable.paused else None
