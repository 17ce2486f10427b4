"""Commands: what a human says once, by an annotation whose value is any new token.

Each is handled once, also where there is nothing to do: one that was left lying must not meet the next release. Flux
takes annotations away at its next apply where kubectl wrote them; by then they were handled.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

from canary.engine import conditions
from canary.engine.checks import first_problem
from canary.engine.decision import Decision, Event, told
from canary.engine.held import tried_again
from canary.engine.outcome import roll_back
from canary.engine.world import Finding, World
from canary.model import reasons
from canary.model.status import Cause, Phase, Status, change


class Command(StrEnum):
    """In the order in which they are handled, where several came at once."""

    ABORT = "abort"
    """Roll back."""
    PAUSE = "pause"
    """Start and advance nothing."""
    RESUME = "resume"
    """No longer paused."""
    RETRY = "retry"
    """Try what failed again."""
    PROMOTE = "promote"
    """Promote now, without further judgement."""
    ADVANCE = "advance"
    """Go on from this step, whatever the gates and the evidence say."""


def obey(world: World) -> Decision | None:
    """Handle the first command that was not handled yet."""
    known = dict(world.status.handled)
    for command in Command:
        token = world.canary.commands.get(command, "")
        if token and known.get(command) != token:
            return _handle(world, command, token)
    return None


def _handle(world: World, command: Command, token: str) -> Decision:
    handled = tuple(sorted({**dict(world.status.handled), str(command): token}.items()))
    world = replace(world, status=replace(world.status, handled=handled))
    decision = _OBEY[command](world)
    if decision is not None:
        why = Finding(reasons.COMMAND_HANDLED, f"{command}: {decision.why.message}")
        return replace(decision, events=(told(why), *decision.events), after=timedelta())
    why = Finding(reasons.COMMAND_IGNORED, f"{command}: there is nothing to {command} in phase {world.status.phase}")
    events: tuple[Event, ...] = (told(why, warning=True),)
    return Decision(conditions.unchanged(world, world.status), why, events=events, after=timedelta())


def _abort(world: World) -> Decision | None:
    status = world.status
    if status.phase is Phase.SUSPENDED and status.suspended_phase in (Phase.PROGRESSING, Phase.WAITING):
        failed = _abort(replace(world, status=replace(status, phase=status.suspended_phase)))
        assert failed is not None, "a rollout under way can be aborted"
        asleep = replace(failed.status, phase=Phase.SUSPENDED, suspended_phase=failed.status.phase)
        return replace(failed, status=asleep)
    return roll_back(world, reasons.ABORTED, "aborted by a command") if status.under_way else None


def _pause(world: World) -> Decision | None:
    why = Finding(reasons.PAUSED, "no rollout starts or advances")
    return Decision(conditions.unchanged(world, replace(world.status, paused=True)), why)


def _resume(world: World) -> Decision | None:
    if not world.status.paused:
        return None
    why = Finding(reasons.PAUSED, "rollouts start and advance again")
    return Decision(conditions.unchanged(world, replace(world.status, paused=False)), why)


def _retry(world: World) -> Decision | None:
    if world.status.phase is not Phase.FAILED or first_problem(world) or not _is_held(world):
        return None
    status = tried_again(world, world.status)
    why = Finding(reasons.NEW_REVISION, f"{change(status)} is tried again")
    return Decision(conditions.reconciling(world, status, why), why)


def _promote(world: World) -> Decision | None:
    if not world.status.under_way or not _is_held(world):
        return None
    status = replace(world.status, straight=Cause.COMMAND)
    return Decision(conditions.unchanged(world, status), Finding(reasons.PROMOTING, f"{change(status)} is promoted"))


def _advance(world: World) -> Decision | None:
    if not world.status.under_way or not _is_held(world):
        return None
    status = replace(world.status, approved=world.status.step)
    why = Finding(reasons.WEIGHT_CHANGED, f"step {status.step} of {status.steps} may be left")
    return Decision(conditions.unchanged(world, status), why)


def _is_held(world: World) -> bool:
    """Whether what is held is still what the command was given for, as far as one can tell."""
    held = {(member.name, member.held) for member in world.members if member.held}
    return held == {(one.name, one.template) for one in world.status.trial}


_OBEY: Mapping[Command, Callable[[World], Decision | None]] = {
    Command.ABORT: _abort,
    Command.PAUSE: _pause,
    Command.RESUME: _resume,
    Command.RETRY: _retry,
    Command.PROMOTE: _promote,
    Command.ADVANCE: _advance,
}


def is_handled_now(old: Status, new: Status, command: Command) -> bool:
    """Whether a decision is the answer to this command."""
    return dict(old.handled).get(command) != dict(new.handled).get(command)
