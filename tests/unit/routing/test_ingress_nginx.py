"""ingress-nginx: what is found, what is written, what is read back."""

from datetime import timedelta
from typing import Any

import pytest

from canary.engine.snapshot import canary_service
from canary.engine.world import Finding
from canary.model import names, reasons
from canary.model.duration import format_time
from canary.model.spec import Target
from canary.model.template import Json
from canary.model.traffic import Backend, Traffic
from canary.model.workload import Workload
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from tests.manifests import APP, CANARY, START, deployment, endpoint_slice, ingress, path, service

ROUTER = IngressNginx()
TARGET = Workload(deployment())
TWIN = "podinfo-canary"
GONE = Finding(reasons.NO_INGRESS, "gone")


def network(*ingresses: Json, services: tuple[Json, ...] = (service(),), slices: tuple[Json, ...] = ()) -> Network:
    return Network(services, ingresses, slices)


def discover(at: Network, *named: str) -> Traffic | Finding:
    return ROUTER.discover(at, Target(APP, named), TARGET)


def found(at: Network, *named: str) -> Traffic:
    traffic = discover(at, *named)
    assert isinstance(traffic, Traffic), traffic
    return traffic


def assert_finding(at: Network, reason: str, *parts: str, named: tuple[str, ...] = ()) -> None:
    finding = discover(at, *named)
    assert isinstance(finding, Finding)
    assert finding.reason == reason
    for part in parts:
        assert part in finding.message


def live(manifest: Json) -> Json:
    """As the API server gives back what was applied."""
    metadata = {"uid": "u", "resourceVersion": "9", "creationTimestamp": format_time(START), **manifest["metadata"]}
    return {**manifest, "metadata": metadata}


def routed(at: Network, weight: int = 10, **ingress_annotations: Any) -> tuple[Json, ...]:
    return tuple(live(route) for route in ROUTER.routes(at, CANARY, found(at), weight, START))


class TestDiscover:
    def test_services_by_their_selector_and_ingresses_by_those_services(self) -> None:
        traffic = found(network(ingress()))
        assert traffic.backends == (Backend("podinfo", "podinfo", "9898"),)
        assert [each["metadata"]["name"] for each in traffic.services] == ["podinfo"]
        assert traffic.selector_keys == {"app"}

    def test_a_port_by_its_name(self) -> None:
        (backend,) = found(network(ingress("podinfo", path(port="http")))).backends
        assert backend == Backend("podinfo", "podinfo", "http")
        assert backend.canary_service == TWIN

    def test_services_of_other_pods_and_without_a_selector_are_not_ours(self) -> None:
        others = (
            service("other", {"app": "other"}),
            service("manual", {}),
            service("stricter", {"app": APP, "x": "y"}),
        )
        at = network(ingress(), ingress("other", path("other"), path("manual", "/m")), services=(service(), *others))
        traffic = found(at)
        assert [each["metadata"]["name"] for each in traffic.services] == ["podinfo"]
        assert {backend.ingress for backend in traffic.backends} == {"podinfo"}

    def test_the_keys_of_every_selecting_service_matter_though_no_ingress_leads_there(self) -> None:
        target = Workload(deployment(pods={"metadata": {"labels": {"app": APP, "tier": "web"}}}))
        headless = service("headless", {"tier": "web"})
        at = network(ingress(), services=(service(), headless))
        traffic = ROUTER.discover(at, Target(APP), target)
        assert isinstance(traffic, Traffic)
        assert traffic.selector_keys == {"app", "tier"}
        assert [each["metadata"]["name"] for each in traffic.services] == ["podinfo"]

    def test_several_ingresses_and_paths_each_once(self) -> None:
        public = ingress("public", path(at="/"), path(at="/api"), path("other", at="/other"))
        internal = ingress("internal", path(port="http"), host="internal.example")
        assert found(network(public, internal)).backends == (
            Backend("public", "podinfo", "9898"),
            Backend("internal", "podinfo", "http"),
        )

    def test_names_in_the_spec_narrow_the_ingresses(self) -> None:
        at = network(ingress("public"), ingress("internal", host="internal.example", class_name="other"))
        assert [backend.ingress for backend in found(at, "public").backends] == ["public"]

    def test_the_class_of_the_reference_scenario_field_and_annotation_together(self) -> None:
        both = ingress("podinfo-ingress", class_name="nginx", annotations={names.LEGACY_INGRESS_CLASS: "nginx"})
        assert [backend.ingress for backend in found(network(both)).backends] == ["podinfo-ingress"]

    def test_the_class_by_the_old_annotation_alone(self) -> None:
        old = ingress(class_name=None, annotations={names.LEGACY_INGRESS_CLASS: "nginx"})
        assert found(network(old)).backends

    def test_the_class_of_the_settings(self) -> None:
        at = network(ingress(class_name="public"))
        assert isinstance(IngressNginx("public").discover(at, Target(APP), TARGET), Traffic)

    def test_our_own_routes_and_services_are_never_stables(self) -> None:
        at = network(ingress())
        twin = canary_service(service(), CANARY, frozenset())
        ours = network(ingress(), *routed(at), services=(service(), twin))
        assert found(ours) == found(at)

    def test_an_ingress_without_rules_or_with_another_kind_of_backend_leads_nowhere(self) -> None:
        resource = {"path": "/r", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}
        bare = ingress("bare")
        del bare["spec"]["rules"]
        hostless = ingress("hostless")
        hostless["spec"]["rules"] = [{"host": "only.example"}]
        at = network(ingress("podinfo", path(), resource), bare, hostless)
        assert {backend.ingress for backend in found(at).backends} == {"podinfo"}


