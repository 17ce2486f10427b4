"""The operator in the abstract cluster: what a pass decides, and what becomes of its writes one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from analysis.verdict import Verdict
from canary.engine import invariants
from canary.engine import plan as engine_plan
from canary.engine.decision import (
    Action,
    Apply,
    AskAlerts,
    AskReplicaSets,
    AskSamples,
    AskWebhooks,
    Decision,
    Delete,
    Guard,
    HoldFloor,
    LiftPause,
    MarkVerdict,
    Question,
    SetFinalizer,
    SetShare,
    Unguard,
)
from canary.engine.world import World
from canary.model import names
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.status import Phase
from canary.model.webhook import HookAnswer, HookType
from tests.explorer.concrete import Model
from tests.explorer.promises import Promises
from tests.explorer.settings import BAD
from tests.explorer.state import INTACT, Copy, State, Twin
from tests.manifests import START


class Conflict(Exception):
    """409: the write was conditioned on what has changed. The pass ends."""


@dataclass(frozen=True)
class Answers:
    """What the operator heard in a pass."""

    said: tuple[str, ...] = ()
    samples: Verdict | None = None
    """Of the metrics, where they were asked."""
    firing: bool | None = None
    """Whether an alert fires or nobody knows; None where nobody asked."""
    hooks: dict[str, Verdict | None] = field(default_factory=dict)
    cost: int = 0


@dataclass(frozen=True)
class Pass:
    """One look, one decision."""

    seen: State
    world: World
    decision: Decision
    answers: Answers

    @property
    def label(self) -> str:
        """In words."""
        heard = f" ({', '.join(self.answers.said)})" if self.answers.said else ""
        return f"pass{heard}: {self.decision.why.reason}: {self.decision.why.message}"


Write = tuple[str, int | Action]
"""A status by its number, or an action."""


@dataclass(frozen=True)
class Server:
    """How the API server treats the writes of the operator."""

    conditional: bool = True
    """Whether a LiftPause and its like are refused where the Deployment has changed."""


FAITHFUL = Server()


class Operator:
    """Passes over states of one model."""

    def __init__(self, model: Model, promises: Promises, *, guard: bool = True, server: Server = FAITHFUL) -> None:
        self.model = model
        self.promises = promises
        self.guard = guard
        self.server = server
        self.plans = 0

    def passes(self, state: State) -> Iterator[Pass]:
        """Every pass that may come of a state: one for each set of answers."""
        if state.wish is None:
            return
        yield from self._decide(state, self.model.world(state), Answers())

    def _decide(self, state: State, world: World, answers: Answers) -> Iterator[Pass]:
        self.plans += 1
        answer = engine_plan.plan(world)
        if isinstance(answer, Question):
            for heard, following in self._heard(state, world, answer, answers):
                yield from self._decide(state, following, heard)
            return
        if self.guard:
            invariants.check(world, answer)
        yield Pass(state, world, answer, answers)

    def calm(self, state: State, mood: "Mood") -> Pass:
        """The one pass that comes where everything answers as a mood has it."""
        world, answers = self.model.world(state), Answers()
        while True:
            self.plans += 1
            answer = engine_plan.plan(world)
            if isinstance(answer, Decision):
                if self.guard:
                    invariants.check(world, answer)
                return Pass(state, world, answer, answers)
            options = list(self._heard(state, world, answer, answers))
            answers, world = options[mood.choose(state, answer)]

    def _heard(
        self, state: State, world: World, question: Question, answers: Answers
    ) -> Iterator[tuple[Answers, World]]:
        match question:
            case AskReplicaSets():
                yield answers, self.model.with_replica_sets(world, state)
            case AskSamples(metrics):
                for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR):
                    cost = verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)
                    heard = replace(
                        answers,
                        samples=verdict,
                        said=(*answers.said, f"metric: {verdict}"),
                        cost=answers.cost + cost,
                    )
                    yield heard, replace(world, samples={metric.name: SAMPLES[verdict] for metric in metrics})
            case AskAlerts(alerts):
                for sample, words in ((_NOBODY, "no alert"), (_FIRES, "an alert fires"), (_UNKNOWN, "alerts unknown")):
                    heard = replace(
                        answers,
                        firing=sample is not _NOBODY,
                        said=(*answers.said, words),
                        cost=answers.cost + (sample is not _NOBODY),
                    )
                    yield heard, replace(world, alerts=dict.fromkeys(alerts, sample))
            case AskWebhooks(calls):
                for word in (Verdict.PASS, Verdict.FAIL, None, Verdict.ERROR):
                    usual = Verdict.FAIL if calls[0].webhook.type is HookType.ROLLBACK else Verdict.PASS
                    said = {call.webhook.name: word for call in calls}
                    heard = replace(
                        answers,
                        hooks={**answers.hooks, **said},
                        said=(*answers.said, f"{', '.join(said)}: {word or 'silent'}"),
                        cost=answers.cost + (word is not usual),
                    )
                    yield heard, replace(world, answers={**world.answers, **_hook_answers(said)})
            case _:
                raise AssertionError("nothing is compared here")

    # ------------------------------------------------------------------------------------------------------ writes

    def writes(self, done: Pass) -> list[Write]:
        """The writes of a pass, in order."""
        seen, status = done.seen, done.decision.status
        wish = seen.wish
        assert wish is not None, "a pass needs a Canary"
        number = self.model.number_of(status)
        obeyed = wish.command is not None and dict(status.handled).get(wish.command.name) == "new"
        first: list[Write] = [("status", number)] if number != seen.status or obeyed else []
        return [*first, *(("action", action) for action in done.decision.actions)]

    def write(self, done: Pass, what: Write, now: State) -> State:
        """The cluster after one write. Raises Conflict, or BrokenPromise."""
        kind, written = what
        if kind == "status":
            assert isinstance(written, int)
            return self._write_status(done, written, now)
        assert not isinstance(written, int)
        return self._act(done, written, now)

    def _write_status(self, done: Pass, number: int, now: State) -> State:
        seen = done.seen
        if now.wish is None or (now.wish, now.status) != (seen.wish, seen.status):
            raise Conflict
        self.promises.status_written(done, now)
        wish, status = now.wish, done.decision.status
        obeyed = wish.command is not None and wish.command.name in dict(status.handled)
        retried = obeyed and wish.command is not None and wish.command.name == "retry"
        failed = () if retried else now.failed
        if status.phase is Phase.FAILED and self.model.status(seen).phase is not Phase.FAILED:
            failed = tuple((trial.name, trial.template) for trial in status.trial)
        return now._replace(status=number, wish=wish._replace(command=None) if obeyed else wish, failed=failed)

    def _act(self, done: Pass, action: Action, now: State) -> State:
        match action:
            case SetShare(share):
                return self._set_share(done, self.model.number(share), now)
            case Apply(manifest):
                return self._apply(done, manifest["kind"], manifest, now)
            case Delete(ref):
                return self._delete(done, ref.kind, ref.name, now)
            case SetFinalizer(present):
                return self._set_finalizer(now, present=present)
            case HoldFloor(name, held_):
                return now.with_app(self.model.setting.apps.index(name), floor=held_)
            case Guard() | Unguard() | LiftPause() | MarkVerdict():
                return self._touch(done, action, now)

    def _set_share(self, done: Pass, share: int, now: State) -> State:
        live = {self.model.setting.apps[i] for i, app in enumerate(now.apps) if app.twin}
        stable = set(self.model.stable_routes(done.world.members, done.world.status))
        for index, name in enumerate(self.model.setting.apps):
            wanted = share if name in stable or not stable else 0
            if name in live or (share and name in stable):
                self.promises.share_written(done, index, wanted, now)
                now = now.with_app(index, twin=Twin(wanted, 0))
        return now

    def _apply(self, done: Pass, kind: str, manifest: dict[str, object], now: State) -> State:
        index = self._index_of_copy(str(manifest["metadata"]["name"]))  # type: ignore[index]
        if kind == "Service":
            return now.with_app(index, service=INTACT)
        spec = manifest["spec"]
        assert kind == "Deployment"
        assert isinstance(spec, dict)
        template = self.model.hashes[index].index(
            spec["template"]["metadata"]["annotations"][names.TEMPLATE_ANNOTATION]
        )
        old = now.apps[index].copy
        self.promises.copy_applied(done, index, template, spec["replicas"], now)
        same = old is not None and old.template == template
        ready = min(old.ready, spec["replicas"]) if old and same else 0
        return now.with_app(
            index, copy=Copy(template, spec["replicas"], ready, failing=bool(old and same and old.failing))
        )

    def _delete(self, done: Pass, kind: str, name: str, now: State) -> State:
        index = self._index_of_copy(name)
        self.promises.deleted(done, kind, index, now)
        gone: dict[str, object] = {"Ingress": {"twin": None}, "Service": {"service": 0}, "Deployment": {"copy": None}}
        return now.with_app(index, **gone[kind])  # type: ignore[arg-type]

    def _set_finalizer(self, now: State, *, present: bool) -> State:
        if now.wish is None:
            raise Conflict
        if present:
            return now._replace(wish=now.wish._replace(finalized=True))
        self.promises.let_go(now)
        return now._replace(wish=None if now.wish.deleting else now.wish._replace(finalized=False))

    def _touch(self, done: Pass, action: Guard | Unguard | LiftPause | MarkVerdict, now: State) -> State:
        index = self.model.setting.apps.index(action.target)
        seen, stable = done.seen.apps[index].stable, now.apps[index].stable
        if seen is None or stable is None or seen.maker != stable.maker:
            raise Conflict
        if not isinstance(action, Guard) and seen != stable and self.server.conditional:
            raise Conflict
        match action:
            case Guard():
                return now.with_stable(index, guarded=True)
            case LiftPause():
                self.promises.let_through(index, now)
                return now.with_stable(index, paused=False)
            case Unguard():
                self.promises.given_back(index, now)
                stable = stable._replace(guarded=False, paused=False, pods=stable.pods | 1 << stable.template)
                return now.with_app(index, stable=stable)
            case MarkVerdict(_, failure):
                self.promises.marked(index, now, failed=failure is not None)
                return now.with_stable(index, mark=failure.message if failure else "")

    def _index_of_copy(self, name: str) -> int:
        self.promises.is_ours(name)
        return self.model.setting.apps.index(name.removesuffix("-canary"))

    def whole(self, done: Pass) -> State:
        """The cluster after all writes of a pass that nothing comes between."""
        now = done.seen
        for what in self.writes(done):
            now = self.write(done, what, now)
        return now


class Mood(Enum):
    """How everything outside of the cluster answers, in runs without choice."""

    HEALED = "healed"
    """All is well; what is measured is what the template deserves."""
    DEAD = "dead"
    """Nothing answers any more."""

    def choose(self, state: State, question: Question) -> int:
        """Which of the answers in `Operator.heard` it is."""
        healed = self is Mood.HEALED
        match question:
            case AskSamples():
                bad = any(app.copy and app.copy.template == BAD for app in state.apps)
                return int(bad) if healed else 3
            case AskAlerts():
                return 0 if healed else 2
            case AskWebhooks(calls):
                return int(calls[0].webhook.type is HookType.ROLLBACK) if healed else 2
            case _:
                return 0


SAMPLES: dict[Verdict, Sample] = {
    Verdict.PASS: Measured(5.0, START.timestamp()),
    Verdict.FAIL: Measured(6.0, START.timestamp()),
    Verdict.INCONCLUSIVE: NoData("no requests"),
    Verdict.ERROR: ProviderError("Prometheus does not answer"),
}
_NOBODY, _FIRES, _UNKNOWN = Measured(0.0, 0.0), Measured(1.0, 0.0), NoData("nobody knows")


def _hook_answers(said: dict[str, Verdict | None]) -> dict[str, HookAnswer | None]:
    return {
        name: HookAnswer(verdict, f"webhook {name} says {verdict}", START) if verdict else None
        for name, verdict in said.items()
    }
