"""From an event to the Canaries it may matter to, and a sweep for what no event said."""

from typing import Any, ClassVar, cast

import pytest

from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import CANARIES, SERVICES, Resource
from canary.model import names
from canary.model.template import Json
from canary.operator.watches import WATCHED, keys_of, settings, sweep, trim
from tests.manifests import APP, NAMESPACE, canary_object, deployment, endpoint_slice, ingress, service
from tests.simulation import at_once

MINE = (NAMESPACE, APP)
ELSEWHERE = ("production", APP)


@pytest.fixture
def cache() -> Cache:
    filled = Cache()
    filled.put("Canary", canary_object())
    filled.put("Canary", canary_object(metadata={"namespace": "production", "uid": "other"}))
    return filled


def keys(kind: str, obj: Json, cache: Cache) -> set[tuple[str, str]]:
    return set(keys_of(kind, obj, cache))


class TestKeys:
    def test_a_guarded_deployment_matters_to_the_canary_of_its_label(self, cache: Cache) -> None:
        assert keys("Deployment", deployment("anything"), cache) == {MINE}

    def test_a_deployment_without_the_label_matters_to_nobody(self, cache: Cache) -> None:
        assert keys("Deployment", deployment(guard=None), cache) == set()

    def test_an_endpoint_slice_of_a_canarys_service_matters_to_it(self, cache: Cache) -> None:
        assert keys("EndpointSlice", endpoint_slice("podinfo-canary"), cache) == {MINE}
        assert keys("EndpointSlice", service(), cache) == set()

    @pytest.mark.parametrize(
        ("kind", "obj"),
        [
            ("Service", service()),
            ("Ingress", ingress()),
            ("Canary", canary_object()),
            ("MetricTemplate", {"metadata": {"name": "queue-length", "namespace": NAMESPACE}}),
        ],
    )
    def test_what_any_may_depend_on_matters_to_all_in_its_namespace(self, kind: str, obj: Json, cache: Cache) -> None:
        assert keys(kind, obj, cache) == {MINE}

    def test_the_guard_matters_to_all(self, cache: Cache) -> None:
        assert keys("MutatingAdmissionPolicy", {"metadata": {"name": "fluxcanary-guard"}}, cache) == {MINE, ELSEWHERE}

    def test_a_kustomization_matters_to_the_canaries_of_what_it_applies(self, cache: Cache) -> None:
        labels = {names.FLUX_KUSTOMIZE_NAME: "apps", names.FLUX_KUSTOMIZE_NAMESPACE: "flux-system"}
        cache.put("Deployment", deployment(labels=labels))
        cache.put("Deployment", deployment("unguarded", labels=labels, guard=None))
        cache.put("Deployment", deployment("other"))
        assert keys("Kustomization", {"metadata": {"name": "apps", "namespace": "flux-system"}}, cache) == {MINE}
        assert keys("Kustomization", {"metadata": {"name": "apps", "namespace": "other"}}, cache) == set()


class TestTrim:
    OBJ: ClassVar[dict[str, Any]] = {
        "metadata": {
            "name": "a",
            "managedFields": [{"manager": "x"}],
            "annotations": {names.LAST_APPLIED: "{}", "example.com/kept": "1"},
        },
        "spec": {"b": 1},
    }

    def test_bookkeeping_goes_and_the_rest_stays(self) -> None:
        assert trim("Service", self.OBJ) == {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "a", "annotations": {"example.com/kept": "1"}},
            "spec": {"b": 1},
        }

    def test_the_kind_is_said_for_items_of_a_list_do_not_say_it(self) -> None:
        assert trim("Ingress", {"metadata": {"name": "a"}}) == {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "a"},
        }

    def test_the_event_itself_stays_as_it_is(self) -> None:
        trim("Service", self.OBJ)
        assert "managedFields" in self.OBJ["metadata"]
        assert names.LAST_APPLIED in self.OBJ["metadata"]["annotations"]


class Lists:
    """The API server for somebody who lists everything."""

    def __init__(self, **objects: list[Json]) -> None:
        self.objects = objects
        self.asked: list[tuple[str, str]] = []

    async def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[Json]:
        assert namespace is None
        self.asked.append((resource.plural, selector))
        if resource.plural not in self.objects:
            raise NotFound(404, "no such kind")
        return self.objects[resource.plural]


def swept(cache: Cache, lists: Lists) -> Cache:
    at_once(sweep(cast("Client", lists), cache))
    return cache


class TestSweep:
    def test_everything_that_is_watched_is_listed_by_the_same_selector(self) -> None:
        lists = Lists()
        swept(Cache(), lists)
        assert lists.asked == [(resource.plural, selector) for resource, selector in WATCHED.values()]
        assert ("deployments", names.GUARD_LABEL) in lists.asked
        assert ("endpointslices", names.CANARY_LABEL) in lists.asked

    def test_what_is_there_is_known_after_it(self) -> None:
        cache = swept(Cache(), Lists(**{SERVICES.plural: [service()], CANARIES.plural: [canary_object()]}))
        assert cache.get("Service", NAMESPACE, APP) == service()
        assert cache.get("Canary", NAMESPACE, APP) == canary_object()

    def test_what_went_unseen_is_forgotten(self, cache: Cache) -> None:
        cache.put("Service", service("ghost"))
        swept(cache, Lists(**{SERVICES.plural: [service()], CANARIES.plural: [canary_object()]}))
        assert cache.get("Service", NAMESPACE, "ghost") is None
        assert [each["metadata"]["namespace"] for each in cache.everywhere("Canary")] == [NAMESPACE]

    def test_of_an_object_made_anew_unseen_the_new_one_is_known(self) -> None:
        cache = Cache()
        cache.put("Service", service())
        anew = service()
        anew["metadata"] |= {"uid": "second", "resourceVersion": "12"}
        swept(cache, Lists(**{SERVICES.plural: [anew]}))
        found = cache.get("Service", NAMESPACE, APP)
        assert found is not None
        assert found["metadata"]["uid"] == "second"

    def test_a_kind_that_is_not_installed_is_no_failure(self) -> None:
        cache = Cache()
        cache.put("Kustomization", {"metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1"}})
        swept(cache, Lists())
        assert cache.list("Kustomization", "b") == []


def test_kopf_writes_nothing_and_watches_no_more_than_needed() -> None:
    chosen = settings()
    assert chosen.peering.standalone
    assert not chosen.posting.enabled
    assert chosen.watching.label_selectors["apps", "deployments"] == names.GUARD_LABEL
    assert ("", "services") not in chosen.watching.label_selectors
    assert chosen.watching.client_timeout
    assert chosen.watching.server_timeout
    assert chosen.watching.client_timeout > chosen.watching.server_timeout
