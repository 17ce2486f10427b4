"""The receiver for webhooks, without a lab."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from e2e.lab.errors import TimedOut
from e2e.lab.hooks import Hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks("127.0.0.1") as running:
        yield running


def post(url: str, body: object = None, timeout: float = 5) -> tuple[int, str]:
    """One request: its status and the text of the answer."""
    answer = httpx.post(url, json=body, headers={"X-Canary": "yes"}, timeout=timeout, trust_env=False)
    return answer.status_code, answer.text


def test_request_is_kept_and_answered_with_200(hooks: Hooks) -> None:
    assert post(hooks.url("/gate?step=1"), {"phase": "Progressing"}) == (200, "")
    request = hooks.await_request("/gate", 1)
    assert (request.method, request.path, request.query) == ("POST", "/gate", "step=1")
    assert (request.body, request.headers["x-canary"]) == ({"phase": "Progressing"}, "yes")
    assert abs(time.time() - request.at) < 60


def test_answer_is_as_told_for_each_path(hooks: Hooks) -> None:
    hooks.answers["/gate"], hooks.bodies["/gate"] = 403, "not on Fridays"
    assert post(hooks.url("/gate")) == (403, "not on Fridays")
    assert post(hooks.url("/other")) == (200, "")
    hooks.clear()
    assert post(hooks.url("/gate")) == (200, "")
    assert len(hooks.requests) == 1


def test_answer_comes_late_and_the_request_is_seen_before(hooks: Hooks) -> None:
    hooks.delays["/gate"] = 60
    with pytest.raises(httpx.ReadTimeout):
        post(hooks.url("/gate"), {"wanted": "soon"}, timeout=0.1)
    assert hooks.await_request("/gate", 5).body == {"wanted": "soon"}

    hooks.delays["/gate"] = 0.3
    began = time.monotonic()
    assert post(hooks.url("/gate"))[0] == 200
    assert time.monotonic() - began >= 0.3


def test_request_that_is_held_does_not_hold_others(hooks: Hooks) -> None:
    hooks.delays["/slow"] = 60
    held = threading.Thread(target=post, args=(hooks.url("/slow"),))
    held.start()
    hooks.await_request("/slow", 5)
    assert post(hooks.url("/fast"))[0] == 200
    hooks.__exit__(None, None, None)
    held.join(5)
    assert not held.is_alive(), "leaving answers what is held"


def test_waiting_for_a_request_that_does_not_come_says_for_which(hooks: Hooks) -> None:
    post(hooks.url("/gate"))
    with pytest.raises(TimedOut, match="request number 2 to /gate"):
        hooks.await_request("/gate", 0.2, count=2)
