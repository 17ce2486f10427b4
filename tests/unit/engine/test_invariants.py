"""The last check in front of traffic: each rule lets the right through and stops the wrong."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from analysis.verdict import Verdict
from canary.engine.decision import Action, Apply, Decision, Delete, LiftPause, SetShare, Unguard
from canary.engine.invariants import InvariantViolation, check
from canary.engine.world import Finding, ObjectRef, World
from canary.model import names, reasons
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.spec import CanarySpec, OnInconclusive, Step, Target
from canary.model.status import Cause, Check, Phase, Release, Status, StepEvidence, Trial
from canary.model.template import Json
from canary.model.webhook import HookAnswer, HookType, OnTimeout, Webhook
from canary.model.workload import ReplicaSet, Workload
from tests.manifests import (
    APP,
    ASKED,
    COPIES,
    GONE,
    QUEUE,
    START,
    STEPS,
    canary_workload,
    deployment,
    on_trial,
    route,
    service,
    template,
    world,
)

HELD = Workload(deployment(pods=template("podinfo:2"), paused=True))
TWIN = canary_workload(HELD, replicas=2)


def rollout(**fields: Any) -> World:
    """Step 1 at 10 % was decided: everything is there for it to be done."""
    status = Status(phase=Phase.PROGRESSING, step=1, steps=2, share=Share(10), trial=on_trial(HELD))
    ready: dict[str, Any] = {"status": status, "target": HELD, "workload": TWIN, "route": route(), "copies": COPIES}
    return world(**ready | fields)


def status(**fields: Any) -> World:
    return rollout(status=replace(rollout().status, **fields))


WHY = Finding("Because", "for this reason")


def decide(at: World, status: Status, *actions: Action) -> None:
    check(at, Decision(status, WHY, actions))


def do(at: World, *actions: Action) -> None:
    decide(at, at.status, *actions)


def assert_refused(rule: str, at: World, *actions: Action) -> None:
    with pytest.raises(InvariantViolation, match=f"^{rule}: "):
        do(at, *actions)


class TestS2ShareIsTheOneThatWasDecided:
    def test_the_weight_of_the_step_is_set(self) -> None:
        do(rollout(), SetShare(Share(10)))

    @pytest.mark.parametrize(
        ("at", "weight"),
        [
            (rollout(), 11),
            (rollout(), 9),
            (status(share=NOTHING), 10),
            (status(step=0), 10),
            (status(phase=Phase.FAILED), 10),
            (status(phase=Phase.PROMOTING), 10),
            (status(phase=Phase.SUSPENDED), 10),
            (status(phase=None), 10),
            (status(share=Share(50)), 50),
            (rollout(spec=Finding(reasons.INVALID_SPEC, "no")), 10),
        ],
        ids=[
            "above",
            "below",
            "not-decided",
            "no-step",
            "failed",
            "promoting",
            "suspended",
            "new",
            "above-step",
            "spec",
        ],
    )
    def test_no_other_share_is(self, at: World, weight: int) -> None:
        assert_refused("S2", at, SetShare(Share(weight)))

    @pytest.mark.parametrize("phase", [None, *Phase])
    def test_traffic_may_always_be_taken_away(self, phase: Phase | None) -> None:
        nothing = replace(GONE, traffic=Finding("a", "b"))
        broken = replace(status(phase=phase), spec=Finding("a", "b"), members=(nothing,))
        do(broken, SetShare(NOTHING))


class TestS1ShareIsServed:
    @pytest.mark.parametrize(
        "at",
        [
            rollout(workload=None),
            rollout(members=(GONE,)),
            status(trial=()),
            rollout(traffic=Finding(reasons.NO_SERVICE, "gone")),
            rollout(target=Workload(deployment(pods=HELD.template, paused=True, status={"availableReplicas": 0}))),
            rollout(workload=canary_workload(HELD, status={"availableReplicas": 0})),
            rollout(workload=canary_workload(HELD, replicas=2, status={"availableReplicas": 1})),
            rollout(workload=canary_workload(Workload(deployment(pods=template("podinfo:3"), paused=True)))),
            rollout(target=Workload(deployment(pods=template("podinfo:3"), paused=True))),
            rollout(route=route(endpoints=False)),
        ],
        ids=[
            "no-canary",
            "no-target",
            "nothing-on-trial",
            "no-traffic",
            "stable-is-down",
            "canary-is-down",
            "canary-is-not-complete",
            "another-version-runs",
            "another-version-is-held",
            "no-endpoints",
        ],
    )
    def test_no_share_goes_where_nobody_answers_or_somebody_else(self, at: World) -> None:
        assert_refused("S1", at, SetShare(Share(10)))


class TestS4PauseIsLiftedForCause:
    LIFT = LiftPause(APP, "7")
    SERVING = (ReplicaSet(HELD.template, 3),)

    @pytest.mark.parametrize(
        "at",
        [
            status(phase=Phase.PROMOTING),
            rollout(replica_sets=SERVING),
            rollout(status=Status(phase=Phase.INITIALIZED), replica_sets=SERVING),
            world(target=Workload(deployment(paused=True, status={"availableReplicas": 0}))),
        ],
        ids=["judged", "serves-already", "serves-at-rest", "nothing-serves-yet"],
    )
    def test_it_is(self, at: World) -> None:
        do(at, self.LIFT)

    @pytest.mark.parametrize(
        "at",
        [
            rollout(),
            status(phase=Phase.FAILED),
            status(phase=Phase.SUSPENDED, suspended_phase=Phase.PROMOTING),
            status(phase=Phase.PROMOTING, trial=(Trial(APP, "0123456789"),)),
            status(phase=Phase.PROMOTING, trial=(Trial("backend", HELD.template_hash),)),
            rollout(replica_sets=(ReplicaSet(HELD.template, 0),)),
            rollout(replica_sets=(ReplicaSet(template("podinfo:1"), 3),)),
            world(target=Workload(deployment(paused=True))),
            replace(status(phase=Phase.PROMOTING), members=(GONE,)),
        ],
        ids=[
            "on-trial",
            "failed",
            "suspended",
            "another-was-judged",
            "of-another-target",
            "no-pods",
            "another-serves",
            "new-and-something-serves",
            "no-target",
        ],
    )
    def test_it_is_not(self, at: World) -> None:
        assert_refused("S4", at, self.LIFT)


class TestS5StableIsNeverApplied:
    def test_objects_of_the_canary_are(self) -> None:
        do(rollout(), Apply(TWIN.manifest, force=True))

    @pytest.mark.parametrize(
        "manifest",
        [
            deployment("podinfo-canary"),
            service(),
            {**TWIN.manifest, "metadata": {**TWIN.manifest["metadata"], "name": "podinfo"}},
            {**TWIN.manifest, "metadata": {"name": "podinfo-canary", "labels": {names.CANARY_LABEL: "another"}}},
            {**TWIN.manifest, "metadata": {"name": "podinfo-canary"}},
        ],
        ids=["not-ours", "stable-service", "name-of-the-target", "of-another-canary", "no-labels"],
    )
    def test_nothing_else_is(self, manifest: Json) -> None:
        assert_refused("S5", rollout(), Apply(manifest, force=False))


class TestS7NothingServedIsDeleted:
    GONE = Delete(ObjectRef("Deployment", "podinfo-canary"))

    @pytest.mark.parametrize(
        "at",
        [
            rollout(),
            rollout(route=route(since=START - timedelta(seconds=5))),
        ],
        ids=["no-route", "settled"],
    )
    def test_at_weight_0_in_effect_it_goes(self, at: World) -> None:
        do(at, self.GONE)

    @pytest.mark.parametrize(
        "at",
        [
            rollout(route=route(10, since=START - timedelta(hours=1))),
            rollout(route=route(0, since=START - timedelta(seconds=4.9))),
            rollout(route=route(0, since=START + timedelta(seconds=1))),
        ],
        ids=["has-a-share", "not-settled", "clock-behind"],
    )
    def test_before_it_stays(self, at: World) -> None:
        assert_refused("S7", at, self.GONE)


class TestS6FailedStaysFailed:
    FAILED = status(phase=Phase.FAILED, share=NOTHING, step=0)
    AGAIN = replace(FAILED.status, phase=Phase.PROGRESSING)

    def test_another_template_is_tried(self) -> None:
        decide(self.FAILED, replace(self.AGAIN, trial=(Trial(APP, "9876543210"),)))

    def test_the_failed_one_is_tried_again_by_a_command(self) -> None:
        decide(self.FAILED, replace(self.AGAIN, handled=(("retry", "1"),)))

    @pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING])
    def test_the_failed_one_is_not_by_itself(self, phase: Phase) -> None:
        with pytest.raises(InvariantViolation, match=r"^S6: "):
            decide(self.FAILED, replace(self.AGAIN, phase=phase))

    def test_a_command_that_was_handled_before_is_no_cause(self) -> None:
        handled = (("retry", "1"),)
        before = replace(self.FAILED, status=replace(self.FAILED.status, handled=handled))
        with pytest.raises(InvariantViolation, match=r"^S6: "):
            decide(before, replace(self.AGAIN, handled=handled))


GROUNDS = StepEvidence(1, 10, START, (Check(QUEUE.name, Verdict.PASS, 5.0, "is 5"),))


class TestS14GoingOnHasGrounds:
    ON = replace(rollout().status, step=2, share=Share(50), evidence=(GROUNDS,))
    PROMOTED = replace(rollout().status, phase=Phase.PROMOTING, evidence=(GROUNDS,))

    @pytest.mark.parametrize("new", [ON, PROMOTED], ids=["next-step", "promotion"])
    def test_a_pass_of_now_on_every_metric_is_enough(self, new: Status) -> None:
        decide(rollout(), new)

    @pytest.mark.parametrize("new", [ON, PROMOTED], ids=["next-step", "promotion"])
    @pytest.mark.parametrize(
        "evidence",
        [
            (),
            (replace(GROUNDS, step=2),),
            (replace(GROUNDS, weight=5),),
            (replace(GROUNDS, until=START - timedelta(seconds=1)),),
            (replace(GROUNDS, checks=()),),
            *(
                (replace(GROUNDS, checks=(Check(QUEUE.name, verdict, None, ""),)),)
                for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR)
            ),
        ],
        ids=["none", "of-another-step", "of-another-weight", "old", "nothing-checked", "fail", "inconclusive", "error"],
    )
    def test_anything_less_is_not(self, new: Status, evidence: tuple[StepEvidence, ...]) -> None:
        with pytest.raises(InvariantViolation, match=r"^S14"):
            decide(rollout(), replace(new, evidence=evidence))

    def test_what_is_inconclusive_is_enough_only_where_the_user_says_so(self) -> None:
        unclear = replace(GROUNDS, checks=(Check(QUEUE.name, Verdict.INCONCLUSIVE, None, ""),))
        lenient = replace(ASKED, on_inconclusive=OnInconclusive.ADVANCE)
        at = rollout(spec=CanarySpec((Target(APP),), steps=STEPS, analysis=lenient))
        decide(at, replace(self.ON, evidence=(unclear,)))


class TestS3ShareNeedsADecision:
    NEXT = replace(rollout().status, step=2, share=Share(50), evidence=(GROUNDS,))

    def test_it_rises_with_the_step(self) -> None:
        decide(rollout(), self.NEXT)

    @pytest.mark.parametrize(
        ("new", "actions"),
        [
            (replace(rollout().status, share=Share(11)), ()),
            (replace(rollout().status, share=Share(10, Match(cookie="tester"))), ()),
            (replace(NEXT, step=3), ()),
            (replace(rollout().status, step=0, share=Share(50)), ()),
            (replace(NEXT, share=Share(9)), ()),
            (NEXT, (SetShare(Share(10)),)),
        ],
        ids=["same-step", "another-match", "two-steps", "back", "falls", "and-acts"],
    )
    def test_it_does_not_change_otherwise(self, new: Status, actions: tuple[Action, ...]) -> None:
        with pytest.raises(InvariantViolation, match=r"^S3: "):
            decide(rollout(), new, *actions)

    def test_it_is_taken_away_at_any_time(self) -> None:
        decide(rollout(), replace(rollout().status, share=NOTHING), SetShare(NOTHING))


class TestShareWithAMatch:
    TESTERS = Share(0, Match(Header("X-Tester", exact="always")))
    SPEC = CanarySpec((Target(APP),), steps=(Step(TESTERS), Step(Share(50))), analysis=ASKED)

    def at(self, **fields: Any) -> World:
        return rollout(spec=self.SPEC, status=replace(rollout().status, share=self.TESTERS), **fields)

    def test_it_is_set(self) -> None:
        do(self.at(), SetShare(self.TESTERS))

    def test_another_match_is_not(self) -> None:
        assert_refused("S2", self.at(), SetShare(Share(0, Match(cookie="tester"))))

    def test_though_its_weight_is_0_it_must_be_served(self) -> None:
        assert_refused("S1", self.at(route=route(endpoints=False)), SetShare(self.TESTERS))

    def test_while_it_is_in_effect_nothing_is_deleted(self) -> None:
        in_effect = route(share=self.TESTERS, since=START - timedelta(hours=1))
        assert_refused("S7", self.at(route=in_effect), Delete(ObjectRef("Deployment", "podinfo-canary")))


class TestStraightThrough:
    HELD_ONLY = rollout(status=Status(phase=Phase.INITIALIZED), replica_sets=(ReplicaSet(template("podinfo:1"), 4),))
    BEGUN = Status(phase=Phase.PROGRESSING, steps=2, trial=on_trial(HELD))

    def known_good(self) -> World:
        release = Release("main@sha1:1", on_trial(HELD))
        return replace(self.HELD_ONLY, status=replace(self.HELD_ONLY.status, promoted=(release,)))

    def test_what_was_promoted_before_may(self) -> None:
        decide(self.known_good(), replace(self.BEGUN, straight=Cause.KNOWN_GOOD))

    @pytest.mark.parametrize("cause", [Cause.KNOWN_GOOD, Cause.NO_CANARY_NEEDED, Cause.NOTHING_TO_JUDGE, Cause.COMMAND])
    def test_what_was_not_may_not(self, cause: Cause) -> None:
        with pytest.raises(InvariantViolation, match=r"^S4, straight through: "):
            decide(self.HELD_ONLY, replace(self.BEGUN, straight=cause))

    def test_a_human_may_order_it(self) -> None:
        decide(rollout(), replace(rollout().status, straight=Cause.COMMAND, handled=(("promote", "1"),)))

    def test_an_order_that_was_handled_before_is_none(self) -> None:
        handled = (("promote", "1"),)
        with pytest.raises(InvariantViolation, match=r"^S4, straight through: "):
            decide(status(handled=handled), replace(rollout().status, straight=Cause.COMMAND, handled=handled))

    def test_it_is_promoted_without_a_step(self) -> None:
        begun = rollout(status=replace(self.BEGUN, straight=Cause.KNOWN_GOOD))
        decide(begun, replace(begun.status, phase=Phase.PROMOTING))

    def test_what_has_no_cause_is_not_promoted_without_a_step(self) -> None:
        begun = rollout(status=self.BEGUN)
        with pytest.raises(InvariantViolation, match=r"^S14: "):
            decide(begun, replace(begun.status, phase=Phase.PROMOTING))


class TestApproval:
    def test_a_command_gives_it_for_the_step_under_way(self) -> None:
        decide(rollout(), replace(rollout().status, approved=1, handled=(("advance", "1"),)))

    @pytest.mark.parametrize("new", [{"approved": 1}, {"approved": 2, "handled": (("advance", "1"),)}])
    def test_nothing_else_does(self, new: dict[str, Any]) -> None:
        with pytest.raises(InvariantViolation, match=r"^S3, approval: "):
            decide(rollout(), replace(rollout().status, **new))

    def test_an_approved_step_is_left_without_evidence(self) -> None:
        approved = status(approved=1)
        decide(approved, replace(approved.status, step=2, share=Share(50), approved=None))

    def test_a_held_failure_is_not_gone_over_by_a_pass(self) -> None:
        failed = status(failure="5 % of its requests fail")
        with pytest.raises(InvariantViolation, match=r"^S14: "):
            decide(failed, replace(failed.status, step=2, share=Share(50), evidence=(GROUNDS,)))


class TestGates:
    PROMOTED = replace(rollout().status, phase=Phase.PROMOTING, evidence=(GROUNDS,))

    def gated(self, answer: HookAnswer | None, on_timeout: OnTimeout = OnTimeout.HOLD) -> World:
        hook = Webhook("gate", HookType.CONFIRM_PROMOTION, "http://gate", on_timeout=on_timeout)
        spec = CanarySpec((Target(APP),), steps=STEPS, analysis=ASKED, webhooks=(hook,))
        return rollout(spec=spec, answers={} if answer is None else {"gate": answer})

    @pytest.mark.parametrize(
        ("verdict", "on_timeout"), [(Verdict.PASS, OnTimeout.HOLD), (Verdict.ERROR, OnTimeout.ADVANCE)]
    )
    def test_a_yes_opens_it(self, verdict: Verdict, on_timeout: OnTimeout) -> None:
        decide(self.gated(HookAnswer(verdict, "", START), on_timeout), self.PROMOTED)

    @pytest.mark.parametrize(
        "answer", [None, HookAnswer(Verdict.FAIL, "", START), HookAnswer(Verdict.ERROR, "", START)], ids=str
    )
    def test_anything_less_does_not(self, answer: HookAnswer | None) -> None:
        with pytest.raises(InvariantViolation, match=r"^S3, gates: "):
            decide(self.gated(answer), self.PROMOTED)

    def test_nothing_goes_on_while_it_is_paused(self) -> None:
        with pytest.raises(InvariantViolation, match=r"^S3, gates: "):
            decide(status(paused=True), replace(self.PROMOTED, paused=True))


def test_one_wrong_action_among_right_ones_is_found() -> None:
    assert_refused("S5", rollout(), SetShare(Share(10)), Apply(service(), force=False))


def test_what_has_no_rule_is_let_through() -> None:
    do(rollout(), Unguard(APP, "7"))
