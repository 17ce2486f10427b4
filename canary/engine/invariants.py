"""What must hold before any action is taken, whatever the engine decided: the last check in front of traffic.

Each rule is a function of the World and one action, or the whole decision, and bears its number in the design. A
violation is a fault of ours: nothing is done, and it is said aloud.
"""

from collections.abc import Callable

from analysis.verdict import Verdict
from canary.engine.commands import Command, is_handled_now
from canary.engine.decision import Action, Apply, Decision, Delete, LiftPause, SetShare
from canary.engine.snapshot import canary_template_hash
from canary.engine.straight import cause_of
from canary.engine.winddown import SETTLE
from canary.engine.world import Member, World, exposed
from canary.model import names
from canary.model.spec import CanarySpec, OnInconclusive
from canary.model.status import Cause, Phase
from canary.model.traffic import Traffic
from canary.model.webhook import HookType, OnTimeout


class InvariantViolation(RuntimeError):
    """The engine decided what must never be done."""


def check(world: World, decision: Decision) -> None:
    """Raise InvariantViolation when an action, or the status to be written, breaks a rule."""
    for action in decision.actions:
        for rule, holds in RULES.items():
            if not holds(world, action):
                raise InvariantViolation(f"{rule}: {action} in phase {world.status.phase}")
    for rule, kept in DECISION_RULES.items():
        if not kept(world, decision):
            old, new = world.status, decision.status
            moved = f"{old.phase} step {old.step} {old.share} to {new.phase} step {new.step} {new.share}"
            raise InvariantViolation(f"{rule}: {kept.__name__.replace('_', ' ')}: {moved}")


def share_is_allowed(world: World, action: Action) -> bool:
    """S2: a share is that of the step that was decided and written down, of the templates on trial."""
    if not isinstance(action, SetShare) or not action.share:
        return True
    spec, status = world.spec, world.status
    if not isinstance(spec, CanarySpec) or not status.under_way or status.step < 1:
        return False
    step = spec.steps[min(status.step, len(spec.steps)) - 1]
    return action.share == status.share == step.share


def share_is_served(world: World, action: Action) -> bool:
    """S1, S4: what gets a share has ready endpoints and runs the judged template; stable has one, too."""
    if not isinstance(action, SetShare) or not action.share:
        return True
    members = exposed(world)
    return bool(members) and world.route.endpoints and all(_serves(world, member) for member in members)


def _serves(world: World, member: Member) -> bool:
    stable, workload, traffic = member.stable, member.canary, member.traffic
    if stable is None or workload is None or not isinstance(traffic, Traffic):
        return False
    judged = {one.name: one.template for one in world.status.trial}
    return (
        stable.available > 0
        and stable.template_hash == judged.get(member.name)
        and workload.template_hash == canary_template_hash(stable, world.canary, traffic.selector_keys)
        and workload.rolled_out
    )


def pause_is_lifted_for_cause(world: World, action: Action) -> bool:
    """S4: only a judged template rolls out, or one that serves already, or one where nothing serves yet."""
    if not isinstance(action, LiftPause):
        return True
    member = next((member for member in world.members if member.name == action.target), None)
    if member is None or member.stable is None:
        return False
    held = member.stable.template_hash
    on_trial = any((one.name, one.template) == (member.name, held) for one in world.status.trial)
    judged = world.status.phase is Phase.PROMOTING and on_trial
    return judged or held in member.serving or (world.status.phase is None and not member.stable.available)


def stable_is_never_applied(world: World, action: Action) -> bool:
    """S5, S10: an apply is for objects of ours; stable's Deployments and Services keep every field."""
    if not isinstance(action, Apply):
        return True
    labels, name = action.manifest["metadata"].get("labels") or {}, action.manifest["metadata"]["name"]
    return labels.get(names.CANARY_LABEL) == world.canary.name and name not in {m.name for m in world.members}


def nothing_served_is_deleted(world: World, action: Action) -> bool:
    """S7: there is no share, in effect, before anything of the canary goes."""
    if not isinstance(action, Delete):
        return True
    route = world.route
    return not route.share and (route.since is None or world.now >= route.since + SETTLE)


