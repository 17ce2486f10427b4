"""ingress-nginx: a second Ingress for the same host and path, marked as canary, with annotations for its share.

The controller takes everything but the canary annotations from stable's Ingress, and only one canary per host and
path. It looks at the header first, then at the cookie, then at the weight. See
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary.engine.snapshot import belongs_to, owner_reference
from canary.engine.world import Finding, Identity
from canary.model import names, reasons
from canary.model.duration import format_time, parse_time
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.spec import Target
from canary.model.template import Json
from canary.model.traffic import Backend, Route, Traffic
from canary.model.workload import Workload
from canary.routing import Network

_KEPT_ANNOTATIONS = (names.FLUX_RECONCILE, names.LEGACY_INGRESS_CLASS)

_WEIGHT_TOTAL = 10_000
"""Of a weight with decimals: 0.01 % is 1."""
_DEFAULT_TOTAL = 100
"""Of a weight without an annotation for its total; no total counts that is less."""

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
"""What Go's strconv.ParseBool takes for true."""

_EVERYTHING = Share(100)
"""Of a route that no longer is a canary's: an Ingress like stable's, which takes all requests if it is the older."""

_MATCH_ANNOTATIONS = (
    names.NGINX_CANARY_BY_HEADER,
    names.NGINX_CANARY_BY_HEADER_VALUE,
    names.NGINX_CANARY_BY_HEADER_PATTERN,
    names.NGINX_CANARY_BY_COOKIE,
)

_INTEGER = re.compile(r"[+-]?0*[0-9]{1,19}")
_INTEGER_LIMIT = 2**63


@dataclass(frozen=True)
class IngressNginx:
    """Router for Ingresses of the class that ingress-nginx serves."""

    ingress_class: str = "nginx"

    def discover(self, network: Network, wanted: Target, target: Workload) -> Traffic | Finding:
        """Services by their selectors, Ingresses by those Services; names in the spec narrow the Ingresses."""
        selecting = [service for service in _foreign(network.services) if _selects(service, target.pod_labels)]
        if not selecting:
            return Finding(reasons.NO_SERVICE, f"no Service selects the pods of Deployment {target.name}")
        selected = {service["metadata"]["name"]: service for service in selecting}
        ingresses = [
            ingress
            for ingress in _foreign(network.ingresses)
            if not _is_canary(ingress) and any(service in selected for _, service, _ in _backends(ingress))
        ]
        if problem := self._problem(network, ingresses, wanted, target, sorted(selected)):
            return problem
        chosen = [i for i in ingresses if not wanted.ingresses or i["metadata"]["name"] in wanted.ingresses]
        backends = tuple(
            dict.fromkeys(
                Backend(ingress["metadata"]["name"], service, port)
                for ingress in chosen
                for _, service, port in _backends(ingress)
                if service in selected
            )
        )
        routed = dict.fromkeys(backend.service for backend in backends)
        keys = frozenset(key for service in selecting for key in service["spec"]["selector"])
        return Traffic(backends, tuple(selected[name] for name in routed), keys)

    def observe(self, network: Network, canary: Identity, traffic: Traffic | Finding) -> Route:
        """Read shares and times back from the canary's Ingresses, readiness from the EndpointSlices."""
        live = _owned(network.ingresses, canary)
        shares = [_share(ingress) for ingress in live]
        services = _owned(network.services, canary)
        return Route(
            share=Share(
                weight=max((share.weight for share in shares), default=0),
                match=next((share.match for share in shares if share.match), None),
            ),
            since=max((_since(ingress) for ingress in live), default=None),
            complete=not isinstance(traffic, Finding) and self._is_complete(network, traffic, live),
            services=tuple(services),
            endpoints=bool(services) and all(_has_endpoint(network, service, traffic) for service in services),
        )

    def routes(
        self, network: Network, canary: Identity, traffic: Traffic | Finding, share: Share, now: datetime
    ) -> tuple[Json, ...]:
        """One canary Ingress beside each of stable's; only those that exist already when all is taken away.

        One that no longer is beside any of stable's gets no share.
        """
        live = {ingress["metadata"]["name"]: ingress for ingress in _owned(network.ingresses, canary)}
        if isinstance(traffic, Finding) or not share:
            return tuple(_reshared(ingress, canary, share, now) for ingress in live.values())
        stable = {names.canary_name(ingress["metadata"]["name"]): ingress for ingress in _stable(network, traffic)}
        routes = (
            self._route(ingress, canary, traffic, _marks(live.get(name), share, now))
            for name, ingress in stable.items()
        )
        left = (ingress for name, ingress in live.items() if name not in stable)
        return (*routes, *(_reshared(ingress, canary, NOTHING, now) for ingress in left))

    def _problem(
        self, network: Network, ingresses: list[Json], wanted: Target, target: Workload, services: list[str]
    ) -> Finding | None:
        by_name = {ingress["metadata"]["name"]: ingress for ingress in ingresses}
        if missing := [name for name in wanted.ingresses if name not in by_name]:
            text = f"{wanted.path}.ingresses: no Ingress {missing[0]!r} with a backend of Deployment {target.name}"
            return Finding(reasons.NO_INGRESS, text)
        if not ingresses:
            text = f"no Ingress has a backend among the Services of Deployment {target.name} ({', '.join(services)})"
            return Finding(reasons.NO_INGRESS, text)
        for name, ingress in by_name.items():
            if wanted.ingresses and name not in wanted.ingresses:
                continue
            if (found := _class(ingress)) != self.ingress_class:
                text = (
                    f"Ingress {name} has class {found or 'none'!r}; only {self.ingress_class!r} (ingress-nginx) works"
                )
                return Finding(reasons.UNSUPPORTED_INGRESS, text)
            if rival := _rival(network, ingress):
                text = f"Ingress {rival} is already a canary of Ingress {name}: ingress-nginx obeys only one"
                return Finding(reasons.CONFLICTING_CANARY, text)
        return None

    def _is_complete(self, network: Network, traffic: Traffic, live: list[Json]) -> bool:
        found = {ingress["metadata"]["name"]: ingress for ingress in live}
        stable = {names.canary_name(ingress["metadata"]["name"]): ingress for ingress in _stable(network, traffic)}
        if any(_share(ingress) for name, ingress in found.items() if name not in stable):
            return False
        if len({_share(ingress) for name, ingress in found.items() if name in stable}) > 1:
            return False
        return bool(stable) and all(
            (route := found.get(name)) is not None
            and route["spec"].get("rules") == _canary_rules(ingress, traffic)
            and _is_canary(route)
            for name, ingress in stable.items()
        )

    def _route(self, stable: Json, canary: Identity, traffic: Traffic, marks: Mapping[str, str]) -> Json:
        name = stable["metadata"]["name"]
        annotations = {**marks, names.FLUX_RECONCILE: "disabled"}
        spec: Json = {"rules": _canary_rules(stable, traffic)}
        if class_name := stable["spec"].get("ingressClassName"):
            spec["ingressClassName"] = class_name
        else:
            annotations[names.LEGACY_INGRESS_CLASS] = self.ingress_class
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": names.canary_name(name),
                "namespace": canary.namespace,
                "labels": {names.CANARY_LABEL: canary.name, names.MANAGED_BY_LABEL: names.MANAGED_BY},
                "annotations": annotations,
                "ownerReferences": [owner_reference(canary)],
            },
            "spec": spec,
        }


