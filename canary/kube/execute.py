"""Actions of the engine as requests. Each is either conditioned on what was seen or an apply of our own fields."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from canary.engine.decision import (
    Action,
    Apply,
    Delete,
    Event,
    Guard,
    HoldFloor,
    LiftPause,
    MarkVerdict,
    SetFinalizer,
    Unguard,
)
from canary.engine.world import Finding, Identity
from canary.kube.cache import Cache
from canary.kube.client import Client, Conflict, Refused
from canary.kube.resources import CANARIES, DEPLOYMENTS, EVENTS, HORIZONTAL_POD_AUTOSCALERS, OURS
from canary.model import names
from canary.model.duration import format_time
from canary.model.template import Json
from canary.model.workload import Workload


class Taken(Refused):
    """An object of the name that we need exists, and is not ours."""


class Executor:
    """Does actions. What the API server answers goes into the cache at once: the watch may say it later."""

    def __init__(self, client: Client, cache: Cache, instance: str) -> None:
        self._client = client
        self._cache = cache
        self._instance = instance

    async def do(self, action: Action, canary: Identity, targets: Mapping[str, Workload]) -> None:
        """One action that moves no traffic; `targets` are the user's Deployments by name. Raises ApiError."""
        match action:
            case SetFinalizer(present):
                finalizers = [names.FINALIZER] if present else []
                answer = await self._apply_metadata(
                    "Canary", canary.namespace, canary.name, canary.uid, finalizers=finalizers
                )
                if not present:
                    self._cache.drop("Canary", answer)  # it is gone now, and the watch may have said so before us
            case Apply(manifest, force):
                await self.apply(canary.namespace, manifest, force=force)
            case Delete(ref):
                await self._client.delete(OURS[ref.kind], canary.namespace, ref.name)
                if known := self._cache.get(ref.kind, canary.namespace, ref.name):
                    self._cache.drop(ref.kind, known)
            case HoldFloor(autoscaler, held):
                await self._hold_floor(canary, autoscaler, held=held)
            case Guard() | Unguard() | LiftPause() | MarkVerdict():
                await self._touch(action, canary, targets[action.target])
            case _:
                raise TypeError(f"{action} is not for the executor")

    async def _touch(
        self, action: Guard | Unguard | LiftPause | MarkVerdict, canary: Identity, target: Workload
    ) -> None:
        match action:
            case Guard():
                labels = {names.GUARD_LABEL: canary.name}
                await self._apply_metadata("Deployment", canary.namespace, target.name, target.uid, labels=labels)
            case Unguard(_, version):
                await self._unpause(canary.namespace, target.name, version, {"labels": {names.GUARD_LABEL: None}})
            case LiftPause(_, version):
                await self._unpause(canary.namespace, target.name, version, {})
            case MarkVerdict(_, failure):
                body = _verdict(target, failure)
                answer = await self._client.patch(DEPLOYMENTS, canary.namespace, target.name, body, "status")
                self._cache.put("Deployment", answer)

    async def apply(self, namespace: str, manifest: Json, *, force: bool) -> None:
        """Apply an object of ours. Raises Taken when the name is somebody else's."""
        kind = manifest["kind"]
        try:
            self._cache.put(kind, await self._client.apply(OURS[kind], namespace, manifest, force=force))
        except Conflict as error:
            if force:
                raise
            name = manifest["metadata"]["name"]
            raise Taken(error.status, f"there is a {kind} {name} already that is not ours: {error.message}") from error

    async def write_status(self, canary: Json, status: Json) -> None:
        """Replace the status of a Canary that is still as it was seen. Raises Conflict where it is not."""
        metadata = canary["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        answer = await self._client.patch(CANARIES, metadata["namespace"], metadata["name"], body, "status")
        self._cache.put("Canary", answer)

    async def tell(self, canary: Identity, event: Event, now: datetime) -> None:
        """Post an event about the Canary."""
        body = _event(canary, event, self._instance, now)
        await self._client.create(EVENTS, canary.namespace, body)

    async def _unpause(self, namespace: str, name: str, version: str, metadata: Mapping[str, object]) -> None:
        body: Json = {"metadata": {**metadata, "resourceVersion": version}, "spec": {"paused": None}}
        answer = await self._client.patch(DEPLOYMENTS, namespace, name, body)
        if names.GUARD_LABEL in (answer["metadata"].get("labels") or {}):
            self._cache.put("Deployment", answer)
        else:
            self._cache.drop("Deployment", answer)

    async def _hold_floor(self, canary: Identity, name: str, *, held: bool) -> None:
        """Apply our fields of an HPA, or none of them.

        On condition of its resourceVersion: what its owner chose meanwhile is not taken over, and one that vanished is
        not made again. Raises Conflict then. Nothing is done where none is known.
        """
        known = self._cache.get("HorizontalPodAutoscaler", canary.namespace, name)
        if known is not None:
            body = _floor(known, canary.name if held else None)
            answer = await self._client.apply(HORIZONTAL_POD_AUTOSCALERS, canary.namespace, body, force=True)
            self._cache.put("HorizontalPodAutoscaler", answer)

    async def _apply_metadata(self, kind: str, namespace: str, name: str, uid: str, **metadata: object) -> Json:
        """Apply metadata to an object that exists: the uid keeps a vanished one from being made again."""
        resource, api_version = (CANARIES, names.API_VERSION) if kind == "Canary" else (DEPLOYMENTS, "apps/v1")
        body: Json = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, **metadata},
        }
        answer = await self._client.apply(resource, namespace, body, force=True)
        self._cache.put(kind, answer)
        return answer


def _verdict(target: Workload, failure: Finding | None) -> Json:
    """The conditions that the target has, with or without ours; on condition that nobody changed them meanwhile."""
    conditions = (target.manifest.get("status") or {}).get("conditions") or []
    others = [condition for condition in conditions if condition["type"] != names.VERDICT_CONDITION]
    ours = {"type": names.VERDICT_CONDITION, "status": "True"}
    marks = [{**ours, "reason": failure.reason, "message": failure.message}] if failure else []
    return {"metadata": {"resourceVersion": target.resource_version}, "status": {"conditions": [*others, *marks]}}


def _floor(known: Json, canary: str | None) -> Json:
    """What we apply of an HPA: that it does not shrink, and for which Canary; or nothing."""
    metadata = {key: known["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    body: Json = {
        "apiVersion": HORIZONTAL_POD_AUTOSCALERS.api_version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
    }
    if canary is None:
        return body
    return {
        **body,
        "metadata": {**metadata, "labels": {names.FLOOR_LABEL: canary}},
        "spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
    }


def _event(canary: Identity, event: Event, instance: str, now: datetime) -> Json:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{canary.name}.{uuid.uuid4().hex[:16]}", "namespace": canary.namespace},
        "eventTime": format_time(now)[:-1] + "000Z",
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "note": event.message[:1000],
        "action": event.reason,
        "reportingController": names.GROUP,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": canary.name,
            "namespace": canary.namespace,
            "uid": canary.uid,
        },
    }
