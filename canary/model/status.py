"""What is remembered between two looks: the status of a Canary."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from analysis.verdict import Verdict
from canary.model.duration import format_time, parse_time
from canary.model.evidence import Saved
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
class Arm:
    """One side of a comparison: how many requests it answered, and the share of them that was bad, in percent."""

    requests: int
    bad: float


@dataclass(frozen=True)
class Check:
    """One metric as it was judged. `value` is None where there was none, or where canary is compared with stable."""

    name: str
    verdict: Verdict
    value: float | None
    message: str
    canary: Arm | None = None
    stable: Arm | None = None
    bound: float | None = None
    """With 95 % confidence canary's share of bad requests is above 1.1 times stable's by less, in percent."""


@dataclass(frozen=True)
class StepEvidence:
    """What the verdict on one step was based on."""

    step: int
    weight: int
    until: datetime
    """When the verdict was given."""
    checks: tuple[Check, ...]


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
    exposed_at: datetime | None = None
    """When the canary first got traffic."""
    erring_since: datetime | None = None
    """Since when the provider of the metrics has failed without a break."""
    checks: tuple[Check, ...] = ()
    evidence: tuple[StepEvidence, ...] = ()
    """Of the last steps, oldest first."""
    judge: Saved | None = None
    """What the judge remembers, while a rollout is under way."""
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
        "exposedAt": _time(status.exposed_at),
        "erringSince": _time(status.erring_since),
        "checks": [_dump_check(check) for check in status.checks],
        "evidence": [_dump_evidence(evidence) for evidence in status.evidence],
        "judge": _dump_saved(status.judge),
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
        exposed_at=_moment(status.get("exposedAt")),
        erring_since=_moment(status.get("erringSince")),
        checks=tuple(_parse_check(item) for item in status.get("checks") or ()),
        evidence=tuple(_parse_evidence(item) for item in status.get("evidence") or ()),
        judge=_parse_saved(status.get("judge")),
        conditions=tuple(_parse_condition(item) for item in status.get("conditions") or ()),
        observed_generation=status.get("observedGeneration") or 0,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _dump_check(check: Check) -> Json:
    item = {
        "name": check.name,
        "verdict": check.verdict,
        "value": _text(check.value),
        "message": check.message,
        "canary": _dump_arm(check.canary),
        "stable": _dump_arm(check.stable),
        "bound": _text(check.bound),
    }
    return {key: value for key, value in item.items() if value is not None}


def _parse_check(item: Json) -> Check:
    return Check(
        item["name"],
        Verdict(item["verdict"]),
        _number(item.get("value")),
        item["message"],
        _parse_arm(item.get("canary")),
        _parse_arm(item.get("stable")),
        _number(item.get("bound")),
    )


def _dump_arm(arm: Arm | None) -> Json | None:
    return None if arm is None else {"requests": arm.requests, "bad": _text(arm.bad)}


def _parse_arm(item: Json | None) -> Arm | None:
    return None if item is None else Arm(item["requests"], float(item["bad"]))


def _dump_evidence(evidence: StepEvidence) -> Json:
    return {
        "step": evidence.step,
        "weight": evidence.weight,
        "until": _time(evidence.until),
        "checks": [_dump_check(check) for check in evidence.checks],
    }


def _parse_evidence(item: Json) -> StepEvidence:
    checks = tuple(_parse_check(check) for check in item["checks"])
    return StepEvidence(item["step"], item["weight"], parse_time(item["until"]), checks)


def _dump_saved(saved: Saved | None) -> Json | None:
    """The cursor is a list: a merge patch would keep the pods of an object that are gone."""
    if saved is None:
        return None
    cursor = [{"pod": pod, "scraped": f"{at:.3f}"} for pod, at in sorted(saved.cursor.items())]
    return {"step": saved.step, "state": saved.state, "cursor": cursor}


def _parse_saved(item: Json | None) -> Saved | None:
    if item is None:
        return None
    return Saved(item["step"], item["state"], {entry["pod"]: float(entry["scraped"]) for entry in item["cursor"]})


def _text(number: float | None) -> str | None:
    """Six digits, as a text: an API server keeps no floats that clients agree on."""
    return None if number is None else f"{number:.6g}"


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


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
