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
    """No older Canary has the same target: two would lift each other's holds."""
    if world.rival is None:
        return None
    return Finding(reasons.TARGET_IN_USE, f"spec.targets[0].name: Canary {world.rival} has this target already")


def target_exists(world: World) -> Finding | None:
    """There is a Deployment of the name."""
    if isinstance(world.spec, Finding) or (world.target and not world.target.deleting):
        return None
    name = world.spec.target.name
    return Finding(
        reasons.TARGET_NOT_FOUND,
        f"spec.targets[0].name: there is no Deployment {name!r} in namespace {world.canary.namespace!r}",
    )


def traffic_is_found(world: World) -> Finding | None:
    """The Services and routes of the target are known and can be split."""
    return world.traffic if isinstance(world.traffic, Finding) else None


def metrics_are_known(world: World) -> Finding | None:
    """Every query is written, with the values of its variables."""
    return world.queries if isinstance(world.queries, Finding) else None


def action_is_allowed(world: World) -> Finding | None:
    """The API server did not refuse what was to be done."""
    return world.refused


CHAIN: tuple[Callable[[World], Finding | None], ...] = (
    spec_is_valid,
    target_is_ours,
    target_exists,
    traffic_is_found,
    metrics_are_known,
    action_is_allowed,
)
