"""Traffic from outside: an open-loop load generator with a known rate that records every single answer.

    with Load("http://127.0.0.1:8080/", host="app.example.com", rate=50) as load:
        began = load.mark("step-20")
        ...
    print(summarize(load.between(began, time.time())))

Open loop: each request is sent when it is due, whatever became of those before it, so a slow or dead app does not
slow down its own measurement. Requests that leave late (this process had no time) are sent nevertheless, and counted.
By default each request has a connection of its own: the workers of ingress-nginx take up new weights one by one, and a
connection that is kept would show only one of them.

It runs in a thread of its own, which is in the network namespace that the starting thread is in. It talks to
loopback and private addresses only.

    python -m e2e.lab.load http://10.244.0.1:8080/ --host app.example.com --rate 100 --seconds 30 --out records.jsonl

Cost, measured: 9 % of a core for 100 requests a second, 19 % for 300, with aiohttp (httpx: 21 % and 47 %).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

LATE_SECONDS = 0.05
"""A request that leaves later than this after its time counts as late."""
_Z = 1.959964
"""Quantile of the normal distribution for intervals of 95 %."""


@dataclass(frozen=True)
class Answerer:
    """Who answered, as the body of the answer says; what it does not say is empty."""

    version: str = ""
    message: str = ""
    hostname: str = ""


@dataclass(frozen=True)
class Record:
    """One request and what became of it."""

    start: float
    """When it was sent: seconds since 1970."""
    latency_seconds: float
    """From sending to the last byte of the answer, or to the error."""
    status: int
    """HTTP status; 0 if there was no complete answer."""
    answerer: Answerer
    error: str = ""
    late_seconds: float = 0.0
    """How long after its time it was sent."""

    @property
    def failed(self) -> bool:
        """Whether a user would call it an error of the server: none at all, or 5xx."""
        return self.status == 0 or self.status >= 500


def podinfo_answerer(body: bytes) -> Answerer:
    """Read podinfo's answer at `/`."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Answerer()
    if not isinstance(answer, dict):
        return Answerer()
    return Answerer(*(str(answer.get(key, "")) for key in ("version", "message", "hostname")))


# A load and its thread


class Load:
    """Requests at a constant rate, from `__enter__` to `__exit__`; `__exit__` waits for the answers still to come."""

    def __init__(
        self,
        url: str,
        *,
        rate: float,
        host: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 10.0,
        new_connections: bool = True,
        answerer: Callable[[bytes], Answerer] = podinfo_answerer,
    ) -> None:
        """Say where to, and at which rate (requests a second); `host` becomes the Host header.

        A cookie is a header too: `headers={"Cookie": "canary=always"}`. `answerer` reads from an answer's body
        who gave it.

        With `new_connections=False` connections are reused, and aiohttp may repeat a request whose connection was
        closed by the server: such an error is not seen.
        """
        refuse_foreign(url)
        if rate <= 0:
            raise ValueError(f"rate is {rate} requests a second: it must be more than 0")
        self.url = url
        self.rate = rate
        self._headers = {**(headers or {}), **({"Host": host} if host is not None else {})}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._new_connections = new_connections
        self._answerer = answerer
        self._records: list[Record] = []
        self._marks: dict[str, float] = {}
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        """Start sending."""
        _allow_many_sockets()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sending, and wait for the answers under way; they are bounded by the timeout."""
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @property
    def records(self) -> tuple[Record, ...]:
        """All requests that have been answered or have failed so far, in the order in which they were sent."""
        return tuple(sorted(self._records.copy(), key=lambda record: record.start))

    @property
    def marks(self) -> dict[str, float]:
        """The marks set so far: name → seconds since 1970."""
        return dict(self._marks)

    def mark(self, name: str) -> float:
        """Give the moment of now a name, and return it, for `between`."""
        now = self._marks[name] = time.time()
        return now

    def between(self, begin: float, end: float) -> tuple[Record, ...]:
        """The requests that were sent in [begin, end)."""
        return tuple(record for record in self.records if begin <= record.start < end)

    def summary(self, by: Callable[[Record], str] | None = None) -> Summary:
        """Sum up all records so far."""
        return summarize(self.records, by)

    def _run(self) -> None:
        """Run in the thread; an error of the generator itself is raised where the load is left."""
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # noqa: BLE001 - raised again by __exit__
            self._error = error

    async def _send_all(self) -> None:
        """Send each request when it is due, then wait for what is under way."""
        connector = aiohttp.TCPConnector(limit=0, force_close=self._new_connections)
        async with aiohttp.ClientSession(
            connector=connector, headers=self._headers, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            under_way: set[asyncio.Task[None]] = set()
            began, sent = time.monotonic(), 0
            while not self._stop.is_set():
                due = began + sent / self.rate
                await asyncio.sleep(min(0.1, due - time.monotonic()))
                if due > time.monotonic():
                    continue
                task = asyncio.create_task(self._send(session, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                sent += 1
            await asyncio.gather(*under_way)

    async def _send(self, session: aiohttp.ClientSession, due: float) -> None:
        """Send one request and record what becomes of it."""
        start, began = time.time(), time.monotonic()
        status, error, answerer = 0, "", Answerer()
        try:
            async with session.get(self.url, allow_redirects=False) as answer:
                body = await answer.read()
                status, answerer = answer.status, self._answerer(body)
        except TimeoutError:
            error = f"no answer within {self._timeout.total:g} s"
        except (aiohttp.ClientError, OSError) as problem:
            error = repr(problem)
        latency_seconds = time.monotonic() - began
        self._records.append(Record(start, latency_seconds, status, answerer, error, max(0.0, began - due)))


def refuse_foreign(url: str) -> None:
    """Raise ValueError unless the URL is http and names a loopback or private address: load is for labs only."""
    target = urlsplit(url)
    host = target.hostname or ""
    try:
        allowed = host == "localhost" or ip_address(host).is_private
    except ValueError:
        allowed = False
    if target.scheme != "http" or not allowed:
        raise ValueError(f"{url} is refused: http and an address of this machine or of a lab are allowed, no names")


def _allow_many_sockets() -> None:
    """Raise this process's limit of open files as far as it may go: an app that hangs keeps many connections open.

    Without it the generator's own shortage would be recorded as errors of the app.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# Sums


