"""What others do to the cluster: controllers, the clock, users, and whoever touches what is ours.

A move costs 1 where it is an interruption, and nothing where it must come some time: states are explored in the order
of what they cost.
"""

from collections.abc import Iterator
from typing import NamedTuple

from canary.model.status import Phase
from tests.explorer.concrete import Model
from tests.explorer.promises import Promises
from tests.explorer.state import EDITED, INTACT, NONE, TAMPERED, App, Command, Stable, State, Twin


class Move(NamedTuple):
    """One thing that happens, and the cluster after it."""

    what: str
    cost: int
    after: State


_REST = (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED)


class Moves:
    """Of one model."""

    def __init__(self, model: Model, promises: Promises) -> None:
        self.model = model
        self.promises = promises
        self.setting = model.setting

    def all(self, state: State) -> Iterator[Move]:
        """Everything that may happen next besides a pass. Raises BrokenPromise."""
        yield from self.controllers(state)
        if (after := self.tick(state)) != state:
            yield Move("the clock: 5 s", 0, after)
        yield from self.interruptions(state)

    def controllers(self, state: State) -> Iterator[Move]:
        """What the cluster does by itself."""
        for index, (name, app) in enumerate(zip(self.setting.apps, state.apps, strict=True)):
            stable, copy = app.stable, app.copy
            if stable is not None and not stable.paused and not stable.stuck:
                bit = 1 << stable.template
                if not stable.pods & bit:
                    yield Move(f"{name} begins to roll out", 0, state.with_stable(index, pods=stable.pods | bit))
                elif stable.pods != bit:
                    yield Move(f"{name} is rolled out", 0, state.with_stable(index, pods=bit))
            if copy is not None and copy.ready < copy.size and not copy.failing:
                ready = state.with_app(index, copy=copy._replace(ready=copy.size))
                yield Move(f"the pods of {name}-canary are ready", 0, ready)
        done = all(app.stable is None or app.stable.rolled_out or app.stable.mark for app in state.apps)
        if state.waits and done:
            yield Move("Flux stops waiting", 0, state._replace(waits=False))

    def tick(self, state: State) -> State:
        """The cluster five seconds later."""
        apps = tuple(
            app._replace(twin=Twin(app.twin.share, self.model.aged(app.twin.share, app.twin.age + 1)))
            if app.twin
            else app
            for app in state.apps
        )
        return state._replace(apps=apps, status=self.model.later(state.status))

    def interruptions(self, state: State) -> Iterator[Move]:
        """What nobody waits for."""
        resting = self.model.status(state).phase in _REST
        for index, app in enumerate(state.apps):
            yield from self._pushes(state, index, app, 0 if resting else 1)
            yield from self._misfortunes(state, index, app)
            if self.setting.tampering:
                yield from self._tampering(state, index, app)
        if len(state.apps) > 1:
            yield from self._releases(state, 0 if resting else 1)
        yield from self._users(state)
        if state.waits:
            yield Move("Flux waits no longer", 1, state._replace(waits=False))

    def pushed(self, state: State, index: int, template: int) -> State:
        """Flux applies a template: the guard holds it."""
        stable = state.apps[index].stable
        assert stable is not None, "there is a Deployment"
        pods = stable.pods if stable.guarded else stable.pods | 1 << template
        held_ = stable.paused or stable.guarded
        after = state.with_stable(index, template=template, paused=held_, pods=pods, stuck=False)
        return after._replace(failed=(), waits=self.setting.flux)

    def _pushes(self, state: State, index: int, app: App, cost: int) -> Iterator[Move]:
        if app.stable is None:
            return
        for template in self.setting.templates:
            if template != app.stable.template:
                what = f"Flux applies {self.setting.name_of(template)} to {self.setting.apps[index]}"
                yield Move(what, cost, self.pushed(state, index, template))

    def _releases(self, state: State, cost: int) -> Iterator[Move]:
        """One template for all targets at once."""
        if any(app.stable is None for app in state.apps):
            return
        for template in self.setting.templates:
            after = state
            for index, app in enumerate(state.apps):
                if app.stable is not None and app.stable.template != template:
                    after = self.pushed(after, index, template)
            if after != state:
                yield Move(f"Flux applies {self.setting.name_of(template)} to all", cost, after)

    def _misfortunes(self, state: State, index: int, app: App) -> Iterator[Move]:
        name, stable, copy = self.setting.apps[index], app.stable, app.copy
        if stable is not None:
            if stable.ready:
                yield Move(f"{name} has no ready pod", 1, state.with_stable(index, ready=False))
            else:
                yield Move(f"{name} has ready pods", 0, state.with_stable(index, ready=True))
            bit = 1 << stable.template
            rolling = not stable.paused and stable.pods & bit and stable.pods != bit
            if rolling and not stable.stuck:
                yield Move(f"the rolling update of {name} is stuck", 1, state.with_stable(index, stuck=True))
            elif stable.stuck:
                yield Move(f"the rolling update of {name} goes on", 0, state.with_stable(index, stuck=False))
            yield Move(f"Deployment {name} is deleted", 1, state.with_app(index, stable=None))
        else:
            for template in self.setting.templates[:2]:
                made = Stable(template, 1 << template, maker=1)
                what = f"Deployment {name} is made again with {self.setting.name_of(template)}"
                yield Move(what, 0, state.with_app(index, stable=made)._replace(failed=()))
        if copy is not None:
            if copy.ready:
                yield Move(f"no pod of {name}-canary is ready", 1, state.with_app(index, copy=copy._replace(ready=0)))
            elif not copy.failing:
                failing = state.with_app(index, copy=copy._replace(failing=True))
                yield Move(f"the image of {name}-canary cannot be pulled", 1, failing)
        if name not in self.setting.without_traffic:
            cost = 1 if app.public else 0
            what = "deleted" if app.public else "there again"
            yield Move(f"Ingress {name} is {what}", cost, state.with_app(index, public=not app.public))

    def _tampering(self, state: State, index: int, app: App) -> Iterator[Move]:
        name, copy, twin = f"{self.setting.apps[index]}-canary", app.copy, app.twin
        if copy is not None:
            yield Move(f"somebody deletes Deployment {name}", 1, state.with_app(index, copy=None))
            if copy.size:
                scaled = state.with_app(index, copy=copy._replace(size=0, ready=0))
                yield Move(f"somebody scales Deployment {name} to 0", 1, scaled)
        if app.service:
            yield Move(f"somebody deletes Service {name}", 1, state.with_app(index, service=NONE))
        if app.service == INTACT:
            yield Move(f"somebody edits Service {name}", 1, state.with_app(index, service=EDITED))
        if twin is not None:
            yield Move(f"somebody deletes Ingress {name}", 1, state.with_app(index, twin=None))
            if twin.share != TAMPERED:
                edited = state.with_app(index, twin=Twin(TAMPERED, twin.age))
                yield Move(f"somebody gives Ingress {name} 77 %", 1, edited)

    def _users(self, state: State) -> Iterator[Move]:
        """What is done to the Canary."""
        wish = state.wish
        if wish is None or wish.deleting:
            return
        for spec in range(len(self.setting.specs)):
            if spec != wish.spec:
                yield Move(f"the Canary is edited to spec {spec}", 1, state._replace(wish=wish._replace(spec=spec)))
        what = "resumed" if wish.suspended else "suspended"
        turned = wish._replace(suspended=not wish.suspended)
        yield Move(f"the Canary is {what}", 0 if wish.suspended else 1, state._replace(wish=turned))
        gone = wish._replace(deleting=True) if wish.finalized else None
        yield Move("the Canary is deleted", 1, state._replace(wish=gone))
        if wish.command is None:
            trial = tuple((one.name, one.template) for one in self.model.status(state).trial)
            for command in self.setting.commands:
                given = Command(command, trial)
                yield Move(
                    f"the command {command} is given",
                    self.setting.command_costs,
                    state._replace(wish=wish._replace(command=given)),
                )
