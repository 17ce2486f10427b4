"""What is known of the ConfigMaps and Secrets of a pod template, and of each object no more than is needed for that."""

from collections.abc import Mapping

from canary.kube.cache import Cache
from canary.model.configuration import ConfigKind, ConfigRef, references, version
from canary.model.template import Json

_KEPT = ("name", "namespace", "uid", "resourceVersion")


def without_content(kind: ConfigKind, obj: Json) -> Json:
    """What the cache holds: which object it is, and `digest`, the version of its content."""
    metadata = {key: obj["metadata"][key] for key in _KEPT}
    return {"metadata": metadata, "digest": version(kind, obj)}


def configuration_of(cache: Cache, namespace: str, template: Json) -> Mapping[ConfigRef, str]:
    """The versions of what a pod template reads. What does not exist or is not watched is left out."""
    found = {ref: cache.get(ref.kind, namespace, ref.name) for ref in references(template)}
    return {ref: str(obj["digest"]) for ref, obj in found.items() if obj is not None}
