"""Where requests go: what should carry a canary, and what is in effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from canary.model import names
from canary.model.share import NOTHING, Share
from canary.model.template import Json


@dataclass(frozen=True)
class Backend:
    """A Service of stable as one Ingress names it; `port` is the name or number that the Ingress gives."""

    ingress: str
    service: str
    port: str

    @property
    def canary_service(self) -> str:
        """Name of the Service of the canary's pods."""
        return names.canary_name(self.service)


@dataclass(frozen=True)
class Traffic:
    """What a router found out about stable: through which Services and routes its requests come."""

    backends: tuple[Backend, ...]
    services: tuple[Json, ...]
    """The Services behind the backends, as the API server holds them."""
    selector_keys: frozenset[str]
    """The pod labels that some Service selects stable by: a canary pod must differ in these."""


def join(traffics: Sequence[Traffic]) -> Traffic:
    """What carries the requests of several targets, each backend and Service once, in the order given.

    The canary's pods and Services of all of them must be made with these keys: a Service may select several targets.
    """
    services = {service["metadata"]["name"]: service for traffic in traffics for service in traffic.services}
    return Traffic(
        backends=tuple(dict.fromkeys(backend for traffic in traffics for backend in traffic.backends)),
        services=tuple(services.values()),
        selector_keys=frozenset[str]().union(*(traffic.selector_keys for traffic in traffics)),
    )


@dataclass(frozen=True)
class Route:
    """What is in effect for the canary, whatever became of stable's own routes."""

    share: Share = NOTHING
    """The highest weight, and the match, that any canary route carries; nothing where there is none."""
    since: datetime | None = None
    """When the routes were written last; None where there is none."""
    complete: bool = False
    """Whether every route that should exist does, and all carry the same share to the right Services."""
    services: tuple[Json, ...] = ()
    """The canary's Services that exist, as the API server holds them."""
    endpoints: bool = False
    """Whether each Service of the canary has a ready endpoint."""
