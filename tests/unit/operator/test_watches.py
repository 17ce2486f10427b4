"""From an event to the Canaries it may matter to, and a sweep for what no event said."""

import copy
from pathlib import Path
from typing import Any, ClassVar, cast

import kopf
import pytest
import yaml

from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import CANARIES, CONFIG_MAPS, SECRETS, SERVICES, Resource
from canary.model import names
from canary.model.pod import parse_pod
from canary.model.template import Json
from canary.operator.settings import parse_settings
from canary.operator.watches import keys_of, register, settings, sweep, trim, watched
from tests.manifests import APP, NAMESPACE, canary_object, deployment, endpoint_slice, ingress, service, template
from tests.simulation import at_once

DEPLOY = Path(__file__).parents[3] / "deploy"
WATCHED = watched(secrets=False)
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

    def test_a_pod_of_a_canary_matters_to_it(self, cache: Cache) -> None:
        metadata = {"name": "podinfo-canary-1", "namespace": NAMESPACE, "labels": {names.CANARY_LABEL: APP}}
        assert keys("Pod", {"metadata": metadata}, cache) == {MINE}
        assert keys("Pod", {"metadata": {**metadata, "labels": {}}}, cache) == set()

    @pytest.mark.parametrize(
        ("kind", "obj"),
        [
            ("Service", service()),
            ("Ingress", ingress()),
            ("HorizontalPodAutoscaler", {"metadata": {"name": "podinfo", "namespace": NAMESPACE}}),
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


def configured(kind: str, name: str = "settings", namespace: str = NAMESPACE, **content: Any) -> Json:
    metadata = {"name": name, "namespace": namespace, "uid": f"{name}-uid", "resourceVersion": "7"}
    return {"kind": kind, "metadata": metadata, **content}


def reads(**volume: Any) -> Json:
    pods = template()
    return {**pods, "spec": {**pods["spec"], "volumes": [{"name": "settings", **volume}]}}


class TestKeysOfConfiguration:
    @pytest.fixture
    def cache(self) -> Cache:
        filled = Cache()
        filled.put("Canary", canary_object())
        filled.put("Deployment", deployment(pods=reads(configMap={"name": "settings"})))
        filled.put("Deployment", deployment("vault", pods=reads(secret={"secretName": "settings"}), guard="vault"))
        filled.put("Deployment", deployment("free", pods=reads(configMap={"name": "settings"}), guard=None))
        return filled

    def test_it_matters_to_the_canary_whose_target_reads_it(self, cache: Cache) -> None:
        assert keys("ConfigMap", configured("ConfigMap"), cache) == {MINE}
        assert keys("Secret", configured("Secret"), cache) == {(NAMESPACE, "vault")}

    def test_another_matters_to_nobody(self, cache: Cache) -> None:
        assert keys("ConfigMap", configured("ConfigMap", "leader-election"), cache) == set()

    def test_that_of_another_namespace_matters_to_nobody(self, cache: Cache) -> None:
        assert keys("ConfigMap", configured("ConfigMap", namespace="production"), cache) == set()


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

    def test_of_a_pod_that_stays_which_is_read(self) -> None:
        kept: dict[str, Any] = {
            "metadata": {
                "name": "a",
                "namespace": NAMESPACE,
                "uid": "1",
                "resourceVersion": "7",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "deletionTimestamp": "2026-01-02T03:05:05Z",
                "labels": {names.CANARY_LABEL: APP},
                "annotations": {names.TEMPLATE_ANNOTATION: "0123456789"},
            },
            "spec": {
                "initContainers": [{"name": "migrate", "image": "migrate:1"}],
                "containers": [{"name": APP, "image": "podinfo:1"}],
            },
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{"name": APP, "ready": False, "state": {}}],
                "initContainerStatuses": [{"name": "migrate", "ready": True, "state": {}}],
                "nominatedNodeName": "node-1",
            },
        }
        pod = copy.deepcopy(kept)
        pod["metadata"] |= {"ownerReferences": [{}], "managedFields": [{}], "generateName": "a-"}
        pod["metadata"]["annotations"]["example.com/dropped"] = "1"
        pod["spec"]["containers"][0] |= {"env": [{"name": "PASSWORD", "value": "hunter2"}]}
        pod["spec"]["nodeName"] = "node-1"
        pod["status"]["conditions"].append({"type": "Initialized", "status": "True"})
        pod["status"] |= {"podIP": "10.0.0.1", "qosClass": "Burstable"}
        assert trim("Pod", pod) == {"apiVersion": "v1", "kind": "Pod", **kept}

    def test_a_pod_that_nobody_has_looked_at_is_no_trouble(self) -> None:
        obj = {"metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": {"containers": []}}
        assert parse_pod(trim("Pod", obj)).containers == ()

    def test_of_an_hpa_the_status_goes(self) -> None:
        assert trim("HorizontalPodAutoscaler", {**self.OBJ, "status": {"currentReplicas": 2}}) == {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a", "annotations": {"example.com/kept": "1"}},
            "spec": {"b": 1},
        }


