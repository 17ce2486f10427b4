"""Asks a Prometheus for one number, and believes nothing else.

`prometheus-api-client` makes the request. By itself it would hang for ever, try again for seconds, follow redirects
wherever they lead, read a body of any size, and drop the result's type and the warnings that say "this answer is
partial". So it is given a session that guards each answer (`GuardedSession`), and runs in threads of its own, for a
thread that hangs must take nothing from the rest of the operator.

What is wrong with an answer is named in our own words. Nothing of a body, and no URL, gets into a message: messages
end up in the status of a Canary, where people may read it who may not read the Prometheus or its credentials.

API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
Used by `canary.operator` through `Prometheus.query`.
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry

from canary.model.measurement import Measured, NoData, ProviderError, Sample

MAX_BODY_BYTES = 1024 * 1024
MAX_AGE_SECONDS = 300.0
"""Prometheus's own lookback: it does not call older samples current either."""
THREADS = 8

_CHUNK_BYTES = 64 * 1024
# https://github.com/prometheus/prometheus, web/api/v1/api.go: the only words of an error that are repeated
_ERROR_TYPES = frozenset(
    {"bad_data", "canceled", "execution", "internal", "not_acceptable", "not_found", "timeout", "unavailable"}
)


class AnswerRefused(Exception):
    """An answer that must not be used; the text is ours and may be shown."""


class GuardedSession(requests.Session):
    """A session that returns only complete, current answers of the query API, and raises AnswerRefused for others."""

    def __init__(self, timeout_seconds: float, wall_clock: Callable[[], float]) -> None:
        super().__init__()
        self._timeout_seconds = timeout_seconds
        self._wall_clock = wall_clock
        # no proxy and no password that happen to lie in the environment
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # a compressed megabyte may be a gigabyte
        self.headers["Accept-Encoding"] = "identity"

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, and check all that can be checked before the answer is used."""
        ends_at = time.monotonic() + self._timeout_seconds
        response = super().send(request, **(kwargs | {"stream": True, "allow_redirects": False}))
        try:
            _refuse_redirect_and_encoding(response)
            body = _read(response, ends_at)
        finally:
            response.close()
        payload = _parse(body, response.status_code)
        _refuse_unusable(payload, response.status_code)
        _refuse_stale(payload["data"]["result"], self._served_at(response))
        # where requests itself keeps a body that it has read
        response._content = body  # noqa: SLF001
        return response

    def _served_at(self, response: requests.Response) -> float:
        """When the server says it answered; our own clock if it does not say."""
        try:
            return parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return self._wall_clock()


def _refuse_redirect_and_encoding(response: requests.Response) -> None:
    if response.is_redirect or HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        raise AnswerRefused(f"Prometheus answered with a redirect (HTTP {response.status_code}); none is followed")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise AnswerRefused("Prometheus answered with a compressed body, which was not asked for")


def _read(response: requests.Response, ends_at: float) -> bytes:
    """Read the body as it arrives, so that neither a flood nor a trickle is read to its end."""
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise AnswerRefused(f"the answer of Prometheus is larger than {MAX_BODY_BYTES // 1024} KiB")
        if time.monotonic() > ends_at:
            raise TimeoutError
    return bytes(body)


def _parse(body: bytes, status_code: int) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict):
        return payload
    if status_code != HTTPStatus.OK:
        raise AnswerRefused(f"Prometheus answered with HTTP {status_code}")
    raise AnswerRefused("the answer is not one of Prometheus's query API: not a JSON object")


def _refuse_unusable(payload: dict[str, Any], status_code: int) -> None:
    """Refuse errors, partial answers and results of a type that is not one instant."""
    if status_code != HTTPStatus.OK or payload.get("status") != "success":
        error_type = payload.get("errorType")
        detail = f", {error_type}" if isinstance(error_type, str) and error_type in _ERROR_TYPES else ""
        raise AnswerRefused(f"Prometheus refused the query (HTTP {status_code}{detail})")
    if payload.get("warnings"):
        raise AnswerRefused("Prometheus answered with warnings: the result may be partial")
    data = payload.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise AnswerRefused("the answer is not one of Prometheus's query API: no result")
    if data.get("resultType") not in ("vector", "scalar"):
        raise AnswerRefused("the query must return an instant vector or a scalar")


def _refuse_stale(result: list[Any], served_at: float) -> None:
    for at, _ in _points(result):
        if not abs(served_at - at) <= MAX_AGE_SECONDS:  # written so that a NaN is refused
            raise AnswerRefused(f"the sample is stale: it is more than {MAX_AGE_SECONDS:g} s off the server's clock")


def _points(result: list[Any]) -> list[tuple[float, float]]:
    """Time and value of each series: a vector has an object for each, a scalar is one bare point."""
    series = [entry.get("value") for entry in result] if all(isinstance(entry, dict) for entry in result) else [result]
    try:
        return [(float(at), _number(value)) for at, value in series]
    except (TypeError, ValueError, OverflowError):
        raise AnswerRefused("the query must return numbers; a sample of the answer is none") from None


def _number(text: object) -> float:
    # Prometheus writes values as strings; float() alone would also take 1_000 and surrounding blanks
    if not isinstance(text, str) or "_" in text or text != text.strip():
        raise ValueError
    return float(text)


def _sample(result: list[Any]) -> Sample:
    """One finite number, or why there is none."""
    points = _points(result)
    if not points:
        return NoData("the query returned no series")
    if len(points) > 1:
        return ProviderError(f"the query must return one series, not {len(points)}")
    at, value = points[0]
    if not isfinite(value):
        return NoData(f"the query returned {value}")
    return Measured(value=value, at=at)


class Prometheus:
    """One Prometheus, or something that speaks its query API."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, wall_clock: Callable[[], float] = time.time) -> None:
        """Raise ValueError for a URL that is none; nothing is requested yet."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the address of Prometheus must be http(s)://host[:port][/path]")
        self._timeout_seconds = timeout_seconds
        self._client = PrometheusConnect(
            url=url.rstrip("/"),
            session=GuardedSession(timeout_seconds, wall_clock),
            timeout=timeout_seconds,
            retry=Retry(0),
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="prometheus")

    async def query(self, promql: str) -> Sample:
        """Evaluate an expression now. Never raises for what the provider does; takes at most the timeout."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return _sample(await loop.run_in_executor(self._threads, self._client.custom_query, promql))
        except Exception as error:  # noqa: BLE001 - an answer that breaks the client must not break the operator
            return ProviderError(self._explain(error))

    def close(self) -> None:
        """End the threads and connections. Queries that wait become errors."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _explain(self, error: Exception) -> str:
        """Say what went wrong without the words of the libraries, which quote URLs and bodies."""
        match error:
            case AnswerRefused():
                return str(error)
            case TimeoutError() | requests.Timeout() | urllib3.exceptions.TimeoutError():
                return f"no answer from Prometheus within {self._timeout_seconds:g} s"
            case requests.exceptions.SSLError():
                return "the TLS certificate of Prometheus was not accepted"
            case requests.ConnectionError():
                return "cannot connect to Prometheus"
            case urllib3.exceptions.HTTPError():
                return "the answer of Prometheus broke off"
            case _:
                return f"the query to Prometheus failed: {type(error).__name__}"
