"""Calls webhooks: one POST, whose answer is its status, behind guards on host, time and size.

The URL comes from whoever may write a Canary, and what answers may be anything. So a host must be allowed, nothing of
the environment is used (proxy, netrc), no redirect leads elsewhere, and neither a flood nor a trickle keeps a call.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import httpx

from analysis.verdict import Verdict
from canary.model.duration import format_duration
from canary.model.webhook import HookAnswer, Payload, Webhook, destination, host, refused_host

MAX_BODY_BYTES = 64 * 1024
"""How much of an answer's body is read, only so that who sends it sees no broken connection."""

BODY_SECONDS = 1.0
"""For how long; the answer is known by then."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
"""Between the tries of one call; doubled each time."""

_YES = range(HTTPStatus.OK, HTTPStatus.ACCEPTED + 1)
_HEADERS = {
    "User-Agent": "fluxcanary",
    # the body is thrown away: a compressed one would only cost time
    "Accept-Encoding": "identity",
    # calls are seldom: a kept connection would often be dead by the next one, and a Service has other pods by then
    "Connection": "close",
}


class HostRefused(Exception):
    """The host may not be called; the text says which flag of the operator would allow it."""


class Webhooks:
    """Calls webhooks, all through one client. Of an answer only the status counts: 200, 201 and 202 are yes."""

    def __init__(
        self,
        allowed: tuple[str, ...],
        clock: Callable[[], datetime],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._allowed = allowed
        self._clock = clock
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(trust_env=False, limits=_UNLIMITED),
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # bounded by `asyncio.timeout` instead, which counts the whole and not each piece
            timeout=httpx.Timeout(None),
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def call(self, webhook: Webhook, payload: Payload) -> HookAnswer:
        """Ask once, and again while there is no answer, as often as the webhook says. Raises HostRefused.

        Any other exception is a fault of ours and says nothing about the webhook.
        """
        if refused := refused_host(webhook.url, payload.namespace, self._allowed):
            raise HostRefused(f"webhook {webhook.name}: {refused}")
        url = destination(webhook.url, payload.namespace, self._allowed)
        problem = ""
        for retry in range(webhook.retries + 1):
            if retry:
                await self._sleep(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (retry - 1)))
            try:
                return self._answered(webhook, await self._status(url, webhook, payload))
            except TimeoutError:
                problem = f"did not answer within {format_duration(webhook.timeout)}"
            except (httpx.ConnectError, httpx.InvalidURL):
                problem = f"cannot be reached at {host(webhook.url)}"
            except httpx.HTTPError as error:
                problem = f"gave no answer that can be read ({type(error).__name__})"
        tried = f", tried {webhook.retries + 1} times" if webhook.retries else ""
        return HookAnswer(Verdict.ERROR, f"webhook {webhook.name} {problem}{tried}", self._clock())

    def _answered(self, webhook: Webhook, status: int) -> HookAnswer:
        note = "; no redirect is followed" if httpx.codes.is_redirect(status) else ""
        message = f"webhook {webhook.name} answered HTTP {status}{note}"
        return HookAnswer(Verdict.PASS if status in _YES else Verdict.FAIL, message, self._clock())

    async def _status(self, url: str, webhook: Webhook, payload: Payload) -> int:
        request = self._client.build_request("POST", url, json=payload.json())
        async with asyncio.timeout(webhook.timeout.total_seconds()):
            response = await self._client.send(request, stream=True)
        try:
            await _discard(response)
        finally:
            await response.aclose()
        return response.status_code


_UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""Who calls bounds how many calls there are at a time."""


async def _discard(response: httpx.Response) -> None:
    """Read a body of decent size that arrives at a decent pace. What becomes of it changes nothing."""
    pieces = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
    with suppress(TimeoutError, httpx.HTTPError, httpx.StreamError):
        async with asyncio.timeout(BODY_SECONDS), aclosing(pieces) as chunks:
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    return
