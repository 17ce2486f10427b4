"""Objects as an API server would hold them, as small as they can be, and a World around them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from canary.engine.snapshot import canary_deployment, canary_service
from canary.engine.world import Finding, Identity, Member, ObjectRef, World
from canary.model import names, reasons
from canary.model.duration import format_time
from canary.model.share import Share
from canary.model.spec import Analysis, CanarySpec, Metric, Step, Target, ThresholdRange
from canary.model.status import Status, Trial
from canary.model.template import Json
from canary.model.traffic import Backend, Route, Traffic
from canary.model.workload import ReplicaSet, Workload

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACE = "staging"
APP = "podinfo"

CANARY = Identity(NAMESPACE, APP, uid="canary-uid", generation=1, finalized=True)
SELECTOR_KEYS = frozenset({"app"})
STEPS = (Step(Share(10)), Step(Share(50)))


def template(image: str = "podinfo:1", labels: Mapping[str, str] | None = None) -> Json:
    """A pod template that differs from others by its image."""
    return {
        "metadata": {"labels": dict(labels or {"app": APP})},
        "spec": {"containers": [{"name": APP, "image": image}]},
    }


def deployment(
    name: str = APP,
    pods: Json | None = None,
    *,
    replicas: int = 4,
    paused: bool = False,
    guard: str | None = APP,
    labels: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Json:
    """A Deployment all of whose pods are up to date and available, unless `status` says otherwise."""
    pods = pods or template()
    guarded = {names.GUARD_LABEL: guard} if guard else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-uid",
            "resourceVersion": "7",
            "generation": 1,
            "labels": {**(labels or {}), **guarded},
            **(metadata or {}),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": APP}},
            "template": pods,
            **({"paused": True} if paused else {}),
            **spec,
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
            **(status or {}),
        },
    }


def service(
    name: str = APP,
    selector: Mapping[str, str] | None = None,
    ports: Sequence[Json] = ({"name": "http", "port": 9898, "targetPort": "http", "protocol": "TCP"},),
    labels: Mapping[str, str] | None = None,
) -> Json:
    """A Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-service-uid",
            "resourceVersion": "7",
            "labels": dict(labels or {}),
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.0.0.7",
            "ports": list(ports),
            "selector": dict({"app": APP} if selector is None else selector),
        },
    }


def path(to: str = APP, at: str = "/", port: str | int = 9898) -> Json:
    """A path of an Ingress."""
    by = "number" if isinstance(port, int) else "name"
    return {"path": at, "pathType": "Prefix", "backend": {"service": {"name": to, "port": {by: port}}}}


def ingress(
    name: str = APP,
    *paths: Json,
    host: str | None = "podinfo.example",
    class_name: str | None = "nginx",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Json:
    """An Ingress with one rule."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-ingress-uid",
            "resourceVersion": "7",
            "creationTimestamp": format_time(START),
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {
            **({"ingressClassName": class_name} if class_name else {}),
            "rules": [{**({"host": host} if host else {}), "http": {"paths": list(paths or (path(),))}}],
        },
    }


def endpoint_slice(of: str, *, ready: bool = True, canary: str = APP) -> Json:
    """The EndpointSlice of a canary's Service."""
    return {
        "metadata": {
            "name": f"{of}-slice",
            "namespace": NAMESPACE,
            "uid": f"{of}-slice-uid",
            "resourceVersion": "7",
            "labels": {"kubernetes.io/service-name": of, names.CANARY_LABEL: canary},
        },
        "endpoints": [{"addresses": ["10.1.0.7"], "conditions": {"ready": ready}}],
        "ports": [{"name": "http", "port": 9898}],
    }


def canary_object(name: str = APP, target: str = APP, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    """A Canary."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-canary-uid",
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            **(metadata or {}),
        },
        "spec": {"targets": [{"name": target}], **spec},
    }


TRAFFIC = Traffic((Backend(APP, APP, "9898"),), (service(),), SELECTOR_KEYS)


def canary_workload(
    target: Workload, *, replicas: int = 1, traffic: Traffic = TRAFFIC, status: Mapping[str, Any] | None = None
) -> Workload:
    """The canary of a target as it is when all its pods are available."""
    manifest = canary_deployment(target, CANARY, traffic.selector_keys, replicas)
    live = {**manifest["metadata"], "uid": "canary-deployment-uid", "resourceVersion": "8", "generation": 1}
    counts = {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    return Workload({**manifest, "metadata": live, "status": {**counts, **(status or {})}})


def route(weight: float = 0, since: datetime | None = None, traffic: Traffic = TRAFFIC, **fields: Any) -> Route:
    """Canary routes in effect, with Services that reach ready pods."""
    services = tuple(canary_service(found, CANARY, traffic.selector_keys) for found in traffic.services)
    return Route(
        **{"share": Share(weight), "since": since, "complete": True, "services": services, "endpoints": True} | fields
    )


COPIES = (
    ObjectRef("Ingress", "podinfo-canary"),
    ObjectRef("Service", "podinfo-canary"),
    ObjectRef("Deployment", "podinfo-canary"),
)


QUEUE = Metric("queue-length", ThresholdRange(max=5.0), query="queue_length")
ASKED = Analysis(metrics=(QUEUE,))
"""Judged by the answer to a query alone."""


GONE = Member(Target(APP), None, None, TRAFFIC)
"""The one target, where there is no Deployment of its name."""
OLDER = Finding(reasons.TARGET_IN_USE, "spec.targets[0].name: Canary older has Deployment podinfo already")


def on_trial(target: Workload) -> tuple[Trial, ...]:
    """One target on trial with the template that it has."""
    return (Trial(target.name, target.template_hash),)


def world(
    target: Workload | None = None,
    workload: Workload | None = None,
    traffic: Traffic | Finding = TRAFFIC,
    replica_sets: tuple[ReplicaSet, ...] | None = None,
    **fields: Any,
) -> World:
    """A Canary with one target at rest, with everything in order, but for the fields given."""
    stable = target or Workload(deployment())
    at_rest: dict[str, Any] = {
        "now": START,
        "canary": CANARY,
        "spec": CanarySpec((Target(APP),), steps=STEPS, analysis=ASKED),
        "status": Status(),
        "guard": None,
        "rival": None,
        "members": (Member(Target(APP), stable, workload, traffic, replica_sets=replica_sets),),
        "former": (),
        "route": Route(),
    }
    return World(**at_rest | fields)
