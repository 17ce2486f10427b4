"""What becomes of a step: the next one, the promotion, the rollback. Each is recorded before anything is done."""

from dataclasses import replace
from datetime import timedelta

from analysis.verdict import Verdict
from canary.engine import conditions
from canary.engine.decision import Decision, told
from canary.engine.phases import Move, move
from canary.engine.world import Finding, World, known_spec
from canary.model import reasons
from canary.model.share import NOTHING
from canary.model.spec import CanarySpec, OnFailure
from canary.model.status import Check, HookRecord, Phase, Status, StepEvidence, change
from canary.model.webhook import HookType

STEPS_KEPT = 10
"""Of how many steps the evidence stays in the status."""


def advance(world: World, checks: tuple[Check, ...], why: str) -> Decision:
    """Record the decision for the next step; the next pass makes the canary large enough, then moves the traffic."""
    steps = known_spec(world).steps
    number = world.status.step + 1
    share = steps[number - 1].share
    finding = Finding(reasons.WEIGHT_CHANGED, f"step {number} of {len(steps)}: {share}: {why}")
    status = replace(
        going_on(world, _recorded(world, checks)),
        step=number,
        steps=len(steps),
        share=share,
        approved=None,
        failure=None,
        progressed_at=world.now,
        exposed_at=world.status.exposed_at or world.now,
    )
    return Decision(conditions.reconciling(world, status, finding), finding, events=(told(finding),), after=timedelta())


def promote(world: World, checks: tuple[Check, ...], why: str, reason: str = reasons.PROMOTING) -> Decision:
    """Record the decision for the promotion."""
    at_step = f"{at(world)}: " if world.status.step else ""
    finding = Finding(reason, f"{at_step}{why}")
    status = replace(
        _recorded(world, checks), phase=move(world.status.phase, Move.PROMOTE), failure=None, progressed_at=world.now
    )
    return Decision(conditions.reconciling(world, status, finding), finding, events=(told(finding),), after=timedelta())


def counted(world: World, checks: tuple[Check, ...], failed: tuple[Check, ...], after: timedelta) -> Decision:
    """A failed check that counts: the last one that is allowed is a rollback."""
    count, threshold = world.status.failed_checks + 1, known_spec(world).analysis.threshold
    status = replace(world.status, failed_checks=count, checked_at=world.now, checks=checks)
    text = "; ".join(check.message for check in failed)
    if count >= threshold:
        return fail(replace(world, status=status), text, checks)
    why = Finding(reasons.CHECKS_FAILED, f"{at(world)}: failed check {count} of {threshold}: {text}")
    status = conditions.reconciling(world, going_on(world, status), why)
    return Decision(status, why, events=(told(why, warning=True),), after=after)


def fail(world: World, text: str, checks: tuple[Check, ...] = ()) -> Decision:
    """The evidence is against the canary: back, or wait for a human where the user wants that and users have it."""
    if known_spec(world).on_failure is OnFailure.ROLLBACK or not world.status.step:
        return roll_back(world, reasons.ROLLED_BACK, text, checks)
    why = Finding(reasons.FAILURE_HELD, f"{at(world)}: failed, and onFailure is hold: {text}")
    status = replace(_recorded(world, checks), failure=text)
    if status.phase is Phase.PROGRESSING:
        status = replace(status, phase=move(status.phase, Move.WAIT))
    return Decision(
        conditions.reconciling(world, status, why), why, events=(told(why, warning=True),), after=timedelta()
    )


def roll_back(world: World, reason: str, text: str, checks: tuple[Check, ...] = ()) -> Decision:
    """The canary failed: no share, and the templates stay held."""
    old = world.status
    where = f"{at(world)}: " if old.step else ""
    why = Finding(reason, f"{change(old)} was rolled back and stays held: {where}{text}")
    status = replace(
        _recorded(world, checks),
        phase=move(old.phase, Move.FAIL),
        share=NOTHING,
        failure=None,
        hooks=to_tell(world),
        progressed_at=world.now,
    )
    events = (told(why, warning=True),)
    return Decision(conditions.stalled(world, status, why), why, events=events, after=timedelta())


def to_tell(world: World) -> tuple[HookRecord, ...]:
    """The webhooks that must hear of the end: those that there are when it comes."""
    spec = world.spec
    hooks = spec.hooks(HookType.POST_ROLLOUT) if isinstance(spec, CanarySpec) else ()
    return tuple(HookRecord(hook.name, Verdict.INCONCLUSIVE, "not told yet", world.now) for hook in hooks)


def going_on(world: World, status: Status) -> Status:
    """The status of a rollout that waits at no gate any more; the time spent there does not count."""
    if status.phase is not Phase.WAITING:
        return status
    return replace(status, phase=move(status.phase, Move.GO_ON), progressed_at=world.now)


def at(world: World) -> str:
    """Where the rollout is, in words."""
    steps = len(world.spec.steps) if isinstance(world.spec, CanarySpec) else world.status.steps
    share = world.status.share
    return f"step {world.status.step} of {steps} at {share if share.match else f'{share.weight:g} %'}"


def _recorded(world: World, checks: tuple[Check, ...]) -> Status:
    """The status with what the verdict on the step under way was based on."""
    status = world.status
    if not checks:
        return status
    evidence = (*status.evidence, StepEvidence(status.step, status.weight, world.now, checks))
    return replace(status, checks=checks, evidence=evidence[-STEPS_KEPT:], erring_since=None)
