"""From the cache, and a read where the cache cannot know, to a World."""

from typing import Any, ClassVar, cast

from canary.engine.world import Finding, Member, ObjectRef, World
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, Resource
from canary.model import names, reasons
from canary.model.configuration import ConfigRef
from canary.model.share import Share
from canary.model.spec import CanarySpec
from canary.model.status import Phase, Status, Trial, dump_status
from canary.model.template import Json
from canary.model.traffic import Traffic
from canary.model.workload import Workload
from canary.operator.observe import Observer, Surroundings
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


def observed(canary: Json, *objects: Json, reads: Reads | None = None, hosts: tuple[str, ...] = ()) -> World:
    cache = filled(canary, *objects)
    client = cast("Client", reads or Reads())
    return at_once(Observer(client, cache, IngressNginx(), Surroundings("me", hosts)).world(canary, START))


def only(world: World) -> Member:
    """The one target."""
    (member,) = world.members
    return member


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
        status = Status(phase=Phase.FAILED, trial=(Trial(APP, "0123456789"),), started_at=START)
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
        assert only(world).stable is not None, "it must be given back all the same"

    def test_a_canary_without_a_spec_has_no_target(self) -> None:
        world = observed({key: value for key, value in canary_object().items() if key != "spec"})
        assert isinstance(world.spec, Finding)
        assert world.members == ()


class TestTarget:
    def test_a_guarded_one_is_known_without_a_read(self) -> None:
        reads = Reads()
        world = observed(canary_object(), deployment(), reads=reads)
        assert only(world).stable == Workload(deployment())
        assert reads.asked == []

    def test_one_that_is_not_guarded_yet_is_read(self) -> None:
        reads = Reads(deployment(guard=None))
        world = observed(canary_object(), reads=reads)
        assert only(world).stable == Workload(deployment(guard=None))
        assert reads.asked == [APP]

    def test_one_that_does_not_exist_is_none_and_its_traffic_a_finding(self) -> None:
        world = observed(canary_object())
        assert only(world).stable is None
        traffic = only(world).traffic
        assert isinstance(traffic, Finding)
        assert traffic.reason == reasons.TARGET_NOT_FOUND
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
        twin = canary_workload(Workload(self.TARGET)).manifest
        world = observed(canary_object(), self.TARGET, twin)
        assert only(world).canary == Workload(twin)

    def test_a_twin_of_somebody_else_is_not_ours(self) -> None:
        for twin in (deployment(TWIN), ours(deployment(TWIN), of="another")):
            world = observed(canary_object(), self.TARGET, twin)
            assert only(world).canary is None
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
        assert observed(
            canary_object(), self.TARGET, ours(ingress(TWIN, annotations=annotations))
        ).route.share == Share(20)

    def test_the_traffic_of_stable_is_found(self) -> None:
        traffic = only(observed(canary_object(), self.TARGET)).traffic
        assert isinstance(traffic, Traffic)
        assert [backend.service for backend in traffic.backends] == [APP]


def named(world: World) -> str | None:
    """The rival's name, as the message says it."""
    if world.rival is None:
        return None
    assert world.rival.reason == reasons.TARGET_IN_USE
    assert world.rival.message.startswith("spec.targets[0].name: Canary ")
    assert world.rival.message.endswith(" has Deployment podinfo already")
    return world.rival.message.split()[2]


class TestRival:
    LATER = "2026-01-02T03:04:06Z"
    EARLIER = "2026-01-02T03:04:04Z"

    def rival(self, *others: Json) -> str | None:
        return named(observed(canary_object("mine"), deployment(), *others))

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
        assert named(observed(second, deployment(), first)) == "a"

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
    assert only(world).replica_sets is None
    assert world.alerts is None
    assert world.answers == {}
    assert world.evidence is None
    assert world.samples is None
    assert world.refused is None