class TestWhatCannotBeSplit:
    def test_no_service(self) -> None:
        assert_finding(network(ingress(), services=()), reasons.NO_SERVICE, "podinfo")
        assert_finding(network(ingress(), services=(service("other", {"app": "other"}),)), reasons.NO_SERVICE)

    def test_no_ingress(self) -> None:
        assert_finding(network(), reasons.NO_INGRESS, "podinfo")
        assert_finding(network(ingress("other", path("other"))), reasons.NO_INGRESS)

    def test_an_ingress_named_in_the_spec_that_is_not_there(self) -> None:
        at = network(ingress())
        assert_finding(at, reasons.NO_INGRESS, "spec.targets[0].ingresses: ", "'missing'", named=("podinfo", "missing"))

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (ingress(class_name="traefik"), "'traefik'"),
            (ingress(class_name=None), "'none'"),
            (ingress(class_name=None, annotations={names.LEGACY_INGRESS_CLASS: "haproxy"}), "'haproxy'"),
            (ingress(class_name="traefik", annotations={names.LEGACY_INGRESS_CLASS: "nginx"}), "'traefik'"),
        ],
    )
    def test_another_class(self, other: Json, said: str) -> None:
        assert_finding(network(other), reasons.UNSUPPORTED_INGRESS, "Ingress podinfo has class", said, "'nginx'")

    def test_somebody_elses_canary_on_the_same_host_and_path(self) -> None:
        theirs = ingress("theirs", path("other"), annotations={names.NGINX_CANARY: "true"})
        assert_finding(network(ingress(), theirs), reasons.CONFLICTING_CANARY, "Ingress theirs", "Ingress podinfo")

    @pytest.mark.parametrize(
        "elsewhere",
        [
            ingress("theirs", path("other"), host="another.example", annotations={names.NGINX_CANARY: "true"}),
            ingress("theirs", path("other", at="/api"), annotations={names.NGINX_CANARY: "true"}),
            ingress("theirs", path("other"), annotations={names.NGINX_CANARY: "false"}),
        ],
        ids=["host", "path", "not-a-canary"],
    )
    def test_a_canary_elsewhere_does_not_matter(self, elsewhere: Json) -> None:
        assert found(network(ingress(), elsewhere)).backends == (Backend("podinfo", "podinfo", "9898"),)

    def test_somebody_elses_canary_of_our_service_is_not_taken_for_stable(self) -> None:
        theirs = ingress("theirs", path(at="/elsewhere"), annotations={names.NGINX_CANARY: "true"})
        assert {backend.ingress for backend in found(network(ingress(), theirs)).backends} == {"podinfo"}


