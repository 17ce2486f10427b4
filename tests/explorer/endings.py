"""L1: were nothing more to happen, does all end, and well?

From each state two runs without choice are followed, with everything healed and with everything dead: passes, then
controllers, then the clock. A run ends where nothing is written any more however long one waits. What was followed
once is known.
"""

from collections import Counter

from canary.model import reasons
from canary.model.status import Phase
from tests.explorer.moves import Moves
from tests.explorer.passes import Conflict, Mood, Operator
from tests.explorer.promises import BrokenPromise
from tests.explorer.settings import A
from tests.explorer.state import Stable, State, held

_REST = (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED)
_WRITES = "writes in a"


class NeverEnds(AssertionError):
    """A run that ends badly, or not at all."""


class Endings:
    """Of one model."""

    def __init__(self, operator: Operator, moves: Moves) -> None:
        self.operator = operator
        self.moves = moves
        self.kinds: Counter[str] = Counter()
        self._known: dict[tuple[Mood, State], str] = {}

    def check(self, state: State) -> None:
        """Follow both runs. Raises NeverEnds, BrokenPromise, or what the engine raises."""
        self.kinds[f"healed: {self._follow(self._heal(state), Mood.HEALED)}"] += 1
        self.kinds[f"dead: {self._follow(state, Mood.DEAD)}"] += 1

    def _follow(self, state: State, mood: Mood) -> str:
        way: dict[State, str] = {}
        try:
            kind = self._end(state, mood, way)
        except Exception as error:
            error.way = [(f"({mood.value}) {label}", one) for one, label in way.items()]  # type: ignore[attr-defined]
            raise
        for one in way:
            self._known[mood, one] = kind
        return kind

    def _end(self, state: State, mood: Mood, way: dict[State, str]) -> str:
        """The kind of the end of a run; on the way there its states are noted."""
        while (kind := self._known.get((mood, state))) is None:
            if state in way:
                seen = list(way)
                circle = seen[seen.index(state) :]
                if any(way[one].startswith(_WRITES) for one in circle):
                    raise NeverEnds(f"writes for ever, with everything {mood.value}")
                return self._kind(state, mood)
            way[state] = ""
            label, state_ = self._next(state, mood)
            way[state] = label
            state = state_
        return kind

    def _next(self, state: State, mood: Mood) -> tuple[str, State]:
        """What comes next. The same state where nothing ever will."""
        if state.wish is not None:
            done = self.operator.calm(state, mood)
            if self.operator.writes(done):
                try:
                    after = self.operator.whole(done)
                except Conflict:
                    raise NeverEnds("a write conflicts though nothing happened") from None
                if after == state:
                    raise NeverEnds(f"writes what is there already: {done.label}")
                return f"{_WRITES} {done.label}", after
            self.operator.promises.nothing_written(done)
        if mood is Mood.HEALED:
            for move in self.moves.controllers(state):
                return move.what, move.after
        return "the clock: 5 s", self.moves.tick(state)

    def _heal(self, state: State) -> State:
        for index, app in enumerate(state.apps):
            stable = app.stable or Stable(A, 1 << A, maker=1)
            copy = app.copy._replace(failing=False) if app.copy else None
            state = state.with_app(index, stable=stable._replace(ready=True, stuck=False), copy=copy, public=True)
        return state

    def _kind(self, last: State, mood: Mood) -> str:
        """The kind of an end, from which time alone leads away no more."""
        healthy = mood is Mood.HEALED
        if last.wish is None:
            self._is_clean(last)
            return "gone"
        status = self.operator.model.status(last)
        if status.phase is not Phase.PROMOTING:  # stable may have become unready: the canary is what answers then
            self._share_is_meant(last)
        if last.wish.suspended and status.phase is Phase.SUSPENDED:
            return "suspended"
        ready = status.condition("Ready")
        reason = ready.reason if ready else "nothing said"
        if status.phase in _REST and (healthy or reason not in reasons.FAILURES):
            if healthy:
                self._at_rest(last)
            return f"{status.phase}"
        if status.phase is Phase.WAITING and reason in reasons.GATES:
            return f"Waiting, {reason}"
        if not healthy and (status.phase in (None, Phase.PROMOTING, *_REST) or status.condition("Stalled")):
            return f"{status.phase}, {reason}"
        raise NeverEnds(f"ends in {status.phase} ({reason}), with everything {mood.value}")

    def _share_is_meant(self, state: State) -> None:
        """S2, S6: nobody waits for anything while a canary gets requests that it should not get."""
        model = self.operator.model
        status = model.status(state)
        for name, app in zip(model.setting.apps, state.apps, strict=True):
            if app.twin and app.twin.share and not status.share:
                raise NeverEnds(f"S6: the canary of {name} keeps its share in {status.phase}, and should have none")

    def _is_clean(self, state: State) -> None:
        for app in state.apps:
            stable = app.stable
            if stable and (stable.guarded or (stable.paused and stable.guarded)):
                raise NeverEnds("S12: a target is left guarded")

    def _at_rest(self, state: State) -> None:
        model = self.operator.model
        status, targets = model.status(state), model.targets(state)
        for index, app in enumerate(state.apps):
            stable, failed = app.stable, status.phase is Phase.FAILED
            assert stable is not None
            name = model.setting.apps[index]
            if app.copy or app.twin or app.service or app.floor:
                raise NeverEnds(f"S12: something of the canary of {name} is left in {status.phase}")
            if stable.guarded != (index in targets):
                raise NeverEnds(f"S12: {name} is guarded though it is no target, or the other way round")
            on_trial = any((t.name, t.template) == (name, model.hashes[index][stable.template]) for t in status.trial)
            if held(app) is not None and not (failed and on_trial):
                raise NeverEnds(f"L1: {name} stays held in {status.phase}")
            if not stable.paused and not stable.rolled_out:
                raise NeverEnds(f"L1: {name} is not rolled out in {status.phase}")
            if stable.mark and not (failed and on_trial):
                raise NeverEnds(f"L1: {name} keeps a mark in {status.phase}")


__all__ = ["BrokenPromise", "Endings", "NeverEnds"]
