"""The canary's objects: what should be there for the step under way, and putting it there."""

from collections.abc import Iterable, Mapping

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Apply, Decision
from canary.engine.snapshot import canary_deployment, canary_replicas, canary_service, canary_template_hash
from canary.engine.world import Finding, Member, ObjectRef, World, current_step, exposed, known_stable, known_traffic
from canary.model import names, reasons
from canary.model.template import Json


def outdated(world: World) -> list[Member]:
    """Those on trial whose canary does not run the held template."""
    return [
        member
        for member in exposed(world)
        if member.canary is None or member.canary.template_hash != wanted_template(world, member)
    ]


def too_small(world: World) -> list[Member]:
    """Those whose canary has fewer pods than the share of the step needs."""
    return [m for m in exposed(world) if m.canary is not None and m.canary.replicas < wanted_replicas(world, m)]


def apply_canaries(world: World, members: Iterable[Member], *, services: bool, at_least: bool) -> Decision:
    """Apply the Deployments of these canaries, large enough for the step, and the Services of all where asked.

    `at_least`: not with fewer pods than they have.
    """
    manifests = [*(_deployment(world, member, at_least=at_least) for member in members)]
    if services:
        manifests += wanted_services(world)
    actions = tuple(Apply(manifest, force=_is_ours(world, manifest)) for manifest in manifests)
    what = ", ".join(f"{manifest['kind']} {manifest['metadata']['name']}" for manifest in manifests)
    why = Finding(reasons.CANARY_NOT_READY, f"applying {what}")
    return Decision(conditions.unchanged(world, world.status), why, actions, after=SAFETY_LOOK)


def strays(world: World) -> tuple[ObjectRef, ...]:
    """Objects of ours that the canaries on trial do not need: those of a release that was on trial before."""
    wanted = {("Deployment", names.canary_name(member.name)) for member in exposed(world)}
    for member in exposed(world):
        if member.routed:
            wanted |= {("Service", backend.canary_service) for backend in known_traffic(member).backends}
            wanted |= {("Ingress", names.canary_name(backend.ingress)) for backend in known_traffic(member).backends}
    return tuple(ref for ref in world.copies if (ref.kind, ref.name) not in wanted)


def wanted_services(world: World) -> list[Json]:
    """The Services that reach the canaries' pods. One that two targets share is there once."""
    found: dict[str, Json] = {}
    for member in exposed(world):
        traffic = known_traffic(member)
        for service in traffic.services:
            manifest = canary_service(service, world.canary, traffic.selector_keys)
            found.setdefault(manifest["metadata"]["name"], manifest)
    return list(found.values())


def intact_services(world: World) -> list[Json]:
    """The canary's Services as we would have written them: what others may add or default is left out."""
    live = {service["metadata"]["name"]: service for service in world.route.services}
    return [
        service
        for service in wanted_services(world)
        if (found := live.get(service["metadata"]["name"]))
        and found["spec"].get("selector") == service["spec"]["selector"]
        and [_port(port) for port in found["spec"]["ports"]] == [_port(port) for port in service["spec"]["ports"]]
    ]


def wanted_template(world: World, member: Member) -> str:
    """Hash of the template that its canary must run."""
    return canary_template_hash(known_stable(member), world.canary, known_traffic(member).selector_keys)


def wanted_replicas(world: World, member: Member) -> int:
    """How many pods the share of the step under way needs."""
    return canary_replicas(current_step(world).weight, known_stable(member).replicas)


def _deployment(world: World, member: Member, *, at_least: bool) -> Json:
    present = member.canary.replicas if member.canary and at_least else 0
    replicas = max(wanted_replicas(world, member), present)
    return canary_deployment(known_stable(member), world.canary, known_traffic(member).selector_keys, replicas)


def _is_ours(world: World, manifest: Json) -> bool:
    name = manifest["metadata"]["name"]
    return any(ref == ObjectRef(manifest["kind"], name) for ref in world.copies)


def _port(port: Mapping[str, object]) -> tuple[object, ...]:
    return (port.get("name"), port["port"], port.get("targetPort", port["port"]))
