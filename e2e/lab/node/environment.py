"""The environment variables of a container, as its pod's spec gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from e2e.lab.node.config import ConfigReader
from e2e.lab.node.objects import Json
from e2e.lab.node.pods import Container, Pod, field_value

_REFERENCE = re.compile(r"\$\$|\$\(([^()]+)\)")


async def container_environment(
    pod: Pod, container: Container, address: str, config: ConfigReader, base: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a container's process: `base`, then envFrom, then env, which wins.

    Raises ConfigMissing as long as a ConfigMap, a Secret or a key of them is not there.
    """
    env = dict(base)
    for source in container.env_from:
        for kind, reference in (("configmaps", source.get("configMapRef")), ("secrets", source.get("secretRef"))):
            if reference is not None:
                data = await config.read(kind, reference["name"], optional=bool(reference.get("optional")))
                env |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for entry in container.env:
        value = await _variable(pod, entry, address, config, env)
        if value is not None:
            env[entry["name"]] = value
    return env


async def _variable(pod: Pod, entry: Json, address: str, config: ConfigReader, env: Mapping[str, str]) -> str | None:
    """The value of one entry of `env`; None if it is optional and not there."""
    source = entry.get("valueFrom")
    if source is None:
        return expand(entry.get("value", ""), env)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], address)
    if "configMapKeyRef" in source:
        return await config.key("configmaps", source["configMapKeyRef"])
    if "secretKeyRef" in source:
        return await config.key("secrets", source["secretKeyRef"])
    return ""  # resourceFieldRef: programs take an empty limit for none


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` as Kubernetes does: `$$` stands for `$`, unknown names stay as they are."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else env.get(found[1], found[0])

    return _REFERENCE.sub(value, text)
