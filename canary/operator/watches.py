"""kopf hosts the watches. Every event is trimmed, cached, and becomes the keys of the Canaries it may matter to.

kopf decides nothing here: no handler but `on.event`, which writes nothing to the cluster and keeps nothing on objects.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import kopf

from canary.flux.owner import owned_by
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import (
    CANARIES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GUARD_BINDINGS,
    GUARD_POLICIES,
    HORIZONTAL_POD_AUTOSCALERS,
    INGRESSES,
    KUSTOMIZATIONS,
    METRIC_TEMPLATES,
    PODS,
    SECRETS,
    SERVICES,
    Resource,
)
from canary.model import names
from canary.model.configuration import ConfigRef, references
from canary.model.template import Json
from canary.operator.configuration import without_content
from canary.operator.reconcile import Key

Watched: TypeAlias = Mapping[str, tuple[Resource, str]]
"""Kind → where it is, and the label selector that the API server filters by."""

_ALL: Watched = {
    "Canary": (CANARIES, ""),
    "MetricTemplate": (METRIC_TEMPLATES, ""),
    "Deployment": (DEPLOYMENTS, names.GUARD_LABEL),
    "Service": (SERVICES, ""),
    "Ingress": (INGRESSES, ""),
    "EndpointSlice": (ENDPOINT_SLICES, names.CANARY_LABEL),
    "Pod": (PODS, names.CANARY_LABEL),
    "HorizontalPodAutoscaler": (HORIZONTAL_POD_AUTOSCALERS, ""),
    "Kustomization": (KUSTOMIZATIONS, ""),
    "MutatingAdmissionPolicy": (GUARD_POLICIES, names.GUARD_SELECTOR),
    "MutatingAdmissionPolicyBinding": (GUARD_BINDINGS, names.GUARD_SELECTOR),
    "ConfigMap": (CONFIG_MAPS, names.NO_HELM_RELEASE),
    "Secret": (SECRETS, names.NO_HELM_RELEASE),
}


def watched(*, secrets: bool) -> Watched:
    """What this operator watches: Secrets only if it is told to, for it has no right to them otherwise."""
    return {kind: place for kind, place in _ALL.items() if secrets or kind != "Secret"}


async def sweep(client: Client, cache: Cache, kinds: Watched) -> None:
    """Make the cache what the API server has now.

    At the start, for kopf does not say when its first listing is complete; and from time to time, for it does not
    say what was deleted while a watch was broken.
    """
    for kind, (resource, selector) in kinds.items():
        known = list(cache.everywhere(kind))
        try:
            objects = await client.list(resource, None, selector)
        except NotFound:
            objects = []  # not installed: the watch finds it when it is
        present = {obj["metadata"]["uid"] for obj in objects}
        for obj in known:
            if obj["metadata"]["uid"] not in present:
                cache.drop(kind, obj)
        for obj in objects:
            cache.put(kind, trim(kind, obj))


def trim(kind: str, obj: Json) -> Json:
    """Without what nobody reads: most of an object's bytes are bookkeeping. Items of a list do not say their kind.

    Of ConfigMaps and Secrets no content is kept.
    """
    about = {"kind": kind, "apiVersion": _ALL[kind][0].api_version}
    match kind:
        case "ConfigMap" | "Secret":
            return {**without_content(kind, obj), **about}
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != names.LAST_APPLIED}
    named = {"metadata": metadata, **about}
    match kind:
        case "Pod":
            return {**_pod(obj), **named, "metadata": _pod_metadata(metadata)}
        case "HorizontalPodAutoscaler":
            return {**{key: value for key, value in obj.items() if key != "status"}, **named}
        case _:
            return {**obj, **named}


_POD_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "labels")
_POD_STATUS = ("containerStatuses", "initContainerStatuses", "nominatedNodeName")


def _pod_metadata(metadata: Json) -> Json:
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k == names.TEMPLATE_ANNOTATION}
    return {**_only(_POD_METADATA, metadata), "annotations": annotations}


def _pod(obj: Json) -> Json:
    """Its containers, and how they fare: what `parse_pod` reads."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    conditions = [each for each in status.get("conditions") or () if each["type"] in ("Ready", "PodScheduled")]
    containers = {
        key: [_only(("name", "image"), each) for each in spec[key]]
        for key in ("initContainers", "containers")
        if key in spec
    }
    return {"spec": containers, "status": {**_only(_POD_STATUS, status), "conditions": conditions}}