def told(cache: Cache, *events: tuple[str, Json]) -> list[tuple[str, str]]:
    """Who is told, when kopf says these of HPAs."""
    registry, added = kopf.OperatorRegistry(), list[tuple[str, str]]()
    register(registry, cache, added.append, WATCHED)
    handlers = {str(handler.id): handler.fn for handler in registry._watching._handlers}
    for type_, obj in events:
        at_once(cast("Any", handlers["watch-horizontalpodautoscalers"])(event={"type": type_, "object": obj}))
    return added


class TestEvents:
    @staticmethod
    def hpa(version: int, *, replicas: int = 1, floor: int = 1) -> Json:
        metadata = {"name": APP, "namespace": NAMESPACE, "uid": "hpa", "resourceVersion": str(version)}
        return {"metadata": metadata, "spec": {"minReplicas": floor}, "status": {"currentReplicas": replicas}}

    def test_a_change_of_what_nobody_reads_wakes_nobody(self, cache: Cache) -> None:
        assert told(cache, ("ADDED", self.hpa(1)), ("MODIFIED", self.hpa(2, replicas=2))) == [MINE]
        known = cache.get("HorizontalPodAutoscaler", NAMESPACE, APP)
        assert known is not None
        assert known["metadata"]["resourceVersion"] == "2", "writes are conditioned on it"

    def test_a_change_of_what_is_read_does(self, cache: Cache) -> None:
        assert told(cache, ("ADDED", self.hpa(1)), ("MODIFIED", self.hpa(2, floor=2))) == [MINE, MINE]

    def test_so_does_an_end(self, cache: Cache) -> None:
        assert told(cache, ("ADDED", self.hpa(1)), ("DELETED", self.hpa(2))) == [MINE, MINE]
        assert cache.list("HorizontalPodAutoscaler", NAMESPACE) == []


class TestTrimOfConfiguration:
    NOISE: ClassVar[Json] = {"labels": {"password": "hunter2"}, "annotations": {"password": "hunter2"}}

    @pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
    def test_nothing_of_the_content_is_kept(self, kind: str) -> None:
        obj = configured(kind, data={"password": "hunter2"}, binaryData={"more": "hunter2"}, immutable=True)
        kept = trim(kind, {**obj, "metadata": {**obj["metadata"], **self.NOISE}})
        assert "hunter2" not in str(kept)
        assert kept.keys() == {"apiVersion", "kind", "metadata", "digest"}
        assert kept["metadata"] == obj["metadata"]

    def test_of_a_config_map_the_digest_tells_its_content(self) -> None:
        first, second = (trim("ConfigMap", configured("ConfigMap", data={"a": value})) for value in "12")
        assert first["digest"] != second["digest"]
        assert first["digest"] == trim("ConfigMap", configured("ConfigMap", data={"a": "1"}, immutable=True))["digest"]

    def test_of_a_secret_the_digest_tells_nothing_of_its_content(self) -> None:
        first, second = (trim("Secret", configured("Secret", data={"a": value})) for value in "12")
        assert first["digest"] == second["digest"]


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
    at_once(sweep(cast("Client", lists), cache, WATCHED))
    return cache


