"""The World: everything that was observed, handed to `plan` as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from canary.model.evidence import Evidence
from canary.model.measurement import Sample
from canary.model.spec import CanarySpec, Step
from canary.model.status import Status
from canary.model.traffic import Route, Traffic
from canary.model.workload import ReplicaSet, Workload


@dataclass(frozen=True)
class Finding:
    """Something that keeps a Canary from going on; `reason` is one of `canary.model.reasons`."""

    reason: str
    message: str


@dataclass(frozen=True)
class Identity:
    """The Canary object itself."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool = False
    finalized: bool = False
    """Whether our finalizer is on it."""


@dataclass(frozen=True)
class Owner:
    """The Flux object that applies the target."""

    kind: str
    namespace: str
    name: str
    revision: str
    """The revision that Flux applies now or applied last."""
    awaits_health: bool = False
    """Whether Flux has applied it and waits for the objects to become healthy."""


@dataclass(frozen=True)
class ObjectRef:
    """An object of ours in the Canary's namespace."""

    kind: str
    name: str
    deleting: bool = False


@dataclass(frozen=True)
class World:
    """One observation. What was not asked for yet is None: `replica_sets`, `evidence`, `samples`."""

    now: datetime
    canary: Identity
    spec: CanarySpec | Finding
    status: Status
    guard: Finding | None
    """Why templates are not held; None when they are."""
    rival: str | None
    """An older Canary that has the same target."""
    target: Workload | None
    workload: Workload | None
    """The canary: the temporary Deployment."""
    traffic: Traffic | Finding
    route: Route
    copies: tuple[ObjectRef, ...] = ()
    """Objects of ours that exist, routes first."""
    owner: Owner | None = None
    replica_sets: tuple[ReplicaSet, ...] | None = None
    evidence: Evidence | None = None
    """What was counted of users' requests."""
    samples: Mapping[str, Sample] | None = None
    """By the name of the metric."""
    queries: Mapping[str, str] | Finding = field(default_factory=dict)
    """By the name of the metric, for those that have a query or a MetricTemplate; or why one cannot be rendered."""
    refused: Finding | None = None
    """What the API server said to the action that this World was planned for before."""


def known_spec(world: World) -> CanarySpec:
    """The spec, where the checks have found it valid."""
    assert isinstance(world.spec, CanarySpec), "first_problem stops before"
    return world.spec


def known_target(world: World) -> Workload:
    """The target, where the checks have found it."""
    assert world.target is not None, "first_problem stops before"
    return world.target


def known_traffic(world: World) -> Traffic:
    """Its traffic, where the checks have found it."""
    assert isinstance(world.traffic, Traffic), "first_problem stops before"
    return world.traffic


def current_step(world: World) -> Step:
    """The step under way, or the first one before there is any; the last one when the spec has become shorter."""
    steps = known_spec(world).steps
    return steps[min(max(world.status.step, 1), len(steps)) - 1]
