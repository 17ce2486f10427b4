"""Every state that can be reached with so many interruptions, cheapest and nearest first.

From a state leads: a whole pass for each set of answers; a pass that dies between two of its writes; a pass that
something comes between, before any of its writes, so that its observation is stale; and whatever others do. In each
state it is asked as well whether all ends well from there, were nothing more to happen.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from unittest.mock import patch

from canary.engine import phases
from canary.engine.explain import explain
from canary.model.status import Phase, Status
from tests.explorer.concrete import Model, remembered
from tests.explorer.endings import Endings
from tests.explorer.moves import Moves
from tests.explorer.passes import FAITHFUL, Conflict, Mood, Operator, Pass, Server
from tests.explorer.promises import BrokenPromise, Promises
from tests.explorer.settings import A, Setting
from tests.explorer.state import TICK, App, Stable, State, Wish

Taken = tuple[Phase | None, phases.Move]


@dataclass(frozen=True)
class Bound:
    """How far to look."""

    states: int
    """At most, of one setting."""
    interruptions: int = 3
    """At most, on the way to a state."""
    violations: int = 1
    """After so many different ones the exploration ends."""
    endings: bool = True
    """Whether each state is asked how all ends from there."""


@dataclass(frozen=True)
class Violation:
    """What was broken, and the shortest way there."""

    what: str
    path: tuple[tuple[str, State], ...]
    """Each move with the state before it."""


@dataclass
class Report:
    """What was found in one setting."""

    setting: Setting
    model: Model
    states: int = 0
    looked_at: int = 0
    """States whose followers were looked at: all, but where a violation ended it before."""
    transitions: int = 0
    plans: int = 0
    seconds: float = 0.0
    complete: bool = False
    """Whether every state within the bound of interruptions was looked at."""
    by_cost: Counter[int] = field(default_factory=Counter)
    taken: set[Taken] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


class _Recorded(Mapping[Taken, Phase]):
    """The phase table, with what was looked up in it."""

    def __init__(self, taken: set[Taken]) -> None:
        self._table = dict(phases.TRANSITIONS)
        self._taken = taken

    def __getitem__(self, key: Taken) -> Phase:
        """Where the move leads, which is noted. Raises KeyError."""
        after = self._table[key]
        self._taken.add(key)
        return after

    def __iter__(self) -> Iterator[Taken]:
        """The moves."""
        return iter(self._table)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._table)


class Explorer:
    """Of one setting."""

    def __init__(
        self,
        setting: Setting,
        bound: Bound,
        *,
        guard: bool = True,
        server: Server = FAITHFUL,
        words: bool = False,
    ) -> None:
        self.model = Model(setting, words=words)
        self.promises = Promises(self.model)
        self.operator = Operator(self.model, self.promises, guard=guard, server=server)
        self.moves = Moves(self.model, self.promises)
        self.endings = Endings(self.operator, self.moves)
        self.bound = bound
        self.report = Report(setting, self.model)
        self._came_from: dict[State, tuple[State, str] | None] = {}
        self._cost: dict[State, int] = {}
        self._queue: deque[State] = deque()
        self._next: dict[State, tuple[State, str]] = {}
        """What one interruption more leads to."""
        self._quota = 0

    def run(self) -> Report:
        """Explore until the bound."""
        began = time.process_time()
        with remembered(), _recording(self.report.taken):
            self._explore()
        report = self.report
        report.states, report.plans = len(self._cost), self.operator.plans
        report.seconds = time.process_time() - began
        report.ends = self.endings.kinds
        report.by_cost = Counter(self._cost.values())
        return report

    def first(self) -> State:
        """A target that serves, and a Canary that was just made."""
        apps = tuple(App(Stable(A, 1 << A)) for _ in self.model.setting.apps)
        return State(Wish(), self.model.number_of(Status()), apps)

    def settled(self) -> State:
        """The first state, once the Canary has come to rest."""
        return self.calmly(self.first(), 10 * TICK)[0]

    def calmly(self, state: State, time: timedelta) -> tuple[State, list[tuple[timedelta, Pass]]]:
        """The state so much later, where everything is healthy, and the passes until then, each with its time.

        Whatever the cluster does by itself takes a tick.
        """
        passes, now = [], timedelta()
        while True:
            done = self.operator.calm(state, Mood.HEALED)
            passes.append((now, done))
            if self.operator.writes(done):
                state = self.operator.whole(done)
                continue
            if (now := now + TICK) > time:
                return state, passes
            state = self.moves.tick(next((move.after for move in self.moves.controllers(state)), state))

    def _explore(self) -> None:
        """One level after the other: all that so many interruptions lead to, or as much as its share of the bound.

        Half of the bound is for the first level. Where there are too many interruptions to follow, some are followed,
        evenly over all that there were; what each of them does to the cluster is looked at anyway.
        """
        first = self.first()
        self._cost[first], self._came_from[first] = 0, None
        self._queue.append(first)
        levels = self.bound.interruptions + 1
        self.report.complete = True
        for level in range(levels):
            left = self.bound.states - len(self._cost)
            self._quota = len(self._cost) + (left // 2 if level == 0 and levels > 1 else left // (levels - level))
            self._begin(level)
            while self._queue:
                self._expand(self._queue.popleft(), level)
                self.report.looked_at += 1
                if len(self.report.violations) >= self.bound.violations:
                    return

    def _begin(self, level: int) -> None:
        """Follow the interruptions that the level before led to."""
        seeds, self._next = list(self._next.items()), {}
        seeds = [(state, came) for state, came in seeds if state not in self._cost]
        stride = max(1, -(-len(seeds) // max(1, (self._quota - len(self._cost)) // 4)))
        self.report.complete &= stride == 1
        for state, came in seeds[::stride]:
            self._cost[state], self._came_from[state] = level, came
            self._queue.append(state)

    def _expand(self, state: State, cost: int) -> None:
        try:
            for what, extra, after in self._following(state):
                self.report.transitions += 1
                self._reach(after, cost + extra, state, what)
            if self.bound.endings:
                self.endings.check(state)
        except Exception as error:  # noqa: BLE001 - whatever plan raises is a finding
            self._found(error, state)

    def _reach(self, state: State, cost: int, before: State, what: str) -> None:
        if state in self._cost:
            return
        if cost > self._cost[before]:
            if cost <= self.bound.interruptions:
                self._next.setdefault(state, (before, what))
        elif len(self._cost) >= self._quota:
            self.report.complete = False
        else:
            self._cost[state], self._came_from[state] = cost, (before, what)
            self._queue.append(state)

    def _following(self, state: State) -> Iterator[tuple[str, int, State]]:
        for done in self.operator.passes(state):
            yield from self._after_pass(state, done)
        yield from self.moves.all(state)

    def _after_pass(self, state: State, done: Pass) -> Iterator[tuple[str, int, State]]:
        writes = self.operator.writes(done)
        cost = min(done.answers.cost, 1)
        now = state
        if not writes:
            self.promises.nothing_written(done)
        for number, what in enumerate(writes):
            if number:
                yield f"{done.label}, which dies before write {number + 1}", 1, now
            if cost == 0:
                yield from self._interrupted(done, number, now)
            try:
                now = self.operator.write(done, what, now)
            except Conflict:
                break
            except BrokenPromise as error:
                error.what = done.label  # type: ignore[attr-defined]
                raise
        yield done.label, cost, now

    def _interrupted(self, done: Pass, number: int, now: State) -> Iterator[tuple[str, int, State]]:
        """Something comes just before a write: what the pass saw is stale by then."""
        rest = self.operator.writes(done)[number:]
        for move in (*self.moves.interruptions(now), *self.moves.controllers(now)):
            after = move.after
            label = f"{done.label}; before write {number + 1}: {move.what}"
            try:
                for what in rest:
                    after = self.operator.write(done, what, after)
            except Conflict:
                pass
            except BrokenPromise as error:
                error.what = label  # type: ignore[attr-defined]
                raise
            yield label, 1, after

    def _found(self, error: Exception, state: State) -> None:
        what = f"{type(error).__name__}: {error}"
        if any(one.what == what for one in self.report.violations):
            return
        after = getattr(error, "way", [(getattr(error, "what", "here"), state)])
        path: list[tuple[str, State]] = []
        while came := self._came_from[state]:
            state, move = came
            path.append((move, state))
        self.report.violations.append(Violation(what, (*reversed(path), *after)))


@contextmanager
def _recording(taken: set[Taken]) -> Iterator[None]:
    with patch.object(phases, "TRANSITIONS", _Recorded(taken)):
        yield


def story(model: Model, violation: Violation) -> str:
    """The way to a violation, for people."""
    lines = [violation.what]
    for number, (move, state) in enumerate(violation.path):
        lines += [f"{number:3} {in_words(model, state)}", f"      -> {move}"]
    if violation.path[-1][1].wish is not None:
        lines += [f"        {line}" for line in explained(model, violation.path[-1][1])]
    return "\n".join(lines)


def explained(model: Model, state: State) -> list[str]:
    """What `explain` says of a state."""
    world = model.with_replica_sets(model.world(state), state)
    try:
        return [str(line) for line in explain(world)]
    except Exception as error:  # noqa: BLE001 - the engine may be the one that is broken
        return [f"explain: {type(error).__name__}: {error}"]


def in_words(model: Model, state: State) -> str:
    """A state on one line."""
    status = model.status(state)
    parts = [f"{status.phase or 'new'} step {status.step} {status.share}"]
    if status.suspended_phase:
        parts.append(f"was {status.suspended_phase}")
    if status.trial:
        parts.append("trial " + " ".join(_template(model, one.name, one.template) for one in status.trial))
    for name, app in zip(model.setting.apps, state.apps, strict=True):
        parts.append(f"{name}: {_app(model, app)}")
    if state.wish is None:
        parts.append("no Canary")
    elif state.wish.deleting or state.wish.suspended or state.wish.command or state.wish.spec:
        parts.append(str(state.wish))
    return "; ".join(parts)


def _template(model: Model, name: str, template: str) -> str:
    index = model.setting.apps.index(name)
    return f"{name}={model.setting.name_of(model.hashes[index].index(template))}"


def _app(model: Model, app: App) -> str:
    said = []
    if stable := app.stable:
        pods = "+".join(model.setting.name_of(t) for t in range(4) if stable.pods >> t & 1)
        marks = [m for m in ("paused", "guarded", "stuck") if getattr(stable, m)]
        said.append(f"{model.setting.name_of(stable.template)} on {pods} {' '.join(marks)}")
        said += [] if stable.ready else ["not ready"]
    else:
        said.append("no Deployment")
    if app.copy:
        said.append(f"canary {model.setting.name_of(app.copy.template)} {app.copy.ready}/{app.copy.size}")
    if app.service:
        said.append(f"service {app.service}")
    if app.twin:
        said.append(f"route {model.share(app.twin.share)} for {app.twin.age}")
    return ", ".join(said + ([] if app.public else ["no Ingress"]))
