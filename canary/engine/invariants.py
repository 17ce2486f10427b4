"""What must hold before any action is taken, whatever the engine decided: the last check in front of traffic.

Each rule is a function of the World and one action and bears its number in the design. A violation is a fault of
ours: nothing is done, and it is said aloud.
"""

from collections.abc import Callable

from analysis.verdict import Verdict
from canary.engine.decision import Action, Apply, Decision, Delete, LiftPause, SetWeight
from canary.engine.snapshot import canary_template_hash
from canary.engine.winddown import SETTLE
from canary.engine.world import World
from canary.model import names
from canary.model.spec import CanarySpec, OnInconclusive
from canary.model.status import Phase
from canary.model.traffic import Traffic


class InvariantViolation(RuntimeError):
    """The engine decided what must never be done."""


def check(world: World, decision: Decision) -> None:
    """Raise InvariantViolation when an action, or the status to be written, breaks a rule."""
    for action in decision.actions:
        for rule, holds in RULES.items():
            if not holds(world, action):
                raise InvariantViolation(f"{rule}: {action} in phase {world.status.phase}")
    if not failed_stays_failed(world, decision):
        raise InvariantViolation(f"S6: {world.status.template} failed and is tried again")
    if not going_on_has_grounds(world, decision):
        raise InvariantViolation(
            f"S14: step {world.status.step} passed without a verdict on every metric that allows it"
        )
    if not weight_needs_a_decision(world, decision):
        raise InvariantViolation(f"S3: weight {world.status.weight} to {decision.status.weight} without a decision")


def share_is_allowed(world: World, action: Action) -> bool:
    """S2: a share above 0 is that of the step that was decided and written down, of the template on trial."""
    if not isinstance(action, SetWeight) or action.weight == 0:
        return True
    spec, status = world.spec, world.status
    if not isinstance(spec, CanarySpec) or status.phase is not Phase.PROGRESSING or status.step < 1:
        return False
    return action.weight == status.weight <= spec.steps[min(status.step, len(spec.steps)) - 1].weight


def share_is_served(world: World, action: Action) -> bool:
    """S1, S4: what gets a share has ready endpoints and runs the judged template; stable has one, too."""
    if not isinstance(action, SetWeight) or action.weight == 0:
        return True
    workload, target, traffic = world.workload, world.target, world.traffic
    if workload is None or target is None or not isinstance(traffic, Traffic):
        return False
    on_trial = canary_template_hash(target, world.canary, traffic.selector_keys)
    return (
        target.available > 0
        and target.template_hash == world.status.template
        and workload.template_hash == on_trial
        and workload.rolled_out
        and world.route.endpoints
    )


def pause_is_lifted_for_cause(world: World, action: Action) -> bool:
    """S4: only a judged template rolls out, or one that serves already, or one where nothing serves yet."""
    if not isinstance(action, LiftPause):
        return True
    if world.target is None:
        return False
    held = world.target.template_hash
    judged = world.status.phase is Phase.PROMOTING and held == world.status.template
    serving = any(rs.template == held and rs.pods for rs in world.replica_sets or ())
    return judged or serving or (world.status.phase is None and not world.target.available)


def stable_is_never_applied(world: World, action: Action) -> bool:
    """S5, S10: an apply is for objects of ours; stable's Deployment and Services keep every field."""
    if not isinstance(action, Apply):
        return True
    labels = action.manifest["metadata"].get("labels") or {}
    return labels.get(names.CANARY_LABEL) == world.canary.name and action.manifest["metadata"]["name"] != (
        world.target.name if world.target else None
    )


def nothing_served_is_deleted(world: World, action: Action) -> bool:
    """S7: the weight is 0, and in effect, before anything of the canary goes."""
    if not isinstance(action, Delete):
        return True
    route = world.route
    return route.weight == 0 and (route.since is None or world.now >= route.since + SETTLE)


def failed_stays_failed(world: World, decision: Decision) -> bool:
    """S6: a failed template is not tried again by itself."""
    begins = decision.status.phase is Phase.PROGRESSING and world.status.phase is Phase.FAILED
    return not begins or decision.status.template != world.status.template


def weight_needs_a_decision(world: World, decision: Decision) -> bool:
    """S3: the intended weight rises only with the step, by one step, and never together with moving traffic."""
    old, new = world.status, decision.status
    if new.weight <= old.weight:
        return True
    return new.step == old.step + 1 and not decision.actions


def going_on_has_grounds(world: World, decision: Decision) -> bool:
    """S3, S14: a step is passed by a verdict of now on each metric: a pass, or what the user takes for one."""
    old, new, spec = world.status, decision.status, world.spec
    promoted = new.phase is Phase.PROMOTING and old.phase is Phase.PROGRESSING
    if not promoted and (not old.step or new.step <= old.step):
        return True
    if not isinstance(spec, CanarySpec) or not new.evidence:
        return False
    grounds = new.evidence[-1]
    enough = {Verdict.PASS}
    if spec.analysis.on_inconclusive is OnInconclusive.ADVANCE:
        enough.add(Verdict.INCONCLUSIVE)
    return (
        (grounds.step, grounds.weight, grounds.until) == (old.step, old.weight, world.now)
        and {check.name for check in grounds.checks} == {metric.name for metric in spec.analysis.metrics}
        and {check.verdict for check in grounds.checks} <= enough
    )


RULES: dict[str, Callable[[World, Action], bool]] = {
    "S2": share_is_allowed,
    "S1": share_is_served,
    "S4": pause_is_lifted_for_cause,
    "S5": stable_is_never_applied,
    "S7": nothing_served_is_deleted,
}
