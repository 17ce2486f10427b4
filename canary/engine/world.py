"""The World: everything that was observed, handed to `plan` as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from canary.model import reasons
from canary.model.autoscaler import Autoscaler
from canary.model.configuration import ConfigRef
from canary.model.evidence import Evidence
from canary.model.freeze import Alert
from canary.model.measurement import Sample
from canary.model.pod import Pod
from canary.model.spec import CanarySpec, Step, Target
from canary.model.status import Status
from canary.model.traffic import Route, Traffic, join
from canary.model.webhook import HookAnswer
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
    commands: Mapping[str, str] = field(default_factory=dict)
    """The token of each command that is annotated, by the command."""


@dataclass(frozen=True)
class Owner:
    """The Flux object that applies a target."""

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
class Member:
    """One target of the Canary, with what belongs to it."""

    target: Target
    stable: Workload | None
    """The user's Deployment."""
    canary: Workload | None
    """The temporary Deployment."""
    traffic: Traffic | Finding
    pods: tuple[Pod, ...] = ()
    """Of the temporary Deployment."""
    autoscaler: Autoscaler | None = None
    """What scales the user's Deployment."""
    replica_sets: tuple[ReplicaSet, ...] | None = None
    """Of the user's Deployment; None: not asked for yet."""

    @property
    def name(self) -> str:
        """Of the user's Deployment."""
        return self.target.name

    @property
    def exists(self) -> bool:
        """Whether the user's Deployment is there to stay."""
        return self.stable is not None and not self.stable.deleting

    @property
    def held(self) -> str | None:
        """Hash of the template that it is held with; None where it is not held."""
        return self.stable.template_hash if self.exists and self.stable and self.stable.paused else None

    @property
    def serving(self) -> frozenset[str]:
        """Hashes of the templates that its pods run."""
        return frozenset(found.template for found in self.replica_sets or () if found.pods)

    @property
    def routed(self) -> bool:
        """Whether requests of users come to it, so that there is something to judge."""
        return isinstance(self.traffic, Traffic)

    @property
    def rides_along(self) -> bool:
        """Whether it is promoted with the others, for it has no traffic of its own. Not one whose routes went away."""
        without = isinstance(self.traffic, Finding) and self.traffic.reason in (reasons.NO_SERVICE, reasons.NO_INGRESS)
        return without and not self.target.ingresses and self.canary is None


@dataclass(frozen=True)
class World:
    """One observation. What was not asked for yet is None or left out: `evidence`, `samples`, `answers`, `alerts`."""

    now: datetime
    canary: Identity
    spec: CanarySpec | Finding
    status: Status
    guard: Finding | None
    """Why templates are not held; None when they are."""
    rival: Finding | None
    """An older Canary that has one of the targets."""
    members: tuple[Member, ...]
    former: tuple[Workload, ...]
    """Deployments that are held for this Canary, and are no target of it any more."""
    route: Route
    copies: tuple[ObjectRef, ...] = ()
    """Objects of ours that exist, routes first."""
    owner: Owner | None = None
    evidence: Evidence | None = None
    """What was counted of users' requests."""
    samples: Mapping[str, Sample] | None = None
    """By the name of the metric."""
    queries: Mapping[str, str] | Finding = field(default_factory=dict)
    """By the name of the metric, for those that have a query or a MetricTemplate; or why one cannot be rendered."""
    webhooks: Finding | None = None
    """Why a webhook must not be called."""
    answers: Mapping[str, HookAnswer | None] = field(default_factory=dict)
    """What the webhooks that were asked say, by name; None for one that has not answered yet."""
    alerts: Mapping[Alert, Sample] | None = None
    """How many instances of each alert fire that keeps a rollout from going on."""
    configuration: Mapping[ConfigRef, str] = field(default_factory=dict)
    """Versions of the ConfigMaps and Secrets that the templates of the targets name, as far as they are known."""
    floors: tuple[str, ...] = ()
    """Autoscalers that are kept from shrinking a target."""
    refused: Finding | None = None
    """What the API server said to the action that this World was planned for before."""


def known_spec(world: World) -> CanarySpec:
    """The spec, where the checks have found it valid."""
    assert isinstance(world.spec, CanarySpec), "first_problem stops before"
    return world.spec


def known_stable(member: Member) -> Workload:
    """The user's Deployment, where the checks have found it."""
    assert member.stable is not None, "first_problem stops before"
    return member.stable


def known_traffic(member: Member) -> Traffic:
    """The traffic of a member that is routed."""
    assert isinstance(member.traffic, Traffic), "only routed members have a canary"
    return member.traffic


def on_trial(world: World) -> tuple[Member, ...]:
    """The targets whose templates are on trial."""
    names = {trial.name for trial in world.status.trial}
    return tuple(member for member in world.members if member.name in names)


def exposed(world: World) -> tuple[Member, ...]:
    """Those of them that get a canary: requests of users come to them."""
    return tuple(member for member in on_trial(world) if not member.rides_along)


def traffic_on_trial(world: World) -> Traffic | Finding:
    """All Services and routes that carry the canary, or why one of them cannot."""
    found = []
    for member in exposed(world):
        if isinstance(member.traffic, Finding):
            return member.traffic
        found.append(member.traffic)
    return join(found)


def current_step(world: World) -> Step:
    """The step under way, or the first one before there is any; the last one when the spec has become shorter."""
    steps = known_spec(world).steps
    return steps[min(max(world.status.step, 1), len(steps)) - 1]
