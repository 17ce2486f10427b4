"""plan: one World in, one Decision out.

A pass either writes an intention into the status or acts on one that is written already, never both about traffic:
a crash leaves "intended, not done" or "done, not recorded", and the next pass compares and goes on from there.
"""

from collections.abc import Callable, Mapping

from canary.engine.checks import first_problem
from canary.engine.decision import Answer
from canary.engine.interruptions import blocked, give_back, resumed, suspended
from canary.engine.progress import progress
from canary.engine.promote import promote
from canary.engine.rest import rest
from canary.engine.world import World, known_spec
from canary.model.status import Phase

STAGES: Mapping[Phase | None, Callable[[World], Answer]] = {
    None: rest,
    Phase.INITIALIZED: rest,
    Phase.SUCCEEDED: rest,
    Phase.FAILED: rest,
    Phase.PROGRESSING: progress,
    Phase.PROMOTING: promote,
}


def plan(world: World) -> Answer:
    """What to do now."""
    if world.canary.deleting:
        return give_back(world)
    if problem := first_problem(world):
        return blocked(world, problem)
    if known_spec(world).suspend:
        return suspended(world)
    if world.status.phase is Phase.SUSPENDED:
        return resumed(world)
    return STAGES[world.status.phase](world)
