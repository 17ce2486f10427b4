"""What keeps a rollout from starting or going on, besides the evidence.

Each gate is a small check, and the first that is closed is said. Behind it the canary is judged as ever, and its time
does not run out.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import Enum

from canary.engine import conditions
from canary.engine.decision import SAFETY_LOOK, Answer, AskAlerts, Decision, told
from canary.engine.freeze import frozen_until
from canary.engine.hooks import ask, open_or_why
from canary.engine.phases import Move, move
from canary.engine.world import Finding, World, current_step, known_spec
from canary.model import reasons
from canary.model.duration import format_time
from canary.model.measurement import Measured
from canary.model.status import Phase, change
from canary.model.webhook import HookType


class Way(Enum):
    """Where a rollout is about to go: the value names the webhooks that must say yes."""

    START = (HookType.CONFIRM_ROLLOUT,)
    NEXT_STEP = ()
    PROMOTION = (HookType.CONFIRM_PROMOTION,)
    STRAIGHT_THROUGH = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_PROMOTION)


def closed(world: World, way: Way) -> Answer | None:
    """The first gate that is closed, or what must be asked to tell; None when the way is free."""
    if world.status.approved == world.status.step:
        return None
    return next((answer for gate in _GATES if (answer := gate(world, way))), None)


def waiting(world: World, why: Finding, after: timedelta) -> Decision:
    """At a gate; it is told once. What has a share is looked at as often as ever."""
    if world.route.share:
        after = min(after, known_spec(world).analysis.interval)
    status, said = world.status, world.status.condition(conditions.RECONCILING)
    if status.phase is Phase.PROGRESSING:
        status = replace(status, phase=move(status.phase, Move.WAIT))
    events = () if said and said.reason == why.reason else (told(why),)
    return Decision(conditions.reconciling(world, status, why), why, events=events, after=after)


def _paused(world: World, _: Way) -> Answer | None:
    if not world.status.paused:
        return None
    return waiting(world, Finding(reasons.PAUSED, f"{change(world.status)} is paused by a command"), SAFETY_LOOK)


def _frozen(world: World, _: Way) -> Answer | None:
    found = frozen_until(known_spec(world).freeze, world.now)
    if found is None:
        return None
    window, until = found
    text = f"a freeze window ({window.schedule} {window.time_zone}) is open until {format_time(until)[:19]}Z"
    return waiting(world, Finding(reasons.FROZEN, text), until - world.now)


def _alert_fires(world: World, _: Way) -> Answer | None:
    alerts = known_spec(world).freeze.alerts
    if not alerts:
        return None
    if world.alerts is None:
        return AskAlerts(alerts)
    for alert in alerts:
        sample = world.alerts[alert]
        if isinstance(sample, Measured) and sample.value <= 0:
            continue
        text = f"alert {alert.name} fires" if isinstance(sample, Measured) else f"alert {alert.name}: {sample.message}"
        return waiting(world, Finding(reasons.ALERT_FIRES, text), known_spec(world).analysis.interval)
    return None


def _manual(world: World, way: Way) -> Answer | None:
    if way not in (Way.NEXT_STEP, Way.PROMOTION) or not world.status.step or not current_step(world).manual:
        return None
    text = f"step {world.status.step} of {world.status.steps} passed, and waits for the command advance"
    return waiting(world, Finding(reasons.MANUAL_GATE, text), SAFETY_LOOK)


def _webhooks(world: World, way: Way) -> Answer | None:
    spec = known_spec(world)
    hooks = tuple(hook for type_ in way.value for hook in spec.hooks(type_))
    if question := ask(world, hooks, since=world.status.progressed_at or world.now):
        return question
    closed_by = next((why for hook in hooks if (why := open_or_why(world, hook))), None)
    if closed_by is None:
        return None
    return waiting(world, Finding(reasons.WEBHOOK_GATE, closed_by), spec.analysis.interval)


_GATES: tuple[Callable[[World, Way], Answer | None], ...] = (_paused, _frozen, _alert_fires, _manual, _webhooks)
