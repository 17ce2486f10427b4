"""ingress-nginx sends to the canary what a `Share` says: the router's Ingresses, made by hand, and real requests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from canary.engine.world import Finding, Identity
from canary.model import names
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.spec import Target
from canary.model.traffic import Route, Traffic
from canary.model.workload import Workload
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from e2e.lab.lab import Lab
from e2e.rollout import Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

NAMESPACE = "routing"
HOST = "routing.example"
IDENTITY = Identity(NAMESPACE, "app", uid="", generation=1, finalized=True)
ROUTER = IngressNginx()

Headers = tuple[tuple[str, str], ...]
Answers = Mapping[Headers, str]
"""Headers of a request → who answers it."""


@dataclass(frozen=True)
class Site:
    """Two versions of an app, `app` and `app-canary`, of which users reach the first."""

    lab: Lab

    def route(self, share: Share) -> None:
        """Apply what the router makes of a share, and see that it reads the same."""
        for route in ROUTER.routes(self._network(), IDENTITY, self._traffic(), share, datetime.now(UTC)):
            del route["metadata"]["ownerReferences"]  # there is no Canary here, it would be collected as garbage
            self._apply(json.dumps(route))
        assert self.observed().share == share

    def observed(self) -> Route:
        """What the router reads back from the API server."""
        return ROUTER.observe(self._network(), IDENTITY, self._traffic())

    def await_answers(self, expected: Answers) -> None:
        """Wait until requests with these headers are answered as expected, and see that it stays so."""

        def look(times: int) -> bool:
            return all(self.ask(headers, times) == {name: times} for headers, name in expected.items())

        self.lab.wait_for(lambda: look(1), 30, f"answers as {expected}")
        assert look(30)

    def ask(self, headers: Headers, times: int) -> dict[str, int]:
        """Who answered, how often. A connection is kept: ingress-nginx decides for each request, with one worker."""
        address, counts = urlsplit(self.lab.ingress_url), dict[str, int]()
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
        for _ in range(times):
            connection.request("GET", "/", headers={"Host": HOST, **dict(headers)})
            name = json.loads(connection.getresponse().read())["message"]
            counts[name] = counts.get(name, 0) + 1
        connection.close()
        return counts

    def annotate(self, **annotations: str) -> None:
        """Set annotations on the canary's Ingress as a person would."""
        words = [f"{names.NGINX_ANNOTATION}{key.replace('_', '-')}={text}" for key, text in annotations.items()]
        self.lab.kubectl("annotate", "ingress", "app-canary", f"-n={NAMESPACE}", "--overwrite", *words)

    def install(self) -> None:
        """Create all but the canary's Ingress, and wait until both versions can answer."""
        self.lab.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
        manifests = [*_version("app"), *_version("app-canary"), _ingress()]
        self.lab.apply(yaml.safe_dump_all(manifests))
        self.lab.kubectl("rollout", "status", "deployment/app", f"-n={NAMESPACE}", "--timeout=60s")
        self.lab.kubectl("rollout", "status", "deployment/app-canary", f"-n={NAMESPACE}", "--timeout=60s")
        self.lab.await_host(HOST)

    def _network(self) -> Network:
        services, ingresses = (self.lab.get(kind, f"-n={NAMESPACE}")["items"] for kind in ("services", "ingresses"))
        return Network(services, ingresses, [])

    def _traffic(self) -> Traffic:
        target = Workload(self.lab.get("deployment", "app", f"-n={NAMESPACE}"))
        traffic = ROUTER.discover(self._network(), Target("app"), target)
        assert not isinstance(traffic, Finding), traffic
        return traffic

    def _apply(self, manifest: str) -> None:
        options = ["--server-side", f"--field-manager={names.FIELD_MANAGER}", "--force-conflicts", "--filename=-"]
        self.lab.kubectl("apply", *options, input=manifest)


@pytest.fixture(scope="module")
def site(installed: Rollouts) -> Iterator[Site]:
    made = Site(installed.lab)
    made.install()
    yield made
    installed.lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def probe(**headers: str) -> Headers:
    return tuple((name.replace("_", "-"), text) for name, text in headers.items())


def cookie(text: str) -> str:
    return f"other=1; canary_1.x-y={text}; last=always"


