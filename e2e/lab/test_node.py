"""What the node agent decides without a cluster; that it runs pods is seen in every test of the lab."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.lab.node.container import Backoff, pauses_seconds
from e2e.lab.node.environment import expand
from e2e.lab.node.fake_pod import READY_DELAY_ANNOTATION, ready_delay_seconds
from e2e.lab.node.images import Images, split_image
from e2e.lab.node.memory import await_excess, resident_bytes
from e2e.lab.node.mounts import plan_mounts
from e2e.lab.node.network import Addresses
from e2e.lab.node.pods import Connect, Exec, HttpGet, Pod, Probe, Sleep, field_value, parse_bytes, parse_pod
from e2e.lab.node.probes import verdicts
from e2e.lab.node.statuses import ContainerState, Ended, PodState, pod_phase, pod_status

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def pod(**spec: Any) -> Pod:
    container = {
        "name": "app",
        "image": "app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http", "path": "ready"}},
    }
    meta = {"namespace": "test", "name": "app-1", "uid": "u1", "labels": {"app": "x"}, "generation": 3}
    return parse_pod({"metadata": meta, "spec": {"containers": [container], **spec}})


def running(*, ready: bool = True) -> PodState:
    container = ContainerState("app", "app:1", waiting=None, running_since=THEN, started=True, ready=ready)
    return PodState([container], [], address="10.244.1.1", start_time=THEN, initialized=True)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(found for found in status["conditions"] if found["type"] == kind)


def test_named_port_of_a_probe_is_resolved() -> None:
    readiness = pod().containers[0].readiness
    assert readiness is not None
    assert readiness.action == HttpGet(host="", port=8080, path="/ready", scheme="http", headers=())


@pytest.mark.parametrize(
    ("hook", "action"),
    [
        ({"exec": {"command": ["sync"]}}, Exec(("sync",))),
        ({"sleep": {"seconds": 3}}, Sleep(3)),
        ({"tcpSocket": {"port": "http"}}, Connect(8080)),
        ({"tcpSocket": {"port": "no-such-name"}}, Connect(0)),
    ],
)
def test_hook_does_what_it_names(hook: dict[str, Any], action: object) -> None:
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}
    stopped = pod(containers=[{**container, "lifecycle": {"preStop": hook}}])
    assert stopped.containers[0].pre_stop == action


def test_condition_keeps_its_time_until_it_changes() -> None:
    before = {"Ready": {"status": "True", "lastTransitionTime": THEN}}

    assert condition(pod_status(pod(), running(), before, NOW), "Ready")["lastTransitionTime"] == THEN
    unready = condition(pod_status(pod(), running(ready=False), before, NOW), "Ready")
    assert (unready["status"], unready["reason"], unready["lastTransitionTime"]) == ("False", "ContainersNotReady", NOW)


def test_terminating_pod_is_not_ready_though_its_containers_are() -> None:
    state = running()
    state.terminating = True
    status = pod_status(pod(), state, {}, NOW)

    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "ContainersReady")["status"] == "True"


def test_closed_readiness_gate_holds_the_pod_back() -> None:
    gated = pod(readinessGates=[{"conditionType": "example.com/gate"}])
    assert condition(pod_status(gated, running(), {}, NOW), "Ready")["reason"] == "ReadinessGatesNotReady"


def test_phase_follows_the_containers() -> None:
    state = running()
    container = state.containers[0]
    assert pod_phase(state) == "Running"

    container.waiting, container.last_end = ("CrashLoopBackOff", ""), Ended(1, THEN, NOW, "id")
    assert pod_phase(state) == "Running"

    container.last_end = None
    assert pod_phase(state) == "Pending"

    container.ended = Ended(0, THEN, NOW, "id")
    assert pod_phase(state) == "Succeeded"


def test_image_is_found_by_name_whatever_its_tag() -> None:
    images = Images({"registry.example:5000/app": {"cwd": "app", "entrypoint": ["./app"]}}, Path("/bin-dir"))

    image = images.pull("registry.example:5000/app:1.2@sha256:abc")
    assert image is not None
    assert (image.cwd, image.tag) == (Path("/bin-dir/app"), "1.2")
    assert images.pull("registry.example:5000/app:missing") is None
    assert images.pull("registry.example:5000/app:1.3-missing") is None
    assert images.pull("other:1") is None
    assert split_image("registry.example:5000/app") == ("registry.example:5000/app", "latest")


def test_variables_are_expanded_as_kubernetes_does() -> None:
    assert expand("$(A) $$(A) $(B) $A", {"A": "1"}) == "1 $(A) $(B) $A"


def test_downward_api_reads_fields_of_the_pod() -> None:
    paths = ["metadata.name", "metadata.labels['app']", "metadata.labels", "status.podIP", "spec.nodeName"]
    assert [field_value(pod(), path, "10.244.1.1") for path in paths] == ["app-1", "x", 'app="x"', "10.244.1.1", ""]


def test_backoff_is_the_kubelets_and_starts_anew_after_a_good_run() -> None:
    backoff = Backoff()
    assert [backoff.pause_seconds(0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [backoff.pause_seconds(601), backoff.pause_seconds(0)] == [0, 10]
    assert list(itertools.islice(pauses_seconds(), 2)) == [10, 20], "a pull begins with a pause"


@pytest.mark.parametrize(
    ("quantity", "count"),
    [("512Mi", 512 << 20), ("1500M", 1_500_000_000), ("64k", 64_000), ("1e9", 10**9), ("4096", 4096), ("2000m", 2)],
)
def test_memory_limit_is_read_in_bytes(quantity: str, count: int) -> None:
    assert parse_bytes(quantity) == count


def test_container_without_a_memory_limit_has_none() -> None:
    assert pod().containers[0].memory_limit_bytes is None


async def test_memory_of_a_process_includes_what_it_started() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], stdin=sys.stdin)"
    hungry = "held = bytearray(60 << 20); print(flush=True); input()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, hungry, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert resident_bytes(process.pid) > 60 << 20
    await await_excess(process.pid, 50 << 20)
    await process.communicate(b"\n")
    assert resident_bytes(process.pid) == 0


def test_end_by_memory_is_named() -> None:
    killed = Ended(137, THEN, NOW, "id", out_of_memory=True)
    assert (killed.as_json()["reason"], killed.as_json()["exitCode"]) == ("OOMKilled", 137)
    assert Ended(137, THEN, NOW, "id").as_json()["reason"] == "Error"


def test_addresses_are_not_used_again_at_once() -> None:
    addresses = Addresses()
    first = addresses.take()
    addresses.give_back(first)

    taken = [addresses.take() for _ in range(300)]
    assert first == "10.244.1.1"
    assert first not in taken
    assert len(set(taken)) == 300
    assert not any(address.endswith((".0", ".255")) for address in taken)


def test_mount_points_are_never_made_on_the_machine(tmp_path: Path) -> None:
    there, missing, source = tmp_path / "there", tmp_path / "some" / "where", tmp_path / "source"
    there.mkdir()
    source.mkdir()

    plan = plan_mounts(
        [(source, there), (source, missing), (source, Path("/no-such-folder"))], [], tmp_path / "scratch"
    )

    overlay, make, *binds = plan.commands
    assert f"overlay {tmp_path} " in overlay
    assert make == f"mkdir -p {missing}"
    assert binds == [f"mount --bind {source} {missing}", f"mount --bind {source} {there}"]
    assert plan.left_out == ("/no-such-folder (no such folder on this machine)",)


def test_mount_that_would_hide_the_image_is_left_out(tmp_path: Path) -> None:
    plan = plan_mounts([(tmp_path, tmp_path)], [tmp_path / "image"], tmp_path / "scratch")
    assert plan.commands == ()
    assert "would hide" in plan.left_out[0]


async def test_probe_needs_its_thresholds() -> None:
    probe = Probe(Exec(("x",)), 0, 0, 1, failure_threshold=2, success_threshold=2)
    answers = iter([False, True, True, False, True, False, False])

    async def check(_: Probe) -> bool:
        return next(answers)

    probing = verdicts(probe, check)
    assert [await anext(probing), await anext(probing)] == [True, False]
    assert list(answers) == []


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [({}, 0.2), ({READY_DELAY_ANNOTATION: "3s"}, 3), ({READY_DELAY_ANNOTATION: "never"}, float("inf"))],
)
def test_fake_pod_is_ready_when_its_annotation_says(asked: dict[str, str], seconds: float) -> None:
    assert ready_delay_seconds(asked) == seconds
