"""What must be true before a Canary can do anything: a chain of small checks, the first finding stops it."""

from collections.abc import Callable

from canary.engine.world import Finding, World
from canary.model import reasons


def first_problem(world: World) -> Finding | None:
    """The first thing that keeps this Canary from working, in the order in which a user would mend them."""
    return next((finding for check in CHAIN if (finding := check(world))), None)


def spec_is_valid(world: World) -> Finding | None:
    """The spec was understood."""
    return world.spec if isinstance(world.spec, Finding) else None


def target_is_ours(world: World) -> Finding | None:
    """No older Canary has one of the targets: two would lift each other's holds."""
    return world.rival


def targets_exist(world: World) -> Finding | None:
    """There is a Deployment of each name."""
    for member in world.members:
        if not member.exists:
            text = f"there is no Deployment {member.name!r} in namespace {world.canary.namespace!r}"
            return Finding(reasons.TARGET_NOT_FOUND, f"{member.target.path}.name: {text}")
    return None


def traffic_is_found(world: World) -> Finding | None:
    """The Services and routes of the targets are known and can be split; of one at the least."""
    findings = [member.traffic for member in world.members if isinstance(member.traffic, Finding)]
    serious = [member.traffic for member in world.members if not member.routed and not member.rides_along]
    if serious or len(findings) == len(world.members):
        return next((finding for finding in (*serious, *findings) if isinstance(finding, Finding)), None)
    return None


def webhooks_may_be_called(world: World) -> Finding | None:
    """The operator may call each webhook's host."""
    return world.webhooks


def metrics_are_known(world: World) -> Finding | None:
    """Every query is written, with the values of its variables."""
    return world.queries if isinstance(world.queries, Finding) else None


def action_is_allowed(world: World) -> Finding | None:
    """The API server did not refuse what was to be done."""
    return world.refused


CHAIN: tuple[Callable[[World], Finding | None], ...] = (
    spec_is_valid,
    target_is_ours,
    targets_exist,
    traffic_is_found,
    metrics_are_known,
    webhooks_may_be_called,
    action_is_allowed,
)
