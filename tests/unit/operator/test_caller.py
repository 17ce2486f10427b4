"""Calls beside the reconciliations. Time is that of the event loop, which jumps; who is called is in this process."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog

from analysis.verdict import Verdict
from canary.gates.webhooks import Webhooks
from canary.model.webhook import Call, HookType, Payload, Webhook
from canary.operator.caller import CALLS, EVENTS, EVENTS_KEPT, Caller
from tests.virtual_time import clock, run

Key = tuple[str, str]
KEY, OTHER = ("test", "podinfo"), ("test", "other")
START = 1000.0
"""When the loop's clock begins."""

HOOK = Webhook("load-test", HookType.ROLLOUT, "http://loadtester.test/", timeout=timedelta(hours=1))
EVENT = replace(HOOK, name="slack", type=HookType.EVENT, url="http://slack.test/", timeout=timedelta(seconds=10))


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


class Receiver:
    """Who is called: answers after some seconds, and remembers who called when."""

    def __init__(self) -> None:
        self.seconds = 60.0
        self.status: Callable[[], int] = lambda: 200
        self.begun: list[tuple[float, str, dict[str, Any]]] = []
        self.cancelled = 0
        self.present = 0
        self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.begun.append((clock() - START, request.url.host, json.loads(request.content)))
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.present -= 1
        return httpx.Response(self.status())

    @property
    def times(self) -> list[float]:
        return [begun for begun, _, _ in self.begun]

    def told(self, host: str) -> list[str]:
        return [payload["metadata"]["eventMessage"] for _, called, payload in self.begun if called.startswith(host)]


