"""The Flux object that applies a target, and the revision it is applying."""

import re
from collections.abc import Mapping, Sequence

from canary.engine.world import Owner
from canary.kube.cache import Cache
from canary.model import names
from canary.model.template import Json
from canary.model.workload import Workload

KUSTOMIZATION = "Kustomization"

_APPLYING = re.compile(r"\bfor revision (\S+)")
"""In the message of a Reconciling condition of kustomize-controller: said before anything is applied."""

_AWAITING_HEALTH = "Running health checks"
"""How that message begins when everything is applied."""


def owner_of(target: Workload, cache: Cache) -> Owner | None:
    """The Kustomization whose labels the target carries; its revision is empty where the object is not known."""
    labels = target.manifest["metadata"].get("labels") or {}
    name = labels.get(names.FLUX_KUSTOMIZE_NAME)
    namespace = labels.get(names.FLUX_KUSTOMIZE_NAMESPACE)
    if not name or not namespace:
        return None
    known = cache.get(KUSTOMIZATION, namespace, name)
    if known is None:
        return Owner(KUSTOMIZATION, namespace, name, "")
    return Owner(KUSTOMIZATION, namespace, name, attempted_revision(known), awaits_health(known))


def release_of(targets: Sequence[Workload], cache: Cache, namespace: str) -> list[str]:
    """The Deployments of a namespace that the Flux objects of these targets apply, by their inventories."""
    names_found = {
        name
        for target in targets
        if (owner := owner_of(target, cache)) and (known := cache.get(owner.kind, owner.namespace, owner.name))
        for name in _inventory(known, namespace)
    }
    return sorted(names_found)


def _inventory(owner: Json, namespace: str) -> list[str]:
    """Entries are `<namespace>_<name>_<group>_<kind>`."""
    entries = ((owner.get("status") or {}).get("inventory") or {}).get("entries") or ()
    parts = (str(entry["id"]).split("_") for entry in entries)
    return [part[1] for part in parts if len(part) == 4 and (part[0], *part[2:]) == (namespace, "apps", "Deployment")]


def attempted_revision(kustomization: Json) -> str:
    """The revision that Flux applies now, or applied last.

    `lastAttemptedRevision` is written only after the apply, too late to name what that apply brought; until then the
    Reconciling condition names it. `lastAppliedRevision` may wait for us, so it is never looked at.
    """
    if found := _APPLYING.search(str(_reconciling(kustomization).get("message"))):
        return found.group(1)
    return str((kustomization.get("status") or {}).get("lastAttemptedRevision") or "")


def awaits_health(kustomization: Json) -> bool:
    """Whether kustomize-controller has applied the revision and waits for its objects.

    After a failed wait it keeps the message and only changes the reason, to ProgressingWithRetry.
    """
    found = _reconciling(kustomization)
    return found.get("reason") == "Progressing" and str(found.get("message")).startswith(_AWAITING_HEALTH)


def owned_by(kustomization: Json, labels: Mapping[str, str]) -> bool:
    """Whether an object with these labels was applied by the Kustomization."""
    metadata = kustomization["metadata"]
    return (labels.get(names.FLUX_KUSTOMIZE_NAME), labels.get(names.FLUX_KUSTOMIZE_NAMESPACE)) == (
        metadata["name"],
        metadata["namespace"],
    )


def _reconciling(kustomization: Json) -> Json:
    """The condition of a reconciliation under way; empty when there is none."""
    for condition in (kustomization.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            found: Json = condition
            return found
    return {}
