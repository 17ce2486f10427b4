"""Stories of rollouts, pass by pass: what was seen, what was decided, and why, in the engine's own words.

A story is a file of YAML. Its `spec` and `events` are written by hand, its `passes` by the engine, which is driven by
the simulated cluster: `python -m tests.golden --update` writes them anew. Passes that say and do nothing new are left
out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from analysis.verdict import Verdict
from canary.engine.decision import (
    Action,
    Answer,
    Apply,
    Decision,
    Delete,
    Guard,
    HoldFloor,
    LiftPause,
    MarkVerdict,
    SetFinalizer,
    SetShare,
    Unguard,
)
from canary.engine.plan import plan
from canary.engine.world import Finding, Member, World
from canary.model.duration import format_duration
from canary.model.status import dump_status
from tests import simulation
from tests.explorer.explore import Bound, Explorer
from tests.explorer.settings import PAIR, SMALL, Setting
from tests.manifests import START
from tests.simulation import BAD, BROKEN, UNKNOWN, V1, V2, V3, Cluster

FOLDER = Path(__file__).parent
VERSIONS = {version.name: version for version in (V1, V2, V3, BAD, BROKEN, UNKNOWN)}
SETTINGS = {"a pair": PAIR, "one step": SMALL}
REST, LONG = 60, 3600
"""Seconds before the first event, and after the last."""

Seen = tuple[timedelta, World, Decision, bool]
"""A pass: how long after the story began, what was seen, what was decided, whether the status is written."""


@dataclass(frozen=True)
class Story:
    """One file."""

    path: Path

    @property
    def written(self) -> dict[str, Any]:
        """What the file says."""
        text = yaml.safe_load(self.path.read_text())
        assert isinstance(text, dict)
        return text

    def played(self) -> list[dict[str, str]]:
        """Its passes as they come out now."""
        told = self.written
        if "setting" in told:
            return list(_lines(play_abstract(SETTINGS[told["setting"]], told["events"])))
        return list(_lines(play(told.get("spec") or {}, told["events"])))

    def update(self) -> None:
        """Write the passes into the file, below what people wrote."""
        head = self.path.read_text().partition("\npasses:")[0]
        body = yaml.safe_dump({"passes": self.played()}, sort_keys=False, width=118, allow_unicode=True)
        self.path.write_text(f"{head}\n{body}")


def stories() -> list[Story]:
    """All of them."""
    return [Story(path) for path in sorted(FOLDER.glob("*.yaml"))]


def play(spec: dict[str, Any], events: list[dict[str, Any]]) -> list[Seen]:
    """Let the events happen, and note every decision. Times count from when the Canary has come to rest."""
    seen: list[Seen] = []

    def noted(world: World) -> Answer:
        answer = plan(world)
        if isinstance(answer, Decision):
            writes = dump_status(answer.status) != dump_status(world.status)
            seen.append((world.now - START - timedelta(seconds=REST), world, answer, writes))
        return answer

    cluster = Cluster(spec).run(REST)
    with patch.object(simulation, "plan", noted):
        for event in events:
            cluster.run((START + timedelta(seconds=REST + event["at"]) - cluster.now).total_seconds())
            _happens(cluster, {key: value for key, value in event.items() if key != "at"})
        cluster.run(LONG)
    return seen


def play_abstract(setting: Setting, events: list[dict[str, Any]]) -> list[Seen]:
    """The same on the abstract cluster of the explorer, where events are its moves, by their words."""
    explorer = Explorer(setting, Bound(states=1), words=True)
    now, state = timedelta(), explorer.settled()
    seen: list[Seen] = []
    for event in (*events, {"at": LONG}):
        state, passes = explorer.calmly(state, timedelta(seconds=event["at"]) - now)
        for after, one in passes:
            writes = any(kind == "status" for kind, _ in explorer.operator.writes(one))
            seen.append((now + after, one.world, one.decision, writes))
        now = timedelta(seconds=event["at"])
        if "happens" in event:
            state = next(move.after for move in explorer.moves.all(state) if move.what == event["happens"])
    return seen


def _happens(cluster: Cluster, event: dict[str, Any]) -> None:
    match event:
        case {"push": name}:
            cluster.push(VERSIONS[str(name)])
        case {"command": name}:
            cluster.command(name)
        case {"suspend": suspend}:
            cluster.set_spec(suspend=suspend)
        case {"alerts firing": number}:
            cluster.firing = number
        case {"webhook": name, "says": verdict}:
            cluster.hooks[name] = None if verdict is None else Verdict(verdict)
        case {"canary ready": ready}:
            cluster.set_readiness(canary=ready)
        case {"ingress": present}:
            cluster.set_ingress(present=present)
        case {"delete": "canary"}:
            cluster.delete_canary()
        case _:
            raise AssertionError(f"nothing is known about {event}")


def _lines(seen: list[Seen]) -> Iterator[dict[str, str]]:
    said = None
    for at, world, decision, writes in seen:
        why = f"{decision.why.reason}: {decision.why.message}"
        if not writes and not decision.actions and why == said:
            continue
        said = why
        yield {
            "at": format_duration(at),
            "seen": ", ".join(_seen(world)),
            "decided": why,
            **({"does": "; ".join(_done(decision, writes=writes))} if writes or decision.actions else {}),
            "looks again": "on news" if decision.after is None else f"after {format_duration(decision.after)}",
        }


def _seen(world: World) -> Iterator[str]:
    status = world.status
    yield f"{status.phase}" + (f" (was {status.suspended_phase})" if status.suspended_phase else "")
    if status.step:
        yield f"step {status.step} of {status.steps} at {status.share}"
    for member in world.members:
        yield from _member(member)
    if world.copies and world.route.since:
        yield f"routes carry {world.route.share}"


def _member(member: Member) -> Iterator[str]:
    if member.held:
        yield f"{member.name} held"
    elif member.stable and not member.stable.rolled_out:
        yield f"{member.name} rolling"
    if member.canary:
        yield f"canary {member.canary.available}/{member.canary.replicas}"
    if isinstance(member.traffic, Finding):
        yield member.traffic.reason


def _done(decision: Decision, *, writes: bool) -> Iterator[str]:
    if writes:
        status = decision.status
        yield f"status: {status.phase}, step {status.step}, {status.share}"
    for action in decision.actions:
        yield _action(action)


def _action(action: Action) -> str:
    match action:
        case SetShare(share):
            return f"share: {share}"
        case Apply(manifest):
            replicas = manifest["spec"].get("replicas")
            size = f", {replicas} pods" if replicas else ""
            return f"apply: {manifest['kind']} {manifest['metadata']['name']}{size}"
        case Delete(ref):
            return f"delete: {ref.kind} {ref.name}"
        case LiftPause(target):
            return f"let roll out: {target}"
        case Guard(target):
            return f"guard: {target}"
        case Unguard(target):
            return f"give back: {target}"
        case MarkVerdict(target, failure):
            return f"tell Flux: {target} {'failed' if failure else 'may go on'}"
        case HoldFloor(name, held):
            return f"{'hold' if held else 'release'} floor: {name}"
        case SetFinalizer(present):
            return f"finalizer: {'on' if present else 'off'}"