class Calling:
    """A caller at work, who is called, and whom it told."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.told: list[Key] = []
        self.webhooks = Webhooks(
            (), clock=lambda: datetime.fromtimestamp(clock(), UTC), transport=httpx.MockTransport(self.receiver)
        )
        self.caller = Caller[Key](self.webhooks, told=self.told.append)

    def asked(
        self, *webhooks: Webhook, key: Key = KEY, attempt: str = "v2", since: float = 0, renew_before: float = 0
    ) -> dict[str, Verdict]:
        calls = tuple(
            Call(webhook, "Progressing", "85b557", moment(since), moment(renew_before))
            for webhook in webhooks or (HOOK,)
        )
        answers = self.caller.answers(key, attempt, key[0], key[1], calls)
        return {name: answer.verdict for name, answer in answers.items()}

    def tell(self, text: str, webhook: Webhook = EVENT, key: Key = KEY) -> None:
        self.caller.tell(key, webhook, Payload(key[1], key[0], "Progressing", "85b557", (("eventMessage", text),)))


def story(told: Callable[[Calling], Coroutine[Any, Any, None]]) -> None:
    """Run with a caller that works, and close it."""

    async def main() -> None:
        calling = Calling()
        working = asyncio.create_task(calling.caller.run())
        await asyncio.sleep(0)
        await told(calling)
        await calling.caller.close()
        await working
        await calling.webhooks.aclose()

    run(main())


# ---------------------------------------------------------------------------------------------------------------- calls


def test_nobody_waits_for_an_answer_and_who_asked_is_told_of_it() -> None:
    async def told(calling: Calling) -> None:
        assert calling.asked() == {}
        await asyncio.sleep(59)
        assert (calling.asked(), calling.told) == ({}, [])
        await asyncio.sleep(2)
        assert calling.told == [KEY]
        assert calling.asked() == {"load-test": Verdict.PASS}
        assert len(calling.receiver.begun) == 1

    story(told)


def test_what_is_sent_is_what_was_asked() -> None:
    async def told(calling: Calling) -> None:
        calling.asked(replace(HOOK, metadata=(("cmd", "hey"),)))
        await asyncio.sleep(1)
        ((_, host, payload),) = calling.receiver.begun
        assert host == "loadtester.test.svc"
        assert payload == {
            "name": "podinfo",
            "namespace": "test",
            "phase": "Progressing",
            "checksum": "85b557",
            "metadata": {"cmd": "hey"},
        }

    story(told)


def test_an_answer_counts_until_a_newer_one_is_wanted() -> None:
    async def told(calling: Calling) -> None:
        calling.asked()
        await asyncio.sleep(61)
        assert calling.asked(since=60) == {"load-test": Verdict.PASS}
        assert calling.asked(since=61) == {}
        calling.receiver.status = lambda: 403
        await asyncio.sleep(61)
        assert calling.asked(since=61) == {"load-test": Verdict.FAIL}
        assert calling.receiver.times == [0, 61]

    story(told)


@pytest.mark.parametrize("status", [200, 403])
def test_a_no_is_asked_anew_now_and_then_and_counts_until_there_is_another(status: int) -> None:
    async def told(calling: Calling) -> None:
        calling.receiver.status = lambda: status
        said = {"load-test": Verdict.PASS if status == 200 else Verdict.FAIL}
        calling.asked()
        await asyncio.sleep(61)
        assert calling.asked(renew_before=60) == said
        assert calling.asked(renew_before=61) == said
        calling.receiver.status = lambda: 202
        await asyncio.sleep(59)
        assert calling.asked(renew_before=61) == said
        await asyncio.sleep(2)
        assert calling.asked(renew_before=61) == {"load-test": Verdict.PASS}
        assert calling.receiver.times == ([0] if status == 200 else [0, 61])

    story(told)


def test_a_call_under_way_is_not_made_twice_however_new_the_answer_must_be() -> None:
    async def told(calling: Calling) -> None:
        for second in range(60):
            assert calling.asked(since=second) == {}
            await asyncio.sleep(1)
        await asyncio.sleep(0.1)
        assert calling.asked(since=59) == {"load-test": Verdict.PASS}
        assert len(calling.receiver.begun) == 1

    story(told)


def test_several_webhooks_are_asked_at_once_and_answered_each_by_itself() -> None:
    async def told(calling: Calling) -> None:
        slow = replace(HOOK, name="gate", timeout=timedelta(seconds=5), retries=1)
        calling.asked(slow, HOOK)
        await asyncio.sleep(11)
        assert calling.asked(slow, HOOK) == {"gate": Verdict.ERROR}
        await asyncio.sleep(50)
        assert calling.asked(slow, HOOK) == {"gate": Verdict.ERROR, "load-test": Verdict.PASS}
        assert calling.told == [KEY, KEY]

    story(told)


@pytest.mark.parametrize(
    "edited",
    [
        replace(HOOK, url="http://other.test/"),
        replace(HOOK, metadata=(("cmd", "hey"),)),
        replace(HOOK, timeout=timedelta(seconds=59)),
        replace(HOOK, type=HookType.CONFIRM_PROMOTION),
    ],
)
@pytest.mark.parametrize("after_seconds", [30.0, 61.0])
def test_an_edited_webhook_is_another_one(edited: Webhook, after_seconds: float) -> None:
    async def told(calling: Calling) -> None:
        calling.asked()
        await asyncio.sleep(after_seconds)
        calling.receiver.seconds = 10.0
        assert calling.asked(edited) == {}
        await asyncio.sleep(11)
        assert calling.asked(edited) == {"load-test": Verdict.PASS}
        assert calling.receiver.times == [0, after_seconds]
        assert calling.receiver.cancelled == (after_seconds < 60)

    story(told)


@pytest.mark.parametrize("after_seconds", [30.0, 61.0])
def test_another_rollout_forgets_what_was_said_of_the_last(after_seconds: float) -> None:
    async def told(calling: Calling) -> None:
        calling.asked()
        calling.asked(key=OTHER)
        await asyncio.sleep(after_seconds)
        calling.told.clear()
        assert calling.asked(attempt="v3") == {}
        await asyncio.sleep(59)
        assert calling.asked(attempt="v3") == {}
        assert KEY not in calling.told
        await asyncio.sleep(2)
        assert calling.asked(attempt="v3") == {"load-test": Verdict.PASS}
        assert calling.asked(key=OTHER) == {"load-test": Verdict.PASS}
        assert calling.receiver.cancelled == (after_seconds < 60)

    story(told)


def test_what_is_forgotten_ends_and_is_told_to_nobody() -> None:
    async def told(calling: Calling) -> None:
        calling.asked()
        await asyncio.sleep(30)
        calling.caller.forget(KEY)
        calling.caller.forget(OTHER)
        await asyncio.sleep(60)
        assert (calling.told, calling.receiver.cancelled, calling.receiver.present) == ([], 1, 0)

    story(told)


def test_a_worker_whose_call_was_cancelled_takes_the_next() -> None:
    async def told(calling: Calling) -> None:
        for attempt in range(3 * CALLS):
            calling.asked(attempt=str(attempt))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert calling.asked(attempt=str(3 * CALLS - 1)) == {"load-test": Verdict.PASS}
        assert calling.receiver.cancelled == 3 * CALLS - 1

    story(told)


def test_more_calls_than_workers_wait_their_turn() -> None:
    async def told(calling: Calling) -> None:
        keys = [("test", str(number)) for number in range(2 * CALLS)]
        for key in keys:
            calling.asked(key=key)
        await asyncio.sleep(61)
        assert len(calling.told) == CALLS
        await asyncio.sleep(60)
        assert sorted(calling.told) == sorted(keys)
        assert calling.receiver.most == CALLS

    story(told)


def test_a_call_that_is_forgotten_while_it_waits_is_never_made() -> None:
    async def told(calling: Calling) -> None:
        for number in range(CALLS):
            calling.asked(key=("test", str(number)))
        calling.asked(key=KEY)
        await asyncio.sleep(30)
        calling.caller.forget(KEY)
        await asyncio.sleep(60)
        assert len(calling.receiver.begun) == CALLS

    story(told)


def test_a_refused_host_is_not_called_and_gives_no_answer_at_all() -> None:
    async def told(calling: Calling) -> None:
        with structlog.testing.capture_logs() as logged:
            calling.asked(replace(HOOK, url="http://169.254.169.254/"))
            await asyncio.sleep(60)
        assert calling.asked(replace(HOOK, url="http://169.254.169.254/")) == {}
        assert (calling.receiver.begun, calling.told) == ([], [])
        assert "--webhook-hosts" in logged[0]["problem"]

    story(told)


@pytest.mark.parametrize("fault", [ZeroDivisionError, asyncio.CancelledError])
def test_a_fault_of_ours_is_no_answer_of_theirs_and_is_asked_again(fault: type[BaseException]) -> None:
    async def told(calling: Calling) -> None:
        def fail() -> int:
            raise fault

        calling.receiver.status = fail
        with structlog.testing.capture_logs() as logged:
            calling.asked()
            await asyncio.sleep(61)
        assert (len(logged), calling.told) == (1, [])
        calling.receiver.status = lambda: 200
        assert calling.asked() == {}
        await asyncio.sleep(61)
        assert calling.asked() == {"load-test": Verdict.PASS}

    story(told)


def test_closing_ends_every_call() -> None:
    async def told(calling: Calling) -> None:
        calling.asked()
        calling.tell("one")
        await asyncio.sleep(5)
        assert calling.receiver.present == 2
        await calling.caller.close()
        assert (calling.receiver.present, calling.told) == (0, [])

    story(told)


# --------------------------------------------------------------------------------------------------------------- events


def test_events_arrive_in_order_and_none_twice() -> None:
    async def told(calling: Calling) -> None:
        calling.receiver.seconds = 1
        for number in range(5):
            calling.tell(str(number))
        await asyncio.sleep(20)
        calling.tell("later")
        await asyncio.sleep(2)
        assert calling.receiver.told("slack") == ["0", "1", "2", "3", "4", "later"]
        assert calling.receiver.most == 1

    story(told)


def test_a_receiver_that_is_slow_keeps_no_other_waiting() -> None:
    async def told(calling: Calling) -> None:
        quick = replace(EVENT, name="quick", url="http://quick.test/")
        for number in range(5):
            calling.tell(str(number))
        calling.tell("one", quick)
        await asyncio.sleep(1)
        assert calling.receiver.told("quick") == ["one"]

    story(told)


def test_no_event_keeps_a_call_waiting() -> None:
    async def told(calling: Calling) -> None:
        for number in range(10 * EVENTS):
            calling.tell("one", key=("test", str(number)))
        calling.asked()
        await asyncio.sleep(1)
        assert calling.receiver.present == EVENTS + 1

    story(told)


def test_an_event_that_is_not_taken_is_reported_and_the_next_one_is_sent() -> None:
    async def told(calling: Calling) -> None:
        calling.receiver.status = lambda: 500
        calling.receiver.seconds = 1
        with structlog.testing.capture_logs() as logged:
            calling.tell("one")
            calling.tell("two", replace(EVENT, url="http://slack.elsewhere/"))
            calling.tell("three")
            await asyncio.sleep(5)
        assert calling.receiver.told("slack") == ["one", "three"]
        assert [line["event"] for line in logged] == ["event not taken", "webhook refused", "event not taken"]
        assert calling.told == []

    story(told)


def test_of_too_many_events_the_oldest_are_lost_and_that_is_said_once() -> None:
    async def told(calling: Calling) -> None:
        calling.receiver.seconds = 0.5
        calling.tell("first")
        await asyncio.sleep(0.1)
        with structlog.testing.capture_logs() as logged:
            for number in range(EVENTS_KEPT + 3):
                calling.tell(str(number))
        await asyncio.sleep(EVENTS_KEPT)
        assert calling.receiver.told("slack") == ["first", *map(str, range(3, EVENTS_KEPT + 3))]
        assert [line["event"] for line in logged] == ["events lost"]

    story(told)


def test_the_last_events_of_what_is_forgotten_still_go_out() -> None:
    async def told(calling: Calling) -> None:
        calling.tell("one")
        calling.tell("deleted")
        calling.caller.forget(KEY)
        await asyncio.sleep(60)
        assert calling.receiver.told("slack") == ["one", "deleted"]

    story(told)