EXPECTED: list[tuple[Share, Answers]] = [
    (
        Share(0, Match(Header("x-canary", exact="insider"))),
        {
            probe(x_canary="insider"): "app-canary",
            probe(X_Canary="INSIDER"): "app",
            probe(x_canary="always"): "app",
            probe(): "app",
        },
    ),
    (
        Share(0, Match(Header("X-Canary", exact="beta users: 1/2"))),
        {probe(x_canary="beta users: 1/2"): "app-canary", probe(x_canary="betausers:1/2"): "app"},
    ),
    (
        Share(0, Match(Header("x-canary", regex=r"^(beta|qa)-?[0-9]{2}(?=$|\.)"))),
        {
            probe(x_canary="beta-01"): "app-canary",
            probe(x_canary="qa42.x"): "app-canary",
            probe(x_canary="qa1"): "app",
            probe(x_canary="always"): "app",
            probe(): "app",
        },
    ),
    (
        Share(0, Match(Header("x-canary"))),
        {probe(x_canary="always"): "app-canary", probe(x_canary="yes"): "app", probe(): "app"},
    ),
    (Share(100, Match(Header("x-canary"))), {probe(x_canary="never"): "app", probe(): "app-canary"}),
    (
        Share(0, Match(cookie="canary_1.x-y")),
        {
            probe(Cookie=cookie("always")): "app-canary",
            probe(Cookie=cookie("never")): "app",
            probe(Cookie=cookie("yes")): "app",
            probe(): "app",
        },
    ),
    (
        Share(100, Match(Header("x-canary", exact="insider"), "canary_1.x-y")),
        {
            probe(x_canary="insider", Cookie=cookie("never")): "app-canary",
            probe(x_canary="other", Cookie=cookie("never")): "app",
            probe(x_canary="other"): "app-canary",
        },
    ),
]


@pytest.mark.parametrize(("share", "expected"), EXPECTED, ids=[str(share) for share, _ in EXPECTED])
def test_a_match_decides_before_the_weight(site: Site, share: Share, expected: Answers) -> None:
    site.route(share)
    assert site.observed().complete
    site.await_answers(expected)


def test_half_a_percent_is_half_a_percent_and_no_other_share_is_in_effect_on_the_way(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    site.route(NOTHING)
    site.await_answers({probe(x_canary="always"): "app", probe(Cookie=cookie("always")): "app", probe(): "app"})
    site.route(Share(0.5, Match(Header("x-ready"))))
    site.await_answers({probe(x_ready="always"): "app-canary"})
    at_half = share_of_canary(site.ask(probe(), 6000))
    site.route(Share(2))
    on_the_way = share_of_canary(site.ask(probe(), 8000))
    site.route(Share(0.5))
    on_the_way_back = share_of_canary(site.ask(probe(), 8000))
    record_property("canary at 0.5 %", f"{at_half:.2%} of 6000")
    record_property("canary from 0.5 % to 2 %", f"{on_the_way:.2%} of 8000")
    record_property("canary from 2 % to 0.5 %", f"{on_the_way_back:.2%} of 8000")
    assert 0.0015 < at_half < 0.012
    assert 0.0015 < on_the_way < 0.035
    assert 0.0015 < on_the_way_back < 0.035


def test_what_somebody_added_by_hand_is_taken_away_too(site: Site) -> None:
    site.route(Share(0, Match(Header("x-canary"))))
    site.annotate(canary_by_cookie="canary_1.x-y", canary_weight_total="1000")
    site.await_answers({probe(Cookie=cookie("always")): "app-canary"})
    assert site.observed().share == Share(0, Match(Header("x-canary"), "canary_1.x-y"))
    site.route(NOTHING)
    site.await_answers({probe(Cookie=cookie("always")): "app", probe(x_canary="always"): "app", probe(): "app"})
    site.route(NOTHING)
    left = site.lab.get("ingress", "app-canary", f"-n={NAMESPACE}")["metadata"]["annotations"]
    assert {key for key in left if key.startswith(names.NGINX_ANNOTATION)} == {
        names.NGINX_CANARY,
        names.NGINX_CANARY_WEIGHT,
    }


def share_of_canary(counts: Mapping[str, int]) -> float:
    return counts.get("app-canary", 0) / sum(counts.values())


def _version(name: str) -> list[dict[str, Any]]:
    labels = {"app": name}
    container = {
        "name": "podinfo",
        "image": "ghcr.io/stefanprodan/podinfo:6.10.1",
        "command": ["./podinfo", "--port=9898", f"--ui-message={name}"],
        "ports": [{"name": "http", "containerPort": 9898}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"name": name, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]


def _ingress() -> dict[str, Any]:
    backend = {"service": {"name": "app", "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "app", "namespace": NAMESPACE},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": HOST, "http": {"paths": paths}}]},
    }
