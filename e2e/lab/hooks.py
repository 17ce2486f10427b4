"""A receiver for webhooks: it keeps each request, and answers as it is told.

    with Hooks() as hooks:
        hooks.answers["/gate"] = 403
        hooks.delays["/gate"] = 2.0
        ...                                     # a Canary with the gate hooks.url("/gate")
        hooks.await_request("/gate")
        assert hooks.requests[-1].body["phase"] == "Progressing"

It runs in threads of the test's own process, in the network that the starting thread is in: inside a `with Lab(...)`
pods and operators reach it at 10.244.0.1, as they do the API server, Git and Prometheus.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from e2e.lab import ready

ADDRESS = "10.244.0.1"

Json = Any
"""What `json.loads` gives."""


@dataclass(frozen=True)
class HookRequest:
    """One request as it came in."""

    at: float
    """When it had been read: seconds since 1970."""
    method: str
    path: str
    """Without the query."""
    query: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Json
    """The JSON; a text where it is none, None where it is empty."""


class Hooks:
    """The receiver, from `__enter__` to `__exit__`; the dictionaries may be changed at any time."""

    def __init__(self, address: str = ADDRESS, port: int = 0) -> None:
        """Say where to listen; without a port the system gives a free one, see `url`."""
        self.answers: dict[str, int] = {}
        """Path → HTTP status; 200 for any other."""
        self.bodies: dict[str, str] = {}
        """Path → text of the answer; empty for any other."""
        self.delays: dict[str, float] = {}
        """Path → seconds from the request to its answer; `__exit__` cuts them short."""
        self._where = (address, port)
        self._requests: list[HookRequest] = []
        self._leaving = threading.Event()

    def __enter__(self) -> Self:
        """Begin to listen; the socket is bound here, in this thread's network."""
        self._server = _Server(self, self._where)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="hooks", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer what is under way, and stop."""
        self._leaving.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str = "/") -> str:
        """The address of a hook, from the tests and from pods."""
        address, port = self._server.server_address[:2]
        return f"http://{address!s}:{port}{path}"

    @property
    def requests(self) -> tuple[HookRequest, ...]:
        """All requests so far, in the order in which they came in; delayed ones are there before their answers."""
        return tuple(self._requests)

    def to(self, path: str) -> tuple[HookRequest, ...]:
        """Those with this path."""
        return tuple(request for request in self.requests if request.path == path)

    def await_request(self, path: str, timeout: float = 60, count: int = 1) -> HookRequest:
        """Wait until so many requests with this path have come in all; gives the last of these."""
        ready.wait_for(lambda: len(self.to(path)) >= count, timeout, f"request number {count} to {path}")
        return self.to(path)[count - 1]

    def clear(self) -> None:
        """Forget the requests so far, and all that was told."""
        for told in (self.answers, self.bodies, self.delays, self._requests):
            told.clear()

    def take(self, request: HookRequest) -> tuple[int, bytes]:
        """Keep a request; gives its status and body when it is time to answer."""
        self._requests.append(request)
        self._leaving.wait(self.delays.get(request.path, 0))
        return self.answers.get(request.path, 200), self.bodies.get(request.path, "").encode()


class _Server(ThreadingHTTPServer):
    """Has a thread for each connection, and waits for them when it is closed."""

    daemon_threads = False

    def __init__(self, hooks: Hooks, where: tuple[str, int]) -> None:
        self.hooks = hooks
        super().__init__(where, _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One request; HTTP/1.0, so that no idle connection keeps a thread."""

    server: _Server

    def do_POST(self) -> None:
        """Hand it to the receiver, and answer."""
        status, body = self.server.hooks.take(self._read())
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            return  # the client did not wait for the answer

    def do_GET(self) -> None:
        """Do the same."""
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Say nothing: the requests are kept."""

    def _read(self) -> HookRequest:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return HookRequest(time.time(), self.command, address.path, address.query, headers, _parsed(body))


def _parsed(body: bytes) -> Json:
    """What a body says."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text or "null")
    except ValueError:
        return text
