"""Pods without processes, for measuring how many rollouts an operator can bear.

Two annotations of a pod say what it plays; another value takes effect at once:

    lab.fluxcanary.dev/ready-delay: 3s | 0.5s | never    how long it takes to become ready (0.2s)
    lab.fluxcanary.dev/waiting: ImagePullBackOff         its containers wait, for this reason
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from e2e.lab.node.pod_agent import PodAgent
from e2e.lab.node.pods import Pod
from e2e.lab.node.statuses import Ended

READY_DELAY_ANNOTATION = "lab.fluxcanary.dev/ready-delay"
WAITING_ANNOTATION = "lab.fluxcanary.dev/waiting"
_READY_DELAY_SECONDS = 0.2


class FakePod(PodAgent):
    """A pod without processes."""

    def update(self, pod: Pod) -> None:
        """Take note of a change, above all of the annotations."""
        before = _asked(self.pod)
        super().update(pod)
        if _asked(pod) != before and not self.state.terminating:
            self._life.cancel()
            self._life = self.machine.spawn(self._live(), f"life of {pod.path}")

    async def _live(self) -> None:
        """Be as the annotations say."""
        self.state.address = self.state.address or self.machine.addresses.take()
        self.state.initialized = True
        for init in self.state.init_containers:
            init.ended = Ended(0, self.state.start_time, self.state.start_time, f"fake://{init.name}")
        waiting = self.pod.annotations.get(WAITING_ANNOTATION)
        delay_seconds = ready_delay_seconds(self.pod.annotations)
        self._show(waiting, ready=delay_seconds == 0)
        if waiting is None and delay_seconds:
            await asyncio.sleep(delay_seconds)
            self._show(waiting, ready=True)

    def _show(self, waiting: str | None, *, ready: bool) -> None:
        """Bring all containers into one state: they wait for a reason, or run."""
        for container in self.state.containers:
            container.waiting = (waiting, "") if waiting is not None else None
            container.running_since = self.state.start_time
            container.container_id = f"fake://{self.pod.uid}-{container.name}"
            container.started = waiting is None
            container.ready = waiting is None and ready
        self.changed()

    async def _stop(self, grace_seconds: float) -> None:
        """Nothing runs."""

    async def _clear(self) -> None:
        if self.state.address:
            self.machine.addresses.give_back(self.state.address)


def _asked(pod: Pod) -> tuple[str | None, str | None]:
    return pod.annotations.get(WAITING_ANNOTATION), pod.annotations.get(READY_DELAY_ANNOTATION)


def ready_delay_seconds(annotations: Mapping[str, str]) -> float:
    """How long a fake pod takes to become ready; infinity for `never`."""
    asked = annotations.get(READY_DELAY_ANNOTATION)
    if asked is None:
        return _READY_DELAY_SECONDS
    return float("inf") if asked == "never" else float(asked.removesuffix("s"))
