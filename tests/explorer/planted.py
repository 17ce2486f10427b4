"""Bugs that are planted into the real engine, to see that the exploration finds them.

Each takes out one thing that keeps a promise. The engine's own guard is off while they are looked for, and on once
more to say which of them it would have stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from unittest.mock import patch

from canary.engine import assess, commands, conditions, evidence, held, outcome, plan, progress, promote, rest, winddown
from canary.engine.decision import Answer, Decision, Delete, LiftPause, SetFinalizer, SetShare
from canary.engine.gates import Way
from canary.engine.world import Finding, Member, World, known_spec, known_stable, on_trial
from canary.model import reasons
from canary.model.measurement import Measured, NoData, Sample
from canary.model.spec import Metric
from canary.model.status import Cause, Check, Phase, Status, Trial
from canary.model.workload import Workload
from tests.explorer.explore import Bound, Explorer, Report
from tests.explorer.passes import FAITHFUL, Server
from tests.explorer.settings import GATES, ORDERED, PAIR, SINGLE, SMALL, STRAIGHT, Setting

Plant = Callable[[], AbstractContextManager[None]]
Part = Callable[[World], Answer | None]

BOUND = Bound(states=4000, interruptions=2)
"""Within it each of them must be found."""

_RESTING = (None, Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED)
_UNDER_WAY = (Phase.PROGRESSING, Phase.WAITING)


@dataclass(frozen=True)
class Bug:
    """One bug, and where to look for it."""

    name: str
    plant: Plant
    setting: Setting = SMALL
    server: Server = FAITHFUL


def hunt(bug: Bug, *, guard: bool) -> Report:
    """Explore with the bug in the engine."""
    with bug.plant():
        return Explorer(bug.setting, BOUND, guard=guard, server=bug.server).run()


@contextmanager
def _instead(*changes: tuple[object, str, object]) -> Iterator[None]:
    """Names in modules of the engine mean something else."""
    patches = [patch.object(where, name, new) for where, name, new in changes]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _swap(where: object, name: str, new: object, *also: tuple[object, str, object]) -> Plant:
    return lambda: _instead((where, name, new), *also)


def _chain(phases: tuple[Phase | None, ...], part: Part | None, *others: Part) -> Plant:
    """Other parts in the place of one in the chain of some phases; in front of it where none is named."""

    def changed(parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if part is None:
            return (*others, *parts)
        return tuple(new for one in parts for new in (others if one is part else (one,)))

    stages = {phase: changed(parts) if phase in phases else parts for phase, parts in plan.STAGES.items()}
    return _swap(plan, "STAGES", stages)


def _unchanged(world: World, reason: str, text: str, *actions: object) -> Decision:
    return Decision(conditions.unchanged(world, world.status), Finding(reason, text), actions)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ what is wrong


def _lifts_what_is_live(world: World) -> Answer | None:
    lifts = [LiftPause(member.name, known_stable(member).resource_version) for member in world.members if member.held]
    return _unchanged(world, reasons.PROMOTING, "letting go what is there", *lifts) if lifts else None


def _acts_before_it_writes(world: World) -> Answer | None:
    decision = progress.first_step(world)
    if isinstance(decision, Decision) and decision.status.share:
        return replace(decision, actions=(SetShare(decision.status.share),))
    return decision


def _deletes_at_once(world: World) -> Decision | None:
    deletes = [Delete(ref) for ref in reversed(world.copies)]
    return _unchanged(world, reasons.RELEASING, "taking the canary away", *deletes) if deletes else None


_no_traffic, _wind_down = winddown.no_traffic, winddown.wind_down
_fresh_start, _look, _said = held._fresh_start, assess._look, conditions.unchanged


def _does_not_settle(world: World) -> Decision | None:
    return _no_traffic(world) if world.route.share else None


def _leaves_the_ingress(world: World) -> Decision | None:
    return _wind_down(replace(world, copies=tuple(ref for ref in world.copies if ref.kind != "Ingress")))


def _takes_nothing_for_zero(metrics: tuple[Metric, ...], samples: dict[str, Sample]) -> tuple[Check, ...]:
    full = {name: Measured(0.0, 0.0) if isinstance(one, NoData) else one for name, one in samples.items()}
    return evidence.judge_samples(metrics, full)


def _leaves_out_a_step(world: World, checks: tuple[Check, ...], why: str) -> Decision:
    decision, steps = outcome.advance(world, checks, why), known_spec(world).steps
    number = min(world.status.step + 2, len(steps))
    return replace(decision, status=replace(decision.status, step=number, share=steps[number - 1].share))


def _tries_again(world: World) -> Answer | None:
    if world.route.share or world.copies or not world.status.trial:
        return None
    status, why = held.tried_again(world, world.status), Finding(reasons.NEW_REVISION, "once more")
    return Decision(conditions.reconciling(world, status, why), why, after=timedelta())


def _no_gate(world: World, way: Way) -> None:
    return None


def _keeps_the_share(world: World, old: Status, trial: tuple[Trial, ...]) -> Status:
    return replace(_fresh_start(world, old, trial), share=old.share, step=old.step)


def _lifts_one(world: World) -> Answer | None:
    if any(not member.held for member in on_trial(world)):
        return None
    first = on_trial(world)[0]
    lift = LiftPause(first.name, known_stable(first).resource_version)
    return _unchanged(world, reasons.PROMOTING, "letting one roll out", lift)


def _looks_at_one(world: World) -> Answer | None:
    first, *others = world.members
    seen = (first, *(replace(member, canary=member.canary and _as_if_ready(member)) for member in others))
    return progress.canary_runs(replace(world, members=seen, route=replace(world.route, endpoints=True)))


def _as_if_ready(member: Member) -> Workload:
    assert member.canary is not None
    status = {**member.canary.manifest["status"], "availableReplicas": member.canary.replicas}
    return Workload({**member.canary.manifest, "status": status})


def _keeps_what_it_cannot_obey(world: World) -> Answer | None:
    decision = commands.obey(world)
    return None if decision and decision.events[0].reason == reasons.COMMAND_IGNORED else decision


def _promotes_anything(world: World) -> Decision | None:
    if not world.status.under_way:
        return None
    status = replace(world.status, straight=Cause.COMMAND)
    return Decision(conditions.unchanged(world, status), Finding(reasons.PROMOTING, "promoted"))


def _ripe_at_once(world: World) -> object:
    return replace(_look(world), ripe=True, due=True)


def _all_is_known(world: World, trial: tuple[Trial, ...]) -> Cause | None:
    return Cause.NOTHING_TO_JUDGE if world.status.promoted else None


def _lets_go_first(world: World) -> Decision:
    return _unchanged(world, reasons.RELEASING, "giving the targets back", SetFinalizer(present=False))


def _never_content(world: World, status: Status) -> Status:
    return replace(_said(world, status), failed_checks=status.failed_checks ^ 1)


def _forgets_the_failed(world: World, status: Status, why: Finding) -> Status:
    stalled = conditions.reconciling(world, status, why)
    return replace(stalled, phase=Phase.INITIALIZED) if status.phase is Phase.FAILED else stalled


def _writes_any_share(world: World) -> Answer | None:
    step = known_spec(world).steps[-1]
    if world.route.complete and world.route.share:
        return None
    return _unchanged(world, reasons.WEIGHT_CHANGED, "the last step's share at once", SetShare(step.share))


BUGS: tuple[Bug, ...] = (
    Bug("promotes the live template, not the judged one", _chain((Phase.PROMOTING,), None, _lifts_what_is_live)),
    Bug(
        "moves the traffic before the status is written",
        _chain(_UNDER_WAY, progress.first_step, _acts_before_it_writes),
    ),
    Bug(
        "writes the last step's share at once",
        _chain(_UNDER_WAY, progress.share_is_in_effect, _writes_any_share),
        SINGLE,
    ),
    Bug(
        "deletes the canary before its traffic is gone",
        _swap(promote, "wind_down", _deletes_at_once, (rest, "wind_down", _deletes_at_once)),
    ),
    Bug("deletes the canary before weight 0 is in effect", _swap(winddown, "no_traffic", _does_not_settle)),
    Bug(
        "leaves the canary's Ingress behind",
        _swap(promote, "wind_down", _leaves_the_ingress, (rest, "wind_down", _leaves_the_ingress)),
    ),
    Bug("forgets the deadline", _chain(_UNDER_WAY, progress.deadline)),
    Bug("takes an empty metric for a good one", _swap(assess, "judge_samples", _takes_nothing_for_zero)),
    Bug(
        "lifts a pause whatever the Deployment has become", _swap(plan, "__doc__", ""), SMALL, Server(conditional=False)
    ),
    Bug(
        "raises the weight by two steps",
        _swap(assess, "advance", _leaves_out_a_step, (progress, "advance", _leaves_out_a_step)),
        SINGLE,
    ),
    Bug("tries a failed revision again", _chain((Phase.FAILED,), rest.quiet, _tries_again, rest.quiet)),
    Bug("forgets which revision failed", _swap(conditions, "stalled", _forgets_the_failed)),
    Bug("ignores the gates", _swap(assess, "closed", _no_gate, (progress, "closed", _no_gate)), GATES),
    Bug("keeps the weight when a newer template comes", _swap(held, "_fresh_start", _keeps_the_share), SINGLE),
    Bug(
        "promotes one member of a set alone", _chain((Phase.PROMOTING,), promote.templates_are_let_go, _lifts_one), PAIR
    ),
    Bug("looks at one member's canary only", _chain(_UNDER_WAY, progress.canary_runs, _looks_at_one), PAIR),
    Bug(
        "keeps a command for the next release",
        _swap(plan, "_FIRST", (plan.canary_is_wanted, _keeps_what_it_cannot_obey, *plan._FIRST[2:])),
        ORDERED,
    ),
    Bug(
        "obeys promote for another release than it was given for",
        _swap(commands, "_OBEY", {**commands._OBEY, commands.Command.PROMOTE: _promotes_anything}),
        ORDERED,
    ),
    Bug("ignores whether stable can answer", _chain(_UNDER_WAY, progress.stable_serves)),
    Bug("judges before the share is in effect", _swap(assess, "_look", _ripe_at_once)),
    Bug("calls whatever it likes known good", _swap(held, "cause_of", _all_is_known), STRAIGHT),
    Bug("lets the Canary go before its objects", _swap(plan, "give_back", _lets_go_first)),
    Bug("overlooks what is held at rest", _chain(_RESTING, plan.nothing_else_is_held)),
    Bug("writes at every look", _swap(conditions, "unchanged", _never_content)),
)
"""Each must be found."""
