"""The load generator, against a small server in this process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e.lab.load import Answerer, Load, Record, podinfo_answerer, refuse_foreign, summarize, wilson_interval

SLOW_SECONDS = 0.4


class _App(BaseHTTPRequestHandler):
    """Answers as podinfo does, slowly at /slow; counts connections."""

    connections = 0

    def setup(self) -> None:
        """Take note of a new connection."""
        type(self).connections += 1
        super().setup()

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/slow":
            time.sleep(SLOW_SECONDS)
        message = self.headers["X-Canary"] or self.headers["Cookie"] or self.headers["Host"]
        body = json.dumps({"message": message, "version": "1", "hostname": "pod"}).encode()
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server names it
        """Stay quiet."""


@pytest.fixture
def app() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _App)
    _App.connections = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def send(url: str, requests: int, headers: Mapping[str, str] | None = None) -> Load:
    """Send until so many requests are recorded."""
    with Load(url, host="app.example.com", headers=headers, rate=100, timeout_seconds=2) as load:
        while len(load.records) < requests:
            time.sleep(0.005)
    return load


def test_every_answer_is_recorded_with_who_gave_it(app: str) -> None:
    load = send(f"{app}/", 10)

    assert {record.status for record in load.records} == {200}
    assert {record.answerer for record in load.records} == {Answerer("1", "app.example.com", "pod")}
    assert load.summary().shares["app.example.com"].percent == 100
    assert _App.connections == len(load.records), "each request has a connection of its own"


@pytest.mark.parametrize(("header", "value"), [("X-Canary", "always"), ("Cookie", "canary=always")])
def test_each_request_has_the_headers_given(app: str, header: str, value: str) -> None:
    load = send(f"{app}/", 5, headers={header: value})
    assert set(load.summary().shares) == {value}


def test_two_loads_run_at_once_and_keep_their_records_apart(app: str) -> None:
    with Load(f"{app}/", host="a.example.com", rate=100) as one, Load(f"{app}/", host="b.example.com", rate=100) as two:
        while min(len(one.records), len(two.records)) < 10:
            time.sleep(0.005)
    assert [set(load.summary().shares) for load in (one, two)] == [{"a.example.com"}, {"b.example.com"}]


def test_slow_answers_do_not_slow_down_the_requests(app: str) -> None:
    load = send(f"{app}/slow", 10)

    first = load.records[0]
    sent_meanwhile = load.between(first.start, first.start + first.latency_seconds)
    assert len(sent_meanwhile) > SLOW_SECONDS * load.rate / 2


def test_errors_of_the_server_and_of_the_connection_are_failures(app: str) -> None:
    broken = send(f"{app}/broken", 3).summary()
    assert broken.failed == broken.total == broken.statuses[503]

    nobody = send("http://127.0.0.1:9/", 3)
    assert nobody.summary().failed == len(nobody.records)
    assert "Connect call failed" in nobody.records[0].error


def test_marks_divide_the_records(app: str) -> None:
    with Load(f"{app}/", rate=100) as load:
        while len(load.records) < 5:
            time.sleep(0.005)
        step = load.mark("step-20")
        while not load.between(step, time.time()):
            time.sleep(0.005)

    assert load.marks == {"step-20": step}
    assert len(load.between(0, step)) + len(load.between(step, time.time())) == len(load.records)


def test_what_was_sent_late_is_counted_and_kept() -> None:
    summary = summarize([Record(0, 0.1, 200, Answerer()), Record(1, 0.3, 200, Answerer(), late_seconds=0.2)])

    assert (summary.total, summary.late) == (2, 1)
    assert summary.latency_seconds[1.0] == 0.3


def test_interval_of_a_share_holds_for_extremes() -> None:
    assert wilson_interval(0, 100)[0] == 0
    assert wilson_interval(0, 100)[1] == pytest.approx(0.037, abs=0.001)
    assert wilson_interval(20, 100) == pytest.approx((0.1334, 0.2888), abs=0.0001)


def test_bodies_that_are_not_of_podinfo_name_nobody() -> None:
    assert podinfo_answerer(b"Internal Server Error") == podinfo_answerer(b"[1]") == Answerer()


@pytest.mark.parametrize("url", ["http://example.com/", "http://8.8.8.8/", "https://127.0.0.1/", "127.0.0.1:80"])
def test_load_on_anything_but_a_lab_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is refused"):
        refuse_foreign(url)
