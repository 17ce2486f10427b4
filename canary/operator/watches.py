"""kopf hosts the watches. Every event is trimmed, cached, and becomes the keys of the Canaries it may matter to.

kopf decides nothing here: no handler but `on.event`, which writes nothing to the cluster and keeps nothing on objects.
"""

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from canary.flux.owner import owned_by
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import (
    CANARIES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GUARD_BINDINGS,
    GUARD_POLICIES,
    INGRESSES,
    KUSTOMIZATIONS,
    METRIC_TEMPLATES,
    SERVICES,
    Resource,
)
from canary.model import names
from canary.model.template import Json
from canary.operator.reconcile import Key

WATCHED: dict[str, tuple[Resource, str]] = {
    "Canary": (CANARIES, ""),
    "MetricTemplate": (METRIC_TEMPLATES, ""),
    "Deployment": (DEPLOYMENTS, names.GUARD_LABEL),
    "Service": (SERVICES, ""),
    "Ingress": (INGRESSES, ""),
    "EndpointSlice": (ENDPOINT_SLICES, names.CANARY_LABEL),
    "Kustomization": (KUSTOMIZATIONS, ""),
    "MutatingAdmissionPolicy": (GUARD_POLICIES, names.GUARD_SELECTOR),
    "MutatingAdmissionPolicyBinding": (GUARD_BINDINGS, names.GUARD_SELECTOR),
}
"""Kind → where it is, and the label selector that the API server filters by."""


async def sweep(client: Client, cache: Cache) -> None:
    """Make the cache what the API server has now.

    At the start, for kopf does not say when its first listing is complete; and from time to time, for it does not
    say what was deleted while a watch was broken.
    """
    for kind, (resource, selector) in WATCHED.items():
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
    """Without what nobody reads: most of an object's bytes are bookkeeping. Items of a list do not say their kind."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != names.LAST_APPLIED}
    return {**obj, "metadata": metadata, "kind": kind, "apiVersion": WATCHED[kind][0].api_version}


def keys_of(kind: str, obj: Json, cache: Cache) -> Iterable[Key]:
    """The Canaries that an object may matter to."""
    namespace = obj["metadata"].get("namespace", "")
    labels = obj["metadata"].get("labels") or {}
    match kind:
        case "Deployment":
            return [(namespace, labels[names.GUARD_LABEL])] if names.GUARD_LABEL in labels else []
        case "EndpointSlice":
            return [(namespace, labels[names.CANARY_LABEL])] if names.CANARY_LABEL in labels else []
        case "Canary" | "MetricTemplate" | "Service" | "Ingress":
            return [key_of(canary) for canary in cache.list("Canary", namespace)]
        case "Kustomization":
            return [key for deployment in cache.everywhere("Deployment") for key in _guarding(deployment, obj)]
        case _:
            return [key_of(canary) for canary in cache.everywhere("Canary")]


def register(registry: kopf.OperatorRegistry, cache: Cache, add: Callable[[Key], None]) -> None:
    """One handler for each kind."""
    for kind, (resource, _) in WATCHED.items():
        _register(registry, kind, resource, cache, add)


def _register(
    registry: kopf.OperatorRegistry, kind: str, resource: Resource, cache: Cache, add: Callable[[Key], None]
) -> None:
    async def on_event(*, event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's
        obj = trim(kind, dict(event["object"]))
        if event["type"] == "DELETED":
            cache.drop(kind, obj)
        else:
            cache.put(kind, obj)
        for key in set(keys_of(kind, obj, cache)):
            add(key)

    watch = kopf.on.event(
        resource.group, resource.version, resource.plural, id=f"watch-{resource.plural}", registry=registry
    )
    watch(on_event)


def settings() -> kopf.OperatorSettings:
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
    for resource, selector in WATCHED.values():
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


def key_of(canary: Json) -> Key:
    """What a Canary is queued under."""
    return canary["metadata"]["namespace"], canary["metadata"]["name"]