class TestSweep:
    def test_everything_that_is_watched_is_listed_by_the_same_selector(self) -> None:
        lists = Lists()
        swept(Cache(), lists)
        assert lists.asked == [(resource.plural, selector) for resource, selector in WATCHED.values()]
        assert ("deployments", names.GUARD_LABEL) in lists.asked
        assert ("endpointslices", names.CANARY_LABEL) in lists.asked
        assert ("pods", names.CANARY_LABEL) in lists.asked

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


def listed_by(file: Path) -> set[tuple[str, str]]:
    """Group and plural of what the roles in a manifest allow to list and watch."""
    roles = [each for each in yaml.safe_load_all(file.read_text()) if "rules" in each]
    rules = [rule for role in roles for rule in role["rules"] if {"list", "watch"} <= set(rule["verbs"])]
    return {(group, plural) for rule in rules for group in rule["apiGroups"] for plural in rule["resources"]}


class TestSecrets:
    def test_they_are_left_alone_unless_told_otherwise(self) -> None:
        lists = Lists(**{SECRETS.plural: [configured("Secret")]})
        cache = swept(Cache(), lists)
        assert SECRETS.plural not in {plural for plural, _ in lists.asked}
        assert CONFIG_MAPS.plural in {plural for plural, _ in lists.asked}
        assert cache.list("Secret", NAMESPACE) == []

    def test_told_so_they_are_listed_and_known(self) -> None:
        lists, cache = Lists(**{SECRETS.plural: [configured("Secret", data={"a": "1"})]}), Cache()
        at_once(sweep(cast("Client", lists), cache, watched(secrets=True)))
        assert cache.get("Secret", NAMESPACE, "settings") == trim("Secret", configured("Secret"))

    @pytest.mark.parametrize("secrets", [False, True])
    def test_kopf_watches_what_is_swept(self, *, secrets: bool) -> None:
        registry = kopf.OperatorRegistry()
        register(registry, Cache(), lambda _: None, watched(secrets=secrets))
        handled = {str(handler.id) for handler in registry._watching.get_all_handlers()}
        assert handled == {f"watch-{resource.plural}" for resource, _ in watched(secrets=secrets).values()}
        assert ("watch-secrets" in handled) == secrets

    def test_a_flag_of_the_operator_tells_it(self) -> None:
        assert not parse_settings([]).watch_secrets
        assert parse_settings(["--watch-secrets"]).watch_secrets

    @pytest.mark.parametrize(("files", "secrets"), [(["rbac.yaml"], False), (["rbac.yaml", "secrets/rbac.yaml"], True)])
    def test_what_is_watched_is_what_the_roles_allow(self, files: list[str], *, secrets: bool) -> None:
        allowed = set().union(*(listed_by(DEPLOY / file) for file in files))
        wanted = {(resource.group, resource.plural) for resource, _ in watched(secrets=secrets).values()}
        assert wanted <= allowed
        assert (("", "secrets") in allowed) == secrets

    @pytest.mark.parametrize("resource", [CONFIG_MAPS, SECRETS])
    def test_releases_of_helm_are_not_fetched(self, resource: Resource) -> None:
        selectors = settings(watched(secrets=True)).watching.label_selectors
        assert selectors[resource.group, resource.plural] == "owner!=helm"


def test_kopf_writes_nothing_and_watches_no_more_than_needed() -> None:
    chosen = settings(WATCHED)
    assert chosen.peering.standalone
    assert not chosen.posting.enabled
    assert chosen.watching.label_selectors["apps", "deployments"] == names.GUARD_LABEL
    assert ("", "services") not in chosen.watching.label_selectors
    assert chosen.watching.client_timeout
    assert chosen.watching.server_timeout
    assert chosen.watching.client_timeout > chosen.watching.server_timeout
