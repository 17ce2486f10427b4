"""From the cache, and a read where the cache cannot know, to a World."""

from typing import Any, ClassVar, cast

from canary.engine.world import Finding, ObjectRef, World
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, Resource
from canary.model import names, reasons
from canary.model.spec import CanarySpec
from canary.model.status import Phase, Status, dump_status
from canary.model.template import Json
from canary.model.traffic import Traffic
from canary.operator.observe import Observer
from canary.routing.ingress_nginx import IngressNginx
from tests.manifests import (
    APP,
    NAMESPACE,
    START,
    canary_object,
    canary_workload,
    deployment,
    endpoint_slice,
    ingress,
    service,
)
from tests.simulation import at_once

TWIN = "podinfo-canary"


class Reads:
    """The API server for somebody who reads Deployments one at a time."""

    def __init__(self, *deployments: Json) -> None:
        self.deployments = {obj["metadata"]["name"]: obj for obj in deployments}
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        assert (resource, namespace) == (DEPLOYMENTS, NAMESPACE)
        self.asked.append(name)
        if name not in self.deployments:
            raise NotFound(404, f"no Deployment {name}")
        return self.deployments[name]


def ours(obj: Json, of: str = APP, **metadata: Any) -> Json:
    """An object of a Canary."""
    labels = {**obj["metadata"].get("labels", {}), names.CANARY_LABEL: of}
    return {**obj, "metadata": {**obj["metadata"], "labels": labels, **metadata}}


def filled(*objects: Json) -> Cache:
    cache = Cache()
    for obj in (service(), ingress(), *objects):
        cache.put(obj.get("kind", "EndpointSlice"), obj)
    return cache


def observed(canary: Json, *objects: Json, reads: Reads | None = None) -> World:
    cache = filled(canary, *objects)
    client = cast("Client", reads or Reads())
    return at_once(Observer(client, cache, IngressNginx(), "me").world(canary, START))


class TestIdentity:
    def test_is_what_the_object_says(self) -> None:
        canary = observed(canary_object(metadata={"generation": 4}), deployment()).canary
        assert (canary.namespace, canary.name, canary.uid, canary.generation) == (
            NAMESPACE,
            APP,
            "podinfo-canary-uid",
            4,
        )
        assert not canary.deleting
        assert not canary.finalized

    def test_knows_our_finalizer_among_others_and_the_deletion(self) -> None:
        marks = {"finalizers": ["example.com/other", names.FINALIZER], "deletionTimestamp": "2026-01-02T03:04:05Z"}
        canary = observed(canary_object(metadata=marks), deployment()).canary
        assert canary.finalized
        assert canary.deleting

    def test_the_finalizer_of_others_is_not_ours(self) -> None:
        assert not observed(canary_object(metadata={"finalizers": ["example.com/other"]})).canary.finalized


class TestSpecAndStatus:
    def test_they_are_parsed(self) -> None:
        status = Status(phase=Phase.FAILED, template="0123456789", started_at=START)
        world = observed({**canary_object(suspend=True), "status": dump_status(status)}, deployment())
        assert isinstance(world.spec, CanarySpec)
        assert world.spec.suspend
        assert world.status == status
        assert world.now == START

    def test_a_spec_that_is_not_understood_is_a_finding_that_names_the_field(self) -> None:
        world = observed(canary_object(steps=[{"weight": 101}]), deployment())
        assert isinstance(world.spec, Finding)
        assert world.spec.reason == reasons.INVALID_SPEC
        assert world.spec.message.startswith("spec.steps[0].weight: ")
        assert world.target is not None, "it must be given back all the same"

    def test_a_canary_without_a_spec_has_no_target(self) -> None:
        world = observed({key: value for key, value in canary_object().items() if key != "spec"})
        assert isinstance(world.spec, Finding)
        assert world.target is None
        assert world.workload is None


class TestTarget:
    def test_a_guarded_one_is_known_without_a_read(self) -> None:
        reads = Reads()
        world = observed(canary_object(), deployment(), reads=reads)
        assert world.target is not None
        assert world.target.name == APP
        assert reads.asked == []

    def test_one_that_is_not_guarded_yet_is_read(self) -> None:
        reads = Reads(deployment(guard=None))
        world = observed(canary_object(), reads=reads)
        assert world.target is not None
        assert world.target.guard is None
        assert reads.asked == [APP]

    def test_one_that_does_not_exist_is_none_and_its_traffic_a_finding(self) -> None:
        world = observed(canary_object())
        assert world.target is None
        assert isinstance(world.traffic, Finding)
        assert world.traffic.reason == reasons.TARGET_NOT_FOUND
        assert world.owner is None

    def test_its_flux_owner_is_found(self) -> None:
        labels = {names.FLUX_KUSTOMIZE_NAME: "apps", names.FLUX_KUSTOMIZE_NAMESPACE: "flux-system"}
        flux = {
            "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system", "uid": "u", "resourceVersion": "7"},
            "status": {"lastAttemptedRevision": "main@sha1:4c1ca09"},
        }
        owner = observed(canary_object(), deployment(labels=labels), flux).owner
        assert owner is not None
        assert owner.revision == "main@sha1:4c1ca09"


