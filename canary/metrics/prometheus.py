"""Asks a Prometheus for numbers, and believes nothing else.

`prometheus-api-client` makes the request for one number. By itself it would hang for ever, try again for seconds,
follow redirects wherever they lead, read a body of any size, and drop the result's type and the warnings that say
"this answer is partial". So it is given a session that guards each answer, and runs in threads of its own, for a
thread that hangs must take nothing from the rest of the operator.

Many series at once go past it: it writes even a POSTed query into the URL, where the names of some hundred Ingresses
do not fit, and rounds the times of a range to seconds.

What is wrong with an answer is named in our own words. Nothing of a body, and no URL, gets into a message: messages
end up in the status of a Canary, where people may read it who may not read the Prometheus or its credentials.

API: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-queries
Used by `canary.operator` through `Prometheus.query` and `canary.metrics.scrapes`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry

from canary.metrics import answers
from canary.metrics.answers import Matrix, Vector
from canary.metrics.session import AnswerRefused, GuardedSession
from canary.model.measurement import ProviderError, Sample

MAX_BODY_BYTES = 1024 * 1024
MAX_SERIES_BYTES = 32 * 1024 * 1024
"""For answers of many series."""
RANGE_PATIENCE = 6
"""How many times the timeout a range query may take."""
THREADS = 8

_Answer = TypeVar("_Answer")


class _SampleSession(GuardedSession):
    """For the client library, which drops the result's type, time and warnings: checks them before it does."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        super().__init__(MAX_BODY_BYTES)
        self._wall_clock = wall_clock

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **kwargs)
        result = answers.result_of(response, "vector", "scalar")
        answers.refuse_stale_result(result, _served_at(response, self._wall_clock))
        return response


class Prometheus:
    """One Prometheus, or something that speaks its query API."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, wall_clock: Callable[[], float] = time.time) -> None:
        """Raise ValueError for a URL that is none; nothing is requested yet."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the address of Prometheus must be http(s)://host[:port][/path]")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._wall_clock = wall_clock
        self._client = PrometheusConnect(
            url=self._url, session=_SampleSession(wall_clock), timeout=timeout_seconds, retry=Retry(0)
        )
        self._session = GuardedSession(MAX_SERIES_BYTES)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="prometheus")

    async def query(self, promql: str) -> Sample:
        """Evaluate an expression now. Never raises for what the provider does; takes at most the timeout."""
        return await self._ask(lambda: answers.sample(self._client.custom_query(promql)), self._timeout_seconds)

    async def vector(self, promql: str, at: float | None = None) -> Vector | ProviderError:
        """All series of an expression, now or at a time in seconds since 1970.

        Never raises for what the provider does; takes at most the timeout.
        """
        form = {"query": promql} | ({} if at is None else {"time": str(at)})

        def ask() -> Vector:
            response = self._post("query", form, self._timeout_seconds)
            return answers.vector(answers.result_of(response, "vector"), at, _served_at(response, self._wall_clock))

        return await self._ask(ask, self._timeout_seconds)

    async def matrix(self, promql: str, start: float, end: float, step_seconds: float) -> Matrix | ProviderError:
        """All series of an expression from start to end, both in seconds since 1970 and included, at every step.

        Never raises for what the provider does; takes at most RANGE_PATIENCE times the timeout.
        """
        form = {"query": promql, "start": str(start), "end": str(end), "step": str(step_seconds)}
        timeout_seconds = RANGE_PATIENCE * self._timeout_seconds

        def ask() -> Matrix:
            response = self._post("query_range", form, timeout_seconds)
            return answers.matrix(answers.result_of(response, "matrix"), start, end)

        return await self._ask(ask, timeout_seconds)

    def close(self) -> None:
        """End the threads and connections. Queries that wait become errors."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        self._session.close()

    def _post(self, api: str, form: dict[str, str], timeout_seconds: float) -> requests.Response:
        return self._session.post(f"{self._url}/api/v1/{api}", data=form, timeout=timeout_seconds)

    async def _ask(self, ask: Callable[[], _Answer], timeout_seconds: float) -> _Answer | ProviderError:
        """Ask in a thread; whatever goes wrong there is a ProviderError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except Exception as error:  # noqa: BLE001 - an answer that breaks the client must not break the operator
            return ProviderError(_explain(error, timeout_seconds))


def _served_at(response: requests.Response, wall_clock: Callable[[], float]) -> float:
    """When the server says it answered; our own clock if it does not say."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return wall_clock()


def _explain(error: Exception, timeout_seconds: float) -> str:
    """Say what went wrong without the words of the libraries, which quote URLs and bodies."""
    match error:
        case AnswerRefused():
            return str(error)
        case TimeoutError() | requests.Timeout() | urllib3.exceptions.TimeoutError():
            return f"no answer from Prometheus within {timeout_seconds:g} s"
        case requests.exceptions.SSLError():
            return "the TLS certificate of Prometheus was not accepted"
        case requests.ConnectionError():
            return "cannot connect to Prometheus"
        case urllib3.exceptions.HTTPError():
            return "the answer of Prometheus broke off"
        case _:
            return f"the query to Prometheus failed: {type(error).__name__}"