def failed_stays_failed(world: World, decision: Decision) -> bool:
    """S6: what failed is not tried again by itself."""
    old, new = world.status, decision.status
    begins = new.under_way and old.phase is Phase.FAILED
    return not begins or new.trial != old.trial or is_handled_now(old, new, Command.RETRY)


def going_on_has_grounds(world: World, decision: Decision) -> bool:
    """S3, S14: a step is passed by a verdict of now on each metric, or by what the user says is enough."""
    old, new, spec = world.status, decision.status, world.spec
    promoted = new.phase is Phase.PROMOTING and (old.suspended_phase or old.phase) is not Phase.PROMOTING
    if promoted and old.straight is not None:
        return True
    if not promoted and (not old.step or new.step <= old.step):
        return True
    if not isinstance(spec, CanarySpec):
        return False
    return old.approved == old.step or _has_grounds(world, decision, spec)


def _has_grounds(world: World, decision: Decision, spec: CanarySpec) -> bool:
    old, new = world.status, decision.status
    if not new.evidence or old.failure is not None:
        return False
    grounds = new.evidence[-1]
    enough = {Verdict.PASS}
    if spec.analysis.on_inconclusive is OnInconclusive.ADVANCE:
        enough.add(Verdict.INCONCLUSIVE)
    judged = {metric.name for metric in spec.analysis.metrics} | {hook.name for hook in spec.hooks(HookType.ROLLOUT)}
    return (
        (grounds.step, grounds.weight, grounds.until) == (old.step, old.weight, world.now)
        and {check.name for check in grounds.checks} == judged
        and {check.verdict for check in grounds.checks} <= enough
    )


def share_needs_a_decision(world: World, decision: Decision) -> bool:
    """S3: the intended share changes only with the step, by one step, and never together with moving traffic."""
    old, new = world.status, decision.status
    if not new.share or new.share == old.share:
        return True
    return new.step == old.step + 1 and new.weight >= old.weight and not decision.actions


def straight_through_has_a_cause(world: World, decision: Decision) -> bool:
    """S4: nothing goes unjudged but what was promoted before, needs no canary, or was ordered by a human."""
    old, new = world.status, decision.status
    if new.straight is None or new.straight == old.straight:
        return True
    if new.straight is Cause.COMMAND:
        return is_handled_now(old, new, Command.PROMOTE)
    return new.straight is cause_of(world, new.trial)


def skipping_has_a_command(world: World, decision: Decision) -> bool:
    """S3: a step is approved, and a failure forgiven, by a human alone."""
    old, new = world.status, decision.status
    if new.approved is None or new.approved == old.approved:
        return True
    return is_handled_now(old, new, Command.ADVANCE) and new.approved == old.step


def gates_are_open(world: World, decision: Decision) -> bool:
    """No rollout goes on while it is paused, or past a webhook that has not said yes."""
    old, new, spec = world.status, decision.status, world.spec
    promoted = new.phase is Phase.PROMOTING and (old.suspended_phase or old.phase) is not Phase.PROMOTING
    if not (promoted or new.step > old.step) or old.approved == old.step or old.straight is Cause.COMMAND:
        return True
    if not isinstance(spec, CanarySpec) or old.paused:
        return False
    asked = (HookType.CONFIRM_PROMOTION,) if promoted else (HookType.PRE_ROLLOUT,) if not old.step else ()
    return all(
        (answer := world.answers.get(hook.name)) is not None
        and (
            answer.verdict is Verdict.PASS or (answer.verdict is Verdict.ERROR and hook.on_timeout is OnTimeout.ADVANCE)
        )
        for type_ in asked
        for hook in spec.hooks(type_)
    )


RULES: dict[str, Callable[[World, Action], bool]] = {
    "S2": share_is_allowed,
    "S1": share_is_served,
    "S4": pause_is_lifted_for_cause,
    "S5": stable_is_never_applied,
    "S7": nothing_served_is_deleted,
}
DECISION_RULES: dict[str, Callable[[World, Decision], bool]] = {
    "S6": failed_stays_failed,
    "S14": going_on_has_grounds,
    "S3": share_needs_a_decision,
    "S4, straight through": straight_through_has_a_cause,
    "S3, approval": skipping_has_a_command,
    "S3, gates": gates_are_open,
}
