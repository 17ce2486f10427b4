"""What `plan` answers: a Decision, or a question that must be answered first."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from canary.engine.world import Finding, ObjectRef
from canary.model.evidence import Exposure
from canary.model.spec import Metric
from canary.model.status import Status
from canary.model.template import Json


@dataclass(frozen=True)
class SetFinalizer:
    """Put our finalizer on the Canary, or take it off."""

    present: bool


@dataclass(frozen=True)
class Guard:
    """Label the target, so that the policy holds its templates and the watch sees it."""


@dataclass(frozen=True)
class Unguard:
    """Give the target back: neither label nor pause, if it is still at this resourceVersion."""

    resource_version: str


@dataclass(frozen=True)
class LiftPause:
    """Let the held template of the target roll out, if the target is still at this resourceVersion."""

    resource_version: str


@dataclass(frozen=True)
class MarkVerdict:
    """Set the condition Stalled in the status of the target, or take it away.

    Flux waits for a Deployment that is paused; kstatus calls one with this condition failed, at once.
    """

    failure: Finding | None


@dataclass(frozen=True)
class Apply:
    """Server-side apply of an object of ours that carries no traffic by itself.

    `force` only where the object was observed to be ours: otherwise somebody else's of that name is left alone.
    """

    manifest: Json
    force: bool


@dataclass(frozen=True)
class SetWeight:
    """Make every canary route carry this share, in percent. The only action that moves traffic."""

    weight: int


@dataclass(frozen=True)
class Delete:
    """Delete an object of ours."""

    ref: ObjectRef


Action: TypeAlias = SetFinalizer | Guard | Unguard | LiftPause | MarkVerdict | Apply | SetWeight | Delete


@dataclass(frozen=True)
class Event:
    """A Kubernetes event about the Canary."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do: write `status` first if it differs, then the actions in order, then look again `after` that long.

    `after` None means: nothing to do until something is observed to change.
    """

    status: Status
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
    """Read the ReplicaSets of the target, then plan again."""


@dataclass(frozen=True)
class AskSamples:
    """Ask for these metrics, which have queries, then plan again."""

    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class AskEvidence:
    """Follow the requests of this rollout, and say what is known by now; then plan again."""

    exposure: Exposure


Question: TypeAlias = AskReplicaSets | AskSamples | AskEvidence
Answer: TypeAlias = Decision | Question