class TestSets:
    TWO: ClassVar[Json] = {"targets": [{"name": APP}, {"name": "backend"}]}
    FLUX: ClassVar[Json] = {names.FLUX_KUSTOMIZE_NAME: "apps", names.FLUX_KUSTOMIZE_NAMESPACE: "flux-system"}
    KUSTOMIZATION: ClassVar[Json] = {
        "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "flux-system", "uid": "u", "resourceVersion": "7"},
        "status": {
            "lastAttemptedRevision": "main@sha1:4c1ca09",
            "inventory": {
                "entries": [
                    {"id": f"{NAMESPACE}_{APP}_apps_Deployment", "v": "v1"},
                    {"id": f"{NAMESPACE}_backend_apps_Deployment", "v": "v1"},
                    {"id": f"{NAMESPACE}_gone_apps_Deployment", "v": "v1"},
                ]
            },
        },
    }

    def test_each_target_is_a_member_in_the_order_of_the_spec(self) -> None:
        world = observed(canary_object(**self.TWO), deployment(), reads=Reads(deployment("backend", guard=None)))
        assert [(member.name, member.exists) for member in world.members] == [(APP, True), ("backend", True)]

    def test_each_has_its_own_canary(self) -> None:
        backend = Workload(deployment("backend"))
        world = observed(canary_object(**self.TWO), deployment(), backend.manifest, canary_workload(backend).manifest)
        assert [member.canary and member.canary.name for member in world.members] == [None, "backend-canary"]

    def test_one_that_rides_along_does_not_hide_the_traffic_of_the_others(self) -> None:
        labels = {"app": "backend"}
        worker = deployment("backend", pods={"metadata": {"labels": labels}}, selector={"matchLabels": labels})
        world = observed(
            canary_object(**self.TWO, analysis=TestQueries.ANALYSIS), deployment(), worker, TestQueries.TEMPLATE
        )
        assert [member.rides_along for member in world.members] == [False, True]
        assert world.queries == {"mine": 'max(busy{service="podinfo"})'}

    def test_a_deployment_held_for_the_canary_that_is_no_target_any_more_is_a_former_one(self) -> None:
        former, others = deployment("former"), deployment("others", guard="another")
        world = observed(canary_object(), deployment(), former, others)
        assert world.former == (Workload(former),)

    def test_the_twin_of_a_target_is_no_former_one(self) -> None:
        twin = canary_workload(Workload(deployment())).manifest
        assert observed(canary_object(), deployment(), twin).former == ()

    def test_a_release_is_what_the_same_flux_objects_apply(self) -> None:
        mine = deployment(labels=self.FLUX)
        reads = Reads(deployment("backend", guard=None, labels=self.FLUX))
        world = observed(canary_object(scope="Release"), mine, self.KUSTOMIZATION, reads=reads)
        assert [member.name for member in world.members] == [APP, "backend"]
        assert world.members[1].target.path == "spec.scope: the release"

    def test_what_is_named_alone_is_not_widened(self) -> None:
        mine = deployment(labels=self.FLUX)
        assert [m.name for m in observed(canary_object(), mine, self.KUSTOMIZATION).members] == [APP]

    def test_a_rival_of_any_target_is_one(self) -> None:
        older = canary_object("older", target="backend", metadata={"creationTimestamp": TestRival.EARLIER})
        rival = observed(canary_object("mine", **self.TWO), deployment(), older).rival
        assert rival is not None
        assert rival.message == "spec.targets[1].name: Canary older has Deployment backend already"


class TestAround:
    def test_commands_are_read_from_the_annotations(self) -> None:
        marks = {"fluxcanary.dev/abort": "1", "fluxcanary.dev/pause": "", "fluxcanary.dev/other": "2"}
        canary = observed(canary_object(metadata={"annotations": marks}), deployment()).canary
        assert canary.commands == {"abort": "1"}

    def test_a_webhook_to_a_host_that_is_not_allowed_is_a_finding_that_names_it(self) -> None:
        hooks = [{"name": "gate", "type": "confirm-rollout", "url": "http://evil.example/"}]
        refused = observed(canary_object(webhooks=hooks), deployment()).webhooks
        assert refused is not None
        assert refused.reason == reasons.WEBHOOK_REFUSED
        assert refused.message.startswith("spec.webhooks[0].url: ")
        assert observed(canary_object(webhooks=hooks), deployment(), hosts=("evil.example",)).webhooks is None

    def test_the_pods_of_the_canary_alone_are_seen(self) -> None:
        twin = canary_workload(Workload(deployment())).manifest
        mine = pod("mine", twin["spec"]["template"]["metadata"]["labels"])
        stables = pod("stable", {"app": APP})
        world = observed(canary_object(), deployment(), twin, mine, stables)
        assert [found.name for found in only(world).pods] == ["mine"]

    def test_the_autoscaler_of_each_target_and_whom_it_is_held_for(self) -> None:
        world = observed(canary_object(), deployment(), autoscaler(APP, floor=APP), autoscaler("other", floor="other"))
        found = only(world).autoscaler
        assert found is not None
        assert (found.name, world.floors) == (APP, (APP,))

    def test_configuration_that_the_template_names_is_known_by_its_version(self) -> None:
        container = {"name": "a", "image": "a", "envFrom": [{"configMapRef": {"name": "settings"}}]}
        template = {"metadata": {"labels": {"app": APP}}, "spec": {"containers": [container]}}
        named, other = config_map("settings", "1"), config_map("other", "2")
        world = observed(canary_object(), deployment(pods=template), named, other)
        assert world.configuration == {ConfigRef("ConfigMap", "settings"): "1"}


def pod(name: str, labels: dict[str, str]) -> Json:
    made = {"namespace": NAMESPACE, "uid": f"{name}-uid", "resourceVersion": "7"}
    metadata = {**made, "name": name, "labels": labels, "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {"kind": "Pod", "metadata": metadata, "status": {}}


def autoscaler(name: str, floor: str) -> Json:
    """An HPA of the Deployment of its name, kept from shrinking it for a Canary."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"{name}-hpa", "resourceVersion": "7"}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {**metadata, "labels": {names.FLOOR_LABEL: floor}},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}},
    }


def config_map(name: str, digest: str) -> Json:
    """As the cache holds it, without its content."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"{name}-map", "resourceVersion": "7"}
    return {"kind": "ConfigMap", "metadata": metadata, "digest": digest}
