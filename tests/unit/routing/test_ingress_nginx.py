"""ingress-nginx: what is found, what is written, what is read back."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.engine.snapshot import canary_service, canary_template
from canary.engine.world import Finding
from canary.model import names, reasons
from canary.model.duration import format_time
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.spec import Target
from canary.model.template import Json
from canary.model.traffic import Backend, Traffic, join
from canary.model.workload import Workload
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from tests.manifests import APP, CANARY, START, deployment, endpoint_slice, ingress, path, service

ROUTER = IngressNginx()
TARGET = Workload(deployment())
TWIN = "podinfo-canary"
GONE = Finding(reasons.NO_INGRESS, "gone")
TEN = Share(10)
INSIDER = Match(Header("x-canary", exact="insider"))
NGINX_KEYS = (
    names.NGINX_CANARY,
    names.NGINX_CANARY_WEIGHT,
    names.NGINX_CANARY_WEIGHT_TOTAL,
    names.NGINX_CANARY_BY_HEADER,
    names.NGINX_CANARY_BY_HEADER_VALUE,
    names.NGINX_CANARY_BY_HEADER_PATTERN,
    names.NGINX_CANARY_BY_COOKIE,
)
ALL_OF_IT = Share(0.5, Match(Header("x-canary", regex="^in"), "canary"))

ASCII = st.characters(codec="ascii")
TEXT = st.sampled_from(["", "true", "false", "0", "1", "50", "10000", "x-canary", "in sider"]) | st.text(
    ASCII, max_size=5
)
NAME = st.text("abcXYZ019-", min_size=1, max_size=9)
HEADERS = st.builds(Header, NAME) | st.builds(Header, NAME, exact=NAME) | st.builds(Header, NAME, regex=NAME)
MATCHES = st.builds(Match, HEADERS) | st.builds(Match, HEADERS, NAME) | st.builds(Match, cookie=NAME)
WEIGHTS = st.integers(0, 10_000).map(lambda hundredths: float(f"{hundredths / 100:.2f}"))
SHARES = st.builds(Share, WEIGHTS, st.none() | MATCHES)


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


def routed(at: Network, share: Share = TEN) -> tuple[Json, ...]:
    return tuple(live(route) for route in ROUTER.routes(at, CANARY, found(at), share, START))


def marks(route: Json) -> dict[str, str]:
    """The annotations that ingress-nginx looks at, without their prefix."""
    return {
        key.removeprefix(names.NGINX_ANNOTATION): text
        for key, text in route["metadata"]["annotations"].items()
        if key.startswith(names.NGINX_ANNOTATION)
    }


def applied(manifest: Json, before: Json | None, foreign: frozenset[str] = frozenset()) -> Json:
    """As the API server holds it after an apply by us: of what it leaves out, others keep what they have a hand in."""
    old = before["metadata"]["annotations"] if before else {}
    kept = {key: text for key, text in old.items() if key in foreign}
    metadata = {**manifest["metadata"], "annotations": kept | manifest["metadata"]["annotations"]}
    return live({**manifest, "metadata": metadata})


def share_of(*routes: Json) -> Share:
    return ROUTER.observe(network(*routes), CANARY, GONE).share


def spoilt(share: Share, **texts: str) -> Json:
    """The route of a share, to which somebody set annotations by hand."""
    (route,) = routed(network(ingress()), share)
    route["metadata"]["annotations"] |= {
        names.NGINX_ANNOTATION + key.replace("_", "-"): text for key, text in texts.items()
    }
    return route


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
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
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
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert route["spec"]["rules"][0]["http"]["paths"] == [path(TWIN), path(TWIN, "/api", "http")]

    def test_only_hosts_of_ours(self) -> None:
        both = ingress()
        both["spec"]["rules"].append({"host": "other.example", "http": {"paths": [path("other")]}})
        at = network(both)
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert [rule["host"] for rule in route["spec"]["rules"]] == ["podinfo.example"]

    def test_a_rule_for_every_host_has_none(self) -> None:
        at = network(ingress(host=None))
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert "host" not in route["spec"]["rules"][0]

    def test_neither_tls_nor_other_annotations_are_copied(self) -> None:
        stable = ingress(annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/", "cert-manager.io/issuer": "a"})
        stable["spec"]["tls"] = [{"hosts": ["podinfo.example"], "secretName": "tls"}]
        at = network(stable)
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert set(route["spec"]) == {"ingressClassName", "rules"}
        assert not any("cert-manager" in key or "rewrite" in key for key in route["metadata"]["annotations"])

    def test_the_class_by_the_old_annotation_stays_one(self) -> None:
        at = network(ingress(class_name=None, annotations={names.LEGACY_INGRESS_CLASS: "nginx"}))
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert "ingressClassName" not in route["spec"]
        assert route["metadata"]["annotations"][names.LEGACY_INGRESS_CLASS] == "nginx"

    def test_both_classes_become_the_field_alone_for_together_they_cannot_be_created(self) -> None:
        """https://github.com/kubernetes/kubernetes, pkg/apis/networking/validation: refused on create only."""
        at = network(ingress(class_name="nginx", annotations={names.LEGACY_INGRESS_CLASS: "nginx"}))
        (route,) = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert route["spec"]["ingressClassName"] == "nginx"
        assert names.LEGACY_INGRESS_CLASS not in route["metadata"]["annotations"]

    def test_one_for_each_ingress(self) -> None:
        at = network(ingress("public"), ingress("internal", host="internal.example"))
        routes = ROUTER.routes(at, CANARY, found(at), TEN, START)
        assert [route["metadata"]["name"] for route in routes] == ["public-canary", "internal-canary"]

    def test_stables_objects_stay_as_they_are(self) -> None:
        at = network(ingress())
        ROUTER.routes(at, CANARY, found(at), TEN, START)[0]["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/changed"
        assert at.ingresses[0] == ingress()


class TestRoutesToNothing:
    LATER = START + timedelta(minutes=1)

    def taken_back(self, at: Network, traffic: Traffic | Finding) -> tuple[Json, ...]:
        return ROUTER.routes(at, CANARY, traffic, NOTHING, self.LATER)

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
        (new,) = ROUTER.routes(network(old), CANARY, GONE, Share(50), START)
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

    def test_no_header_cookie_or_finer_weight_stays_in_effect(self) -> None:
        (old,) = routed(network(ingress()), ALL_OF_IT)
        (new,) = self.taken_back(network(old), GONE)
        assert {key for key, text in marks(new).items() if text} == {"canary", "canary-weight"}
        (again,) = self.taken_back(network(applied(new, old)), GONE)
        assert marks(again) == {"canary": "true", "canary-weight": "0"}

    @pytest.mark.parametrize("mark", ["false", "", None])
    def test_a_route_that_no_longer_is_a_canarys_becomes_one_again(self, mark: str | None) -> None:
        (old,) = routed(network(ingress()))
        old["metadata"]["annotations"][names.NGINX_CANARY] = mark
        (new,) = self.taken_back(network(old), GONE)
        assert marks(new) == {"canary": "true", "canary-weight": "0"}


class TestShare:
    @pytest.mark.parametrize(
        ("share", "written"),
        [
            (Share(5), {"canary-weight": "5"}),
            (Share(5.0), {"canary-weight": "5"}),
            (Share(100), {"canary-weight": "100"}),
            (Share(0.5), {"canary-weight": "50", "canary-weight-total": "10000"}),
            (Share(0.01), {"canary-weight": "1", "canary-weight-total": "10000"}),
            (Share(0.29), {"canary-weight": "29", "canary-weight-total": "10000"}),
            (Share(99.99), {"canary-weight": "9999", "canary-weight-total": "10000"}),
            (Share(0, Match(Header("x-canary"))), {"canary-weight": "0", "canary-by-header": "x-canary"}),
            (
                Share(20, INSIDER),
                {"canary-weight": "20", "canary-by-header": "x-canary", "canary-by-header-value": "insider"},
            ),
            (
                Share(20, Match(Header("x-canary", regex="^in"))),
                {"canary-weight": "20", "canary-by-header": "x-canary", "canary-by-header-pattern": "^in"},
            ),
            (Share(0, Match(cookie="canary")), {"canary-weight": "0", "canary-by-cookie": "canary"}),
        ],
        ids=str,
    )
    def test_as_annotations(self, share: Share, written: dict[str, str]) -> None:
        (route,) = routed(network(ingress()), share)
        assert marks(route) == {"canary": "true"} | written

    @given(share=SHARES, before=st.none() | SHARES, foreign=st.frozensets(st.sampled_from(NGINX_KEYS[2:])))
    def test_what_is_written_is_what_is_read_whatever_was_there(
        self, share: Share, before: Share | None, foreign: frozenset[str]
    ) -> None:
        """Those with a hand in an annotation keep it when our apply leaves it out."""
        at = network(ingress())
        old = None if before is None else applied(ROUTER.routes(at, CANARY, found(at), before or TEN, START)[0], None)
        here = network(ingress(), *filter(None, [old]))
        routes = tuple(applied(route, old, foreign) for route in ROUTER.routes(here, CANARY, found(here), share, START))
        seen = ROUTER.observe(network(ingress(), *routes), CANARY, found(at))
        assert seen.share == share
        assert seen.complete == bool(routes)

    @given(share=SHARES, texts=st.dictionaries(st.sampled_from(NGINX_KEYS), TEXT))
    def test_whatever_somebody_wrote_is_repaired_by_one_apply(self, share: Share, texts: dict[str, str]) -> None:
        at = network(ingress())
        (route,) = routed(at, share or TEN)
        route["metadata"]["annotations"] |= texts
        (mended,) = ROUTER.routes(network(ingress(), route), CANARY, found(at), share, START)
        assert share_of(applied(mended, route, frozenset(texts))) == share

    @pytest.mark.parametrize(
        ("texts", "weight"),
        [
            ({"canary_weight": "50"}, 50),
            ({"canary_weight": "+50"}, 50),
            ({"canary_weight": "0000000000000000000000050"}, 50),
            ({"canary_weight": "a lot"}, 0),
            ({"canary_weight": ""}, 0),
            ({"canary_weight": "5_0"}, 0),
            ({"canary_weight": " 50"}, 0),
            ({"canary_weight": "50.0"}, 0),
            ({"canary_weight": "\u0665"}, 0),
            ({"canary_weight": "-50"}, 0),
            ({"canary_weight": "101"}, 100),
            ({"canary_weight": "9223372036854775807"}, 100),
            ({"canary_weight": "9223372036854775808"}, 0),
            ({"canary_weight": "9" * 5000}, 0),
            ({"canary_weight_total": "1000"}, 1),
            ({"canary_weight_total": "50"}, 10),
            ({"canary_weight_total": "-1000"}, 10),
            ({"canary_weight_total": "many"}, 10),
            ({"canary_weight_total": ""}, 10),
            ({"canary_weight_total": "1000000"}, 0.001),
            ({"canary": "True"}, 10),
            ({"canary": "1"}, 10),
        ],
    )
    def test_a_weight_is_what_the_controller_makes_of_it(self, texts: dict[str, str], weight: float) -> None:
        assert share_of(spoilt(TEN, **texts)) == Share(weight)

    @pytest.mark.parametrize("mark", ["false", "TRUe", "yes", ""])
    def test_an_ingress_that_is_no_canary_may_take_everything(self, mark: str) -> None:
        assert share_of(spoilt(TEN, canary=mark)) == Share(100)

    @pytest.mark.parametrize(
        ("share", "texts", "match"),
        [
            (NOTHING, {"canary_by_header": "x"}, Match(Header("x"))),
            (NOTHING, {"canary_by_cookie": "c"}, Match(cookie="c")),
            (NOTHING, {"canary_by_header_value": "v"}, None),
            (NOTHING, {"canary_by_header_pattern": "v"}, None),
            (NOTHING, {"canary_by_header": "not a header"}, Match(Header("not a header"))),
            (ALL_OF_IT, {"canary_by_header_value": "v"}, Match(Header("x-canary", exact="v"), "canary")),
            (ALL_OF_IT, {"canary_by_header_pattern": ""}, Match(Header("x-canary"), "canary")),
            (ALL_OF_IT, {"canary_by_header": ""}, Match(cookie="canary")),
            (ALL_OF_IT, {"canary_by_cookie": ""}, Match(Header("x-canary", regex="^in"))),
        ],
    )
    def test_a_match_is_what_the_controller_makes_of_it(
        self, share: Share, texts: dict[str, str], match: Match | None
    ) -> None:
        route = spoilt(share or TEN, canary_weight="0", **texts)
        assert share_of(route) == Share(0, match)

    @given(texts=st.dictionaries(st.sampled_from(NGINX_KEYS), TEXT))
    def test_a_route_that_may_lead_a_request_to_the_canary_is_never_read_as_nothing(
        self, texts: dict[str, str]
    ) -> None:
        route = spoilt(TEN)
        route["metadata"]["annotations"] |= texts
        written = marks(route)
        by_match = written.get("canary-by-header") or written.get("canary-by-cookie")
        by_weight = re.fullmatch(r"\+?0*[1-9][0-9]*", written.get("canary-weight", ""))
        if by_match or by_weight or written["canary"] not in ("1", "t", "T", "true", "TRUE", "True"):
            assert share_of(route)


class TestSet:
    """A release of several Deployments: `api` and `worker` are of the same app."""

    API = Workload(deployment("api", pods={"metadata": {"labels": {"app": "shop", "part": "api"}}}))
    WORKER = Workload(deployment("worker", pods={"metadata": {"labels": {"app": "shop", "part": "worker"}}}))
    SHOP, APIS, WORKERS = service("shop", {"app": "shop"}), service("api", {"part": "api"}), service("w", {"part": "w"})

    def joined(self, at: Network) -> Traffic:
        found = [ROUTER.discover(at, Target("any"), target) for target in (self.API, self.WORKER)]
        return join([traffic for traffic in found if isinstance(traffic, Traffic)])

    def test_one_service_for_both_gets_one_canary_service_and_one_route(self) -> None:
        at = network(ingress("shop", path("shop")), services=(self.SHOP,))
        traffic = self.joined(at)
        (route,) = ROUTER.routes(at, CANARY, traffic, TEN, START)
        assert route["spec"]["rules"][0]["http"]["paths"] == [path("shop-canary")]
        assert [each["metadata"]["name"] for each in traffic.services] == ["shop"]
        twin = canary_service(traffic.services[0], CANARY, traffic.selector_keys)
        for target in (self.API, self.WORKER):
            pods = canary_template(target, CANARY, traffic.selector_keys)["metadata"]["labels"]
            assert twin["spec"]["selector"].items() <= pods.items()

    def test_the_canary_service_has_the_pods_of_the_one_that_is_on_trial(self) -> None:
        at = network(ingress("shop", path("shop")), services=(self.SHOP, self.APIS))
        traffic = ROUTER.discover(at, Target("api"), self.API)
        assert isinstance(traffic, Traffic)
        twin = canary_service(self.SHOP, CANARY, traffic.selector_keys)["spec"]["selector"]
        assert twin.items() <= canary_template(self.API, CANARY, traffic.selector_keys)["metadata"]["labels"].items()
        assert not twin.items() <= self.API.pod_labels.items()
        assert not twin.items() <= self.WORKER.pod_labels.items()

    def test_an_ingress_with_paths_of_both_gets_one_route_with_both(self) -> None:
        worker = service("worker", {"part": "worker"})
        both = ingress("shop", path("api", "/api"), path("worker", "/jobs"), path("other", "/other"))
        at = network(both, services=(self.APIS, worker))
        traffic = self.joined(at)
        (route,) = ROUTER.routes(at, CANARY, traffic, TEN, START)
        assert route["spec"]["rules"][0]["http"]["paths"] == [
            path("api-canary", "/api"),
            path("worker-canary", "/jobs"),
        ]
        half = ROUTER.routes(at, CANARY, join([traffic, traffic]), TEN, START)
        assert half == (route,)

    def test_a_set_is_complete_when_the_routes_of_all_are_there(self) -> None:
        worker = service("worker", {"part": "worker"})
        at = network(ingress("api", path("api")), ingress("worker", path("worker")), services=(self.APIS, worker))
        traffic = self.joined(at)
        api, jobs = (live(route) for route in ROUTER.routes(at, CANARY, traffic, TEN, START))
        assert not ROUTER.observe(network(*at.ingresses, api), CANARY, traffic).complete
        assert ROUTER.observe(network(*at.ingresses, api, jobs), CANARY, traffic).complete

    def test_the_path_of_the_target_is_named(self) -> None:
        at = network(ingress("api", path("api")), services=(self.APIS,))
        finding = ROUTER.discover(at, Target("api", ("missing",), "spec.targets[1]"), self.API)
        assert isinstance(finding, Finding)
        assert finding.message.startswith("spec.targets[1].ingresses: ")


class TestObserve:
    TWIN_SERVICE = canary_service(service(), CANARY, frozenset({"app"}))

    def test_nothing_is_nothing(self) -> None:
        at = network(ingress())
        route = ROUTER.observe(at, CANARY, found(at))
        assert (route.share, route.since, route.complete, route.services, route.endpoints) == (
            NOTHING,
            None,
            False,
            (),
            False,
        )

    def test_what_was_written_is_read_back(self) -> None:
        at = network(ingress())
        whole = network(ingress(), *routed(at), services=(service(), self.TWIN_SERVICE), slices=(endpoint_slice(TWIN),))
        route = ROUTER.observe(whole, CANARY, found(at))
        assert (route.share, route.since, route.complete, route.endpoints) == (TEN, START, True, True)
        assert route.services == (self.TWIN_SERVICE,)

    def test_the_highest_weight_and_the_latest_time_count_and_it_is_not_complete(self) -> None:
        stable = (ingress("public"), ingress("internal", host="internal.example"))
        at = network(*stable)
        public, _ = routed(at)
        later = ROUTER.routes(at, CANARY, found(at), Share(50), START + timedelta(minutes=1))
        route = ROUTER.observe(network(*stable, public, live(later[1])), CANARY, found(at))
        assert (route.share, route.since, route.complete) == (Share(50), START + timedelta(minutes=1), False)

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
        after = ROUTER.routes(one, CANARY, found(one), TEN, START)
        assert [route["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT] for route in after] == ["10", "0"]
        mended = network(ingress("public"), *(live(route) for route in after))
        seen = ROUTER.observe(mended, CANARY, found(mended))
        assert (seen.complete, seen.share) == (True, TEN)

    def test_a_route_that_no_longer_is_a_canarys_is_not_complete(self) -> None:
        at = network(ingress())
        (route,) = routed(at)
        route["metadata"]["annotations"][names.NGINX_CANARY] = "false"
        assert not ROUTER.observe(network(ingress(), route), CANARY, found(at)).complete

    def test_without_stable_nothing_is_complete_and_the_share_is_still_seen(self) -> None:
        route = ROUTER.observe(network(*routed(network(ingress()))), CANARY, GONE)
        assert (route.share, route.complete) == (TEN, False)

    def test_routes_that_match_differently_are_not_complete(self) -> None:
        stable = (ingress("public"), ingress("internal", host="internal.example"))
        at = network(*stable)
        public, _ = routed(at)
        _, internal = routed(at, Share(10, INSIDER))
        route = ROUTER.observe(network(*stable, public, internal), CANARY, found(at))
        assert (route.share, route.complete) == (Share(10, INSIDER), False)

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
        assert (seen.share, seen.services) == (NOTHING, ())

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
