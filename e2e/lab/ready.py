"""Waiting: until a condition holds, until a program answers."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from e2e.lab.errors import CommandFailed, PartFailed, TimedOut
from e2e.lab.process import Process

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_seconds: float, what: str, *, interval_seconds: float = 0.1) -> T:
    """Poll until the condition's value is true, and give that value.

    A command that fails (`kubectl get` of what does not exist yet) counts as not yet; its error is in the message.
    """
    deadline = time.monotonic() + timeout_seconds
    last: object = None
    while True:
        try:
            last = value = condition()
        except CommandFailed as error:
            last = error
        else:
            if value:
                return value
        if time.monotonic() >= deadline:
            raise TimedOut(f"waited {timeout_seconds:g} s for {what}; the last answer was: {last!r:.2000}")
        time.sleep(interval_seconds)


def answers(
    url: str, *, host: str | None = None, trusted: ssl.SSLContext | None = None, timeout_seconds: float = 1
) -> bool:
    """Whether the address answers with a 2xx status, on a new connection and if need be under another host's name."""
    address = urlsplit(url)
    where = (address.hostname or "", address.port)
    connection = (
        http.client.HTTPSConnection(*where, timeout=timeout_seconds, context=trusted)
        if address.scheme == "https"
        else http.client.HTTPConnection(*where, timeout=timeout_seconds)
    )
    try:
        connection.request("GET", address.path or "/", headers={"Host": host} if host else {})
        return 200 <= connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def await_part(process: Process, ready: Callable[[], bool], timeout_seconds: float = 60) -> None:
    """Wait until a program is ready; if it ends or takes too long, say so with the tail of its log."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        process.fail_if_ended()
        if time.monotonic() >= deadline:
            raise PartFailed(process.name, f"not ready after {timeout_seconds:g} s", process.log)
        time.sleep(0.1)
