"""Calls webhooks beside the reconciliations, and keeps their answers until they are asked for.

A load test takes minutes, and a bad canary must lose its traffic at once: no reconciliation waits for a call. Events go
out by workers of their own, so that a slow receiver of them keeps no gate waiting.

All of it can be lost: the status says what was answered, and what was not is asked again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from analysis.verdict import Verdict
from canary.gates.webhooks import HostRefused, Webhooks
from canary.model.webhook import Call, HookAnswer, Payload, Webhook

log = structlog.get_logger()

Key = TypeVar("Key", bound=tuple[str, str])

CALLS = 28
EVENTS = 4
"""How many calls there are at a time: of gates and checks, and of receivers of events."""

EVENTS_KEPT = 100
"""How many events wait for one receiver; of more the oldest are lost."""


@dataclass(eq=False)
class _Job(Generic[Key]):
    """One call, waiting for a worker or under way."""

    key: Key
    webhook: Webhook
    payload: Payload
    scope: asyncio.Timeout | None = None

    def cancel(self) -> None:
        """End it where it is. One that still waits is passed over, for nobody has it in `under_way` any longer."""
        if self.scope:
            self.scope.reschedule(0)


@dataclass
class _Rollout(Generic[Key]):
    attempt: str
    answers: dict[str, tuple[Webhook, HookAnswer]] = field(default_factory=dict)
    under_way: dict[str, _Job[Key]] = field(default_factory=dict)

    def answer(self, call: Call) -> HookAnswer | None:
        webhook, answer = self.answers.get(call.webhook.name, (None, None))
        return answer if answer and webhook == call.webhook and answer.at >= call.since else None

    def cancel(self) -> None:
        while self.under_way:
            self.under_way.popitem()[1].cancel()


@dataclass
class _Lane:
    """Events for one receiver, in their order. It is there as long as one of them waits or is being sent."""

    events: deque[tuple[Webhook, Payload]]
    lost: bool = False


class Caller(Generic[Key]):
    """Answers what webhooks said, and calls those that have not. `told` is called with the key when one has."""

    def __init__(self, webhooks: Webhooks, told: Callable[[Key], None]) -> None:
        self._webhooks = webhooks
        self._told = told
        self._rollouts: dict[Key, _Rollout[Key]] = {}
        self._jobs: asyncio.Queue[_Job[Key]] = asyncio.Queue()
        self._lanes: dict[tuple[Key, str], _Lane] = {}
        self._waiting: asyncio.Queue[tuple[Key, str]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def answers(
        self, key: Key, attempt: str, namespace: str, name: str, calls: tuple[Call, ...]
    ) -> Mapping[str, HookAnswer]:
        """What is known by now, by name of the webhook; what is missing is asked, at most once at a time.

        `attempt` names the rollout: what was answered for another is forgotten, and what is under way for it ends. A
        webhook that was edited is another one. The time of an answer is when it came: a call that began before
        `since` counts when it ends after it.
        """
        rollout = self._rollouts.get(key)
        if rollout is None or rollout.attempt != attempt:
            self.forget(key)
            rollout = self._rollouts[key] = _Rollout(attempt)
        known = {}
        for call in calls:
            if answer := rollout.answer(call):
                known[call.webhook.name] = answer
            if answer is None or (answer.verdict is not Verdict.PASS and answer.at < call.renew_before):
                payload = Payload(name, namespace, call.phase, call.checksum, call.webhook.metadata)
                self._ask(rollout, _Job(key, call.webhook, payload))
        return known

    def forget(self, key: Key) -> None:
        """Drop every answer, and end what is under way. Events that were told still go out."""
        if rollout := self._rollouts.pop(key, None):
            rollout.cancel()

    def tell(self, key: Key, webhook: Webhook, payload: Payload) -> None:
        """Send an event some time soon: after those told before to the same webhook, if it can be reached at all."""
        lane = self._lanes.get((key, webhook.name))
        if lane is None:
            lane = self._lanes[key, webhook.name] = _Lane(deque(maxlen=EVENTS_KEPT))
            self._waiting.put_nowait((key, webhook.name))
        if len(lane.events) == EVENTS_KEPT and not lane.lost:
            lane.lost = True
            log.warning("events lost", canary="/".join(key), webhook=webhook.name, kept=EVENTS_KEPT)
        lane.events.append((webhook, payload))

    async def run(self) -> None:
        """Call until `close`, or until cancelled.

        All tasks are made at the start: kopf, which shares the loop, cancels at its end whatever was begun after it.
        """
        async with asyncio.TaskGroup() as group:
            self._workers = [
                *(group.create_task(self._work()) for _ in range(CALLS)),
                *(group.create_task(self._send()) for _ in range(EVENTS)),
            ]

    async def close(self) -> None:
        """End every call, and `run`."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._rollouts.clear()
        self._lanes.clear()

    def _ask(self, rollout: _Rollout[Key], job: _Job[Key]) -> None:
        present = rollout.under_way.get(job.webhook.name)
        if present and present.webhook == job.webhook:
            return
        if present:
            present.cancel()
        rollout.under_way[job.webhook.name] = job
        self._jobs.put_nowait(job)

    def _rollout_of(self, job: _Job[Key]) -> _Rollout[Key] | None:
        """The rollout that waits for this very call."""
        rollout = self._rollouts.get(job.key)
        return rollout if rollout and rollout.under_way.get(job.webhook.name) is job else None

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            if self._rollout_of(job) is None:
                continue
            answer = await self._cancellable(job)
            rollout = self._rollout_of(job)
            if rollout is None:
                continue
            del rollout.under_way[job.webhook.name]
            if answer:
                rollout.answers[job.webhook.name] = (job.webhook, answer)
                self._told(job.key)

    async def _cancellable(self, job: _Job[Key]) -> HookAnswer | None:
        try:
            async with asyncio.timeout(None) as job.scope:
                return await self._call(job.key, job.webhook, job.payload)
        except TimeoutError:
            return None

    async def _send(self) -> None:
        while True:
            lane = await self._waiting.get()
            webhook, payload = self._lanes[lane].events.popleft()
            answer = await self._call(lane[0], webhook, payload)
            if answer and answer.verdict is not Verdict.PASS:
                log.warning("event not taken", canary="/".join(lane[0]), problem=answer.message)
            if self._lanes[lane].events:
                self._waiting.put_nowait(lane)
            else:
                del self._lanes[lane]

    async def _call(self, key: Key, webhook: Webhook, payload: Payload) -> HookAnswer | None:
        """What the webhook said. None for a fault of ours, which is no answer of theirs: the next look asks again."""
        try:
            return await self._webhooks.call(webhook, payload)
        except HostRefused as refused:
            log.warning("webhook refused", canary="/".join(key), problem=str(refused))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.warning("webhook cancelled from within", canary="/".join(key), webhook=webhook.name)
        except Exception:
            log.exception("webhook failed", canary="/".join(key), webhook=webhook.name)
        return None
