"""Sets of which only some are held, or are held with what serves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from canary.engine.decision import Decision, LiftPause, SetShare, Unguard
from canary.engine.plan import plan
from canary.engine.progress import TOGETHER
from canary.engine.rest import former_targets_are_given_back
from canary.engine.world import Finding, Member, ObjectRef, World
from canary.model import reasons
from canary.model.share import NOTHING
from canary.model.spec import CanarySpec, Target
from canary.model.status import Cause, Phase, Status, Trial
from canary.model.template import Json, template_hash
from canary.model.workload import ReplicaSet, Workload
from tests.manifests import ASKED, START, STEPS, TRAFFIC, deployment, route, template, world

OLD, NEW = template("app:1"), template("app:2")
NO_INGRESS = Finding(reasons.NO_INGRESS, "no Ingress has a backend among the Services")
UNJUDGED = Status(phase=Phase.PROGRESSING, straight=Cause.NOTHING_TO_JUDGE, trial=(Trial("web", template_hash(NEW)),))


def member(name: str, pods: Json, *, paused: bool = True, **fields: object) -> Member:
    """A target whose pods run the old template."""
    found = Member(
        Target(name),
        Workload(deployment(name, pods, paused=paused)),
        None,
        TRAFFIC,
        replica_sets=(ReplicaSet(OLD, 4),),
    )
    return replace(found, **fields)  # type: ignore[arg-type]


def pair(status: Status, *members: Member) -> World:
    spec = CanarySpec(tuple(member.target for member in members), steps=STEPS, analysis=ASKED)
    return world(spec=spec, status=status, members=members)


def decided(world: World) -> Decision:
    answer = plan(world)
    assert isinstance(answer, Decision)
    return answer


def test_what_serves_and_was_never_on_trial_is_let_through_while_the_others_go_on() -> None:
    on_trial = Status(phase=Phase.PROGRESSING, trial=(Trial("worker", template_hash(NEW)),))
    decision = decided(pair(on_trial, member("web", OLD), member("worker", NEW)))
    assert decision.actions == (LiftPause("web", "7"),)
    assert (decision.status.phase, decision.status.trial) == (Phase.PROGRESSING, on_trial.trial)


def test_a_promotion_goes_on_where_another_target_is_held_with_what_serves() -> None:
    promoting = Status(phase=Phase.PROMOTING, trial=(Trial("worker", template_hash(NEW)),))
    decision = decided(pair(promoting, member("web", OLD), member("worker", NEW, paused=False)))
    assert decision.actions == (LiftPause("web", "7"),)
    assert decision.status.phase is Phase.PROMOTING


def test_one_of_two_on_trial_that_is_reverted_begins_the_rollout_anew_with_the_other() -> None:
    both = tuple(Trial(name, template_hash(NEW)) for name in ("web", "worker"))
    decision = decided(pair(Status(phase=Phase.PROGRESSING, trial=both), member("web", OLD), member("worker", NEW)))
    assert decision.status.trial == both[1:]
    assert not decision.actions


def test_what_had_no_traffic_is_judged_once_users_reach_it() -> None:
    decision = decided(pair(UNJUDGED, member("web", NEW), member("worker", OLD, paused=False)))
    assert (decision.status.phase, decision.status.straight) == (Phase.PROGRESSING, None)


def test_what_has_no_traffic_still_goes_straight_through() -> None:
    decision = decided(pair(UNJUDGED, member("web", NEW, traffic=NO_INGRESS), member("worker", OLD, paused=False)))
    assert decision.status.phase is Phase.PROMOTING


def test_what_has_no_traffic_waits_for_what_flux_may_apply_next() -> None:
    begun = replace(UNJUDGED, started_at=START - timedelta(seconds=1))
    decision = decided(pair(begun, member("web", NEW, traffic=NO_INGRESS), member("worker", OLD, paused=False)))
    assert (decision.status.phase, decision.after) == (Phase.PROGRESSING, TOGETHER - timedelta(seconds=1))


def test_a_former_target_is_given_back_when_its_canary_is_gone() -> None:
    former = world(former=(Workload(deployment("old")),), copies=(ObjectRef("Deployment", "old-canary"),))
    assert former_targets_are_given_back(former) is None
    released = former_targets_are_given_back(replace(former, copies=()))
    assert isinstance(released, Decision)
    assert released.actions == (Unguard("old", "7"),)


@pytest.mark.parametrize("straight", [None, Cause.KNOWN_GOOD])
def test_no_gate_keeps_the_share_of_what_was_on_trial_before(straight: Cause | None) -> None:
    newer = Status(phase=Phase.PROGRESSING, straight=straight, paused=True, trial=(Trial("web", template_hash(NEW)),))
    seen = pair(newer, member("web", NEW), member("worker", OLD, paused=False))
    decision = decided(replace(seen, route=route(20, since=START)))
    assert decision.actions == (SetShare(NOTHING),)


def test_a_template_that_came_after_a_rollback_has_not_failed_where_another_target_is_lost() -> None:
    both = tuple(Trial(name, template_hash(NEW)) for name in ("web", "worker"))
    failed = Status(phase=Phase.FAILED, trial=both)
    seen = pair(failed, member("web", template("app:3")), member("worker", OLD, paused=False))
    after = decided(seen).status
    assert (after.phase, after.trial) == (Phase.FAILED, both[:1])
    begun = decided(replace(seen, status=after)).status
    assert (begun.phase, begun.trial) == (Phase.PROGRESSING, (Trial("web", template_hash(template("app:3"))),))