def _only(keys: Iterable[str], fields: Json) -> Json:
    return {key: fields[key] for key in keys if key in fields}


def keys_of(kind: str, obj: Json, cache: Cache) -> Iterable[Key]:
    """The Canaries that an object may matter to."""
    namespace = obj["metadata"].get("namespace", "")
    labels = obj["metadata"].get("labels") or {}
    match kind:
        case "Deployment":
            return [(namespace, labels[names.GUARD_LABEL])] if names.GUARD_LABEL in labels else []
        case "EndpointSlice" | "Pod":
            return [(namespace, labels[names.CANARY_LABEL])] if names.CANARY_LABEL in labels else []
        case "Canary" | "MetricTemplate" | "Service" | "Ingress" | "HorizontalPodAutoscaler":
            return [key_of(canary) for canary in cache.list("Canary", namespace)]
        case "ConfigMap" | "Secret":
            ref = ConfigRef(kind, obj["metadata"]["name"])
            return [key for deployment in cache.list("Deployment", namespace) for key in _reading(deployment, ref)]
        case "Kustomization":
            return [key for deployment in cache.everywhere("Deployment") for key in _guarding(deployment, obj)]
        case _:
            return [key_of(canary) for canary in cache.everywhere("Canary")]


def register(registry: kopf.OperatorRegistry, cache: Cache, add: Callable[[Key], None], kinds: Watched) -> None:
    """One handler for each kind."""
    for kind, (resource, _) in kinds.items():
        _register(registry, kind, resource, cache, add)


def _register(
    registry: kopf.OperatorRegistry, kind: str, resource: Resource, cache: Cache, add: Callable[[Key], None]
) -> None:
    async def on_event(*, event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's
        obj = trim(kind, dict(event["object"]))
        if event["type"] == "DELETED":
            cache.drop(kind, obj)
        else:
            known = cache.get(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            cache.put(kind, obj)
            if known is not None and _without_version(known) == _without_version(obj):
                return  # of what is left of it nothing changed: an HPA's status does, every 15 s
        for key in set(keys_of(kind, obj, cache)):
            add(key)

    watch = kopf.on.event(
        resource.group, resource.version, resource.plural, id=f"watch-{resource.plural}", registry=registry
    )
    watch(on_event)


def _without_version(obj: Json) -> Json:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def settings(kinds: Watched) -> kopf.OperatorSettings:
    """kopf with everything off that writes, and with watches that notice a dead connection."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.watching.server_timeout = 290
    chosen.watching.client_timeout = 310
    chosen.watching.connect_timeout = 10
    chosen.watching.reconnect_backoff = 0.5
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    chosen.queueing.idle_timeout = 0.5
    chosen.queueing.exit_timeout = 2
    chosen.process.ultimate_exiting_timeout = None
    for resource, selector in kinds.values():
        if selector:
            chosen.watching.label_selectors[resource.group, resource.plural] = selector
    return chosen


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is remembered on objects."""

    def fetch(self, **_: object) -> None:
        """Never anything."""

    def store(self, **_: object) -> None:
        """Nowhere."""


class _NoProgress(kopf.ProgressStorage):
    """No handler is ever in progress."""

    def fetch(self, **_: object) -> None:
        """Never any."""

    def store(self, **_: object) -> None:
        """Nowhere."""

    def purge(self, **_: object) -> None:
        """There is nothing to remove."""

    def touch(self, **_: object) -> None:
        """Writes nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing of ours in it."""
        return essence


def _guarding(deployment: Json, kustomization: Json) -> list[Key]:
    """The Canary of a Deployment that a Kustomization applies."""
    labels = deployment["metadata"].get("labels") or {}
    canary = labels.get(names.GUARD_LABEL) if owned_by(kustomization, labels) else None
    return [(deployment["metadata"]["namespace"], canary)] if canary else []


def _reading(deployment: Json, ref: ConfigRef) -> list[Key]:
    """The Canary of a guarded Deployment whose pods read a ConfigMap or Secret."""
    labels = deployment["metadata"].get("labels") or {}
    canary = labels.get(names.GUARD_LABEL) if ref in references(deployment["spec"]["template"]) else None
    return [(deployment["metadata"]["namespace"], canary)] if canary else []


def key_of(canary: Json) -> Key:
    """What a Canary is queued under."""
    return canary["metadata"]["namespace"], canary["metadata"]["name"]
