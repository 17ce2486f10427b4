"""The pods of a canary as they were observed, and why they will not start.

Waiting for the progress deadline tells nobody anything; what the kubelet and the scheduler know is there in seconds.
Reasons are the kubelet's own (pkg/kubelet/images, pkg/kubelet/container) and the scheduler's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from canary.model import names, reasons
from canary.model.duration import parse_time
from canary.model.template import Json

_NO_IMAGE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
"""Not ErrImagePull: the first of them may be a hiccup of the registry; after it the kubelet backs off, and says so."""
_NOT_CREATED = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
"""Ends whose message is of the container runtime. That of any other end is the app's own, and may hold anything."""

_CONFIG_PATIENCE = timedelta(seconds=10)
"""From the pod's creation: Flux may apply a ConfigMap a moment after the Deployment that needs it."""
_QUOTE_LIMIT = 200


@dataclass(frozen=True)
class End:
    """How a container ended."""

    reason: str
    exit_code: int
    message: str


@dataclass(frozen=True)
class Container:
    """A container, init container or sidecar. `waiting` is the reason that it waits for, "" where it does not."""

    name: str
    image: str
    ready: bool
    waiting: str = ""
    message: str = ""
    ended: End | None = None
    """Its last end: the one that it is in, or the one before it was started again."""

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended it for want of memory."""
        return self.ended is not None and self.ended.reason == "OOMKilled"


@dataclass(frozen=True)
class Unscheduled:
    """That the scheduler finds no node for a pod."""

    since: datetime
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod."""

    name: str
    labels: dict[str, str]
    template: str
    """Hash of the held template that it was made from; "" where it does not say."""
    deleting: bool
    created: datetime
    ready: bool
    containers: tuple[Container, ...]
    """In the order in which they start: init containers and sidecars first."""
    unscheduled: Unscheduled | None
    """None as well while other pods are preempted for it."""


@dataclass(frozen=True)
class Problem:
    """Why a pod will not start: a reason of `canary.model.reasons`, and a message for an operator."""

    reason: str
    message: str


@dataclass(frozen=True)
class Startup:
    """How the start of a canary's pods goes. `look_again_at`: when time alone will make a problem of what is seen."""

    problem: Problem | None = None
    look_again_at: datetime | None = None


def why_not_starting(
    pods: Iterable[Pod], template: str, refused: str | None, now: datetime, unschedulable_for: timedelta
) -> Startup:
    """Why the pods of this template will not start, the most telling cause first.

    `refused` is what the API server said when it took none (`Workload.replica_failure`). A pod may find no node for
    `unschedulable_for` before that counts: as long as an autoscaler of nodes needs.
    """
    counted = sorted((pod for pod in pods if _counts(pod, template)), key=lambda pod: pod.name)
    suspicions = [suspicion for pod in counted for suspicion in _of_containers(pod)]
    if refused and (problem := why_refused(refused)):
        suspicions.append((now, problem))
    suspicions += [suspicion for pod in counted for suspicion in _of_scheduling(pod, unschedulable_for)]
    for certain_at, problem in suspicions:
        if certain_at <= now:
            return Startup(problem)
    return Startup(look_again_at=min((certain_at for certain_at, _ in suspicions), default=None))


def why_refused(message: str) -> Problem | None:
    """What the API server said when it took no pod, as a problem.

    None where it could not decide (a webhook that does not answer, a quota not counted yet): it is asked again.
    """
    if "exceeded quota" in message:
        return Problem(reasons.QUOTA_EXCEEDED, f"there is no quota left for the canary's pods: {_quote(message)}")
    undecided = "failed calling webhook" in message or "status unknown for quota" in message
    if undecided or not any(word in message for word in ("forbidden", "denied", "is invalid")):
        return None
    return Problem(reasons.PODS_REFUSED, f"the API server takes none of the canary's pods: {_quote(message)}")


def _counts(pod: Pod, template: str) -> bool:
    return pod.template == template and not pod.deleting and not pod.ready


