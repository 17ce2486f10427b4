"""Room for a canary's pods: what keeps them from starting is named, and stable's HPA is kept from shrinking it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from canary.engine.decision import HoldFloor
from canary.engine.world import Identity
from canary.kube.cache import Cache
from canary.kube.client import Client, Conflict
from canary.kube.execute import Executor
from canary.model import reasons
from canary.model.autoscaler import may_hold, parse_autoscaler
from canary.model.pod import Startup, parse_pod, why_not_starting
from canary.model.workload import Workload
from canary.operator.watches import sweep, watched
from e2e.installation import NAMESPACE as OPERATOR
from e2e.installation import ROOT, USER
from e2e.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

NAMESPACE = "capacity"
CANARY = Identity(NAMESPACE, "podinfo", uid="canary-uid", generation=1, finalized=True)
POLICIES = [{"type": "Pods", "value": 2, "periodSeconds": 30}]
MAX = {"scaleDown": {"selectPolicy": "Max", "stabilizationWindowSeconds": 120, "policies": POLICIES}}
MIN = {"scaleDown": {**MAX["scaleDown"], "selectPolicy": "Min"}}

FLUX = """
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: capacity, namespace: flux-system}
spec: {interval: 10m, url: %(url)s, ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: capacity, namespace: flux-system}
spec: {interval: 10m, path: ./, prune: true, sourceRef: {kind: GitRepository, name: capacity}}
"""


def manifest(name: str, behavior: dict[str, Any] | None, version: str = "v2") -> str:
    """An HPA as its owner writes it. YAML contains JSON."""
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 2,
        "maxReplicas": 4,
        **({} if behavior is None else {"behavior": behavior}),
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps(
        {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}
    )


@dataclass
class Capacity:
    """What the operator does to HPAs and sees of pods, under the operator's rights."""

    lab: Lab
    kubeconfig: str

    def hpa(self, name: str) -> dict[str, Any]:
        """An HPA as the API server has it."""
        return self.lab.get("hpa", name, f"--namespace={NAMESPACE}", "--show-managed-fields")

    def hold(self, name: str, *, seen: dict[str, Any] | None = None) -> None:
        """Hold the floor of an HPA, of which this was seen last: what there is now, unless it is said."""
        self._do(HoldFloor(name, held=True), seen or self.hpa(name))

    def release(self, name: str) -> None:
        """Let an HPA shrink its Deployment again."""
        self._do(HoldFloor(name, held=False), self.hpa(name))

    def startup(self, namespace: str) -> Startup:
        """How the start of the canary's pods goes, as the operator sees it at the first look."""
        cache = asyncio.run(self._look())
        target = cache.get("Deployment", namespace, "app-canary")
        refused = Workload(target).replica_failure if target else None
        pods = [parse_pod(obj) for obj in cache.list("Pod", namespace)]
        return why_not_starting(pods, "0123456789", refused, datetime.now(UTC), timedelta())

    async def _look(self) -> Cache:
        cache = Cache()
        async with self._api() as api:
            await sweep(Client(api), cache, watched(secrets=False))
        return cache

    def _do(self, action: HoldFloor, seen: dict[str, Any]) -> None:
        asyncio.run(self._act(action, seen))

    async def _act(self, action: HoldFloor, seen: dict[str, Any]) -> None:
        cache = Cache()
        cache.put("HorizontalPodAutoscaler", seen)
        async with self._api() as api:
            await Executor(Client(api), cache, "e2e").do(action, CANARY, {})

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[ApiClient]:
        configuration = Configuration()
        load = config.load_kube_config(config_file=self.kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        await load
        async with ApiClient(configuration) as api:
            yield api


@pytest.fixture(scope="module")
def capacity() -> Iterator[Capacity]:
    """A lab with Flux, the operator's rights, and no operator."""
    with Lab(f"capacity-{os.getpid()}", node=None, ingress=False, prometheus=False) as lab:
        lab.kubectl("create", "namespace", OPERATOR)
        lab.kubectl("create", "namespace", NAMESPACE)
        lab.apply(ROOT / "deploy" / "rbac.yaml")
        yield Capacity(lab, str(lab.kubeconfig_for(USER)))


def held(hpa: dict[str, Any]) -> tuple[str | None, str | None]:
    """For whom, and by what."""
    found = parse_autoscaler(hpa)
    return found.floor, found.scale_down


OWNERS = {
    "server-side": ("--server-side", "--field-manager=kustomize-controller", "--force-conflicts"),
    "client-side": (),
}
BEHAVIORS: dict[str, dict[str, Any] | None] = {
    "no-behavior": None,
    "empty": {},
    "max": MAX,
    "policies": {"scaleDown": {"policies": POLICIES}},
    "scale-up": {"scaleUp": {"stabilizationWindowSeconds": 7}},
}


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_an_hpa_is_given_back_as_it_was_whoever_applied_it_and_again_meanwhile(
    capacity: Capacity, behavior: str, owner: str
) -> None:
    name = f"{owner}-{behavior}"
    applied = manifest(name, BEHAVIORS[behavior])
    capacity.lab.kubectl("apply", *OWNERS[owner], "-f", "-", input=applied)
    before = capacity.hpa(name)
    assert may_hold(parse_autoscaler(before))
    capacity.hold(name)
    assert held(capacity.hpa(name)) == ("podinfo", "Disabled")
    capacity.lab.kubectl("apply", *OWNERS[owner], "-f", "-", input=applied)
    again = capacity.hpa(name)
    assert held(again) == ("podinfo", "Max" if behavior == "max" else "Disabled")
    if may_hold(parse_autoscaler(again)):
        capacity.hold(name)
    capacity.release(name)
    after = capacity.hpa(name)
    assert after["spec"] == before["spec"]
    assert "labels" not in after["metadata"]
    assert "fluxcanary" not in {entry["manager"] for entry in after["metadata"]["managedFields"]}


def test_an_hpa_of_the_older_api_is_given_back_as_it_was(capacity: Capacity) -> None:
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("older", None, "v1"))
    before = capacity.hpa("older")
    capacity.hold("older")
    assert held(capacity.hpa("older")) == ("podinfo", "Disabled")
    capacity.release("older")
    assert capacity.hpa("older")["spec"] == before["spec"]


