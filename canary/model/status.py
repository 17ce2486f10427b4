"""What is remembered between two looks: the status of a Canary."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from analysis.verdict import Verdict
from canary.model.configuration import ConfigRef
from canary.model.duration import format_time, parse_time
from canary.model.evidence import Saved
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.template import Json, text_hash


class Phase(StrEnum):
    """Where a rollout is. The moves between them are the table in `canary.engine.phases`."""

    INITIALIZED = "Initialized"
    PROGRESSING = "Progressing"
    WAITING = "Waiting"
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
    weight: float
    until: datetime
    """When the verdict was given."""
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Trial:
    """A target on trial: the hash of the template that it is held with."""

    name: str
    template: str


@dataclass(frozen=True)
class Release:
    """What served together: each target's template, without what needs no canary, and the revision that came last."""

    revision: str
    templates: tuple[Trial, ...]


@dataclass(frozen=True)
class HookRecord:
    """What a webhook said."""

    name: str
    verdict: Verdict
    message: str
    at: datetime


class Cause(StrEnum):
    """Why a release needs no judgement of ours."""

    KNOWN_GOOD = "KnownGood"
    """It was promoted before."""
    NO_CANARY_NEEDED = "NoCanaryNeeded"
    """It changes only what `spec.skipAnalysisFor` names."""
    NOTHING_TO_JUDGE = "NothingToJudge"
    """None of its targets gets requests of users."""
    COMMAND = "PromoteCommand"
    """A human said so."""


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

    `share` and `step` are intentions, written before anything is done about them; what is in effect is observed.
    Steps count from 1; 0 means that the canary gets no traffic yet.
    """

    phase: Phase | None = None
    suspended_phase: Phase | None = None
    """While SUSPENDED: the phase to go on with."""
    share: Share = NOTHING
    step: int = 0
    steps: int = 0
    trial: tuple[Trial, ...] = ()
    """What is on trial, or was judged last, by name."""
    stable_revision: str = ""
    """The revision that serves at rest."""
    revision_from: str = ""
    revision_to: str = ""
    straight: Cause | None = None
    """Why this release goes through unjudged."""
    approved: int | None = None
    """The step that a human said may be left."""
    failure: str | None = None
    """What speaks against the canary, where `onFailure: hold` waits for a human."""
    paused: bool = False
    """Whether a human wants no rollout to start or advance."""
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
    hooks: tuple[HookRecord, ...] = ()
    """Webhooks that are told of the end: inconclusive before they were."""
    judge: Saved | None = None
    """What the judge remembers, while a rollout is under way."""
    promoted: tuple[Release, ...] = ()
    """What was promoted last, newest first."""
    configuration: tuple[tuple[ConfigRef, str], ...] = ()
    """ConfigMaps and Secrets of the templates that serve, each with its version when they began to."""
    handled: tuple[tuple[str, str], ...] = ()
    """The last token of each command that was handled, by the command."""
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0

    @property
    def weight(self) -> float:
        """The canary's share in percent, as intended."""
        return self.share.weight

    @property
    def template(self) -> str:
        """Names what is on trial, or was judged last: a template's hash, or that of several."""
        return release_hash(self.trial)

    @property
    def under_way(self) -> bool:
        """Whether a rollout goes through its steps, or waits at a gate of one."""
        return self.phase in (Phase.PROGRESSING, Phase.WAITING)

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


def release_hash(trial: tuple[Trial, ...]) -> str:
    """The template's hash where there is one target; for several a hash of names and hashes; empty for none."""
    if len(trial) <= 1:
        return trial[0].template if trial else ""
    return text_hash(" ".join(f"{one.name}={one.template}" for one in trial))


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
        "canaryWeight": _whole(status.weight),
        "canaryMatch": _dump_match(status.share.match),
        "step": status.step,
        "steps": status.steps,
        "progress": f"{status.step}/{status.steps}" if status.steps else None,
        "stableRevision": status.stable_revision or None,
        "revision": {"from": status.revision_from, "to": status.revision_to, "change": change(status)},
        "template": status.template or None,
        "targets": [_dump_trial(trial) for trial in status.trial],
        "straightThrough": status.straight,
        "approvedStep": status.approved,
        "heldFailure": status.failure,
        "paused": status.paused or None,
        "startedAt": _time(status.started_at),
        "progressedAt": _time(status.progressed_at),
        "failedChecks": status.failed_checks,
        "checkedAt": _time(status.checked_at),
        "exposedAt": _time(status.exposed_at),
        "erringSince": _time(status.erring_since),
        "checks": [_dump_check(check) for check in status.checks],
        "evidence": [_dump_evidence(evidence) for evidence in status.evidence],
        "webhooks": [_dump_hook(record) for record in status.hooks],
        "judge": _dump_saved(status.judge),
        "promoted": [_dump_release(release) for release in status.promoted],
        "configuration": [_dump_configuration(ref, version) for ref, version in status.configuration],
        "handled": dict(status.handled),
        "conditions": [_dump_condition(condition, status.observed_generation) for condition in status.conditions],
    }


