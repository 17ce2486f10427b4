"""What the watches said last: objects by kind, namespace and name."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from canary.model.template import Json


@dataclass
class Cache:
    """The last known version of each watched object. Only ever moves forward in resourceVersion."""

    _objects: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)

    def put(self, kind: str, obj: Json) -> None:
        """Remember an object, unless a later version or successor is known: a watch may lag behind our own writes."""
        metadata = obj["metadata"]
        place = self._objects.setdefault((kind, metadata.get("namespace", "")), {})
        known = place.get(metadata["name"])
        if known is None or _version(known) <= _version(obj):
            place[metadata["name"]] = obj

    def drop(self, kind: str, obj: Json) -> None:
        """Forget an object that is gone, unless it was made anew meanwhile."""
        metadata = obj["metadata"]
        place = self._objects.get((kind, metadata.get("namespace", "")), {})
        known = place.get(metadata["name"])
        if known is not None and known["metadata"]["uid"] == metadata["uid"]:
            del place[metadata["name"]]

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """One object, None where none is known."""
        return self._objects.get((kind, namespace), {}).get(name)

    def list(self, kind: str, namespace: str) -> list[Json]:
        """All known objects of a kind in a namespace."""
        return list(self._objects.get((kind, namespace), {}).values())

    def everywhere(self, kind: str) -> Iterable[Json]:
        """All known objects of a kind."""
        return (obj for (known, _), place in self._objects.items() if known == kind for obj in place.values())


def _version(obj: Json) -> int:
    """resourceVersions of one kind are comparable numbers (Kubernetes 1.35, KEP 5504; etcd revisions always were)."""
    return int(obj["metadata"]["resourceVersion"])