_Suspicion = tuple[datetime, Problem]
"""A problem, and from when on it is certain."""


def _of_containers(pod: Pod) -> Iterator[_Suspicion]:
    for container in pod.containers:
        if container.ready:
            continue
        if problem := _certain(pod, container):
            yield pod.created, problem
        elif container.waiting in _NOT_CREATED:
            why = f"{container.waiting}: {_quote(container.message)}"
            message = f"{_called(pod, container)} cannot be created: {why}"
            yield pod.created + _CONFIG_PATIENCE, Problem(reasons.CONTAINER_CONFIG, message)


def _certain(pod: Pod, container: Container) -> Problem | None:
    called = _called(pod, container)
    if container.waiting in _NO_IMAGE:
        why = f"{container.waiting}: {_quote(container.message)}"
        return Problem(reasons.IMAGE_PULL_FAILED, f"the image of {called} cannot be pulled: {why}")
    if container.out_of_memory:
        return Problem(reasons.OUT_OF_MEMORY, f"{called} was ended for want of memory (OOMKilled): see its limit")
    if container.waiting == "CrashLoopBackOff":
        return Problem(reasons.CRASH_LOOP, f"{called} ends again and again{_last_end(container.ended)}")
    return None


def _of_scheduling(pod: Pod, unschedulable_for: timedelta) -> Iterator[_Suspicion]:
    if pod.unscheduled:
        message = f"no node takes pod {pod.name}: {_quote(pod.unscheduled.message)}"
        yield pod.unscheduled.since + unschedulable_for, Problem(reasons.UNSCHEDULABLE, message)


def _called(pod: Pod, container: Container) -> str:
    return f"container {container.name} ({container.image}) of pod {pod.name}"


def _last_end(end: End | None) -> str:
    if end is None:
        return ""
    why = f": {_quote(end.message)}" if end.reason in _NOT_STARTED else ""
    return f", last with exit code {end.exit_code} ({end.reason}){why}"


def _quote(message: str) -> str:
    """The beginning of somebody else's message, on one line."""
    line = " ".join(message.split())
    return line if len(line) <= _QUOTE_LIMIT else line[: _QUOTE_LIMIT - 1] + "…"


def parse_pod(obj: Json) -> Pod:
    """A pod as the API server holds it; one that nobody has looked at yet has no status."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    return Pod(
        name=metadata["name"],
        labels=dict(metadata.get("labels") or {}),
        template=(metadata.get("annotations") or {}).get(names.TEMPLATE_ANNOTATION, ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        created=parse_time(metadata["creationTimestamp"]),
        ready=_condition(status, "Ready").get("status") == "True",
        containers=_containers(obj.get("spec") or {}, status),
        unscheduled=_unscheduled(status),
    )


def _containers(spec: Json, status: Json) -> tuple[Container, ...]:
    """The image is that of the spec: the status may name what it was resolved to."""
    asked = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    images = {container["name"]: container["image"] for container in asked}
    seen = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return tuple(_container(each, images.get(each["name"]) or each["image"]) for each in seen)


def _container(status: Json, image: str) -> Container:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    return Container(
        name=status["name"],
        image=image,
        ready=bool(status.get("ready")),
        waiting=waiting.get("reason") or "",
        message=waiting.get("message") or "",
        ended=End(ended.get("reason") or "Error", ended["exitCode"], ended.get("message") or "") if ended else None,
    )


def _unscheduled(status: Json) -> Unscheduled | None:
    """The scheduler's reason is the one that we give it, too. A pod nominated for a node waits for others to go."""
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != reasons.UNSCHEDULABLE:
        return None
    if status.get("nominatedNodeName"):
        return None
    return Unscheduled(parse_time(scheduled["lastTransitionTime"]), scheduled.get("message") or "")


def _condition(status: Json, type_: str) -> Json:
    return next((each for each in status.get("conditions") or () if each["type"] == type_), {})
