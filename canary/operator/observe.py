"""From the cache, and a read where the cache cannot know, to a World."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary.engine.commands import Command
from canary.engine.snapshot import belongs_to
from canary.engine.world import Finding, Identity, Member, ObjectRef, World
from canary.flux.owner import owner_of, release_of
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, OURS
from canary.metrics.queries import queries
from canary.model import names, reasons
from canary.model.autoscaler import Autoscaler, parse_autoscaler
from canary.model.fields import SpecError
from canary.model.pod import Pod, parse_pod
from canary.model.spec import CanarySpec, Scope, Target, parse_spec
from canary.model.status import Status, parse_status
from canary.model.template import Json
from canary.model.traffic import Route, Traffic, join
from canary.model.webhook import refused_host
from canary.model.workload import Workload
from canary.operator.configuration import configuration_of
from canary.operator.guard import guard_problem
from canary.routing import Network, Router

_DELETE_ORDER = ("Ingress", "Service", "Deployment")


@dataclass(frozen=True)
class Surroundings:
    """What an operator is told at its start, as far as it decides what is seen."""

    username: str
    """As which the API server knows this operator."""
    webhook_hosts: tuple[str, ...] = ()


class Observer:
    """Makes Worlds."""

    def __init__(self, client: Client, cache: Cache, router: Router, surroundings: Surroundings) -> None:
        self._client = client
        self._cache = cache
        self._router = router
        self._surroundings = surroundings

    def network(self, namespace: str) -> Network:
        """What a router looks at."""
        return Network(
            services=self._cache.list("Service", namespace),
            ingresses=self._cache.list("Ingress", namespace),
            endpoint_slices=self._cache.list("EndpointSlice", namespace),
        )

    async def world(self, obj: Json, now: datetime) -> World:
        """Everything that is known about one Canary."""
        identity, spec, status = _identity(obj), _spec(obj), parse_status(obj.get("status") or {})
        members = await self._members(identity, spec, obj)
        traffic = _on_trial(members, status)
        stables = [member.stable for member in members if member.stable]
        return World(
            now=now,
            canary=identity,
            spec=spec,
            status=status,
            guard=guard_problem(self._cache, self._surroundings.username),
            rival=self._rival(obj),
            members=members,
            former=self._former(identity, members),
            route=self._route(identity, traffic),
            copies=self._copies(identity),
            owner=next((owner for stable in stables if (owner := owner_of(stable, self._cache))), None),
            queries=self._queries(identity, spec, _routed_first(members, status), traffic),
            webhooks=self._refused_webhook(identity, spec),
            configuration={
                ref: version
                for stable in stables
                for ref, version in configuration_of(self._cache, identity.namespace, stable.template).items()
            },
            floors=tuple(found.name for found in self._autoscalers(identity.namespace) if found.floor == identity.name),
        )

    async def _members(self, canary: Identity, spec: CanarySpec | Finding, obj: Json) -> tuple[Member, ...]:
        targets = _targets(obj) if isinstance(spec, Finding) else spec.targets
        stables = {target.name: await self._deployment(canary, target.name) for target in targets}
        if isinstance(spec, CanarySpec) and spec.scope is Scope.RELEASE:
            for name in release_of([stable for stable in stables.values() if stable], self._cache, canary.namespace):
                if name not in stables and not self._is_anothers(canary, other := await self._deployment(canary, name)):
                    stables[name] = other
        named = {target.name: target for target in targets}
        return tuple(
            self._member(canary, spec, named.get(name, Target(name, path="spec.scope: the release")), stable)
            for name, stable in stables.items()
            if stable or name in named
        )

    def _member(self, canary: Identity, spec: CanarySpec | Finding, target: Target, stable: Workload | None) -> Member:
        workload = self._canary(canary, target.name)
        return Member(
            target=target,
            stable=stable,
            canary=workload,
            traffic=self._traffic(canary, spec, target, stable),
            pods=self._pods(canary, workload),
            autoscaler=next((a for a in self._autoscalers(canary.namespace) if a.scales(target.name)), None),
        )

    async def _deployment(self, canary: Identity, name: str) -> Workload | None:
        """The watch shows only guarded Deployments: one that we have not labelled yet is read."""
        known = self._cache.get("Deployment", canary.namespace, name)
        if known is None:
            try:
                known = await self._client.get(DEPLOYMENTS, canary.namespace, name)
            except NotFound:
                return None
        return Workload(known)

    def _is_anothers(self, canary: Identity, workload: Workload | None) -> bool:
        """Whether the templates of a Deployment are held for another Canary, which had it first."""
        guard = workload and workload.guard
        return bool(guard and guard != canary.name and self._cache.get("Canary", canary.namespace, guard))

    def _former(self, canary: Identity, members: Sequence[Member]) -> tuple[Workload, ...]:
        names_of_members = {member.name for member in members}
        guarded = (
            Workload(obj)
            for obj in self._cache.list("Deployment", canary.namespace)
            if not belongs_to(canary, obj) and obj["metadata"]["name"] not in names_of_members
        )
        return tuple(workload for workload in guarded if workload.guard == canary.name and not workload.deleting)

    def _traffic(
        self, canary: Identity, spec: CanarySpec | Finding, target: Target, stable: Workload | None
    ) -> Traffic | Finding:
        if isinstance(spec, Finding):
            return spec
        if stable is None:
            return Finding(reasons.TARGET_NOT_FOUND, "there is no target")
        return self._router.discover(self.network(canary.namespace), target, stable)

    def _route(self, canary: Identity, traffic: Traffic | Finding) -> Route:
        return self._router.observe(self.network(canary.namespace), canary, traffic)

    def _queries(
        self, canary: Identity, spec: CanarySpec | Finding, target: str, traffic: Traffic | Finding
    ) -> Mapping[str, str] | Finding:
        if isinstance(spec, Finding) or isinstance(traffic, Finding) or not traffic.backends:
            return {}

        def template(name: str) -> Json | None:
            return self._cache.get("MetricTemplate", canary.namespace, name)

        return queries(canary, spec, target, traffic, template)

    def _refused_webhook(self, canary: Identity, spec: CanarySpec | Finding) -> Finding | None:
        if isinstance(spec, Finding):
            return None
        for index, hook in enumerate(spec.webhooks):
            if problem := refused_host(hook.url, canary.namespace, self._surroundings.webhook_hosts):
                return Finding(reasons.WEBHOOK_REFUSED, f"spec.webhooks[{index}].url: {problem}")
        return None

    def _canary(self, canary: Identity, name: str) -> Workload | None:
        known = self._cache.get("Deployment", canary.namespace, names.canary_name(name))
        return Workload(known) if known and belongs_to(canary, known) else None

    def _pods(self, canary: Identity, workload: Workload | None) -> tuple[Pod, ...]:
        if workload is None:
            return ()
        labels = (workload.selector.get("matchLabels") or {}).items()
        pods = (parse_pod(obj) for obj in self._cache.list("Pod", canary.namespace))
        return tuple(pod for pod in pods if labels <= pod.labels.items())

    def _autoscalers(self, namespace: str) -> list[Autoscaler]:
        return [parse_autoscaler(obj) for obj in self._cache.list("HorizontalPodAutoscaler", namespace)]

    def _copies(self, canary: Identity) -> tuple[ObjectRef, ...]:
        return tuple(
            ObjectRef(kind, obj["metadata"]["name"], deleting="deletionTimestamp" in obj["metadata"])
            for kind in _DELETE_ORDER
            for obj in self._cache.list(kind, canary.namespace)
            if kind in OURS and belongs_to(canary, obj)
        )

    def _rival(self, obj: Json) -> Finding | None:
        """The oldest other Canary with one of the targets, if it is older than this one."""
        rivals = [
            (other, target)
            for other in self._cache.list("Canary", obj["metadata"]["namespace"])
            for target in _targets(obj)
            if _age(other) < _age(obj) and target.name in {one.name for one in _targets(other)}
        ]
        if not rivals:
            return None
        oldest, target = min(rivals, key=lambda rival: _age(rival[0]))
        text = f"{target.path}.name: Canary {oldest['metadata']['name']} has Deployment {target.name} already"
        return Finding(reasons.TARGET_IN_USE, text)


def _exposed(members: Sequence[Member], status: Status) -> list[Member]:
    """Those that have a canary; at rest those that would have one."""
    names_on_trial = {trial.name for trial in status.trial} or {member.name for member in members}
    return [member for member in members if member.name in names_on_trial and not member.rides_along]


def _routed_first(members: Sequence[Member], status: Status) -> str:
    """The target that the variables of a query speak of."""
    return next((member.name for member in _exposed(members, status)), "")


def _on_trial(members: Sequence[Member], status: Status) -> Traffic | Finding:
    """What carries the canary; at rest what would carry that of all targets."""
    found = [member.traffic for member in _exposed(members, status)]
    serious = next((traffic for traffic in found if isinstance(traffic, Finding)), None)
    return serious or join([traffic for traffic in found if isinstance(traffic, Traffic)])


def _identity(obj: Json) -> Identity:
    metadata = obj["metadata"]
    return Identity(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        deleting="deletionTimestamp" in metadata,
        finalized=names.FINALIZER in (metadata.get("finalizers") or ()),
        commands={
            command: token
            for command in Command
            if (token := (metadata.get("annotations") or {}).get(f"{names.GROUP}/{command}"))
        },
    )


def _spec(obj: Json) -> CanarySpec | Finding:
    try:
        return parse_spec(obj.get("spec") or {})
    except SpecError as error:
        return Finding(reasons.INVALID_SPEC, str(error))


def _targets(obj: Json) -> tuple[Target, ...]:
    """The targets even of a Canary whose spec is not understood: they must be given back all the same."""
    try:
        entries = [str(entry["name"]) for entry in obj["spec"]["targets"]]
    except (KeyError, TypeError):
        return ()
    return tuple(Target(name, path=f"spec.targets[{index}]") for index, name in enumerate(entries))


def _age(obj: Json) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]
