"""One release, from its push to the end of its rollout: shown as it goes, and kept for the figures."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.panel import Panel
from rich.text import Text

from e2e.demo.cluster import NAMESPACE, Cluster, FluxSight, Route, Sight
from e2e.demo.errors import DemoFailed
from e2e.demo.figures import answered_by, answerer
from e2e.demo.screen import Screen
from e2e.lab.audit import AuditEntry
from e2e.lab.lab import Lab
from e2e.lab.load import Load, Record
from e2e.lab.reference import HOSTS, Reference, Release

RATE = 300
"""Requests a second that the users send."""
PATIENCE_SECONDS = 240
LOOK_SECONDS = 0.4
_RECENT_SECONDS = 5
_LINGER_SECONDS = 2
"""How long to go on sending after the end: an error that comes late counts too."""
_FULL_HASH = re.compile(r"sha1:([0-9a-f]{7})[0-9a-f]{33}")
_FLEETING = ("Fetching", "Building", "Detecting", "Reconciliation in progress")
"""What Flux says for less than a second before it applies."""
_WHERE = re.compile(r"^step \d+ of \d+(: weight| at) \d+ %: ")
"""What a message repeats of the columns before it."""
_STYLES = {"Progressing": "yellow", "Promoting": "cyan", "Succeeded": "bold green", "Failed": "bold red"}


@dataclass(frozen=True)
class End:
    """How a rollout ends: the phase of the Canary, and the reason that Flux gives."""

    phase: str
    flux_reason: str


PROMOTED = End("Succeeded", "ReconciliationSucceeded")
ROLLED_BACK = End("Failed", "HealthCheckFailed")
END_PHASES = (PROMOTED.phase, ROLLED_BACK.phase)


@dataclass
class Rollout:
    """What was seen of one release."""

    release: Release
    began: float = field(default_factory=time.time)
    """When it was pushed: seconds since 1970."""
    ended: float = 0
    end: Sight = field(default_factory=Sight)
    routes: list[Route] = field(default_factory=list)
    """Each weight that the canary's Ingress had, in order."""
    records: Sequence[Record] = ()
    audit: Sequence[AuditEntry] = ()
    pods_before: frozenset[str] = frozenset()
    pods_after: frozenset[str] = frozenset()
    flux: str = ""
    """What Flux says of it in the end."""


class Stage:
    """The parts that a rollout is watched with."""

    def __init__(self, lab: Lab, app: Reference, cluster: Cluster, screen: Screen) -> None:
        """Everything is installed, and there is a Canary."""
        self.lab = lab
        self.app = app
        self.cluster = cluster
        self.screen = screen
        self.load = Load(f"{lab.ingress_url}/", host=HOSTS[NAMESPACE], rate=RATE, answerer=answerer)
        self._sight = Sight()
        self._flux = ""

    def run(self, release: Release, end: End) -> Rollout:
        """Push a release and watch until its rollout has ended as it must."""
        rollout = Rollout(release, pods_before=self.cluster.stable_pods())
        commit = self.app.push(release)
        self.screen.note(f"commit {commit[:7]} is pushed, and Flux told to look")
        with self.screen.live(lambda: self._panel(release)):
            self._watch(rollout, commit, end)
            time.sleep(_LINGER_SECONDS)
        rollout.ended = time.time()
        rollout.pods_after = self.cluster.stable_pods()
        rollout.records = self.load.between(rollout.began, rollout.ended)
        rollout.audit = self.lab.audit(since=datetime.fromtimestamp(rollout.began, UTC))
        return rollout

    def _watch(self, rollout: Rollout, commit: str, end: End) -> None:
        """Look until the Canary has come to an end with this commit, nothing is left, and Flux knows."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            flux = self._look(rollout)
            if self._sight.phase in END_PHASES and self._sight.change.endswith(commit[:7]):
                if self._sight.phase != end.phase:
                    raise self._failed(f"{self._sight.phase} where {end.phase} was expected")
                if flux.reason == end.flux_reason and self.cluster.route() is None:
                    rollout.end, rollout.flux = self._sight, self._flux
                    return
            time.sleep(LOOK_SECONDS)
        raise self._failed(f"no end after {PATIENCE_SECONDS} s")

    def _look(self, rollout: Rollout) -> FluxSight:
        """Read everything once; what is new becomes a line. Gives what Flux says."""
        route, sight, flux = self.cluster.route(), self.cluster.canary(), self.cluster.flux()
        if route and (not rollout.routes or rollout.routes[-1] != route):
            rollout.routes.append(route)
        if sight != self._sight:
            self._sight = sight
            self.screen.note(line(sight), _STYLES.get(sight.phase, ""))
        said = _FULL_HASH.sub(r"\1", flux.message)
        if said != self._flux and not said.startswith(_FLEETING):
            self._flux = said
            self.screen.note(f"{'Flux':<12} {said}", "dim")
        return flux

    def _failed(self, what: str) -> DemoFailed:
        said = f"{self._sight.phase or 'no phase'}: {self._sight.reason}: {self._sight.message}"
        return DemoFailed(f"Canary {NAMESPACE}/podinfo: {what}. It says: {said}. Flux says: {self._flux}")

    def _panel(self, release: Release) -> Panel:
        """What is going on just now."""
        sight, width = self._sight, 50
        filled = round(width * sight.weight / 100)
        body = Text()
        body.append(f"{sight.phase:<12}", _STYLES.get(sight.phase, ""))
        body.append(f"step {sight.step}/{sight.steps}  canary ")
        body.append("█" * filled, "yellow").append("░" * (width - filled), "green")
        body.append(f" {sight.weight} %\n{sight.message}\n")
        body.append(f"users  {self._recent(release)}\n")
        body.append(f"Flux   {self._flux}")
        return Panel(body, title=f"Canary {NAMESPACE}/podinfo   {sight.change}", title_align="left")

    def _recent(self, release: Release) -> str:
        """What the users got in the last seconds."""
        now = time.time()
        records = self.load.between(now - _RECENT_SECONDS, now)
        if not records:
            return "no answers yet"
        failed = sum(record.failed for record in records)
        spoils = release.fail_share > 0
        from_new = sum(answered_by(record, release.message, spoils=spoils) for record in records)
        return (
            f"{len(records) / _RECENT_SECONDS:.0f} requests a second; of the last {_RECENT_SECONDS} s {failed} failed, "
            f"{100 * from_new / len(records):.0f} % were answered by the new release"
        )


def line(sight: Sight) -> str:
    """A Canary as one line, in the order of `kubectl get canary`, without what a person need not read twice."""
    message = _WHERE.sub("", sight.message)
    return f"{sight.phase:<12} {sight.step}/{sight.steps} {sight.weight:>3} %  {message}"
