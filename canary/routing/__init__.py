"""Routers: how a share becomes objects that an ingress controller obeys. Pure: they read and write manifests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from canary.engine.world import Finding, Identity
from canary.model.share import Share
from canary.model.spec import Target
from canary.model.template import Json
from canary.model.traffic import Route, Traffic
from canary.model.workload import Workload


@dataclass(frozen=True)
class Network:
    """The objects of one namespace that a router looks at, as the API server holds them."""

    services: Sequence[Json]
    ingresses: Sequence[Json]
    endpoint_slices: Sequence[Json]
    """Only those of the canary's Services."""


class Router(Protocol):
    """One way of splitting traffic."""

    def discover(self, network: Network, wanted: Target, target: Workload) -> Traffic | Finding:
        """The Services and routes that carry the requests of `target`, or why they cannot be split."""

    def observe(self, network: Network, canary: Identity, traffic: Traffic | Finding) -> Route:
        """What is in effect for the canary now."""

    def routes(
        self, network: Network, canary: Identity, traffic: Traffic | Finding, share: Share, now: datetime
    ) -> tuple[Json, ...]:
        """The manifests to apply so that the canary gets this share. For a set, `traffic` is that of all targets.

        Taking a share away must work whatever became of stable's routes: with a Finding the present ones are
        returned with the new share.
        """
