"""What is remembered between two looks: the status of a Canary."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from analysis.verdict import Verdict
from canary.model.duration import format_time, parse_time
from canary.model.template import Json


class Phase(StrEnum):
    """Where a rollout is. The moves between them are the table in `canary.engine.phases`."""

    INITIALIZED = "Initialized"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


@dataclass(frozen=True)
class Check:
    """One metric as it was judged last. `value` is None where there was none."""

    name: str
    verdict: Verdict
    value: float | None
    message: str


@dataclass(frozen=True)
class Condition:
    """A Kubernetes condition: `status` is True, False or Unknown, as text."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True)
class Status:
    """`status` of a Canary.

    `weight` and `step` are intentions, written before anything is done about them; what is in effect is observed.
    Steps count from 1; 0 means that the canary gets no traffic yet.
    """

    phase: Phase | None = None
    suspended_phase: Phase | None = None
    """While SUSPENDED: the phase to go on with."""
    weight: int = 0
    step: int = 0
    steps: int = 0
    template: str = ""
    """Hash of the template on trial, or judged last."""
    stable_templates: tuple[str, ...] = ()
    """Hashes of the templates that served when the rollout began."""
    stable_revision: str = ""
    """The revision that serves at rest."""
    revision_from: str = ""
    revision_to: str = ""
    started_at: datetime | None = None
    progressed_at: datetime | None = None
    """When the rollout last moved: what the progress deadline counts from."""
    failed_checks: int = 0
    checked_at: datetime | None = None
    """When a check was last counted."""
    checks: tuple[Check, ...] = ()
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


def short_revision(revision: str) -> str:
    """`main@sha1:4c1ca09…` as people say it: `main@4c1ca09`."""
    branch, at, digest = revision.rpartition("@")
    _, colon, hexadecimal = digest.partition(":")
    return f"{branch}{at}{hexadecimal[:7]}" if at and colon else revision


def change(status: Status) -> str:
    """`main@4c1ca09 → main@77e0b1d`, or what serves when nothing was ever rolled out."""
    if not status.revision_to:
        return short_revision(status.stable_revision)
    return f"{short_revision(status.revision_from) or '?'} → {short_revision(status.revision_to)}"


def dump_status(status: Status) -> Json:
    """The object for the API server. Every key is there, None where empty: a merge patch then removes what is gone."""
    return {
        "observedGeneration": status.observed_generation,
        "phase": status.phase,
        "suspendedPhase": status.suspended_phase,
        "canaryWeight": status.weight,
        "step": status.step,
        "steps": status.steps,
        "progress": f"{status.step}/{status.steps}" if status.steps else None,
        "stableRevision": status.stable_revision or None,
        "revision": {"from": status.revision_from, "to": status.revision_to, "change": change(status)},
        "template": status.template or None,
        "stableTemplates": list(status.stable_templates),
        "startedAt": _time(status.started_at),
        "progressedAt": _time(status.progressed_at),
        "failedChecks": status.failed_checks,
        "checkedAt": _time(status.checked_at),
        "checks": [_dump_check(check) for check in status.checks],
        "conditions": [_dump_condition(condition, status.observed_generation) for condition in status.conditions],
    }


def parse_status(status: Mapping[str, Any]) -> Status:
    """The inverse of `dump_status`; an empty object is a Canary never looked at."""
    revision = status.get("revision") or {}
    return Status(
        phase=Phase(status["phase"]) if status.get("phase") else None,
        suspended_phase=Phase(status["suspendedPhase"]) if status.get("suspendedPhase") else None,
        weight=status.get("canaryWeight") or 0,
        step=status.get("step") or 0,
        steps=status.get("steps") or 0,
        template=status.get("template") or "",
        stable_templates=tuple(status.get("stableTemplates") or ()),
        stable_revision=status.get("stableRevision") or "",
        revision_from=revision.get("from") or "",
        revision_to=revision.get("to") or "",
        started_at=_moment(status.get("startedAt")),
        progressed_at=_moment(status.get("progressedAt")),
        failed_checks=status.get("failedChecks") or 0,
        checked_at=_moment(status.get("checkedAt")),
        checks=tuple(_parse_check(item) for item in status.get("checks") or ()),
        conditions=tuple(_parse_condition(item) for item in status.get("conditions") or ()),
        observed_generation=status.get("observedGeneration") or 0,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _dump_check(check: Check) -> Json:
    value = None if check.value is None else f"{check.value:.6g}"
    return {"name": check.name, "verdict": check.verdict, "value": value, "message": check.message}


def _parse_check(item: Json) -> Check:
    value = item.get("value")
    return Check(item["name"], Verdict(item["verdict"]), None if value is None else float(value), item["message"])


def _dump_condition(condition: Condition, generation: int) -> Json:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": format_time(condition.since)[:19] + "Z",
        "observedGeneration": generation,
    }


def _parse_condition(item: Json) -> Condition:
    return Condition(
        item["type"], item["status"], item["reason"], item["message"], parse_time(item["lastTransitionTime"])
    )
