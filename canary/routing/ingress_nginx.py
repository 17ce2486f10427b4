"""ingress-nginx: a second Ingress for the same host and path, marked as canary, with a weight annotation.

The controller takes everything but the canary annotations from stable's Ingress, and only one canary per host and
path. See https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary.engine.snapshot import belongs_to, owner_reference
from canary.engine.world import Finding, Identity
from canary.model import names, reasons
from canary.model.duration import format_time, parse_time
from canary.model.spec import Target
from canary.model.template import Json
from canary.model.traffic import Backend, Route, Traffic
from canary.model.workload import Workload
from canary.routing import Network

_OUR_ANNOTATIONS = (names.NGINX_CANARY, names.FLUX_RECONCILE, names.LEGACY_INGRESS_CLASS)


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
        """Read weights and times back from the canary's Ingresses, readiness from the EndpointSlices."""
        live = _owned(network.ingresses, canary)
        weights = [_weight(ingress) for ingress in live]
        services = _owned(network.services, canary)
        return Route(
            weight=max(weights, default=0),
            since=max((_since(ingress) for ingress in live), default=None),
            complete=not isinstance(traffic, Finding) and self._is_complete(network, traffic, live),
            services=tuple(services),
            endpoints=bool(services) and all(_has_endpoint(network, service, traffic) for service in services),
        )

    def routes(
        self, network: Network, canary: Identity, traffic: Traffic | Finding, weight: int, now: datetime
    ) -> tuple[Json, ...]:
        """One canary Ingress beside each of stable's; only those that exist already when the weight becomes 0.

        One that no longer is beside any of stable's gets no share.
        """
        live = _owned(network.ingresses, canary)
        if isinstance(traffic, Finding) or not weight:
            return tuple(_reweighted(ingress, canary, weight, now) for ingress in live)
        routes = tuple(self._route(ingress, canary, traffic, weight, now) for ingress in _stable(network, traffic))
        wanted = {route["metadata"]["name"] for route in routes}
        left = (ingress for ingress in live if ingress["metadata"]["name"] not in wanted)
        return (*routes, *(_reweighted(ingress, canary, 0, now) for ingress in left))

    def _problem(
        self, network: Network, ingresses: list[Json], wanted: Target, target: Workload, services: list[str]
    ) -> Finding | None:
        by_name = {ingress["metadata"]["name"]: ingress for ingress in ingresses}
        if missing := [name for name in wanted.ingresses if name not in by_name]:
            text = f"spec.targets[0].ingresses: no Ingress {missing[0]!r} with a backend of Deployment {target.name}"
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
        if any(_weight(ingress) for name, ingress in found.items() if name not in stable):
            return False
        if len({_weight(ingress) for name, ingress in found.items() if name in stable}) > 1:
            return False
        return bool(stable) and all(
            (route := found.get(name)) is not None
            and route["spec"].get("rules") == _canary_rules(ingress, traffic)
            and _is_canary(route)
            for name, ingress in stable.items()
        )

    def _route(self, stable: Json, canary: Identity, traffic: Traffic, weight: int, now: datetime) -> Json:
        name = stable["metadata"]["name"]
        annotations = {
            names.NGINX_CANARY: "true",
            names.NGINX_CANARY_WEIGHT: str(weight),
            names.WEIGHT_SINCE: format_time(now),
            names.FLUX_RECONCILE: "disabled",
        }
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


def _reweighted(ingress: Json, canary: Identity, weight: int, now: datetime) -> Json:
    """The same route at another weight, as an apply of no more than our own fields."""
    metadata, marks = ingress["metadata"], _annotations(ingress)
    annotations = {
        **{key: marks[key] for key in _OUR_ANNOTATIONS if key in marks},
        names.NGINX_CANARY_WEIGHT: str(weight),
        names.WEIGHT_SINCE: format_time(now),
    }
    kept = {key: metadata[key] for key in ("name", "namespace", "labels")}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**kept, "annotations": annotations, "ownerReferences": [owner_reference(canary)]},
        "spec": ingress["spec"],
    }


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
    return _annotations(ingress).get(names.NGINX_CANARY) == "true"


def _class(ingress: Json) -> str | None:
    return ingress["spec"].get("ingressClassName") or _annotations(ingress).get(names.LEGACY_INGRESS_CLASS)


def _weight(ingress: Json) -> int:
    """0 for what ingress-nginx does not understand, as it does."""
    text = _annotations(ingress).get(names.NGINX_CANARY_WEIGHT, "0")
    return int(text) if _is_canary(ingress) and text.isdecimal() else 0


def _since(ingress: Json) -> datetime:
    """When the weight was written; the creation of the Ingress if the annotation was lost, or spoilt by somebody."""
    try:
        return parse_time(_annotations(ingress).get(names.WEIGHT_SINCE, ""))
    except ValueError:
        return parse_time(ingress["metadata"]["creationTimestamp"])
