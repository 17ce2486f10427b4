"""Webhooks against a real HTTP server on this machine that answers in every wrong way."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from analysis.verdict import Verdict
from canary.gates.webhooks import BODY_SECONDS, MAX_BODY_BYTES, HostRefused, Webhooks
from canary.model.webhook import HookAnswer, HookType, Payload, Webhook

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAYLOAD = Payload("podinfo", "test", "Progressing", "85b557", (("cmd", "hey -z 1m"),))
HOOK = Webhook("load-test", HookType.ROLLOUT, "http://127.0.0.1/")
SECRET = "?token=hunter2"


class Called:
    """Webhooks that are called without waiting between tries, and what was waited for."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, allowed: tuple[str, ...] = ("*",)) -> None:
        self.pauses: list[float] = []
        self.webhooks = Webhooks(allowed, clock=lambda: NOW, sleep=self._sleep, transport=transport)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def answer(self, webhook: Webhook, payload: Payload = PAYLOAD) -> HookAnswer:
        try:
            return await self.webhooks.call(webhook, payload)
        finally:
            await self.webhooks.aclose()


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """The URL of a server, and the requests that reached it."""
    requests: list[web.Request] = []

    async def recorded(request: web.Request) -> web.StreamResponse:
        await request.read()
        requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorded)
    started = TestServer(app, host="127.0.0.1")
    await started.start_server(shutdown_timeout=0.1)
    try:
        yield f"http://127.0.0.1:{started.port}", requests
    finally:
        await started.close()


def always(status: int, **more: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=more, text="hunter2")

    return handler


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def asked(handler: Handler, webhook: Webhook = HOOK, path: str = "/") -> HookAnswer:
    async with server(handler) as (url, _):
        return await Called().answer(replace(webhook, url=url + path))


# -------------------------------------------------------------------------------------------------------------- answers


async def gates(request: web.Request) -> web.StreamResponse:
    """As Flagger's load tester has them."""
    payload = json.loads(await request.text())
    assert sorted(payload) == ["checksum", "metadata", "name", "namespace", "phase"]
    assert all(isinstance(payload[key], str) for key in payload if key != "metadata")
    assert all(isinstance(value, str) for value in payload["metadata"].values())
    approved = request.path == "/gate/approve"
    return web.Response(status=200 if approved else 403, text="OK" if approved else "Forbidden")


async def test_a_gate_that_approves_says_yes() -> None:
    assert await asked(gates, path="/gate/approve") == HookAnswer(
        Verdict.PASS, "webhook load-test answered HTTP 200", NOW
    )


async def test_a_gate_that_halts_says_no() -> None:
    assert await asked(gates, path="/gate/halt") == HookAnswer(Verdict.FAIL, "webhook load-test answered HTTP 403", NOW)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_yes_is_any_of_three(status: int) -> None:
    assert (await asked(always(status))).verdict is Verdict.PASS


@pytest.mark.parametrize("status", [203, 204, 304, 400, 401, 403, 404, 429, 500, 502, 503, 599])
async def test_every_other_status_is_no_and_is_not_asked_again(status: int) -> None:
    async with server(always(status)) as (url, requests):
        answer = await Called().answer(replace(HOOK, url=url, retries=3))
    assert answer.verdict is Verdict.FAIL
    assert len(requests) == 1


async def test_what_is_sent_is_json_that_is_posted_and_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with server(always(200)) as (url, requests):
        await Called().answer(replace(HOOK, url=f"{url}/gate/check{SECRET}"))
    (request,) = requests
    assert (request.method, request.path_qs) == ("POST", f"/gate/check{SECRET}")
    assert json.loads(await request.text()) == PAYLOAD.json()
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie"} & set(request.headers)


# ------------------------------------------------------------------------------------------------------------- refusals


async def test_a_host_that_is_not_allowed_is_not_called() -> None:
    async with server(always(200)) as (url, requests):
        called = Called(allowed=())
        with pytest.raises(HostRefused, match=r"^webhook load-test: host 127\.0\.0\.1 is neither .* --webhook-hosts$"):
            await called.answer(replace(HOOK, url=url + SECRET))
    assert requests == []