class TestQueries:
    TEMPLATE: ClassVar[Json] = {
        "kind": "MetricTemplate",
        "metadata": {"name": "saturation", "namespace": NAMESPACE, "uid": "t", "resourceVersion": "1"},
        "spec": {"query": 'max(busy{service="{{ service }}"})'},
    }
    ANALYSIS: ClassVar[Json] = {
        "metrics": [{"name": "mine", "templateRef": {"name": "saturation"}, "thresholdRange": {"max": 1}}]
    }

    def test_they_are_written_from_the_template_and_the_traffic_found(self) -> None:
        world = observed(canary_object(analysis=self.ANALYSIS), deployment(), self.TEMPLATE)
        assert world.queries == {"mine": 'max(busy{service="podinfo"})'}

    def test_a_template_of_another_namespace_is_none(self) -> None:
        elsewhere = {**self.TEMPLATE, "metadata": {**self.TEMPLATE["metadata"], "namespace": "production"}}
        world = observed(canary_object(analysis=self.ANALYSIS), deployment(), elsewhere)
        assert isinstance(world.queries, Finding)
        assert world.queries.reason == reasons.METRIC_TEMPLATE_NOT_FOUND

    def test_there_are_none_before_spec_and_traffic_are_known(self) -> None:
        assert observed(canary_object(steps="no"), deployment()).queries == {}
        assert observed(canary_object(analysis=self.ANALYSIS)).queries == {}


class TestOurObjects:
    TARGET = deployment()

    def test_the_canary_is_the_twin_that_bears_our_label(self) -> None:
        twin = canary_workload(observed(canary_object(), self.TARGET).target).manifest  # type: ignore[arg-type]
        world = observed(canary_object(), self.TARGET, twin)
        assert world.workload is not None
        assert world.workload.name == TWIN

    def test_a_twin_of_somebody_else_is_not_ours(self) -> None:
        for twin in (deployment(TWIN), ours(deployment(TWIN), of="another")):
            world = observed(canary_object(), self.TARGET, twin)
            assert world.workload is None
            assert world.copies == ()

    def test_copies_come_in_the_order_in_which_they_may_go(self) -> None:
        copies = (ours(deployment(TWIN)), ours(service(TWIN)), ours(ingress(TWIN)))
        assert observed(canary_object(), self.TARGET, *copies).copies == (
            ObjectRef("Ingress", TWIN),
            ObjectRef("Service", TWIN),
            ObjectRef("Deployment", TWIN),
        )

    def test_one_on_its_way_out_is_seen_as_that(self) -> None:
        going = ours(service(TWIN), deletionTimestamp="2026-01-02T03:04:05Z")
        assert observed(canary_object(), self.TARGET, going).copies == (ObjectRef("Service", TWIN, deleting=True),)

    def test_they_are_found_without_a_target(self) -> None:
        assert observed(canary_object(), ours(ingress(TWIN))).copies == (ObjectRef("Ingress", TWIN),)

    def test_an_endpoint_slice_is_no_copy_for_it_goes_with_its_service(self) -> None:
        assert observed(canary_object(), self.TARGET, endpoint_slice(TWIN)).copies == ()

    def test_those_of_another_namespace_are_not_seen(self) -> None:
        elsewhere = ours(ingress(TWIN), namespace="production")
        assert observed(canary_object(), self.TARGET, elsewhere).copies == ()

    def test_the_route_is_read_from_the_cluster(self) -> None:
        annotations = {names.NGINX_CANARY: "true", names.NGINX_CANARY_WEIGHT: "20"}
        assert observed(canary_object(), self.TARGET, ours(ingress(TWIN, annotations=annotations))).route.weight == 20

    def test_the_traffic_of_stable_is_found(self) -> None:
        traffic = observed(canary_object(), self.TARGET).traffic
        assert isinstance(traffic, Traffic)
        assert [backend.service for backend in traffic.backends] == [APP]


class TestRival:
    LATER = "2026-01-02T03:04:06Z"
    EARLIER = "2026-01-02T03:04:04Z"

    def rival(self, *others: Json) -> str | None:
        return observed(canary_object("mine"), deployment(), *others).rival

    def test_an_older_canary_of_the_same_target(self) -> None:
        assert self.rival(canary_object("older", metadata={"creationTimestamp": self.EARLIER})) == "older"

    def test_the_oldest_of_several(self) -> None:
        older = canary_object("older", metadata={"creationTimestamp": self.EARLIER})
        oldest = canary_object("oldest", metadata={"creationTimestamp": "2025-01-01T00:00:00Z"})
        assert self.rival(older, oldest) == "oldest"

    def test_a_younger_one_is_none(self) -> None:
        assert self.rival(canary_object("younger", metadata={"creationTimestamp": self.LATER})) is None

    def test_of_two_made_in_one_second_the_name_decides_and_both_agree(self) -> None:
        first, second = canary_object("a"), canary_object("b")
        assert observed(first, deployment(), second).rival is None
        assert observed(second, deployment(), first).rival == "a"

    def test_one_of_another_target_or_namespace_is_none(self) -> None:
        other = canary_object("other", target="other", metadata={"creationTimestamp": self.EARLIER})
        away = canary_object("away", metadata={"creationTimestamp": self.EARLIER, "namespace": "production"})
        assert self.rival(other, away) is None

    def test_the_canary_itself_is_none(self) -> None:
        assert self.rival() is None


def test_a_missing_guard_is_seen() -> None:
    guard = observed(canary_object(), deployment()).guard
    assert guard is not None
    assert guard.reason == reasons.GUARD_MISSING


def test_what_is_asked_for_later_is_not_there_yet() -> None:
    world = observed(canary_object(), deployment())
    assert world.replica_sets is None
    assert world.samples is None
    assert world.refused is None
