"""The Flux object that applies a target, and the revision it is applying."""

import re

from canary.engine.world import Owner
from canary.kube.cache import Cache
from canary.model import names
from canary.model.template import Json
from canary.model.workload import Workload

KUSTOMIZATION = "Kustomization"

_APPLYING = re.compile(r"\bfor revision (\S+)")
"""In the message of a Reconciling condition of kustomize-controller: said before anything is applied."""


def owner_of(target: Workload, cache: Cache) -> Owner | None:
    """The Kustomization whose labels the target carries; its revision is empty where the object is not known."""
    labels = target.manifest["metadata"].get("labels") or {}
    name = labels.get(names.FLUX_KUSTOMIZE_NAME)
    namespace = labels.get(names.FLUX_KUSTOMIZE_NAMESPACE)
    if not name or not namespace:
        return None
    known = cache.get(KUSTOMIZATION, namespace, name)
    return Owner(KUSTOMIZATION, namespace, name, attempted_revision(known) if known else "")


def attempted_revision(kustomization: Json) -> str:
    """The revision that Flux applies now, or applied last.

    `lastAttemptedRevision` is written only after the apply, too late to name what that apply brought; until then the
    Reconciling condition names it. `lastAppliedRevision` may wait for us, so it is never looked at.
    """
    status = kustomization.get("status") or {}
    for condition in status.get("conditions") or ():
        under_way = condition["type"] == "Reconciling" and condition["status"] == "True"
        if under_way and (found := _APPLYING.search(condition.get("message") or "")):
            return found.group(1)
    return str(status.get("lastAttemptedRevision") or "")
