"""What becomes of a step: the next one, the promotion, the rollback. Each is recorded before anything is done."""

from dataclasses import replace
from datetime import timedelta

from canary.engine import conditions
from canary.engine.decision import Decision, told
from canary.engine.phases import Move, move
from canary.engine.world import Finding, World, known_spec
from canary.model import reasons
from canary.model.status import Check, Status, StepEvidence, change

STEPS_KEPT = 10
"""Of how many steps the evidence stays in the status."""


def passed_step(world: World, checks: tuple[Check, ...], why: str) -> Decision:
    """The step is passed: on with the next one, or the promotion."""
    if world.status.step < len(known_spec(world).steps):
        return advance(world, checks, why)
    finding = Finding(reasons.PROMOTING, f"{at(world)}: all steps passed: {why}")
    status = replace(
        _recorded(world, checks),
        phase=move(world.status.phase, Move.PROMOTE),
        progressed_at=world.now,
    )
    return Decision(conditions.reconciling(world, status, finding), events=(told(finding),), after=timedelta())


def advance(world: World, checks: tuple[Check, ...], why: str) -> Decision:
    """Record the decision for the next step; the next pass makes the canary large enough, then moves the traffic."""
    steps = known_spec(world).steps
    number = world.status.step + 1
    weight = steps[number - 1].weight
    finding = Finding(reasons.WEIGHT_CHANGED, f"step {number} of {len(steps)}: weight {weight} %: {why}")
    status = replace(
        _recorded(world, checks),
        step=number,
        steps=len(steps),
        weight=weight,
        progressed_at=world.now,
        exposed_at=world.status.exposed_at or world.now,
    )
    return Decision(conditions.reconciling(world, status, finding), events=(told(finding),), after=timedelta())


def roll_back(world: World, reason: str, text: str, checks: tuple[Check, ...] = ()) -> Decision:
    """The canary failed: no weight, and the template stays held."""
    old = world.status
    where = f"{at(world)}: " if old.step else ""
    why = Finding(reason, f"{change(old)} was rolled back and stays held: {where}{text}")
    status = replace(_recorded(world, checks), phase=move(old.phase, Move.FAIL), weight=0)
    events = (told(why, warning=True),)
    return Decision(conditions.stalled(world, status, why), events=events, after=timedelta())


def at(world: World) -> str:
    """Where the rollout is, in words."""
    return f"step {world.status.step} of {len(known_spec(world).steps)} at {world.status.weight} %"


def _recorded(world: World, checks: tuple[Check, ...]) -> Status:
    """The status with what the verdict on the step under way was based on."""
    status = world.status
    if not checks:
        return status
    evidence = (*status.evidence, StepEvidence(status.step, status.weight, world.now, checks))
    return replace(status, checks=checks, evidence=evidence[-STEPS_KEPT:], erring_since=None)
