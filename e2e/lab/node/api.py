"""The API client of the node: single requests, requests that outlast the API server's absence, and watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import aiohttp
import yaml

from e2e.lab.node.objects import Json

_FINAL = (404, 409, 410, 422)
"""Answers that do not change when the same request is sent again."""
_LONGEST_PAUSE_SECONDS = 2.0
_WATCH_SECONDS = 240

_log = logging.getLogger("lab.node")


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


class Api:
    """The API server, as the user of a kubeconfig with a token."""

    def __init__(self, session: aiohttp.ClientSession, server: str, trusted: ssl.SSLContext) -> None:
        """Take a session whose base is the server's URL; `of_kubeconfig` opens one."""
        self.server = server
        self._session = session
        self._ssl = trusted

    @classmethod
    @contextlib.asynccontextmanager
    async def of_kubeconfig(cls, kubeconfig: Path) -> AsyncIterator[Api]:
        """Open a session with what the current context of the file says."""
        server, authority, token = read_kubeconfig(kubeconfig)
        async with aiohttp.ClientSession(
            server,
            connector=aiohttp.TCPConnector(limit=16),
            headers={"Authorization": f"Bearer {token}", "User-Agent": "lab-node"},
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=2**22,  # an event of a watch is one line
        ) as session:
            yield cls(session, server, ssl.create_default_context(cafile=authority))

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Json:
        """Send one request and give the decoded answer; a refusal is an ApiError."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self._session.request(
            method, path, data=data, params=query, headers=headers, ssl=self._ssl
        ) as answer:
            await _fail_if_refused(answer)
            decoded: Json = await answer.json()
            return decoded

    async def insist(self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json") -> Json:
        """Send a request until it is answered for good: the API server may be away for a while."""
        pause_seconds = 0.2
        while True:
            try:
                return await self.call(method, path, body, kind=kind)
            except ApiError as refusal:
                if refusal.status in _FINAL:
                    raise
                _log.warning("%s %s: %s", method, path, refusal)
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.warning("%s %s: %s %s", method, path, type(error).__name__, error)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)

    async def patch(self, path: str, body: Json) -> Json:
        """Apply a strategic merge patch."""
        return await self.insist("PATCH", path, body, kind="application/strategic-merge-patch+json")

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Yield the events of one watch request until the server ends it; an ERROR among them is an ApiError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_SECONDS + 30)
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS), **query}
        async with self._session.get(path, params=asked, ssl=self._ssl, timeout=timeout) as answer:
            await _fail_if_refused(answer)
            async for line in answer.content:
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 410), event["object"].get("message", ""))
                yield event


async def _fail_if_refused(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise ApiError(answer.status, (await answer.text())[:500])


def read_kubeconfig(file: Path) -> tuple[str, Path, str]:
    """Read the server's URL, the file of its authority, and the token of a kubeconfig's current context."""
    config = yaml.safe_load(file.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    return cluster["server"], file.parent / cluster["certificate-authority"], user["token"]


def _named(items: Sequence[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)