def _canary_rules(stable: Json, traffic: Traffic) -> list[Json]:
    """The rules of stable that lead to its Services, leading to the canary's instead. Other paths stay out."""
    services = {b.service for b in traffic.backends if b.ingress == stable["metadata"]["name"]}
    rules = []
    for rule in stable["spec"].get("rules") or ():
        paths = []
        for path in (rule.get("http") or {}).get("paths") or ():
            service = path["backend"].get("service")
            if service and service["name"] in services:
                moved = copy.deepcopy(path)
                moved["backend"]["service"]["name"] = names.canary_name(service["name"])
                paths.append(moved)
        if paths:
            host = {"host": rule["host"]} if rule.get("host") else {}
            rules.append({**host, "http": {"paths": paths}})
    return rules


def _reshared(ingress: Json, canary: Identity, share: Share, now: datetime) -> Json:
    """The same route with another share, as an apply of no more than our own fields."""
    metadata, present = ingress["metadata"], _annotations(ingress)
    annotations = {
        **{key: present[key] for key in _KEPT_ANNOTATIONS if key in present},
        **_marks(ingress, share, now),
    }
    kept = {key: metadata[key] for key in ("name", "namespace", "labels")}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**kept, "annotations": annotations, "ownerReferences": [owner_reference(canary)]},
        "spec": ingress["spec"],
    }


def _marks(live: Json | None, share: Share, now: datetime) -> dict[str, str]:
    """The annotations for a share, all of them, so that one apply moves a route from any share to this one.

    What an apply leaves out is removed only if nobody else has a hand in it. So text that `live` carries and that
    does not belong to this share is emptied, which means the same to ingress-nginx, and left out the next time.
    """
    present = _annotations(live) if live else {}
    unwanted = (key for key in (names.NGINX_CANARY_WEIGHT_TOTAL, *_MATCH_ANNOTATIONS) if present.get(key))
    return {
        names.NGINX_CANARY: "true",
        names.WEIGHT_SINCE: format_time(now),
        **dict.fromkeys(unwanted, ""),
        **_weight_marks(share.weight),
        **_match_marks(share.match),
    }


