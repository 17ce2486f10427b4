"""Pods as the kubelet and the scheduler describe them, and why they will not start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canary.model import names
from canary.model.pod import Startup, parse_pod, why_not_starting, why_refused
from canary.model.template import Json

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IMAGE = "ghcr.io/stefanprodan/podinfo:6.10.1"
HELD = "0123456789"
LONG_AFTER = CREATED + timedelta(minutes=1)

NOT_FOUND = (
    f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack '
    f'image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found'
)
NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims."
RUNNING: Json = {"running": {"startedAt": "2026-01-02T03:04:07Z"}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(reason: str, exit_code: int, message: str = "") -> Json:
    return {"terminated": {"reason": reason, "exitCode": exit_code, "message": message}}


def container(
    state: Json, last: Json | None = None, *, ready: bool = False, name: str = "podinfod", image: str = IMAGE
) -> Json:
    return {"name": name, "ready": ready, "state": state, "lastState": last or {}, "image": image, "restartCount": 0}


def unscheduled(reason: str = "Unschedulable", message: str = NO_ROOM, after_seconds: int = 0) -> Json:
    moment = CREATED + timedelta(seconds=after_seconds)
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": moment.isoformat().replace("+00:00", "Z"),
    }


def pod(
    *containers: Json,
    init: tuple[Json, ...] = (),
    conditions: tuple[Json, ...] = (),
    name: str = "podinfo-canary-7d9f-abcde",
    template: str | None = HELD,
    ready: bool = False,
    deleting: bool = False,
    **status: Any,
) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": "staging",
            "labels": {names.CANARY_LABEL: "podinfo"},
            "annotations": {names.TEMPLATE_ANNOTATION: template} if template else {},
            "creationTimestamp": "2026-01-02T03:04:05Z",
            **({"deletionTimestamp": "2026-01-02T03:05:05Z"} if deleting else {}),
        },
        "spec": {
            "containers": [{"name": "podinfod", "image": IMAGE}],
            "initContainers": [{"name": "migrate", "image": "migrate:1"}],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}, *conditions],
            "initContainerStatuses": list(init),
            "containerStatuses": list(containers),
            **status,
        },
    }


def startup(
    *pods: Json, refused: str | None = None, now: datetime = LONG_AFTER, unschedulable_for: timedelta = timedelta()
) -> Startup:
    return why_not_starting([parse_pod(each) for each in pods], HELD, refused, now, unschedulable_for)


def said(*pods: Json, **options: Any) -> tuple[str, str]:
    problem = startup(*pods, **options).problem
    assert problem is not None, "nothing was found"
    return problem.reason, problem.message


CALLED = f"container podinfod ({IMAGE}) of pod podinfo-canary-7d9f-abcde"

PROBLEMS = {
    "image-not-there": (
        pod(container(waiting("ImagePullBackOff", "Back-off pulling image"))),
        "ImagePullFailed",
        f"the image of {CALLED} cannot be pulled: ImagePullBackOff: Back-off pulling image",
    ),
    "image-name": (
        pod(container(waiting("InvalidImageName", "invalid reference format"))),
        "ImagePullFailed",
        f"the image of {CALLED} cannot be pulled: InvalidImageName: invalid reference format",
    ),
    "image-not-on-the-node": (
        pod(container(waiting("ErrImageNeverPull", "not present with pull policy of Never"))),
        "ImagePullFailed",
        f"the image of {CALLED} cannot be pulled: ErrImageNeverPull: not present with pull policy of Never",
    ),
    "no-registry": (
        pod(container(waiting("RegistryUnavailable", "connection refused"))),
        "ImagePullFailed",
        f"the image of {CALLED} cannot be pulled: RegistryUnavailable: connection refused",
    ),
    "crash-loop": (
        pod(container(waiting("CrashLoopBackOff", "back-off 10s restarting failed container"), ended("Error", 1))),
        "CrashLoop",
        f"{CALLED} ends again and again, last with exit code 1 (Error)",
    ),
    "crash-loop-of-which-no-end-is-known": (
        pod(container(waiting("CrashLoopBackOff"))),
        "CrashLoop",
        f"{CALLED} ends again and again",
    ),
    "no-such-program": (
        pod(
            container(
                waiting("CrashLoopBackOff"),
                ended("StartError", 128, 'exec: "./podinf": no such file or directory'),
            )
        ),
        "CrashLoop",
        (
            f"{CALLED} ends again and again, last with exit code 128 (StartError): "
            'exec: "./podinf": no such file or directory'
        ),
    ),
    "out-of-memory-now": (
        pod(container(ended("OOMKilled", 137))),
        "OutOfMemory",
        f"{CALLED} was ended for want of memory (OOMKilled): see its limit",
    ),
    "out-of-memory-before": (
        pod(container(RUNNING, ended("OOMKilled", 137))),
        "OutOfMemory",
        f"{CALLED} was ended for want of memory (OOMKilled): see its limit",
    ),
    "out-of-memory-again-and-again": (
        pod(container(waiting("CrashLoopBackOff"), ended("OOMKilled", 137))),
        "OutOfMemory",
        f"{CALLED} was ended for want of memory (OOMKilled): see its limit",
    ),
    "no-config-map": (
        pod(container(waiting("CreateContainerConfigError", 'configmap "podinfo" not found'))),
        "ContainerConfigInvalid",
        f'{CALLED} cannot be created: CreateContainerConfigError: configmap "podinfo" not found',
    ),
    "no-command": (
        pod(container(waiting("CreateContainerError", "no command specified"))),
        "ContainerConfigInvalid",
        f"{CALLED} cannot be created: CreateContainerError: no command specified",
    ),
    "not-run": (
        pod(container(waiting("RunContainerError", "exec format error"))),
        "ContainerConfigInvalid",
        f"{CALLED} cannot be created: RunContainerError: exec format error",
    ),
    "no-room": (
        pod(conditions=(unscheduled(),)),
        "Unschedulable",
        f"no node takes pod podinfo-canary-7d9f-abcde: {NO_ROOM}",
    ),
    "init-container": (
        pod(
            container(waiting("PodInitializing")),
            init=(container(waiting("CrashLoopBackOff"), ended("Error", 3), name="migrate", image="sha256:1f"),),
        ),
        "CrashLoop",
        (
            "container migrate (migrate:1) of pod podinfo-canary-7d9f-abcde ends again and again, "
            "last with exit code 3 (Error)"
        ),
    ),
    "sidecar-beside-a-ready-container": (
        pod(
            container(RUNNING, ready=True),
            init=(container(waiting("ImagePullBackOff", "not found"), name="proxy", image="proxy:1"),),
        ),
        "ImagePullFailed",
        (
            "the image of container proxy (proxy:1) of pod podinfo-canary-7d9f-abcde cannot be pulled: "
            "ImagePullBackOff: not found"
        ),
    ),
}


@pytest.mark.parametrize(("found", "reason", "message"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_why_a_pod_will_not_start(found: Json, reason: str, message: str) -> None:
    assert said(found) == (reason, message)


NO_PROBLEMS = {
    "no-status-yet": {**pod(), "status": {}},
    "no-pods-looked-at": pod(),
    "being-created": pod(container(waiting("ContainerCreating"))),
    "waits-for-its-init-containers": pod(
        container(waiting("PodInitializing")), init=(container(RUNNING, name="migrate"),)
    ),
    "first-failed-pull": pod(container(waiting("ErrImagePull", "i/o timeout"))),
    "runs-and-is-not-ready": pod(container(RUNNING)),
    "ended-once": pod(container(ended("Error", 1))),
    "started-again": pod(container(RUNNING, ended("Error", 1))),
    "scheduling-gated": pod(conditions=(unscheduled("SchedulingGated"),)),
    "scheduler-in-trouble": pod(conditions=(unscheduled("SchedulerError"),)),
    "others-are-preempted-for-it": pod(conditions=(unscheduled(),), nominatedNodeName="node-1"),
    "scheduled": pod(conditions=({"type": "PodScheduled", "status": "True"},)),
    "ready-says-the-pod": pod(container(waiting("CrashLoopBackOff")), ready=True),
    "ready-with-a-past": pod(container(RUNNING, ended("OOMKilled", 137), ready=True), ready=True),
    "one-container-is-ready-with-a-past": pod(container(RUNNING, ended("OOMKilled", 137), ready=True)),
    "going-away": pod(container(waiting("ImagePullBackOff")), deleting=True),
    "of-another-template": pod(container(waiting("ImagePullBackOff")), template="another"),
    "of-no-template": pod(container(waiting("ImagePullBackOff")), template=None),
}


@pytest.mark.parametrize("found", NO_PROBLEMS.values(), ids=NO_PROBLEMS.keys())
def test_what_is_no_problem_and_will_not_become_one_by_time(found: Json) -> None:
    assert startup(found) == Startup()


class TestTime:
    def test_what_cannot_be_created_is_given_ten_seconds(self) -> None:
        found = pod(container(waiting("CreateContainerConfigError", 'configmap "podinfo" not found')))
        certain_at = CREATED + timedelta(seconds=10)
        assert startup(found, now=certain_at - timedelta(seconds=1)) == Startup(look_again_at=certain_at)
        assert said(found, now=certain_at)[0] == "ContainerConfigInvalid"

    def test_a_node_is_waited_for_as_long_as_the_user_says(self) -> None:
        found = pod(conditions=(unscheduled(after_seconds=5),))
        patience = timedelta(minutes=3)
        certain_at = CREATED + timedelta(seconds=5) + patience
        assert startup(found, unschedulable_for=patience) == Startup(look_again_at=certain_at)
        assert said(found, unschedulable_for=patience, now=certain_at)[0] == "Unschedulable"

    def test_of_several_the_first_that_is_due_is_when_to_look(self) -> None:
        found = (
            pod(conditions=(unscheduled(),), name="a"),
            pod(container(waiting("CreateContainerError")), name="b"),
        )
        seen = startup(*found, now=CREATED, unschedulable_for=timedelta(minutes=3))
        assert seen == Startup(look_again_at=CREATED + timedelta(seconds=10))

    def test_what_is_certain_does_not_wait_for_what_is_not(self) -> None:
        found = (
            pod(container(waiting("CreateContainerError")), name="a"),
            pod(container(waiting("ImagePullBackOff")), name="b"),
        )
        assert said(*found, now=CREATED)[0] == "ImagePullFailed"


class TestOrder:
    def test_a_fault_of_the_release_tells_more_than_a_lack_of_room(self) -> None:
        found = (
            pod(conditions=(unscheduled(),), name="a"),
            pod(container(waiting("CrashLoopBackOff")), name="b"),
        )
        assert said(*found, refused=QUOTA)[0] == "CrashLoop"
        assert said(found[0], refused=QUOTA)[0] == "QuotaExceeded"

    def test_of_several_pods_the_first_by_name_is_told_of(self) -> None:
        found = [pod(container(waiting("CrashLoopBackOff")), name=name) for name in ("b", "a", "c")]
        assert "of pod a " in said(*found)[1]


class TestMessages:
    def test_of_somebody_elses_only_the_beginning_is_kept_on_one_line(self) -> None:
        _, message = said(pod(container(waiting("ImagePullBackOff", NOT_FOUND.replace(": ", ":\n")))))
        assert "\n" not in message
        assert f'ImagePullBackOff: Back-off pulling image "{IMAGE}": ErrImagePull' in message
        assert len(message.partition("ImagePullBackOff: ")[2]) == 200
        assert message.endswith("…")

    @pytest.mark.parametrize("last", [ended("Error", 1, "password: hunter2"), ended("OOMKilled", 137, "hunter2")])
    def test_what_the_app_wrote_before_its_end_is_not_told(self, last: Json) -> None:
        assert "hunter2" not in said(pod(container(waiting("CrashLoopBackOff"), last)))[1]


QUOTA = (
    'pods "podinfo-canary-7d9f-" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=4, '
    "limited: pods=4"
)


class TestRefused:
    def test_a_quota_is_named(self) -> None:
        assert said(refused=QUOTA) == ("QuotaExceeded", f"there is no quota left for the canary's pods: {QUOTA}")

    @pytest.mark.parametrize(
        "message",
        [
            'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            'pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
            'pods "a" is forbidden: error looking up service account staging/app: serviceaccount "app" not found',
            'admission webhook "policy.example.com" denied the request: image is not signed',
            'Pod "a" is invalid: spec.containers[0].resources.requests: Invalid value: "2Gi"',
        ],
    )
    def test_a_refusal_is_quoted(self, message: str) -> None:
        assert said(refused=message) == (
            "PodsRefused",
            f"the API server takes none of the canary's pods: {message}",
        )

    @pytest.mark.parametrize(
        "message",
        [
            'Internal error occurred: failed calling webhook "policy.example.com": context deadline exceeded',
            'pods "a" is forbidden: status unknown for quota: compute, resources: pods',
            "etcdserver: request timed out",
        ],
    )
    def test_what_the_server_could_not_decide_is_no_refusal(self, message: str) -> None:
        assert why_refused(message) is None
        assert startup(refused=message) == Startup()


def test_what_a_pod_says_of_itself() -> None:
    found = parse_pod(pod(ready=True, deleting=True))
    assert (found.name, found.template, found.created) == ("podinfo-canary-7d9f-abcde", HELD, CREATED)
    assert found.labels == {names.CANARY_LABEL: "podinfo"}
    assert found.ready
    assert found.deleting
