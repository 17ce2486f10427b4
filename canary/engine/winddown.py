"""The way down: no traffic first, in effect, then no objects. Needs nothing but what was observed of ours."""

from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import Decision, Delete, MarkVerdict, SetWeight
from canary.engine.world import Finding, World, known_target
from canary.model import reasons
from canary.model.status import Phase, Status, change

SETTLE = timedelta(seconds=5)
"""From writing a weight until every worker of the ingress controller obeys it (ingress-nginx: 3.5 s at the most)."""


def no_traffic(world: World) -> Decision | None:
    """Weight 0, written and in effect; None once it is."""
    route = world.route
    if route.weight:
        return Decision(conditions.unchanged(world, world.status), (SetWeight(0),), after=SETTLE)
    if route.since and world.now < route.since + SETTLE:
        return Decision(conditions.unchanged(world, world.status), after=route.since + SETTLE - world.now)
    return None


def wind_down(world: World) -> Decision | None:
    """No traffic first, in effect, then no objects. None when nothing is left."""
    if idle := no_traffic(world):
        return idle
    if not world.copies:
        return None
    deletes = tuple(Delete(ref) for ref in world.copies if not ref.deleting)
    return Decision(conditions.unchanged(world, world.status), deletes, after=SETTLE)


def mark_verdict(world: World) -> Decision | None:
    """While Flux waits for a held template that failed, its Deployment says so, and Flux stops waiting.

    Only while it waits: the mark of one template must not meet the health check of the next.
    """
    target, status = known_target(world), world.status
    failed = status.phase is Phase.FAILED and target.paused and target.template_hash == status.template
    awaited = world.owner is not None and world.owner.awaits_health
    verdict = failure(status) if failed and awaited else None
    if (verdict and verdict.message) == target.verdict:
        return None
    return Decision(conditions.unchanged(world, status), (MarkVerdict(verdict),), after=timedelta())


def failure(status: Status) -> Finding:
    """Why the last rollout failed, as it was said then."""
    stalled = status.condition(conditions.STALLED)
    if stalled and stalled.reason in (reasons.ROLLED_BACK, reasons.DEADLINE_EXCEEDED):
        return Finding(stalled.reason, stalled.message)
    return Finding(reasons.ROLLED_BACK, f"{change(status)} was rolled back and stays held")
