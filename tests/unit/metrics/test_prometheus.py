"""The Prometheus provider against a real HTTP server on this machine that answers in every wrong way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from canary.metrics.answers import Matrix, Vector
from canary.metrics.prometheus import MAX_BODY_BYTES, MAX_SERIES_BYTES, THREADS, Prometheus
from canary.model.measurement import Measured, NoData, ProviderError, Sample

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOW = float(int(time.time()))
SERIES = {"metric": {"job": "x"}, "value": [NOW, "0.25"]}


def answer(
    result: object, kind: str = "vector", status: int = 200, date: str | None = None, **more: object
) -> web.Response:
    body = {"status": "success", "data": {"resultType": kind, "result": result}} | more
    headers = {"Date": date or formatdate(NOW, usegmt=True)}
    return web.Response(text=json.dumps(body), content_type="application/json", status=status, headers=headers)


def always(response: Callable[[], web.Response]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return response()

    return handler


@asynccontextmanager
async def prometheus(
    handler: Handler, *, user: str = "", path: str = "", **settings: Any
) -> AsyncIterator[tuple[Prometheus, list[web.Request]]]:
    """A client and the requests that reached its server."""
    requests: list[web.Request] = []

    async def recorded(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorded)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    client = Prometheus(f"http://{user}127.0.0.1:{server.port}{path}", **settings)
    try:
        yield client, requests
    finally:
        client.close()
        await server.close()


async def asked(handler: Handler, **settings: Any) -> Sample:
    async with prometheus(handler, **settings) as (client, _):
        return await client.query("up")


# --------------------------------------------------------------------------------------------------------- good answers


async def test_one_series_is_measured() -> None:
    assert await asked(always(lambda: answer([SERIES]))) == Measured(value=0.25, at=NOW)


async def test_a_bare_scalar_is_measured() -> None:
    assert await asked(always(lambda: answer([NOW, "1e3"], kind="scalar"))) == Measured(value=1000.0, at=NOW)


@pytest.mark.parametrize("path", ["", "/", "/prefix", "/prefix/"])
async def test_the_query_goes_to_the_instant_query_api_below_the_path_and_is_quoted(path: str) -> None:
    query = 'sum(rate(x{a="b&c=d #é"}[1m])) + 1'
    async with prometheus(always(lambda: answer([SERIES])), path=path) as (client, requests):
        await client.query(query)
    assert [request.path for request in requests] == [f"{path.rstrip('/')}/api/v1/query"]
    assert dict(requests[0].query) == {"query": query}


async def test_notes_that_are_no_warnings_do_no_harm() -> None:
    said = always(lambda: answer([SERIES], infos=["metric might not be a counter"], warnings=[]))
    assert await asked(said) == Measured(value=0.25, at=NOW)


async def test_many_queries_at_once_all_get_their_own_answer() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return answer([NOW, request.query["query"]], kind="scalar")

    async with prometheus(echo) as (client, _):
        answers = await asyncio.gather(*(client.query(str(number)) for number in range(100)))
    assert answers == [Measured(value=float(number), at=NOW) for number in range(100)]


# -------------------------------------------------------------------------------------------------------------- no data


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ([], "vector"),
        ([{"metric": {}, "value": [NOW, "NaN"]}], "vector"),
        ([{"metric": {}, "value": [NOW, "+Inf"]}], "vector"),
        ([{"metric": {}, "value": [NOW, "-Inf"]}], "vector"),
        ([{"metric": {}, "value": [NOW, "1e999"]}], "vector"),
        ([NOW, "NaN"], "scalar"),
    ],
)
async def test_nothing_and_not_a_number_are_no_data(result: object, kind: str) -> None:
    sample = await asked(always(lambda: answer(result, kind)))
    assert isinstance(sample, NoData), sample


# -------------------------------------------------------------------------------------------------------- wrong answers

MARK = "CANARY-IN-THE-BODY"


def error_answer(status: int, error_type: str) -> web.Response:
    body = {"status": "error", "errorType": error_type, "error": MARK}
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (lambda: answer([SERIES, SERIES, SERIES]), "the query must return one series, not 3"),
        (lambda: answer([SERIES], warnings=[MARK]), "Prometheus answered with warnings: the result may be partial"),
        (lambda: answer([{"values": [[NOW, "1"]]}], "matrix"), "the query must return an instant vector or a scalar"),
        (lambda: answer([NOW, "1"], "string"), "the query must return an instant vector or a scalar"),
        (lambda: answer([NOW, MARK], "scalar"), "the query must return numbers; a sample of the answer is none"),
        (lambda: answer([NOW, "1_0"], "scalar"), "the query must return numbers; a sample of the answer is none"),
        (lambda: answer([NOW, True], "scalar"), "the query must return numbers; a sample of the answer is none"),
        (
            lambda: answer([{"metric": {}, "histogram": [NOW, {"count": "1"}]}]),
            "the query must return numbers; a sample of the answer is none",
        ),
        (lambda: answer({"a": MARK}), "the answer is not one of Prometheus's query API: no result"),
        (
            lambda: web.Response(text=f"<html>{MARK}</html>", content_type="text/html"),
            "the answer is not one of Prometheus's query API: not a JSON object",
        ),
        (
            lambda: web.Response(text="[" * 500_000),
            "the answer is not one of Prometheus's query API: not a JSON object",
        ),
        (lambda: web.Response(text="[1]"), "the answer is not one of Prometheus's query API: not a JSON object"),
        (lambda: web.Response(text=""), "the answer is not one of Prometheus's query API: not a JSON object"),
        (
            lambda: web.Response(text='{"status":"success"}'),
            "the answer is not one of Prometheus's query API: no result",
        ),
        (lambda: web.Response(text=f"<html>{MARK}</html>", status=500), "Prometheus answered with HTTP 500"),
        (lambda: answer([SERIES], status=206), "Prometheus refused the query (HTTP 206)"),
        (lambda: error_answer(200, "execution"), "Prometheus refused the query (HTTP 200, execution)"),
        (lambda: error_answer(400, "bad_data"), "Prometheus refused the query (HTTP 400, bad_data)"),
        (lambda: error_answer(503, "timeout"), "Prometheus refused the query (HTTP 503, timeout)"),
        (lambda: error_answer(422, MARK), "Prometheus refused the query (HTTP 422)"),
        (
            lambda: web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
            "Prometheus answered with a compressed body, which was not asked for",
        ),
    ],
)
async def test_an_answer_that_cannot_be_trusted_is_an_error_in_our_own_words(
    response: Callable[[], web.Response], message: str
) -> None:
    assert await asked(always(response)) == ProviderError(message)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/v1/query":
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        return answer([SERIES])

    async with prometheus(handler) as (client, requests):
        sample = await client.query("up")
    assert sample == ProviderError(f"Prometheus answered with a redirect (HTTP {status}); none is followed")
    assert [request.path for request in requests] == ["/api/v1/query"]


async def test_a_failure_is_not_tried_again_by_itself() -> None:
    async with prometheus(always(lambda: error_answer(503, "unavailable"))) as (client, requests):
        await client.query("up")
        await asyncio.sleep(0.05)
    assert len(requests) == 1


async def test_a_flood_is_cut_off_at_the_limit() -> None:
    sent_bytes = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent_bytes
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1600):
            await response.write(b" " * 65536)
            sent_bytes += 65536
        return response

    assert await asked(flood) == ProviderError("the answer of Prometheus is larger than 1024 KiB")
    # what lies in the buffers of both sockets has been sent as well
    assert sent_bytes < 20 * MAX_BODY_BYTES


@pytest.mark.parametrize("after_headers", [False, True])
async def test_a_server_that_hangs_is_given_up_at_the_timeout(after_headers: bool) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if after_headers:
            await response.prepare(request)
            await response.write(b'{"status": "succ')
        await asyncio.sleep(30)
        return response

    async with prometheus(hang, timeout_seconds=0.2) as (client, _):
        started = time.monotonic()
        sample = await client.query("up")
        took_seconds = time.monotonic() - started
    assert sample == ProviderError("no answer from Prometheus within 0.2 s")
    assert took_seconds < 0.5


async def test_a_connection_that_is_closed_without_an_answer_is_an_error_and_not_tried_again() -> None:
    async def closes(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with prometheus(closes) as (client, requests):
        assert await client.query("up") == ProviderError("cannot connect to Prometheus")
        await asyncio.sleep(0.05)
    assert len(requests) == 1


async def test_slow_queries_run_side_by_side_up_to_the_number_of_threads() -> None:
    together = asyncio.Barrier(THREADS)

    async def slow(request: web.Request) -> web.StreamResponse:
        await together.wait()
        return answer([SERIES])

    async with prometheus(slow) as (client, _):
        answers = await asyncio.gather(*(client.query("up") for _ in range(THREADS)))
    assert answers == [Measured(value=0.25, at=NOW)] * THREADS


async def test_one_connection_serves_one_query_after_another() -> None:
    connections = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        connections.add(request.transport)
        return answer([SERIES])

    async with prometheus(handler) as (client, _):
        for _ in range(5):
            await client.query("up")
    assert len(connections) == 1


@pytest.mark.parametrize("trickles", [True, False])
async def test_a_query_that_never_ends_is_given_up_and_leaves_its_thread_to_others(*, trickles: bool) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        if request.query["query"] == "good":
            return answer([SERIES])
        if not trickles:
            await asyncio.sleep(15)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(300):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    async with prometheus(trickle, timeout_seconds=0.3) as (client, _):
        stuck = await asyncio.gather(*(client.query("bad") for _ in range(THREADS)))
        assert stuck == [ProviderError("no answer from Prometheus within 0.3 s")] * THREADS
        assert await client.query("good") == Measured(value=0.25, at=NOW)


async def test_a_body_that_breaks_off_is_an_error() -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"status": "success"')
        assert request.transport is not None
        request.transport.close()
        return response

    assert await asked(broken) == ProviderError("the answer of Prometheus broke off")


async def test_nobody_there_is_an_error() -> None:
    async with prometheus(always(lambda: answer([SERIES]))) as (client, _):
        pass
    client = Prometheus("http://127.0.0.1:9")
    assert await client.query("up") == ProviderError("cannot connect to Prometheus")
    client.close()


# ------------------------------------------------------------------------------------------------------------ staleness


@pytest.mark.parametrize("age_seconds", [0, 299, -299])
async def test_a_sample_within_five_minutes_of_the_servers_clock_counts(age_seconds: float) -> None:
    said = always(lambda: answer([NOW - age_seconds, "1"], "scalar"))
    assert await asked(said) == Measured(value=1.0, at=NOW - age_seconds)


@pytest.mark.parametrize("age_seconds", [301, -301, 86400, float("nan")])
async def test_a_sample_further_off_is_stale(age_seconds: float) -> None:
    sample = await asked(always(lambda: answer([NOW - age_seconds, "1"], "scalar")))
    assert sample == ProviderError("the sample is stale: it is more than 300 s off the server's clock")


async def test_only_the_clocks_of_the_server_are_compared() -> None:
    """A skewed clock of our own is no reason to call a sample stale."""
    said = always(lambda: answer([SERIES]))
    assert await asked(said, wall_clock=lambda: NOW - 3600) == Measured(value=0.25, at=NOW)


@pytest.mark.parametrize(("off_seconds", "expected"), [(10, Measured), (400, ProviderError)])
async def test_without_a_usable_date_our_own_clock_must_do(off_seconds: float, expected: type[Sample]) -> None:
    said = always(lambda: answer([SERIES], date="yesterday"))
    assert isinstance(await asked(said, wall_clock=lambda: NOW + off_seconds), expected)


# -------------------------------------------------------------------------------------------------------------- secrets


async def test_the_password_of_the_url_is_used_and_never_shown() -> None:
    async with prometheus(always(lambda: answer([SERIES])), user="me:hunter2@") as (client, requests):
        assert isinstance(await client.query("up"), Measured)
    assert requests[0].headers["Authorization"].startswith("Basic ")
    for handler in (always(lambda: error_answer(500, "internal")), always(lambda: web.Response(text="x"))):
        assert "hunter2" not in str(await asked(handler, user="me:hunter2@"))
    dead = Prometheus("http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(await dead.query("up"))
    dead.close()


async def test_neither_proxies_nor_passwords_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with prometheus(always(lambda: answer([SERIES]))) as (client, requests):
        assert isinstance(await client.query("up"), Measured)
    assert "Authorization" not in requests[0].headers


async def test_cookies_are_not_kept() -> None:
    def with_cookie() -> web.Response:
        response = answer([SERIES])
        response.set_cookie("session", "1")
        return response

    async with prometheus(always(with_cookie)) as (client, requests):
        await client.query("up")
        await client.query("up")
    assert all("Cookie" not in request.headers for request in requests)


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://me:hunter2@x", "http://", "http://x/?a=b", "http://x/#a"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the address of Prometheus must be http\(s\)://host") as refused:
        Prometheus(url)
    assert "hunter2" not in str(refused.value)


async def test_a_closed_client_answers_with_an_error() -> None:
    client = Prometheus("http://127.0.0.1:9")
    client.close()
    assert await client.query("up") == ProviderError("the query to Prometheus failed: RuntimeError")


# ---------------------------------------------------------------------------------------------------------- many series

TWO = [
    {"metric": {"a": "1"}, "value": [NOW, "3"]},
    {"metric": {"a": "2"}, "value": [NOW, "1795248233.055"]},
]
RANGE = [{"metric": {"a": "1"}, "values": [[NOW - 30, "3"], [NOW - 15, "4.5"]]}, {"metric": {}, "values": []}]
LONG_QUERY = 'sum(x{ingress=~"' + "|".join(f"app-{number}&=é" for number in range(2000)) + '"})'


async def many(handler: Handler, at: float | None = None, **settings: Any) -> Vector | ProviderError:
    async with prometheus(handler, **settings) as (client, _):
        return await client.vector("x", at)


async def over_time(handler: Handler, **settings: Any) -> Matrix | ProviderError:
    async with prometheus(handler, **settings) as (client, _):
        return await client.matrix("x", NOW - 30, NOW, 15)


async def test_many_series_are_told_by_their_labels() -> None:
    assert await many(always(lambda: answer(TWO))) == Vector(NOW, [({"a": "1"}, 3.0), ({"a": "2"}, 1795248233.055)])


async def test_no_series_are_none_at_the_servers_time() -> None:
    assert await many(always(lambda: answer([]))) == Vector(NOW, [])
    assert await many(always(lambda: answer([])), at=12.5) == Vector(12.5, [])


async def test_a_range_is_told_by_labels_and_times() -> None:
    assert await over_time(always(lambda: answer(RANGE, "matrix"))) == Matrix(
        [({"a": "1"}, [(NOW - 30, 3.0), (NOW - 15, 4.5)]), ({}, [])]
    )


async def test_a_query_of_any_length_is_posted_below_the_path_and_never_in_the_url() -> None:
    forms: list[dict[str, Any]] = []

    async def read(request: web.Request) -> web.StreamResponse:
        forms.append(dict(await request.post()))
        return answer(RANGE, "matrix") if request.path.endswith("range") else answer([])

    async with prometheus(read, path="/prefix/", user="me:hunter2@") as (client, requests):
        assert isinstance(await client.vector(LONG_QUERY), Vector)
        assert isinstance(await client.vector(LONG_QUERY, NOW - 0.125), Vector)
        assert isinstance(await client.matrix(LONG_QUERY, NOW - 1800.125, NOW, 15.0), Matrix)
    api = "/prefix/api/v1"
    assert [(request.method, request.path_qs) for request in requests] == [
        ("POST", f"{api}/query"),
        ("POST", f"{api}/query"),
        ("POST", f"{api}/query_range"),
    ]
    assert forms == [
        {"query": LONG_QUERY},
        {"query": LONG_QUERY, "time": f"{NOW - 0.125}"},
        {"query": LONG_QUERY, "start": f"{NOW - 1800.125}", "end": f"{NOW}", "step": "15.0"},
    ]
    assert all(request.headers["Authorization"].startswith("Basic ") for request in requests)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (lambda: answer(TWO, warnings=[MARK]), "Prometheus answered with warnings: the result may be partial"),
        (lambda: answer([NOW, "1"], "scalar"), "the query must return an instant vector"),
        (lambda: answer(RANGE, "matrix"), "the query must return an instant vector"),
        (lambda: error_answer(422, "execution"), "Prometheus refused the query (HTTP 422, execution)"),
        (lambda: answer([{"metric": {}, "value": [NOW, "NaN"]}]), "a counter of the answer is nan"),
        (lambda: answer([{"metric": {}, "value": [NOW, "+Inf"]}]), "a counter of the answer is inf"),
        (
            lambda: answer([{"metric": {}, "histogram": [NOW, {}]}]),
            "the query must return numbers; a sample of the answer is none",
        ),
        (
            lambda: answer([{"value": [NOW, "1"]}]),
            "the answer is not one of Prometheus's query API: a series without labels",
        ),
        (
            lambda: answer([{"metric": {"a": 1}, "value": [NOW, "1"]}]),
            "the answer is not one of Prometheus's query API: a series without labels",
        ),
        (lambda: answer([MARK]), "the answer is not one of Prometheus's query API: a series without labels"),
        (
            lambda: answer([*TWO, {"metric": {}, "value": [NOW - 1, "1"]}]),
            "the samples of the answer are not of one instant",
        ),
        (
            lambda: answer([{"metric": {}, "value": [NOW - 301, "1"]}]),
            "the sample is stale: it is more than 300 s off the server's clock",
        ),
        (
            lambda: web.Response(status=302, headers={"Location": f"http://{MARK}/"}),
            "Prometheus answered with a redirect (HTTP 302); none is followed",
        ),
    ],
)
async def test_a_vector_that_must_not_be_used_is_an_error(response: Callable[[], web.Response], message: str) -> None:
    assert await many(always(response)) == ProviderError(message)


async def test_a_vector_of_the_past_is_of_the_time_that_was_asked_for() -> None:
    said = always(lambda: answer(TWO))
    assert isinstance(await many(said, at=NOW - 0.9), Vector)
    assert await many(said, at=NOW - 86400) == ProviderError("the answer is of another time than asked for")
    long_ago = always(lambda: answer([{"metric": {}, "value": [NOW - 86400, "1"]}]))
    assert await many(long_ago, at=NOW - 86400) == Vector(NOW - 86400, [({}, 1.0)])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            [{"metric": {}, "value": [NOW, "1"]}],
            "the answer is not one of Prometheus's query API: a series without values",
        ),
        ([{"metric": {}, "values": [[NOW, "NaN"]]}], "a counter of the answer is nan"),
        ([{"metric": {}, "values": [[NOW]]}], "the query must return numbers; a sample of the answer is none"),
        ([{"metric": {}, "values": [[NOW + 2, "1"]]}], "the answer is of another time than asked for"),
        ([{"metric": {}, "values": [[NOW - 32, "1"]]}], "the answer is of another time than asked for"),
    ],
)
async def test_a_range_that_must_not_be_used_is_an_error(result: object, message: str) -> None:
    assert await over_time(always(lambda: answer(result, "matrix"))) == ProviderError(message)


async def test_an_instant_is_no_range() -> None:
    assert await over_time(always(lambda: answer(TWO))) == ProviderError("the query must return a range of values")


@pytest.mark.parametrize(("size", "refused"), [(2 * MAX_BODY_BYTES, False), (MAX_SERIES_BYTES + 1, True)])
async def test_many_series_may_be_larger_than_one_number_but_not_without_limit(size: int, refused: bool) -> None:
    got = await many(always(lambda: answer([], padding="x" * size)))
    assert got == (ProviderError("the answer of Prometheus is larger than 32768 KiB") if refused else Vector(NOW, []))


async def test_a_range_gets_more_time_than_an_instant() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.6)
        return answer([], "matrix" if request.path.endswith("range") else "vector")

    assert await many(slow, timeout_seconds=0.2) == ProviderError("no answer from Prometheus within 0.2 s")
    assert await over_time(slow, timeout_seconds=0.2) == Matrix([])
    assert await over_time(slow, timeout_seconds=0.05) == ProviderError("no answer from Prometheus within 0.3 s")


async def test_many_series_of_nobody_there_or_of_a_closed_client_are_an_error() -> None:
    client = Prometheus("http://127.0.0.1:9")
    assert await client.vector("up") == ProviderError("cannot connect to Prometheus")
    assert await client.matrix("up", 0, 1, 1) == ProviderError("cannot connect to Prometheus")
    client.close()
    assert await client.vector("up") == ProviderError("the query to Prometheus failed: RuntimeError")