@dataclass(frozen=True)
class Share:
    """How many of the requests somebody answered, with the 95 % interval (Wilson) of the share behind it."""

    count: int
    percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True)
class Summary:
    """Many records in one look."""

    total: int
    failed: int
    late: int
    """Requests that left more than LATE_SECONDS after their time; then this machine was too busy to trust the rate."""
    statuses: dict[int, int]
    shares: dict[str, Share]
    """Who answered → share of all that say who answered."""
    latency_seconds: dict[float, float]
    """Quantile (0.5, 0.9, 0.99, 1) → latency of the requests that were answered."""

    def __str__(self) -> str:
        """A few lines for a person."""
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        quantiles = ", ".join(f"p{100 * q:g} {1000 * value:.1f} ms" for q, value in self.latency_seconds.items())
        lines = [
            f"{self.total} requests, {self.failed} failed, {self.late} sent late; by status {statuses or '-'}",
            f"latency {quantiles or '-'}",
        ]
        for name, share in sorted(self.shares.items()):
            interval = f"{share.low_percent:.1f}-{share.high_percent:.1f}"
            lines.append(f"  {share.count:6d}  {share.percent:5.1f} % ({interval})  {name}")
        return "\n".join(lines)


def by_message(record: Record) -> str:
    """Tell answerers apart by podinfo's message, which `--ui-message` sets."""
    return record.answerer.message


def summarize(records: Iterable[Record], by: Callable[[Record], str] | None = None) -> Summary:
    """Sum up records; `by` names the answerer of a record (default: its message), empty for one not to be counted."""
    all_records = tuple(records)
    names = Counter(filter(None, map(by or by_message, all_records)))
    latencies = sorted(record.latency_seconds for record in all_records if record.status)
    return Summary(
        total=len(all_records),
        failed=sum(record.failed for record in all_records),
        late=sum(record.late_seconds > LATE_SECONDS for record in all_records),
        statuses=dict(Counter(record.status for record in all_records)),
        shares={name: _share(count, names.total()) for name, count in names.items()},
        latency_seconds={q: _quantile(latencies, q) for q in (0.5, 0.9, 0.99, 1.0)} if latencies else {},
    )


def _share(count: int, total: int) -> Share:
    """A share and its interval."""
    low, high = wilson_interval(count, total)
    return Share(count, 100 * count / total, 100 * low, 100 * high)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a binomial share, by Wilson's score: good for small counts too, and never beyond 0 and 1."""
    share, weight = count / total, _Z**2 / total
    middle = share + weight / 2
    half = _Z * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight))


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest value that at least the fraction q of the values does not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


# The command line


def write_records(records: Iterable[Record], file: Path) -> None:
    """Write records as JSON lines."""
    file.write_text("".join(json.dumps(dataclasses.asdict(record)) + "\n" for record in records))


def main(arguments: Sequence[str] | None = None) -> int:
    """Send for a while and print the summary; the exit code is 1 if a request failed."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.lab.load", description="Open-loop load, every answer recorded."
    )
    parser.add_argument("url")
    parser.add_argument("--host", help="Host header")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--timeout", type=float, default=10, help="seconds until a request counts as failed")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--keep-connections", action="store_true", help="do not open a new one for each request")
    parser.add_argument("--by", choices=("version", "message", "hostname"), default="message", help="names an answerer")
    parser.add_argument("--out", type=Path, help="write the records there, as JSON lines")
    options = parser.parse_args(arguments)
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in options.header)}
    load = Load(
        options.url,
        host=options.host,
        rate=options.rate,
        headers=headers,
        timeout_seconds=options.timeout,
        new_connections=not options.keep_connections,
    )
    with load:
        time.sleep(options.seconds)
    summary = load.summary(lambda record: str(getattr(record.answerer, options.by)))
    print(summary)
    if options.out is not None:
        write_records(load.records, options.out)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
