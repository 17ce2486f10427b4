"""What `plan` answers: a Decision, or a question that must be answered first."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from canary.engine.world import Finding, ObjectRef
from canary.model.evidence import Exposure
from canary.model.freeze import Alert
from canary.model.share import Share
from canary.model.spec import Metric
from canary.model.status import Status
from canary.model.template import Json
from canary.model.webhook import Call


@dataclass(frozen=True)
class SetFinalizer:
    """Put our finalizer on the Canary, or take it off."""

    present: bool


@dataclass(frozen=True)
class Guard:
    """Label a target, so that the policy holds its templates and the watch sees it."""

    target: str


@dataclass(frozen=True)
class Unguard:
    """Give a target back: neither label nor pause, if it is still at this resourceVersion."""

    target: str
    resource_version: str


@dataclass(frozen=True)
class LiftPause:
    """Let the held template of a target roll out, if the target is still at this resourceVersion."""

    target: str
    resource_version: str


@dataclass(frozen=True)
class MarkVerdict:
    """Set the condition Stalled in the status of a target, or take it away.

    Flux waits for a Deployment that is paused; kstatus calls one with this condition failed, at once.
    """

    target: str
    failure: Finding | None


@dataclass(frozen=True)
class HoldFloor:
    """Keep the HPA of a target from shrinking it, or let it again; if the HPA is still as it was seen."""

    autoscaler: str
    held: bool


@dataclass(frozen=True)
class Apply:
    """Server-side apply of an object of ours that carries no traffic by itself.

    `force` only where the object was observed to be ours: otherwise somebody else's of that name is left alone.
    """

    manifest: Json
    force: bool


@dataclass(frozen=True)
class SetShare:
    """Make every canary route carry this share. The only action that moves traffic."""

    share: Share


@dataclass(frozen=True)
class Delete:
    """Delete an object of ours."""

    ref: ObjectRef


Action: TypeAlias = SetFinalizer | Guard | Unguard | LiftPause | MarkVerdict | HoldFloor | Apply | SetShare | Delete


@dataclass(frozen=True)
class Event:
    """A Kubernetes event about the Canary."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do: write `status` first if it differs, then the actions in order, then look again `after` that long.

    `why` says it in a sentence; where it is news, the conditions and an event say the same. `after` None means: nothing
    to do until something is observed to change.
    """

    status: Status
    why: Finding
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    after: timedelta | None = None


SAFETY_LOOK = timedelta(seconds=30)
"""How often to look without an event while something is expected of others."""


def told(why: Finding, *, warning: bool = False) -> Event:
    """The event that says what a condition says."""
    return Event(why.reason, why.message, warning)


@dataclass(frozen=True)
class AskReplicaSets:
    """Read the ReplicaSets of these targets, then plan again."""

    targets: tuple[str, ...]


@dataclass(frozen=True)
class AskSamples:
    """Ask for these metrics, which have queries, then plan again."""

    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class AskEvidence:
    """Follow the requests of this rollout, and say what is known by now; then plan again."""

    exposure: Exposure


@dataclass(frozen=True)
class AskWebhooks:
    """Say what these webhooks answered, and call those that have not; then plan again without waiting for them."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class AskAlerts:
    """Ask how many instances of these alerts fire, then plan again."""

    alerts: tuple[Alert, ...]


Question: TypeAlias = AskReplicaSets | AskSamples | AskEvidence | AskWebhooks | AskAlerts
Answer: TypeAlias = Decision | Question
