"""The canary's objects, made from the held template and from the Services of stable."""

import copy
import math
from collections.abc import Mapping

from canary.engine.world import Identity
from canary.model import names
from canary.model.template import Json, template_hash
from canary.model.workload import Workload

_OWN_SPEC = ("replicas", "selector", "template", "paused")
_PORT_FIELDS = ("name", "protocol", "port", "targetPort", "appProtocol")


def canary_replicas(weight: float, stable_replicas: int) -> int:
    """Pods that a share of `weight` percent needs when all of it is served by `stable_replicas`; at least one."""
    return max(1, math.ceil(weight * stable_replicas / 100))


def canary_template(target: Workload, canary: Identity, selector_keys: frozenset[str]) -> Json:
    """The held template with the fewest labels changed: those by which some Service selects stable's pods.

    Labels of the target's own selector are changed too when no Service uses one of them, so that the two
    Deployments never select each other's pods.
    """
    template = copy.deepcopy(target.template)
    metadata = template.setdefault("metadata", {})
    own = frozenset(target.selector.get("matchLabels") or {}) | frozenset(
        expression["key"]
        for expression in target.selector.get("matchExpressions") or ()
        if expression["operator"] == "In"
    )
    labels = _renamed(metadata.get("labels") or {}, _distinct_keys(own, selector_keys))
    metadata["labels"] = {**_kept(labels), names.CANARY_LABEL: canary.name}
    annotations = _kept(metadata.get("annotations") or {})
    metadata["annotations"] = {**annotations, names.TEMPLATE_ANNOTATION: target.template_hash}
    return template


def canary_template_hash(target: Workload, canary: Identity, selector_keys: frozenset[str]) -> str:
    """Name of the template that the canary must run to be the one under trial."""
    return template_hash(canary_template(target, canary, selector_keys))


def canary_deployment(target: Workload, canary: Identity, selector_keys: frozenset[str], replicas: int) -> Json:
    """The temporary Deployment that runs the held template."""
    template = canary_template(target, canary, selector_keys)
    match = {key: template["metadata"]["labels"][key] for key in target.selector.get("matchLabels") or {}}
    # expressions name values of stable's, which the canary's pods no longer have; our label says enough
    selector = {"matchLabels": {**match, names.CANARY_LABEL: canary.name}}
    manifest = _owned(target.manifest, canary)
    manifest["metadata"]["labels"][names.GUARD_LABEL] = canary.name
    rest = {key: copy.deepcopy(value) for key, value in target.manifest["spec"].items() if key not in _OWN_SPEC}
    manifest["spec"] = {**rest, "replicas": replicas, "selector": selector, "template": template}
    return manifest


def canary_service(service: Json, canary: Identity, selector_keys: frozenset[str]) -> Json:
    """The Service of the canary's pods: the ports of stable's, another selector."""
    manifest = _owned(service, canary)
    ports = [{key: port[key] for key in _PORT_FIELDS if key in port} for port in service["spec"]["ports"]]
    selector = _renamed(service["spec"]["selector"], selector_keys)
    manifest["spec"] = {"type": "ClusterIP", "ports": ports, "selector": {**selector, names.CANARY_LABEL: canary.name}}
    return manifest


def owner_reference(canary: Identity) -> Json:
    """What makes the API server delete an object of ours with its Canary."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": canary.name,
        "uid": canary.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def belongs_to(canary: Identity, obj: Json) -> bool:
    """Whether an object was made for a rollout of this Canary."""
    return bool((obj["metadata"].get("labels") or {}).get(names.CANARY_LABEL) == canary.name)


def _owned(original: Json, canary: Identity) -> Json:
    metadata = original["metadata"]
    labels = _kept(metadata.get("labels") or {})
    return {
        "apiVersion": original["apiVersion"],
        "kind": original["kind"],
        "metadata": {
            "name": names.canary_name(metadata["name"]),
            "namespace": canary.namespace,
            "labels": {**labels, names.CANARY_LABEL: canary.name, names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "ownerReferences": [owner_reference(canary)],
        },
    }


def _distinct_keys(own: frozenset[str], selector_keys: frozenset[str]) -> frozenset[str]:
    return selector_keys if own & selector_keys else selector_keys | own


def _kept(marks: Mapping[str, str]) -> dict[str, str]:
    ours = (names.GUARD_LABEL, names.CANARY_LABEL)
    return {key: value for key, value in marks.items() if not names.is_foreign_mark(key) and key not in ours}


def _renamed(labels: Mapping[str, str], keys: frozenset[str]) -> dict[str, str]:
    return {key: names.canary_name(value) if key in keys else value for key, value in labels.items()}