class TestRoutes:
    def test_a_canary_ingress_beside_stables(self) -> None:
        at = network(ingress(annotations={"nginx.ingress.kubernetes.io/proxy-body-size": "1m"}))
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert route["metadata"]["name"] == TWIN
        assert route["metadata"]["namespace"] == "staging"
        assert route["metadata"]["labels"] == {names.CANARY_LABEL: APP, names.MANAGED_BY_LABEL: "fluxcanary"}
        assert route["metadata"]["annotations"] == {
            "nginx.ingress.kubernetes.io/canary": "true",
            "nginx.ingress.kubernetes.io/canary-weight": "10",
            names.WEIGHT_SINCE: "2026-01-02T03:04:05.000Z",
            "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
        }
        assert route["metadata"]["ownerReferences"][0]["uid"] == CANARY.uid
        assert route["spec"] == {
            "ingressClassName": "nginx",
            "rules": [{"host": "podinfo.example", "http": {"paths": [path(TWIN)]}}],
        }

    def test_only_paths_of_ours(self) -> None:
        at = network(ingress("podinfo", path(at="/"), path("other", at="/other"), path(at="/api", port="http")))
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert route["spec"]["rules"][0]["http"]["paths"] == [path(TWIN), path(TWIN, "/api", "http")]

    def test_only_hosts_of_ours(self) -> None:
        both = ingress()
        both["spec"]["rules"].append({"host": "other.example", "http": {"paths": [path("other")]}})
        at = network(both)
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert [rule["host"] for rule in route["spec"]["rules"]] == ["podinfo.example"]

    def test_a_rule_for_every_host_has_none(self) -> None:
        at = network(ingress(host=None))
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert "host" not in route["spec"]["rules"][0]

    def test_neither_tls_nor_other_annotations_are_copied(self) -> None:
        stable = ingress(annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/", "cert-manager.io/issuer": "a"})
        stable["spec"]["tls"] = [{"hosts": ["podinfo.example"], "secretName": "tls"}]
        at = network(stable)
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert set(route["spec"]) == {"ingressClassName", "rules"}
        assert not any("cert-manager" in key or "rewrite" in key for key in route["metadata"]["annotations"])

    def test_the_class_by_the_old_annotation_stays_one(self) -> None:
        at = network(ingress(class_name=None, annotations={names.LEGACY_INGRESS_CLASS: "nginx"}))
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert "ingressClassName" not in route["spec"]
        assert route["metadata"]["annotations"][names.LEGACY_INGRESS_CLASS] == "nginx"

    def test_both_classes_become_the_field_alone_for_together_they_cannot_be_created(self) -> None:
        """https://github.com/kubernetes/kubernetes, pkg/apis/networking/validation: refused on create only."""
        at = network(ingress(class_name="nginx", annotations={names.LEGACY_INGRESS_CLASS: "nginx"}))
        (route,) = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert route["spec"]["ingressClassName"] == "nginx"
        assert names.LEGACY_INGRESS_CLASS not in route["metadata"]["annotations"]

    def test_one_for_each_ingress(self) -> None:
        at = network(ingress("public"), ingress("internal", host="internal.example"))
        routes = ROUTER.routes(at, CANARY, found(at), 10, START)
        assert [route["metadata"]["name"] for route in routes] == ["public-canary", "internal-canary"]

    def test_stables_objects_stay_as_they_are(self) -> None:
        at = network(ingress())
        ROUTER.routes(at, CANARY, found(at), 10, START)[0]["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/changed"
        assert at.ingresses[0] == ingress()


class TestRoutesToNothing:
    LATER = START + timedelta(minutes=1)

    def taken_back(self, at: Network, traffic: Traffic | Finding) -> tuple[Json, ...]:
        return ROUTER.routes(at, CANARY, traffic, 0, self.LATER)

    def test_those_that_exist_get_the_weight_and_the_time_and_stay_as_they_are(self) -> None:
        at = network(ingress())
        (old,) = routed(at)
        (new,) = self.taken_back(network(ingress(), old), found(at))
        assert new["metadata"]["annotations"] == old["metadata"]["annotations"] | {
            names.NGINX_CANARY_WEIGHT: "0",
            names.WEIGHT_SINCE: format_time(self.LATER),
        }
        assert new["spec"] == old["spec"]
        assert new["metadata"]["labels"] == old["metadata"]["labels"]
        assert new["metadata"]["ownerReferences"] == old["metadata"]["ownerReferences"]

    def test_where_none_exists_none_is_made(self) -> None:
        at = network(ingress())
        assert self.taken_back(at, found(at)) == ()

    @pytest.mark.parametrize("ingresses", [(), (ingress(class_name="other"),)], ids=["stable-gone", "stable-changed"])
    def test_it_works_whatever_became_of_stable(self, ingresses: tuple[Json, ...]) -> None:
        (old,) = routed(network(ingress()))
        (new,) = self.taken_back(network(*ingresses, old), GONE)
        assert new["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT] == "0"

    def test_a_share_is_not_given_without_stables_routes(self) -> None:
        (old,) = routed(network(ingress()))
        (new,) = ROUTER.routes(network(old), CANARY, GONE, 50, START)
        assert new["spec"] == old["spec"]

    def test_nothing_of_the_api_servers_own_is_applied(self) -> None:
        (old,) = routed(network(ingress()))
        (new,) = self.taken_back(network(old), GONE)
        assert set(new["metadata"]) == {"name", "namespace", "labels", "ownerReferences", "annotations"}
        assert set(new) == {"apiVersion", "kind", "metadata", "spec"}

    def test_annotations_of_others_are_not_taken_over(self) -> None:
        (old,) = routed(network(ingress()))
        old["metadata"]["annotations"]["example.com/theirs"] = "1"
        (new,) = self.taken_back(network(old), GONE)
        assert "example.com/theirs" not in new["metadata"]["annotations"]

    @pytest.mark.parametrize("lost", ["annotations", "ownerReferences"])
    def test_a_route_that_lost_its_metadata_is_taken_back_all_the_same(self, lost: str) -> None:
        (old,) = routed(network(ingress()))
        del old["metadata"][lost]
        (new,) = self.taken_back(network(old), GONE)
        assert new["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT] == "0"


class TestObserve:
    TWIN_SERVICE = canary_service(service(), CANARY, frozenset({"app"}))

    def test_nothing_is_nothing(self) -> None:
        at = network(ingress())
        route = ROUTER.observe(at, CANARY, found(at))
        assert (route.weight, route.since, route.complete, route.services, route.endpoints) == (
            0,
            None,
            False,
            (),
            False,
        )

    def test_what_was_written_is_read_back(self) -> None:
        at = network(ingress())
        whole = network(ingress(), *routed(at), services=(service(), self.TWIN_SERVICE), slices=(endpoint_slice(TWIN),))
        route = ROUTER.observe(whole, CANARY, found(at))
        assert (route.weight, route.since, route.complete, route.endpoints) == (10, START, True, True)
        assert route.services == (self.TWIN_SERVICE,)

    def test_the_highest_weight_and_the_latest_time_count_and_it_is_not_complete(self) -> None:
        stable = (ingress("public"), ingress("internal", host="internal.example"))
        at = network(*stable)
        public, _ = routed(at, 10)
        later = ROUTER.routes(at, CANARY, found(at), 50, START + timedelta(minutes=1))
        route = ROUTER.observe(network(*stable, public, live(later[1])), CANARY, found(at))
        assert (route.weight, route.since, route.complete) == (50, START + timedelta(minutes=1), False)

    def test_one_route_of_two_is_not_complete(self) -> None:
        stable = (ingress("public"), ingress("internal", host="internal.example"))
        at = network(*stable)
        public, internal = routed(at)
        assert not ROUTER.observe(network(*stable, public), CANARY, found(at)).complete
        assert ROUTER.observe(network(*stable, public, internal), CANARY, found(at)).complete

    def test_a_route_for_paths_that_stable_no_longer_has_is_not_complete(self) -> None:
        old = routed(network(ingress("podinfo", path(at="/old"))))
        at = network(ingress())
        assert not ROUTER.observe(network(ingress(), *old), CANARY, found(at)).complete

    def test_a_route_too_many_is_not_complete_until_it_has_no_share(self) -> None:
        """An Ingress of stable's was deleted, or is no longer named in the spec, in mid-rollout."""
        both = network(ingress("public"), ingress("internal", host="internal.example"))
        one = network(ingress("public"), *routed(both))
        assert not ROUTER.observe(one, CANARY, found(one)).complete
        after = ROUTER.routes(one, CANARY, found(one), 10, START)
        assert [route["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT] for route in after] == ["10", "0"]
        mended = network(ingress("public"), *(live(route) for route in after))
        seen = ROUTER.observe(mended, CANARY, found(mended))
        assert (seen.complete, seen.weight) == (True, 10)

    def test_a_route_that_no_longer_is_a_canarys_is_not_complete(self) -> None:
        at = network(ingress())
        (route,) = routed(at)
        route["metadata"]["annotations"][names.NGINX_CANARY] = "false"
        assert not ROUTER.observe(network(ingress(), route), CANARY, found(at)).complete

    def test_without_stable_nothing_is_complete_and_the_weight_is_still_seen(self) -> None:
        route = ROUTER.observe(network(*routed(network(ingress()))), CANARY, GONE)
        assert (route.weight, route.complete) == (10, False)

    @pytest.mark.parametrize(
        ("annotation", "value", "weight"),
        [
            (names.NGINX_CANARY_WEIGHT, "50", 50),
            (names.NGINX_CANARY_WEIGHT, "a lot", 0),
            (names.NGINX_CANARY_WEIGHT, "", 0),
            (names.NGINX_CANARY, "false", 0),
            (names.NGINX_CANARY, "True", 0),
        ],
    )
    def test_a_weight_is_what_the_controller_makes_of_it(self, annotation: str, value: str, weight: int) -> None:
        (route,) = routed(network(ingress()))
        route["metadata"]["annotations"][annotation] = value
        assert ROUTER.observe(network(route), CANARY, GONE).weight == weight

    @pytest.mark.parametrize("text", [None, "", "yesterday"])
    def test_a_time_that_was_lost_is_that_of_the_creation(self, text: str | None) -> None:
        (route,) = routed(network(ingress()))
        del route["metadata"]["annotations"][names.WEIGHT_SINCE]
        if text is not None:
            route["metadata"]["annotations"][names.WEIGHT_SINCE] = text
        route["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        assert ROUTER.observe(network(route), CANARY, GONE).since == START.replace(day=1, hour=0, minute=0, second=0)

    def test_routes_and_services_of_another_canary_are_not_seen(self) -> None:
        (route,) = routed(network(ingress()))
        route["metadata"]["labels"] = {names.CANARY_LABEL: "another"}
        theirs = {
            **self.TWIN_SERVICE,
            "metadata": {**self.TWIN_SERVICE["metadata"], "labels": {names.CANARY_LABEL: "x"}},
        }
        seen = ROUTER.observe(network(route, services=(theirs,)), CANARY, GONE)
        assert (seen.weight, seen.services) == (0, ())

    @pytest.mark.parametrize(
        ("slices", "ready"),
        [
            ((), False),
            ((endpoint_slice(TWIN, ready=False),), False),
            ((endpoint_slice("another"),), False),
            ((endpoint_slice(TWIN, ready=False), endpoint_slice(TWIN)), True),
            (({**endpoint_slice(TWIN), "endpoints": [{"addresses": ["10.1.0.7"]}]},), True),
            (({**endpoint_slice(TWIN), "endpoints": [{"addresses": [], "conditions": {"ready": True}}]},), False),
            (({**endpoint_slice(TWIN), "endpoints": None},), False),
        ],
        ids=["none", "not-ready", "of-another", "one-of-two", "says-nothing", "no-address", "null"],
    )
    def test_endpoints_are_ready_when_one_is(self, slices: tuple[Json, ...], ready: bool) -> None:
        at = network(services=(service(), self.TWIN_SERVICE), slices=slices)
        assert ROUTER.observe(at, CANARY, GONE).endpoints is ready

    @pytest.mark.parametrize(
        ("ports", "ready"),
        [
            ([{"name": "http", "port": 9898}], True),
            ([{"name": "grpc", "port": 9999}, {"name": "http", "port": 9898}], True),
            ([{"name": "grpc", "port": 9999}], False),
            ([{"name": "http"}], False),
            ([], False),
            (None, False),
        ],
        ids=["the-one", "beside-another", "another", "without-a-number", "none", "null"],
    )
    def test_an_endpoint_has_the_port_that_is_routed_to(self, ports: list[Json] | None, ready: bool) -> None:
        slices = ({**endpoint_slice(TWIN), "ports": ports},)
        at = network(ingress(), services=(service(), self.TWIN_SERVICE), slices=slices)
        assert ROUTER.observe(at, CANARY, found(at)).endpoints is ready

    def test_every_service_needs_one(self) -> None:
        other = canary_service(service("grpc"), CANARY, frozenset({"app"}))
        at = network(services=(self.TWIN_SERVICE, other), slices=(endpoint_slice(TWIN),))
        assert not ROUTER.observe(at, CANARY, GONE).endpoints
