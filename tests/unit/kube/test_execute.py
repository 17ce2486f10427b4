"""Actions as requests. What the API server makes of them is tried in the lab."""

from typing import Any, cast

from canary.engine.decision import HoldFloor
from canary.kube.cache import Cache
from canary.kube.client import Client
from canary.kube.execute import Executor
from canary.kube.resources import HORIZONTAL_POD_AUTOSCALERS, Resource
from canary.model.autoscaler import parse_autoscaler
from canary.model.template import Json
from tests.manifests import APP, CANARY, NAMESPACE
from tests.simulation import at_once

HPA: Json = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "scaler", "namespace": NAMESPACE, "uid": "hpa-uid", "resourceVersion": "7"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP}, "maxReplicas": 4},
}


class Applies:
    """The API server for somebody who applies: the labels and the behaviour of an HPA are what was applied last."""

    def __init__(self) -> None:
        self.applied: list[Json] = []

    async def apply(self, resource: Resource, namespace: str, body: Json, *, force: bool) -> Json:
        assert resource is HORIZONTAL_POD_AUTOSCALERS
        assert namespace == NAMESPACE
        assert force
        self.applied.append(body)
        version = str(int(HPA["metadata"]["resourceVersion"]) + len(self.applied))
        metadata: dict[str, Any] = {**HPA["metadata"], **body["metadata"], "resourceVersion": version}
        return {**HPA, "metadata": metadata, "spec": {**HPA["spec"], **body.get("spec", {})}}


def do(cache: Cache, server: Applies, action: HoldFloor) -> None:
    at_once(Executor(cast("Client", server), cache, "test").do(action, CANARY, {}))


def knowing(*objects: Json) -> Cache:
    cache = Cache()
    for obj in objects:
        cache.put("HorizontalPodAutoscaler", obj)
    return cache


class TestHoldFloor:
    def test_it_sets_one_field_and_says_for_whom_if_the_hpa_is_as_it_was_seen(self) -> None:
        server = Applies()
        do(knowing(HPA), server, HoldFloor("scaler", held=True))
        (body,) = server.applied
        assert body == {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {**HPA["metadata"], "labels": {"fluxcanary.dev/floor": APP}},
            "spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
        }

    def test_letting_go_applies_nothing(self) -> None:
        server = Applies()
        do(knowing(HPA), server, HoldFloor("scaler", held=False))
        (body,) = server.applied
        assert body["metadata"] == HPA["metadata"]
        assert "spec" not in body

    def test_the_answer_is_known_at_once_and_the_next_write_is_conditioned_on_it(self) -> None:
        server, cache = Applies(), knowing(HPA)
        do(cache, server, HoldFloor("scaler", held=True))
        known = cache.get("HorizontalPodAutoscaler", NAMESPACE, "scaler")
        assert known is not None
        assert parse_autoscaler(known).floor == APP
        do(cache, server, HoldFloor("scaler", held=False))
        assert server.applied[-1]["metadata"]["resourceVersion"] == "8"

    def test_of_an_hpa_that_is_gone_nothing_is_asked(self) -> None:
        server = Applies()
        do(knowing(), server, HoldFloor("scaler", held=True))
        assert server.applied == []
