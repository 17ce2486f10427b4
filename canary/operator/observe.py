"""From the cache, and a read where the cache cannot know, to a World."""

from collections.abc import Mapping
from datetime import datetime

from canary.engine.snapshot import belongs_to
from canary.engine.world import Finding, Identity, ObjectRef, World
from canary.flux.owner import owner_of
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, OURS
from canary.metrics.queries import queries
from canary.model import names, reasons
from canary.model.fields import SpecError
from canary.model.spec import CanarySpec, parse_spec
from canary.model.status import parse_status
from canary.model.template import Json
from canary.model.traffic import Route, Traffic
from canary.model.workload import Workload
from canary.operator.guard import guard_problem
from canary.routing import Network, Router

_DELETE_ORDER = ("Ingress", "Service", "Deployment")


class Observer:
    """Makes Worlds."""

    def __init__(self, client: Client, cache: Cache, router: Router, username: str) -> None:
        self._client = client
        self._cache = cache
        self._router = router
        self._username = username

    def network(self, namespace: str) -> Network:
        """What a router looks at."""
        return Network(
            services=self._cache.list("Service", namespace),
            ingresses=self._cache.list("Ingress", namespace),
            endpoint_slices=self._cache.list("EndpointSlice", namespace),
        )

    async def world(self, obj: Json, now: datetime) -> World:
        """Everything that is known about one Canary."""
        identity = _identity(obj)
        spec = _spec(obj)
        target = await self._target(identity, _target_name(obj))
        traffic = self._traffic(identity, spec, target)
        return World(
            now=now,
            canary=identity,
            spec=spec,
            status=parse_status(obj.get("status") or {}),
            guard=guard_problem(self._cache, self._username),
            rival=self._rival(obj),
            target=target,
            workload=self._workload(identity, target),
            traffic=traffic,
            route=self._route(identity, traffic),
            copies=self._copies(identity),
            owner=owner_of(target, self._cache) if target else None,
            queries=self._queries(identity, spec, traffic),
        )

    async def _target(self, canary: Identity, name: str | None) -> Workload | None:
        """The watch shows only guarded Deployments: one that we have not labelled yet is read."""
        if name is None:
            return None
        known = self._cache.get("Deployment", canary.namespace, name)
        if known is None:
            try:
                known = await self._client.get(DEPLOYMENTS, canary.namespace, name)
            except NotFound:
                return None
        return Workload(known)

    def _traffic(self, canary: Identity, spec: CanarySpec | Finding, target: Workload | None) -> Traffic | Finding:
        if isinstance(spec, Finding):
            return spec
        if target is None:
            return Finding(reasons.TARGET_NOT_FOUND, "there is no target")
        return self._router.discover(self.network(canary.namespace), spec.target, target)

    def _route(self, canary: Identity, traffic: Traffic | Finding) -> Route:
        return self._router.observe(self.network(canary.namespace), canary, traffic)

    def _queries(
        self, canary: Identity, spec: CanarySpec | Finding, traffic: Traffic | Finding
    ) -> Mapping[str, str] | Finding:
        if isinstance(spec, Finding) or isinstance(traffic, Finding):
            return {}
        return queries(canary, spec, traffic, lambda name: self._cache.get("MetricTemplate", canary.namespace, name))

    def _workload(self, canary: Identity, target: Workload | None) -> Workload | None:
        if target is None:
            return None
        known = self._cache.get("Deployment", canary.namespace, names.canary_name(target.name))
        return Workload(known) if known and belongs_to(canary, known) else None

    def _copies(self, canary: Identity) -> tuple[ObjectRef, ...]:
        return tuple(
            ObjectRef(kind, obj["metadata"]["name"], deleting="deletionTimestamp" in obj["metadata"])
            for kind in _DELETE_ORDER
            for obj in self._cache.list(kind, canary.namespace)
            if kind in OURS and belongs_to(canary, obj)
        )

    def _rival(self, obj: Json) -> str | None:
        """The oldest other Canary with the same target, if it is older than this one."""
        rivals = [
            other
            for other in self._cache.list("Canary", obj["metadata"]["namespace"])
            if _target_name(other) == _target_name(obj) and _age(other) < _age(obj)
        ]
        return str(min(rivals, key=_age)["metadata"]["name"]) if rivals else None


def _identity(obj: Json) -> Identity:
    metadata = obj["metadata"]
    return Identity(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        deleting="deletionTimestamp" in metadata,
        finalized=names.FINALIZER in (metadata.get("finalizers") or ()),
    )


def _spec(obj: Json) -> CanarySpec | Finding:
    try:
        return parse_spec(obj.get("spec") or {})
    except SpecError as error:
        return Finding(reasons.INVALID_SPEC, str(error))


def _target_name(obj: Json) -> str | None:
    """The target even of a Canary whose spec is not understood: it must be given back all the same."""
    try:
        return str(obj["spec"]["targets"][0]["name"])
    except (KeyError, IndexError, TypeError):
        return None


def _age(obj: Json) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]
