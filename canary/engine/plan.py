"""plan: one World in, one Decision out.

A pass either writes an intention into the status or acts on one that is written already, never both about traffic:
a crash leaves "intended, not done" or "done, not recorded", and the next pass compares and goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from canary.engine.checks import first_problem
from canary.engine.decision import Answer, Decision
from canary.engine.interruptions import blocked, give_back, resumed, suspended
from canary.engine.judging import save
from canary.engine.progress import progress
from canary.engine.promote import promote
from canary.engine.rest import rest
from canary.engine.world import World, known_spec
from canary.model.evidence import Saved
from canary.model.status import Phase, Status

STAGES: Mapping[Phase | None, Callable[[World], Answer]] = {
    None: rest,
    Phase.INITIALIZED: rest,
    Phase.SUCCEEDED: rest,
    Phase.FAILED: rest,
    Phase.PROGRESSING: progress,
    Phase.PROMOTING: promote,
}


def plan(world: World) -> Answer:
    """What to do now. A status that is written takes along what the judge remembers."""
    answer = _plan(world)
    if not isinstance(answer, Decision) or answer.status == world.status:
        return answer
    return replace(answer, status=replace(answer.status, judge=_memory(world, answer.status)))


def _memory(world: World, status: Status) -> Saved | None:
    if status.phase not in (Phase.PROGRESSING, Phase.SUSPENDED) or status.template != world.status.template:
        return None
    if world.evidence is None:
        return status.judge
    return save(world.evidence.state, world.status.step, world.evidence.cursor)


def _plan(world: World) -> Answer:
    if world.canary.deleting:
        return give_back(world)
    if problem := first_problem(world):
        return blocked(world, problem)
    if known_spec(world).suspend:
        return suspended(world)
    if world.status.phase is Phase.SUSPENDED:
        return resumed(world)
    return STAGES[world.status.phase](world)
