"""What pods are configured by beside their template: the ConfigMaps and Secrets that it names.

A change of the template rolls out as a canary. A change in place of what it only names does not: every pod that
restarts has it, stable's as well as the canary's.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from canary.model.template import Json

ConfigKind: TypeAlias = Literal["ConfigMap", "Secret"]


@dataclass(frozen=True, order=True)
class ConfigRef:
    """A ConfigMap or Secret in the namespace of the pods. It need not exist."""

    kind: ConfigKind
    name: str


def references(template: Json) -> tuple[ConfigRef, ...]:
    """What the containers of a pod template read, sorted. Secrets to pull images or mount disks with do not count."""
    spec = template.get("spec") or {}
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    found = {ref for container in containers for ref in _of_container(container)}
    found |= {ref for volume in spec.get("volumes") or () for ref in _of_volume(volume)}
    return tuple(sorted(found))


def version(kind: ConfigKind, obj: Json) -> str:
    """Ten hex digits that differ when the content does.

    Of a Secret nothing but its uid and resourceVersion is looked at, which change with its labels and annotations, too:
    a digest of its content would help somebody who can guess it.
    """
    if kind == "Secret":
        return _digest([obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]])
    return _digest({key: obj.get(key) or {} for key in ("data", "binaryData")})


def changed(known: Mapping[ConfigRef, str], now: Mapping[ConfigRef, str]) -> tuple[ConfigRef, ...]:
    """Those in both that have another version now, sorted."""
    return tuple(sorted(ref for ref in known.keys() & now.keys() if known[ref] != now[ref]))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _of_container(container: Json) -> Iterator[ConfigRef]:
    for source in container.get("envFrom") or ():
        yield from _named("ConfigMap", source.get("configMapRef"))
        yield from _named("Secret", source.get("secretRef"))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield from _named("ConfigMap", source.get("configMapKeyRef"))
        yield from _named("Secret", source.get("secretKeyRef"))


def _of_volume(volume: Json) -> Iterator[ConfigRef]:
    yield from _named("ConfigMap", volume.get("configMap"))
    yield from _named("Secret", volume.get("secret"), "secretName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _named("ConfigMap", source.get("configMap"))
        yield from _named("Secret", source.get("secret"))


def _named(kind: ConfigKind, source: Json | None, key: str = "name") -> Iterator[ConfigRef]:
    if source and source.get(key):
        yield ConfigRef(kind, str(source[key]))
