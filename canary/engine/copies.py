"""The canary's objects: what should be there for the step under way, and putting it there."""

from collections.abc import Mapping

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Apply, Decision
from canary.engine.snapshot import canary_deployment, canary_replicas, canary_service
from canary.engine.world import ObjectRef, World, current_step, known_target, known_traffic
from canary.model.template import Json


def apply_canary(world: World, *, services: bool, at_least: int) -> Decision:
    """Apply the Deployment of the canary, large enough for its step, and its Services where asked."""
    target, traffic = known_target(world), known_traffic(world)
    replicas = max(wanted_replicas(world), at_least)
    manifests = wanted_services(world) if services else ()
    workload = canary_deployment(target, world.canary, traffic.selector_keys, replicas)
    actions = tuple(Apply(manifest, force=_is_ours(world, manifest)) for manifest in (workload, *manifests))
    return Decision(conditions.unchanged(world, world.status), actions, after=SAFETY_LOOK)


def _is_ours(world: World, manifest: Json) -> bool:
    name = manifest["metadata"]["name"]
    return any(ref == ObjectRef(manifest["kind"], name) for ref in world.copies)


def wanted_services(world: World) -> tuple[Json, ...]:
    """The Services that reach the canary's pods."""
    traffic = known_traffic(world)
    return tuple(canary_service(service, world.canary, traffic.selector_keys) for service in traffic.services)


def intact_services(world: World) -> tuple[Json, ...]:
    """The canary's Services as we would have written them: what others may add or default is left out."""
    live = {service["metadata"]["name"]: service for service in world.route.services}
    return tuple(
        service
        for service in wanted_services(world)
        if (found := live.get(service["metadata"]["name"]))
        and found["spec"].get("selector") == service["spec"]["selector"]
        and [_port(port) for port in found["spec"]["ports"]] == [_port(port) for port in service["spec"]["ports"]]
    )


def _port(port: Mapping[str, object]) -> tuple[object, ...]:
    return (port.get("name"), port["port"], port.get("targetPort", port["port"]))


def wanted_replicas(world: World) -> int:
    """How many pods the share of the step under way needs."""
    return canary_replicas(current_step(world).weight, known_target(world).replicas)