def _weight_marks(weight: float) -> dict[str, str]:
    hundredths = round(weight * 100)
    if hundredths % 100 == 0:
        return {names.NGINX_CANARY_WEIGHT: str(hundredths // 100)}
    return {names.NGINX_CANARY_WEIGHT: str(hundredths), names.NGINX_CANARY_WEIGHT_TOTAL: str(_WEIGHT_TOTAL)}


def _match_marks(match: Match | None) -> dict[str, str]:
    header = match.header if match else None
    texts = {
        names.NGINX_CANARY_BY_HEADER: header.name if header else None,
        names.NGINX_CANARY_BY_HEADER_VALUE: header.exact if header else None,
        names.NGINX_CANARY_BY_HEADER_PATTERN: header.regex if header else None,
        names.NGINX_CANARY_BY_COOKIE: match.cookie if match else None,
    }
    return {key: text for key, text in texts.items() if text}


def _backends(ingress: Json) -> Iterator[tuple[tuple[str, str], str, str]]:
    """((host, path), Service, port) of each path that leads to a Service."""
    for rule in ingress["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            if service := path["backend"].get("service"):
                port = service.get("port") or {}
                yield (rule.get("host") or "", path.get("path") or "/"), service["name"], _port(port)


def _port(port: Mapping[str, object]) -> str:
    return str(port.get("name") or port.get("number") or "")


def _rival(network: Network, stable: Json) -> str | None:
    """A canary Ingress of somebody else for a host and path of `stable`."""
    places = {place for place, _, _ in _backends(stable)}
    for ingress in _foreign(network.ingresses):
        if _is_canary(ingress) and any(place in places for place, _, _ in _backends(ingress)):
            return str(ingress["metadata"]["name"])
    return None


def _stable(network: Network, traffic: Traffic) -> list[Json]:
    used = {backend.ingress for backend in traffic.backends}
    return [ingress for ingress in _foreign(network.ingresses) if ingress["metadata"]["name"] in used]


def _foreign(objects: Sequence[Json]) -> list[Json]:
    """Those that are not of any Canary."""
    return [obj for obj in objects if names.CANARY_LABEL not in (obj["metadata"].get("labels") or {})]


def _owned(objects: Sequence[Json], canary: Identity) -> list[Json]:
    """Those of this Canary."""
    return [obj for obj in objects if belongs_to(canary, obj)]


def _selects(service: Json, labels: Mapping[str, str]) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def _has_endpoint(network: Network, service: Json, traffic: Traffic | Finding) -> bool:
    """Whether a ready pod has every port that the Ingresses lead to.

    Pods without a port of the name that the Service asks for are still in its EndpointSlice, only the port is not.
    """
    name = service["metadata"]["name"]
    backends = () if isinstance(traffic, Finding) else traffic.backends
    routed = {backend.port for backend in backends if backend.canary_service == name}
    asked = {port.get("name") or "" for port in service["spec"]["ports"] if routed & _names_of(port)}
    return any(
        endpoint.get("conditions", {}).get("ready", True) and endpoint.get("addresses")
        for piece in network.endpoint_slices
        if (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
        and asked <= {port.get("name") or "" for port in piece.get("ports") or () if port.get("port")}
        for endpoint in piece.get("endpoints") or ()
    )


def _names_of(port: Json) -> set[str]:
    """As an Ingress may call a port of a Service."""
    return {str(port["port"]), port.get("name") or ""} - {""}


def _annotations(ingress: Json) -> Mapping[str, str]:
    annotations: Mapping[str, str] = ingress["metadata"].get("annotations") or {}
    return annotations


def _is_canary(ingress: Json) -> bool:
    return _annotations(ingress).get(names.NGINX_CANARY) in _TRUE


def _class(ingress: Json) -> str | None:
    return ingress["spec"].get("ingressClassName") or _annotations(ingress).get(names.LEGACY_INGRESS_CLASS)


def _share(ingress: Json) -> Share:
    """What ingress-nginx sends to the canary. Text that it may refuse counts as if it did not."""
    if not _is_canary(ingress):
        return _EVERYTHING
    present = _annotations(ingress)
    return Share(_weight(present), _match(present))


def _weight(present: Mapping[str, str]) -> float:
    """In percent; 0 for what ingress-nginx does not understand, as it does."""
    total = max(_integer(present.get(names.NGINX_CANARY_WEIGHT_TOTAL), _DEFAULT_TOTAL), _DEFAULT_TOTAL)
    weight = _integer(present.get(names.NGINX_CANARY_WEIGHT), 0)
    return min(max(weight, 0) * 100 / total, 100.0)


def _match(present: Mapping[str, str]) -> Match | None:
    """A value hides a pattern, and neither means anything without the name of the header."""
    name, exact, regex, cookie = (present.get(key) or None for key in _MATCH_ANNOTATIONS)
    header = Header(name, exact, None if exact else regex) if name else None
    return Match(header, cookie) if header or cookie else None


def _integer(text: str | None, otherwise: int) -> int:
    """As Go's strconv.Atoi reads it."""
    number = int(text) if text and _INTEGER.fullmatch(text) else _INTEGER_LIMIT
    return number if -_INTEGER_LIMIT <= number < _INTEGER_LIMIT else otherwise


def _since(ingress: Json) -> datetime:
    """When the share was written; the creation of the Ingress if the annotation was lost, or spoilt by somebody."""
    try:
        return parse_time(_annotations(ingress).get(names.WEIGHT_SINCE, ""))
    except ValueError:
        return parse_time(ingress["metadata"]["creationTimestamp"])
