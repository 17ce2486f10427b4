"""Statuses: what containers and pods do at the moment, and how a kubelet says so in a Pod's `status`.

Rules: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/. Nothing in here asks or waits for anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2e.lab.node.images import split_image
from e2e.lab.node.objects import NODE_ADDRESS, Json
from e2e.lab.node.pods import Container, Pod


@dataclass(frozen=True)
class Ended:
    """The end of a container's process, in the words of a container status."""

    exit_code: int
    started_at: str
    finished_at: str
    container_id: str
    out_of_memory: bool = False

    def as_json(self) -> Json:
        """The `terminated` of a container state."""
        reason = "OOMKilled" if self.out_of_memory else "Error"
        return {
            "exitCode": self.exit_code,
            "reason": reason if self.exit_code else "Completed",
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "containerID": self.container_id,
        }


@dataclass
class ContainerState:
    """What a container does at the moment: it waits (for a reason), runs, or has ended for good."""

    name: str
    image: str
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    """Reason and message."""
    running_since: str = ""
    ended: Ended | None = None
    last_end: Ended | None = None
    """The end of the run before this one."""
    container_id: str = ""
    restarts: int = 0
    started: bool = False
    ready: bool = False

    @classmethod
    def of(cls, container: Container) -> ContainerState:
        """The state that every container begins with."""
        return cls(container.name, container.image)

    def as_json(self) -> Json:
        """The entry in containerStatuses."""
        status: Json = {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self._state(),
            "lastState": {"terminated": self.last_end.as_json()} if self.last_end else {},
        }
        if self.container_id:
            digest = hashlib.sha256(self.image.encode()).hexdigest()
            status |= {"containerID": self.container_id, "imageID": f"{split_image(self.image)[0]}@sha256:{digest}"}
        return status

    def _state(self) -> Json:
        if self.ended is not None:
            return {"terminated": self.ended.as_json()}
        if self.waiting is not None:
            reason, message = self.waiting
            return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}
        return {"running": {"startedAt": self.running_since}}


@dataclass
class PodState:
    """What a pod does at the moment."""

    containers: list[ContainerState]
    init_containers: list[ContainerState]
    address: str = ""
    start_time: str = ""
    initialized: bool = False
    terminating: bool = False


def pod_phase(state: PodState) -> str:
    """The phase, by the kubelet's rules."""
    containers = state.containers
    if any(init.ended and init.ended.exit_code for init in state.init_containers):
        return "Failed"
    ends = [container.ended for container in containers if container.ended]
    if len(ends) == len(containers):
        return "Failed" if any(end.exit_code for end in ends) else "Succeeded"
    never_ran = any(container.waiting and not container.last_end for container in containers)
    return "Pending" if never_ran or not state.initialized else "Running"


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds; the reason and message are reported only where it does not."""

    holds: bool
    reason: str = ""
    message: str = ""


def pod_conditions(pod: Pod, state: PodState, phase: str) -> dict[str, Verdict]:
    """The conditions that a kubelet keeps, by their types."""
    pending = [init.name for init in state.init_containers if not (init.ended and init.ended.exit_code == 0)]
    not_initialized = f"containers with incomplete status: {_names(pending)}"
    containers_ready = _containers_ready(state, phase)
    return {
        "PodReadyToStartContainers": Verdict(bool(state.address)),
        "Initialized": Verdict(state.initialized, "ContainersNotInitialized", not_initialized),
        "ContainersReady": containers_ready,
        "Ready": _ready(pod, state, containers_ready),
    }


def _containers_ready(state: PodState, phase: str) -> Verdict:
    if phase in ("Succeeded", "Failed"):
        return Verdict(False, "PodCompleted" if phase == "Succeeded" else "PodFailed")
    unready = [container.name for container in state.containers if not container.ready]
    return Verdict(not unready, "ContainersNotReady", f"containers with unready status: {_names(unready)}")


def _ready(pod: Pod, state: PodState, containers_ready: Verdict) -> Verdict:
    """Ready: its containers are, its gates are open, and nobody has deleted it."""
    closed = [gate for gate in pod.readiness_gates if pod.conditions.get(gate, {}).get("status") != "True"]
    if state.terminating:
        return Verdict(False, "PodTerminating")
    if containers_ready.holds and closed:
        return Verdict(False, "ReadinessGatesNotReady", f"closed readiness gates: {_names(closed)}")
    return containers_ready


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def pod_status(pod: Pod, state: PodState, previous: Mapping[str, Json], now: str) -> Json:
    """The status to report, as a strategic merge patch.

    `previous` are the conditions reported before, by their types: those that did not change keep their time.
    """
    phase = pod_phase(state)
    verdicts = pod_conditions(pod, state, phase)
    status: Json = {
        "phase": phase,
        "conditions": [_condition(kind, verdict, previous.get(kind, {}), now) for kind, verdict in verdicts.items()],
        "containerStatuses": [container.as_json() for container in state.containers],
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "startTime": state.start_time,
        "observedGeneration": pod.raw["metadata"].get("generation", 1),
    }
    if state.init_containers:
        status["initContainerStatuses"] = [init.as_json() for init in state.init_containers]
    if state.address:
        # The list is merged by address; an agent that was started again gives the pod a new one.
        status |= {"podIP": state.address, "podIPs": [{"$patch": "replace"}, {"ip": state.address}]}
    return status


def _condition(kind: str, verdict: Verdict, previous: Json, now: str) -> Json:
    """One condition; None takes away the reason and the message of before."""
    status = "True" if verdict.holds else "False"
    return {
        "type": kind,
        "status": status,
        "reason": None if verdict.holds else verdict.reason or None,
        "message": None if verdict.holds else verdict.message or None,
        "lastTransitionTime": previous.get("lastTransitionTime", now) if previous.get("status") == status else now,
    }
