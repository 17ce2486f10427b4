"""Volumes: a folder for each volume of a pod, filled from the API; `mounts` shows them to the containers."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

from e2e.lab.node.api import Api
from e2e.lab.node.config import ConfigReader
from e2e.lab.node.objects import Json
from e2e.lab.node.pods import Pod, VolumeMount, field_value

_SUPPORTED = frozenset({"emptyDir", "configMap", "secret", "projected", "downwardAPI"})
_TOKEN_SECONDS = 3600
"""The life of a token for which the pod does not ask another."""

_log = logging.getLogger("lab.node")


class Volumes:
    """The volumes of one pod: a folder for each below `folder`."""

    def __init__(self, pod: Pod, address: str, api: Api, folder: Path) -> None:
        """Say whose they are; `prepare` makes them."""
        self._pod = pod
        self._address = address
        self._api = api
        self._config = ConfigReader(api, pod.namespace)
        self._folder = folder
        self._tokens: list[tuple[Path, Json]] = []

    async def prepare(self) -> None:
        """Make and fill all of them; raises ConfigMissing, and can then be called again."""
        self._tokens.clear()
        for volume in self._pod.volumes:
            if _SUPPORTED.isdisjoint(volume):
                _log.warning("%s: volume %s is of a kind that the lab has not", self._pod.path, volume["name"])
                continue
            folder = self._of(volume["name"])
            folder.mkdir(mode=0o777, parents=True, exist_ok=True)
            for source in volume["projected"].get("sources", ()) if "projected" in volume else (volume,):
                await self._fill(folder, source)

    def source(self, mount: VolumeMount) -> Path | None:
        """What is to be seen at a mount; None if there is no such volume."""
        volume = self._of(mount.volume)
        if not volume.is_dir():
            return None
        source = volume / mount.sub_path
        if not source.exists():
            source.mkdir(parents=True)
        return source

    async def keep_tokens_fresh(self) -> None:
        """Replace the service account tokens at four fifths of their life, as long as the pod lives."""
        while self._tokens:
            shortest_seconds = min(token.get("expirationSeconds", _TOKEN_SECONDS) for _, token in self._tokens)
            await asyncio.sleep(shortest_seconds * 0.8)
            for file, token in self._tokens:
                _write(file, await self._token(token))

    def _of(self, name: str) -> Path:
        return self._folder / name

    async def _fill(self, folder: Path, source: Json) -> None:
        """Write the files of one source of a volume."""
        for path, content in (await self._files(source)).items():
            _write(folder / path, content)
        if "serviceAccountToken" in source:
            token = source["serviceAccountToken"]
            self._tokens.append((folder / token["path"], token))

    async def _files(self, source: Json) -> dict[str, bytes]:
        """The files of one source of a projected volume, or of a plain volume, which looks alike, by their paths."""
        if "serviceAccountToken" in source:
            token = source["serviceAccountToken"]
            return {token["path"]: await self._token(token)}
        if "downwardAPI" in source:
            return {item["path"]: self._field(item) for item in source["downwardAPI"].get("items", ())}
        if "configMap" in source:
            return await self._keys("configmaps", source["configMap"]["name"], source["configMap"])
        if "secret" in source:
            secret = source["secret"]
            return await self._keys("secrets", secret.get("secretName") or secret["name"], secret)
        return {}  # an emptyDir

    def _field(self, item: Json) -> bytes:
        return field_value(self._pod, item.get("fieldRef", {}).get("fieldPath", ""), self._address).encode()

    async def _keys(self, kind: str, name: str, source: Json) -> dict[str, bytes]:
        """All keys of an object, or those that `items` names, as files."""
        data = await self._config.read(kind, name, optional=bool(source.get("optional")))
        if "items" not in source:
            return data
        return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}

    async def _token(self, source: Json) -> bytes:
        """Ask for a service account token that is bound to the pod."""
        account = self._pod.raw["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod", "name": self._pod.name, "uid": self._pod.uid}
        spec: Json = {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": source.get("expirationSeconds", _TOKEN_SECONDS),
            "boundObjectRef": bound,
        }
        answer = await self._api.insist(
            "POST",
            f"/api/v1/namespaces/{self._pod.namespace}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        return str(answer["status"]["token"]).encode()


def _write(file: Path, content: bytes) -> None:
    """Write a file at once, so that no reader sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
        new.write(content)
    Path(new.name).rename(file)
