"""The lab itself: what the other tests stand on, and that nothing of it stays behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e.lab import folder, ready, reference
from e2e.lab.errors import CommandFailed, LabError, PartFailed, TimedOut
from e2e.lab.hooks import Hooks
from e2e.lab.lab import Lab
from e2e.lab.process import CHECKOUT
from e2e.lab.reference import HOSTS, Reference

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="a cluster was named, the lab is not used"),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test-lab") as running:
        yield running


@pytest.fixture(scope="module")
def staging(lab: Lab) -> Reference:
    scenario = Reference(lab, ["staging"])
    scenario.install()
    scenario.wait()
    return scenario


def get(lab: Lab, host: str, path: str = "/") -> tuple[int, str]:
    """One request through ingress-nginx: its status and body."""
    address = urllib.parse.urlsplit(lab.ingress_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def rollout(lab: Lab, environment: str = "staging") -> None:
    lab.kubectl("rollout", "status", "deployment/podinfo", f"--namespace={environment}", "--timeout=60s")


HOOK_CALL = """
apiVersion: v1
kind: Pod
metadata: {name: caller, namespace: default}
spec:
  restartPolicy: Never
  containers:
  - {name: caller, image: ghcr.io/stefanprodan/podinfo:1, command: [podcli, check, http, "%s"]}
