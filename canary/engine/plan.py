"""plan: one World in, one Decision out.

A chain of small parts, each of which is content or says what to do; the first that is not content decides. A pass
either writes an intention into the status or acts on one that is written already, never both about traffic: a crash
leaves "intended, not done" or "done, not recorded", and the next pass compares and goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions, progress, promote, rest
from canary.engine.checks import first_problem
from canary.engine.commands import obey
from canary.engine.decision import Answer, Decision, told
from canary.engine.held import held, lost
from canary.engine.interruptions import blocked, give_back, resumed, suspended
from canary.engine.judging import save
from canary.engine.winddown import mark_verdict
from canary.engine.world import Finding, World, known_spec
from canary.model.evidence import Saved
from canary.model.status import Phase, Status

Part = Callable[[World], Answer | None]


def canary_is_wanted(world: World) -> Answer | None:
    """The Canary is not being deleted."""
    return give_back(world) if world.canary.deleting else None


def commands_are_handled(world: World) -> Answer | None:
    """No command of a human waits."""
    return obey(world)


def nothing_is_in_the_way(world: World) -> Answer | None:
    """The spec is valid, the targets exist and are ours alone, their traffic and metrics are known."""
    problem = first_problem(world)
    return blocked(world, problem) if problem else None


def not_suspended(world: World) -> Answer | None:
    """Neither suspended, nor just resumed."""
    if known_spec(world).suspend:
        return suspended(world)
    return resumed(world) if world.status.phase is Phase.SUSPENDED else None


def flux_knows_the_verdict(world: World) -> Answer | None:
    """What Flux waits for says whether it failed."""
    return mark_verdict(world)


def what_is_on_trial_is_held(world: World) -> Answer | None:
    """Every template on trial is still held."""
    return lost(world)


def nothing_else_is_held(world: World) -> Answer | None:
    """No template is held but those that were decided about."""
    return held(world)


_FIRST: tuple[Part, ...] = (canary_is_wanted, commands_are_handled, nothing_is_in_the_way, not_suspended)
_RESTING: tuple[Part, ...] = (
    rest.targets_are_adopted,
    rest.share_is_taken_away,
    flux_knows_the_verdict,
    rest.canary_is_gone,
    rest.former_targets_are_given_back,
    rest.failed_templates_are_held,
    nothing_else_is_held,
    rest.first_release_is_there,
    rest.webhooks_know_the_end,
    rest.quiet,
)
_UNDER_WAY: tuple[Part, ...] = (
    flux_knows_the_verdict,
    what_is_on_trial_is_held,
    nothing_else_is_held,
    progress.old_share_is_gone,
    rest.targets_are_adopted,
    rest.former_targets_are_given_back,
    *progress.PARTS,
)
_PROMOTING: tuple[Part, ...] = (
    nothing_else_is_held,
    *promote.PARTS,
)
STAGES: Mapping[Phase | None, tuple[Part, ...]] = {
    None: _RESTING,
    Phase.INITIALIZED: _RESTING,
    Phase.SUCCEEDED: _RESTING,
    Phase.FAILED: _RESTING,
    Phase.PROGRESSING: _UNDER_WAY,
    Phase.WAITING: _UNDER_WAY,
    Phase.PROMOTING: _PROMOTING,
}
"""The parts of each phase, in the order in which they are asked."""


def chain(world: World) -> tuple[Part, ...]:
    """The parts that are asked about this World, until one is not content."""
    return (*_FIRST, *STAGES.get(world.status.phase, ()))


def plan(world: World) -> Answer:
    """What to do now. A status that is written takes along what the judge remembers."""
    answer = next(answer for part in chain(world) if (answer := part(world)))
    if not isinstance(answer, Decision):
        return answer
    return _in_time(world, _with_memory(world, _with_news(world, answer)))


def _in_time(world: World, decision: Decision) -> Decision:
    """A rollout is looked at when its deadline comes, whatever else it waits for."""
    under_deadline = world.status.phase is decision.status.phase is Phase.PROGRESSING
    if decision.after is None or not under_deadline or isinstance(world.spec, Finding):
        return decision
    return replace(decision, after=min(decision.after, max(progress.time_left(world), timedelta())))


def _with_news(world: World, decision: Decision) -> Decision:
    """What changes around a rollout is said once, whatever else is decided."""
    condition = decision.status.condition(conditions.CONFIGURATION_CHANGED)
    if condition is None or condition == world.status.condition(conditions.CONFIGURATION_CHANGED):
        return decision
    news = told(Finding(condition.reason, condition.message), warning=True)
    return replace(decision, events=(*decision.events, news))


def _with_memory(world: World, decision: Decision) -> Decision:
    if decision.status == world.status:
        return decision
    return replace(decision, status=replace(decision.status, judge=_memory(world, decision.status)))


def _memory(world: World, status: Status) -> Saved | None:
    going_on = (Phase.PROGRESSING, Phase.WAITING, Phase.SUSPENDED)
    if status.phase not in going_on or (status.trial, status.started_at) != (
        world.status.trial,
        world.status.started_at,
    ):
        return None
    if world.evidence is None:
        return status.judge
    return save(world.evidence.state, world.status.step, world.evidence.cursor)
