"""Conditions as Flux and kstatus read them.

Ready is True only at rest with the present template promoted; Reconciling and Stalled are there only while true.
A rollout under way is Ready=Unknown and Reconciling=True; a rolled-back or blocked one Ready=False and Stalled=True.
Guarded and ConfigurationChanged speak of what is around it, whatever else is said.
"""

from dataclasses import replace
from datetime import datetime

from canary.engine.world import Finding, World
from canary.model import reasons
from canary.model.configuration import changed
from canary.model.status import Condition, Status

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
GUARDED, CONFIGURATION_CHANGED = "Guarded", "ConfigurationChanged"
_AROUND = (GUARDED, CONFIGURATION_CHANGED)


def ready(world: World, status: Status, why: Finding) -> Status:
    """Nothing to do: the template that serves is the one that Flux applied. Unless nothing holds the next one."""
    if world.guard is not None:
        return stalled(world, status, world.guard)
    return _with(world, status, {READY: ("True", why)})


def reconciling(world: World, status: Status, why: Finding) -> Status:
    """A rollout is under way."""
    return _with(world, status, {READY: ("Unknown", why), RECONCILING: ("True", why)})


def stalled(world: World, status: Status, why: Finding) -> Status:
    """It will not go on by itself."""
    return _with(world, status, {READY: ("False", why), STALLED: ("True", why)})


def unchanged(world: World, status: Status) -> Status:
    """Nothing new to say, but for what is around it and the generation."""
    kept = {c.type: (c.status, Finding(c.reason, c.message)) for c in status.conditions if c.type not in _AROUND}
    return _with(world, status, kept)


def _with(world: World, status: Status, wanted: dict[str, tuple[str, Finding]]) -> Status:
    old = {condition.type: condition for condition in world.status.conditions}
    conditions = tuple(
        Condition(type_, value, why.reason, why.message, _since(old.get(type_), value, world.now))
        for type_, (value, why) in {**wanted, **_around(world, status)}.items()
    )
    return replace(status, conditions=conditions, observed_generation=world.canary.generation)


def _around(world: World, status: Status) -> dict[str, tuple[str, Finding]]:
    guarded = {GUARDED: ("False", world.guard) if world.guard else ("True", _GUARDED)}
    refs = changed(dict(status.configuration), world.configuration)
    if not refs:
        return guarded
    what = ", ".join(f"{ref.kind} {ref.name}" for ref in refs)
    text = f"{what} changed in place: pods take it as they restart, and it was not judged"
    return {**guarded, CONFIGURATION_CHANGED: ("True", Finding(reasons.CHANGED_IN_PLACE, text))}


def _since(old: Condition | None, value: str, now: datetime) -> datetime:
    return old.since if old and old.status == value else now


_GUARDED = Finding(reasons.GUARD_INSTALLED, "the guard policy holds each new template")