def parse_status(status: Mapping[str, Any]) -> Status:
    """The inverse of `dump_status`; an empty object is a Canary never looked at."""
    revision = status.get("revision") or {}
    return Status(
        phase=Phase(status["phase"]) if status.get("phase") else None,
        suspended_phase=Phase(status["suspendedPhase"]) if status.get("suspendedPhase") else None,
        share=Share(status.get("canaryWeight") or 0, _parse_match(status.get("canaryMatch"))),
        step=status.get("step") or 0,
        steps=status.get("steps") or 0,
        trial=tuple(_parse_trial(item) for item in status.get("targets") or ()),
        stable_revision=status.get("stableRevision") or "",
        revision_from=revision.get("from") or "",
        revision_to=revision.get("to") or "",
        straight=Cause(status["straightThrough"]) if status.get("straightThrough") else None,
        approved=status.get("approvedStep"),
        failure=status.get("heldFailure"),
        paused=bool(status.get("paused")),
        started_at=_moment(status.get("startedAt")),
        progressed_at=_moment(status.get("progressedAt")),
        failed_checks=status.get("failedChecks") or 0,
        checked_at=_moment(status.get("checkedAt")),
        exposed_at=_moment(status.get("exposedAt")),
        erring_since=_moment(status.get("erringSince")),
        checks=tuple(_parse_check(item) for item in status.get("checks") or ()),
        evidence=tuple(_parse_evidence(item) for item in status.get("evidence") or ()),
        hooks=tuple(_parse_hook(item) for item in status.get("webhooks") or ()),
        judge=_parse_saved(status.get("judge")),
        promoted=tuple(_parse_release(item) for item in status.get("promoted") or ()),
        configuration=tuple(_parse_configuration(item) for item in status.get("configuration") or ()),
        handled=tuple(sorted((status.get("handled") or {}).items())),
        conditions=tuple(_parse_condition(item) for item in status.get("conditions") or ()),
        observed_generation=status.get("observedGeneration") or 0,
    )


def _whole(weight: float) -> float:
    """A weight as people write it: 5, not 5.0."""
    return int(weight) if weight == int(weight) else weight


def _dump_match(match: Match | None) -> Json | None:
    if match is None:
        return None
    header = match.header and {"name": match.header.name, "exact": match.header.exact, "regex": match.header.regex}
    return {"header": header, "cookie": match.cookie}


def _parse_match(item: Json | None) -> Match | None:
    if item is None:
        return None
    header = item.get("header")
    return Match(header and Header(header["name"], header.get("exact"), header.get("regex")), item.get("cookie"))


def _dump_trial(trial: Trial) -> Json:
    return {"name": trial.name, "template": trial.template}


def _parse_trial(item: Json) -> Trial:
    return Trial(item["name"], item["template"])


def _dump_release(release: Release) -> Json:
    return {"revision": release.revision, "targets": [_dump_trial(trial) for trial in release.templates]}


def _parse_release(item: Json) -> Release:
    return Release(item["revision"], tuple(_parse_trial(trial) for trial in item["targets"]))


def _dump_hook(record: HookRecord) -> Json:
    return {"name": record.name, "verdict": record.verdict, "message": record.message, "at": _time(record.at)}


def _parse_hook(item: Json) -> HookRecord:
    return HookRecord(item["name"], Verdict(item["verdict"]), item["message"], parse_time(item["at"]))


def _dump_configuration(ref: ConfigRef, version: str) -> Json:
    return {"kind": ref.kind, "name": ref.name, "version": version}


def _parse_configuration(item: Json) -> tuple[ConfigRef, str]:
    return ConfigRef(item["kind"], item["name"]), item["version"]


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
        "weight": _whole(evidence.weight),
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
