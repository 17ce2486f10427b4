"""ConfigMaps and Secrets: read when a container or a volume needs them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import TypeVar

from e2e.lab.node.api import Api, ApiError
from e2e.lab.node.objects import Json

T = TypeVar("T")
_LOOK_AGAIN_SECONDS = 2


class ConfigMissing(Exception):
    """A ConfigMap, a Secret or a key that a pod needs is not there (yet)."""


class ConfigReader:
    """Reads the ConfigMaps and Secrets of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """Read all keys of a `configmaps` or `secrets` object."""
        try:
            found = await self._api.insist("GET", f"/api/v1/namespaces/{self._namespace}/{kind}/{name}")
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            if optional:
                return {}
            raise ConfigMissing(f'{kind.removesuffix("s")} "{name}" not found') from refusal
        encoded = found.get("data" if kind == "secrets" else "binaryData", {})
        text = found.get("data", {}) if kind == "configmaps" else {}
        data = {key: base64.b64decode(value) for key, value in encoded.items()}
        return data | {key: value.encode() for key, value in text.items()}

    async def key(self, kind: str, reference: Json) -> str | None:
        """Read the one key that a reference (`configMapKeyRef`, `secretKeyRef`) names; None if it is optional."""
        optional = bool(reference.get("optional"))
        data = await self.read(kind, reference["name"], optional=optional)
        if reference["key"] in data:
            return data[reference["key"]].decode()
        if optional:
            return None
        word = {"configmaps": "ConfigMap", "secrets": "Secret"}[kind]
        raise ConfigMissing(f"couldn't find key {reference['key']} in {word} {self._namespace}/{reference['name']}")


async def once_there(read: Callable[[], Awaitable[T]], tell: Callable[[ConfigMissing], None]) -> T:
    """Read, as often as it takes until nothing is missing; `tell` is called with what is."""
    while True:
        try:
            return await read()
        except ConfigMissing as missing:
            tell(missing)
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