async def test_a_service_of_the_namespace_is_called_by_a_name_of_the_cluster() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200)

    called = Called(httpx.MockTransport(handle), allowed=())
    assert (await called.answer(replace(HOOK, url="http://gate.test:8080/x"))).verdict is Verdict.PASS
    assert seen == ["http://gate.test.svc:8080/x"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_no_and_is_not_followed(status: int) -> None:
    async with (
        server(always(200)) as (elsewhere, reached),
        server(always(status, Location=elsewhere)) as (url, _),
    ):
        answer = await Called().answer(replace(HOOK, url=url))
    assert answer == HookAnswer(Verdict.FAIL, f"webhook load-test answered HTTP {status}; no redirect is followed", NOW)
    assert reached == []


async def test_no_cookie_is_kept() -> None:
    called = Called()
    async with server(always(200, **{"Set-Cookie": "who=me; Path=/"})) as (url, requests):
        await called.webhooks.call(replace(HOOK, url=url), PAYLOAD)
        await called.answer(replace(HOOK, url=url))
    assert len(requests) == 2
    assert "Cookie" not in requests[1].headers


# ------------------------------------------------------------------------------------------------------------ no answer


async def test_silence_is_no_answer_after_every_try() -> None:
    webhook = replace(HOOK, timeout=timedelta(seconds=0.1), retries=2)
    async with server(never) as (url, requests):
        called = Called()
        answer = await called.answer(replace(webhook, url=url + SECRET))
    assert answer.verdict is Verdict.ERROR
    assert len(requests) == 3
    assert called.pauses == [0.5, 1.0]


async def test_what_did_not_answer_is_said_with_its_time() -> None:
    def silent(_: httpx.Request) -> httpx.Response:
        raise TimeoutError

    called = Called(httpx.MockTransport(silent))
    answer = await called.answer(replace(HOOK, retries=6))
    assert answer == HookAnswer(Verdict.ERROR, "webhook load-test did not answer within 10s, tried 7 times", NOW)
    assert called.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


async def test_a_try_that_is_answered_ends_the_tries() -> None:
    async def later(request: web.Request) -> web.StreamResponse:
        if len(requests) < 2:
            assert request.transport
            request.transport.abort()
        return web.Response(status=202)

    async with server(later) as (url, requests):
        answer = await Called().answer(replace(HOOK, url=url, retries=5))
    assert answer == HookAnswer(Verdict.PASS, "webhook load-test answered HTTP 202", NOW)
    assert len(requests) == 2


async def test_a_port_where_nobody_listens_is_no_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        answer = await Called().answer(replace(HOOK, url=f"http://127.0.0.1:{port}/{SECRET}"))
    assert answer == HookAnswer(Verdict.ERROR, "webhook load-test cannot be reached at 127.0.0.1", NOW)


async def spoken(*pieces: bytes, pause: float = 0.0, within: float = 5.0) -> tuple[HookAnswer, float]:
    """The answer to a server that says these bytes over and over, and how long it took."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(pieces[0])
        try:
            while len(pieces) > 1:
                writer.write(pieces[1])
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        webhook = replace(HOOK, url=f"http://127.0.0.1:{port}/", timeout=timedelta(seconds=within))
        began = time.monotonic()
        answer = await Called().answer(webhook)
        return answer, time.monotonic() - began


async def test_what_is_not_http_is_no_answer() -> None:
    answer, _ = await spoken(b"SSH-2.0-OpenSSH hunter2\r\n")
    assert answer.verdict is Verdict.ERROR
    assert answer.message == "webhook load-test gave no answer that can be read (RemoteProtocolError)"


async def test_a_connection_that_ends_without_a_word_is_no_answer() -> None:
    answer, _ = await spoken(b"")
    assert answer.verdict is Verdict.ERROR


async def test_headers_without_end_are_no_answer() -> None:
    answer, took = await spoken(b"HTTP/1.1 200 OK\r\n", b"X-Flood: " + b"y" * 8000 + b"\r\n")
    assert answer.verdict is Verdict.ERROR
    assert took < 4


async def test_headers_that_trickle_are_no_answer_when_the_time_is_over() -> None:
    answer, took = await spoken(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause=0.02, within=0.3)
    assert answer.verdict is Verdict.ERROR
    assert took < 4


async def test_a_flood_behind_the_headers_is_not_read_to_its_end() -> None:
    answer, took = await spoken(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * MAX_BODY_BYTES, within=60)
    assert answer.verdict is Verdict.PASS
    assert took < BODY_SECONDS


async def test_a_trickle_behind_the_headers_does_not_hold_the_answer() -> None:
    answer, took = await spoken(b"HTTP/1.1 403 No\r\n\r\n", b"y", pause=0.02, within=60)
    assert answer.verdict is Verdict.FAIL
    assert took < BODY_SECONDS + 4


async def test_a_body_that_breaks_off_changes_no_answer() -> None:
    answer, _ = await spoken(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert answer.verdict is Verdict.PASS


async def test_many_calls_go_on_at_once() -> None:
    together = asyncio.Barrier(32)

    async def meet(request: web.Request) -> web.StreamResponse:
        await together.wait()
        return web.Response()

    called = Called()
    async with server(meet) as (url, _):
        webhook = replace(HOOK, url=url)
        answers = await asyncio.gather(*(called.webhooks.call(webhook, PAYLOAD) for _ in range(32)))
        await called.webhooks.aclose()
    assert {answer.verdict for answer in answers} == {Verdict.PASS}