"""


def test_a_pod_reaches_a_webhook_of_the_test(lab: Lab) -> None:
    with Hooks() as hooks:
        lab.apply(HOOK_CALL % hooks.url("/gate"))
        hooks.await_request("/gate", 20)
        lab.wait_for(lambda: lab.get("pod", "caller")["status"]["phase"] == "Succeeded", 20, "the caller's end")


def test_a_push_is_applied_by_flux_and_served_through_the_ingress(lab: Lab, staging: Reference) -> None:
    staging.push(reference.good(1))
    lab.wait_for(lambda: "release 1" in json.dumps(staging.deployment()), 20, "the push to be applied")
    rollout(lab)
    lab.wait_for(lambda: "release 1" in get(lab, HOSTS["staging"])[1], 20, "the new version to answer")


@pytest.mark.usefixtures("staging")
def test_flux_acts_as_the_tenant(lab: Lab) -> None:
    tenant = "system:serviceaccount:flux-system:staging-flux"
    written = [entry for entry in lab.audit(user=tenant) if entry.verb == "patch" and entry.resource == "deployments"]
    assert written
    assert {entry.namespace for entry in written} == {"staging"}
    assert {entry.impersonator for entry in written} == {"system:serviceaccount:flux-system:kustomize-controller"}


def test_a_failing_release_fails_a_third_of_its_requests_and_stays_ready(lab: Lab, staging: Reference) -> None:
    staging.push(reference.failing(2))
    lab.wait_for(lambda: "release 2" in json.dumps(staging.deployment()), 20, "the push to be applied")
    rollout(lab)
    lab.wait_for(
        lambda: not any("release 1" in get(lab, HOSTS["staging"])[1] for _ in range(50)), 20, "release 1 to go"
    )
    failed = sum(get(lab, HOSTS["staging"])[0] == 500 for _ in range(600))
    # 600 draws at 1/3: 200 on average with a standard deviation of 11.5
    assert 130 < failed < 270
    assert staging.deployment()["status"]["readyReplicas"] == 2


@pytest.mark.usefixtures("staging")
def test_prometheus_counts_what_ingress_nginx_serves(lab: Lab) -> None:
    get(lab, HOSTS["staging"])
    query = urllib.parse.quote('nginx_ingress_controller_requests{namespace="staging"}')

    def counted() -> bool:
        address = urllib.parse.urlsplit(lab.prometheus_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
        connection.request("GET", f"/api/v1/query?query={query}")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return bool(answer["data"]["result"])

    lab.wait_for(counted, 20, "a counter of requests")


@pytest.mark.usefixtures("staging")
def test_ingress_nginx_answers_again_after_a_restart(lab: Lab) -> None:
    lab.restart("ingress-nginx")
    lab.wait_for(lambda: get(lab, HOSTS["staging"])[0] != 503, 20, "an answer")


def test_a_crash_of_the_api_server_loses_nothing(lab: Lab) -> None:
    lab.kubectl("create", "configmap", "before-the-crash")
    lab.processes["kube-apiserver"].kill()
    with pytest.raises(CommandFailed):
        lab.kubectl("get", "configmap", "before-the-crash")
    lab.restart("kube-apiserver")
    assert lab.get("configmap", "before-the-crash")["metadata"]["name"] == "before-the-crash"


def test_mutating_admission_policies_are_served(lab: Lab) -> None:
    served = lab.kubectl("api-resources", "--api-group=admissionregistration.k8s.io", "--output=name").split()
    assert "mutatingadmissionpolicies.admissionregistration.k8s.io" in served


def test_rbac_holds_for_service_accounts(lab: Lab) -> None:
    config = lab.kubeconfig_for("system:serviceaccount:default:default")
    who = lab.kubectl("auth", "whoami", f"--kubeconfig={config}", "--output=jsonpath={.status.userInfo.username}")
    assert who == "system:serviceaccount:default:default"
    with pytest.raises(CommandFailed, match="forbidden"):
        lab.kubectl("get", "secrets", f"--kubeconfig={config}")


def test_an_unknown_user_is_refused_by_name(lab: Lab) -> None:
    with pytest.raises(LabError, match="nobody"):
        lab.kubeconfig_for("nobody")


def test_the_audit_log_counts_each_request_once(lab: Lab) -> None:
    since = datetime.now(UTC)
    with pytest.raises(CommandFailed):
        lab.kubectl("get", "configmap", "no-such")
    entries = [entry for entry in lab.audit(since, user="admin") if entry.name == "no-such"]
    assert [(entry.verb, entry.resource, entry.code) for entry in entries] == [("get", "configmaps", 404)]


def test_a_wait_says_what_it_waited_for(lab: Lab) -> None:
    with pytest.raises(TimedOut, match=r"the moon.*no-such"):
        lab.wait_for(lambda: lab.kubectl("get", "configmap", "no-such"), 0.2, "the moon")


def test_a_program_that_ends_is_named_with_its_last_words(lab: Lab) -> None:
    process = lab.run(["sh", "-c", "echo out of cheese >&2; exit 3"], name="shell")
    with pytest.raises(PartFailed, match=r"shell: ended with 3[\s\S]*out of cheese"):
        ready.await_part(process, lambda: False)


def test_labs_run_side_by_side_and_leave_nothing(lab: Lab) -> None:
    with small_lab("test-beside") as other:
        other.kubectl("create", "namespace", "only-here")
        assert "only-here" not in lab.kubectl("get", "namespaces", "--output=name")
        place, first = other.folder, other.processes["kube-apiserver"].pid
    assert not place.exists()
    assert not Path(f"/proc/{first}").exists()
    assert lab.kubectl("get", "namespaces")


def test_nothing_stays_when_the_maker_is_killed() -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKER], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    assert maker.stdout is not None
    with maker.stdout:
        place = Path(maker.stdout.readline().strip())
    assert processes_of(place)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    ready.wait_for(lambda: not processes_of(place), 10, f"the processes of {place} to end")
    assert not folder.is_up(place)
    folder.sweep()
    assert not place.exists()


MAKER = """
import time
from e2e.lab.lab import Lab
with Lab("test-killed", flux=False, prometheus=False) as lab:
    print(lab.folder, flush=True)
    time.sleep(600)
"""


def small_lab(name: str) -> Lab:
    return Lab(name, node=None, flux=False, ingress=False, prometheus=False)


def processes_of(place: Path) -> list[str]:
    """Command lines of processes that name a lab's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(place) in command:
            found.append(command)
    return found


def test_the_app_is_edited_as_a_developer_would() -> None:
    lines = ["image: ghcr.io/stefanprodan/podinfo:6.9.2", "        - ./podinfo", "        - --random-error=false", ""]
    edited = reference.failing(7, share=0.5).edit("\n".join(lines))
    assert "podinfo:6.10.7\n" in edited
    assert "- ./unreliable\n        - --fail-share=0.5\n" in edited
    assert edited.endswith('- --random-error=false\n        - "--ui-message=release 7"\n')