def test_flux_takes_back_what_its_manifest_sets_once_each_time_it_applies(capacity: Capacity) -> None:
    lab = capacity.lab
    lab.git.create("capacity", {"hpa.yaml": manifest("flux", MAX)})
    lab.apply(FLUX % {"url": lab.git.url("capacity")})
    lab.wait_for(lambda: "flux" in lab.kubectl("get", "hpa", "-n", NAMESPACE, "-o=name"), 60, "Flux to apply the HPA")
    before = capacity.hpa("flux")
    capacity.hold("flux")
    for _ in range(2):
        lab.reconcile("kustomization", "capacity")
        lab.wait_for(lambda: held(capacity.hpa("flux")) == ("podinfo", "Max"), 30, "Flux to set what its manifest says")
        capacity.hold("flux")
    capacity.release("flux")
    assert capacity.hpa("flux")["spec"] == before["spec"]
    released = capacity.hpa("flux")["metadata"]["resourceVersion"]
    lab.reconcile("kustomization", "capacity")
    lab.wait_for(lambda: flux_ready(lab), 30, "Flux to be ready")
    assert capacity.hpa("flux")["metadata"]["resourceVersion"] == released, "nothing was left for Flux to mend"


def flux_ready(lab: Lab) -> bool:
    """Whether the Kustomization is ready, and not at work."""
    conditions = lab.get("kustomization", "capacity", "-n=flux-system")["status"]["conditions"]
    return [(each["type"], each["status"]) for each in conditions] == [("Ready", "True")]


def test_what_its_owner_chose_before_the_watch_said_so_is_left_alone(capacity: Capacity) -> None:
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("race", MAX))
    seen = capacity.hpa("race")
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("race", MIN))
    with pytest.raises(Conflict):
        capacity.hold("race", seen=seen)
    assert held(capacity.hpa("race")) == (None, "Min")
    assert not may_hold(parse_autoscaler(capacity.hpa("race")))


def test_what_its_owner_chooses_while_it_is_held_stays(capacity: Capacity) -> None:
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("chosen", MAX))
    capacity.hold("chosen")
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("chosen", MIN))
    assert held(capacity.hpa("chosen")) == ("podinfo", "Min")
    capacity.release("chosen")
    assert held(capacity.hpa("chosen")) == (None, "Min")


def test_an_hpa_that_vanished_is_not_made_again(capacity: Capacity) -> None:
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("gone", None))
    seen = capacity.hpa("gone")
    capacity.lab.kubectl("delete", "hpa", "gone", f"--namespace={NAMESPACE}")
    with pytest.raises(Conflict):
        capacity.hold("gone", seen=seen)
    capacity.lab.kubectl("apply", "-f", "-", input=manifest("gone", None))
    with pytest.raises(Conflict):
        capacity.hold("gone", seen=seen)
    assert held(capacity.hpa("gone")) == (None, None)


DEPLOYMENT = """
apiVersion: v1
kind: Namespace
metadata: {name: %(namespace)s, labels: %(labels)s}
---
%(obstacle)s
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app-canary, namespace: %(namespace)s, labels: {fluxcanary.dev/guard: app}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app-canary}}
  template:
    metadata:
      labels: {app: app-canary, fluxcanary.dev/canary: app}
      annotations: {fluxcanary.dev/template: "0123456789"}
    spec:
      containers: [{name: app, image: "podinfo:1", resources: {limits: {memory: 2Mi}}}]
      %(spec)s
"""
QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata: {name: compute, namespace: quota}
spec: {hard: {pods: "0"}}
"""
LIMITS = """
apiVersion: v1
kind: LimitRange
metadata: {name: small, namespace: limits}
spec: {limits: [{type: Container, max: {memory: 1Mi}}]}
"""
OBSTACLES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "quota": ({"obstacle": QUOTA}, reasons.QUOTA_EXCEEDED, "limited: pods=0", "the quota"),
    "limits": ({"obstacle": LIMITS}, reasons.PODS_REFUSED, "maximum memory usage per Container is 1Mi", "the limit"),
    "restricted": (
        {"labels": "{pod-security.kubernetes.io/enforce: restricted}"},
        reasons.PODS_REFUSED,
        'violates PodSecurity "restricted:latest"',
        "Pod Security",
    ),
    "accountless": ({"spec": "serviceAccountName: gone"}, reasons.PODS_REFUSED, '"gone" not found', "the account"),
    "full": ({}, reasons.UNSCHEDULABLE, "no node takes pod app-canary-", "the scheduler"),
}
"""By namespace: what is in the way, the reason that is found, and words of the message."""


@pytest.mark.parametrize("namespace", OBSTACLES)
def test_what_is_in_the_way_of_a_canarys_pods_is_said_in_seconds(capacity: Capacity, namespace: str) -> None:
    obstacle, reason, words, what = OBSTACLES[namespace]
    blanks = {"namespace": namespace, "labels": "{}", "obstacle": "", "spec": ""}
    capacity.lab.apply(DEPLOYMENT % {**blanks, **obstacle})
    problem = capacity.lab.wait_for(lambda: capacity.startup(namespace).problem, 20, f"{what} to be named")
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.message
