"""Figures: what the API server's audit log and the answers to the users' requests say about a rollout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from canary.engine.winddown import SETTLE
from canary.model.names import canary_name
from e2e.demo.cluster import APP, Route
from e2e.lab.audit import AuditEntry
from e2e.lab.load import Answerer, Record, podinfo_answerer, wilson_interval

SPOILED = b"this release is bad"
"""What `./unreliable` answers in the place of podinfo; only the bad release starts that program."""


@dataclass(frozen=True)
class StepShare:
    """The canary's share of the users' requests while a weight was in effect, with its 95 % interval. In percent."""

    asked: int
    got: float
    low: float
    high: float


def answerer(body: bytes) -> Answerer:
    """Read who answered; a spoiled answer comes from the bad release, which alone spoils."""
    if body.startswith(SPOILED):
        return Answerer(message="spoiled")
    return podinfo_answerer(body)


def answered_by(record: Record, message: str, *, spoils: bool = False) -> bool:
    """Whether the release with this message answered; `spoils` where it is the one that spoils answers."""
    return record.answerer.message in ({message, "spoiled"} if spoils else {message})


def held_to_canary_seconds(entries: Iterable[AuditEntry], operator: str) -> float | None:
    """From the request by which Flux brought the template, which is held, to the one that makes the canary's pods."""
    made = next((entry for entry in entries if _makes_canary(entry, operator)), None)
    if made is None:
        return None
    applied = [entry for entry in entries if _applies_target(entry, operator) and entry.received_at < made.received_at]
    return (made.received_at - applied[-1].received_at).total_seconds() if applied else None


def _makes_canary(entry: AuditEntry, operator: str) -> bool:
    return entry.user == operator and entry.resource == "deployments" and entry.name == canary_name(APP)


def _applies_target(entry: AuditEntry, operator: str) -> bool:
    """Flux compares by a dry run first: that one changes nothing."""
    return (
        (entry.verb, entry.resource, entry.subresource, entry.name) == ("patch", "deployments", "", APP)
        and entry.user != operator
        and "dryRun" not in entry.uri
    )


def requests_of(entries: Iterable[AuditEntry], operator: str) -> Counter[str]:
    """What the operator asked of the API server, by verb and resource; without its Lease, and watches that opened."""
    asked = (e for e in entries if e.user == operator and e.resource != "leases" and e.verb != "watch")
    return Counter(f"{e.verb} {e.resource}{'/' if e.subresource else ''}{e.subresource}" for e in asked)


def shares(routes: Sequence[Route], records: Sequence[Record]) -> list[StepShare]:
    """The canary's share at each weight, from when every worker of ingress-nginx obeys it to the next change."""
    return [
        share
        for this, after in pairwise(routes)
        if this.weight and (share := _share(this, [r for r in records if _within(r, this, after)]))
    ]


def _within(record: Record, this: Route, after: Route) -> bool:
    return this.since + SETTLE.total_seconds() <= record.start < after.since


def _share(route: Route, records: Sequence[Record]) -> StepShare | None:
    """Told by the pod's name: during a promotion stable's pods run the same release."""
    if not records:
        return None
    count = sum(record.answerer.hostname.startswith(canary_name(APP)) for record in records)
    low, high = wilson_interval(count, len(records))
    return StepShare(route.weight, 100 * count / len(records), 100 * low, 100 * high)
