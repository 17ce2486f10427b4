"""The last check in front of traffic: each rule lets the right through and stops the wrong."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from analysis.verdict import Verdict
from canary.engine.decision import Action, Apply, Decision, Delete, LiftPause, SetWeight, Unguard
from canary.engine.invariants import InvariantViolation, check
from canary.engine.world import Finding, ObjectRef, World
from canary.model import names, reasons
from canary.model.spec import CanarySpec, OnInconclusive, Target
from canary.model.status import Check, Phase, Status, StepEvidence
from canary.model.template import Json, template_hash
from canary.model.workload import ReplicaSet, Workload
from tests.manifests import (
    APP,
    ASKED,
    COPIES,
    QUEUE,
    START,
    STEPS,
    canary_workload,
    deployment,
    route,
    service,
    template,
    world,
)

HELD = Workload(deployment(pods=template("podinfo:2"), paused=True))
TWIN = canary_workload(HELD, replicas=2)


def rollout(**fields: Any) -> World:
    """Step 1 at 10 % was decided: everything is there for it to be done."""
    status = Status(phase=Phase.PROGRESSING, step=1, steps=2, weight=10, template=HELD.template_hash)
    ready: dict[str, Any] = {"status": status, "target": HELD, "workload": TWIN, "route": route(), "copies": COPIES}
    return world(**ready | fields)


def status(**fields: Any) -> World:
    return rollout(status=replace(rollout().status, **fields))


def do(at: World, *actions: Action) -> None:
    check(at, Decision(at.status, actions))


def assert_refused(rule: str, at: World, *actions: Action) -> None:
    with pytest.raises(InvariantViolation, match=f"^{rule}: "):
        do(at, *actions)


class TestS2ShareIsTheOneThatWasDecided:
    def test_the_weight_of_the_step_is_set(self) -> None:
        do(rollout(), SetWeight(10))

    @pytest.mark.parametrize(
        ("at", "weight"),
        [
            (rollout(), 11),
            (rollout(), 9),
            (status(weight=0), 10),
            (status(step=0), 10),
            (status(phase=Phase.FAILED), 10),
            (status(phase=Phase.PROMOTING), 10),
            (status(phase=Phase.SUSPENDED), 10),
            (status(phase=None), 10),
            (status(weight=50), 50),
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
        assert_refused("S2", at, SetWeight(weight))

    @pytest.mark.parametrize("phase", [None, *Phase])
    def test_traffic_may_always_be_taken_away(self, phase: Phase | None) -> None:
        broken = replace(
            status(phase=phase), workload=None, target=None, spec=Finding("a", "b"), traffic=Finding("a", "b")
        )
        do(broken, SetWeight(0))


class TestS1ShareIsServed:
    @pytest.mark.parametrize(
        "at",
        [
            rollout(workload=None),
            rollout(target=None),
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
        assert_refused("S1", at, SetWeight(10))


class TestS4PauseIsLiftedForCause:
    LIFT = LiftPause("7")
    SERVING = (ReplicaSet(HELD.template_hash, 3),)

    @pytest.mark.parametrize(
        "at",
        [
            status(phase=Phase.PROMOTING),
            rollout(replica_sets=SERVING),
            replace(status(phase=Phase.INITIALIZED, template=""), replica_sets=SERVING),
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
            status(phase=Phase.PROMOTING, template="0123456789"),
            rollout(replica_sets=(ReplicaSet(HELD.template_hash, 0),)),
            rollout(replica_sets=(ReplicaSet(template_hash(template("podinfo:1")), 3),)),
            world(target=Workload(deployment(paused=True))),
            replace(status(phase=Phase.PROMOTING), target=None),
        ],
        ids=[
            "on-trial",
            "failed",
            "suspended",
            "another-was-judged",
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
    FAILED = world(status=Status(phase=Phase.FAILED, template="0123456789"))

    def test_another_template_is_tried(self) -> None:
        check(self.FAILED, Decision(replace(self.FAILED.status, phase=Phase.PROGRESSING, template="9876543210")))

    def test_the_failed_one_is_not(self) -> None:
        with pytest.raises(InvariantViolation, match=r"^S6: 0123456789 failed"):
            check(self.FAILED, Decision(replace(self.FAILED.status, phase=Phase.PROGRESSING)))


GROUNDS = StepEvidence(1, 10, START, (Check(QUEUE.name, Verdict.PASS, 5.0, "is 5"),))


class TestS14GoingOnHasGrounds:
    ON = replace(rollout().status, step=2, weight=50, evidence=(GROUNDS,))
    PROMOTED = replace(rollout().status, phase=Phase.PROMOTING, evidence=(GROUNDS,))

    @pytest.mark.parametrize("new", [ON, PROMOTED], ids=["next-step", "promotion"])
    def test_a_pass_of_now_on_every_metric_is_enough(self, new: Status) -> None:
        check(rollout(), Decision(new))

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
            check(rollout(), Decision(replace(new, evidence=evidence)))

    def test_what_is_inconclusive_is_enough_only_where_the_user_says_so(self) -> None:
        unclear = replace(GROUNDS, checks=(Check(QUEUE.name, Verdict.INCONCLUSIVE, None, ""),))
        lenient = replace(ASKED, on_inconclusive=OnInconclusive.ADVANCE)
        at = rollout(spec=CanarySpec(Target(APP), STEPS, lenient))
        check(at, Decision(replace(self.ON, evidence=(unclear,))))


class TestS3WeightNeedsADecision:
    NEXT = replace(rollout().status, step=2, weight=50, evidence=(GROUNDS,))

    def test_it_rises_with_the_step(self) -> None:
        check(rollout(), Decision(self.NEXT))

    @pytest.mark.parametrize(
        "new",
        [
            Decision(replace(rollout().status, weight=11)),
            Decision(replace(NEXT, step=3)),
            Decision(replace(rollout().status, step=0, weight=50)),
            Decision(NEXT, (SetWeight(10),)),
        ],
        ids=["same-step", "two-steps", "back", "and-acts"],
    )
    def test_it_does_not_rise_otherwise(self, new: Decision) -> None:
        with pytest.raises(InvariantViolation, match=r"^S3: weight 10 to"):
            check(rollout(), new)

    def test_it_falls_at_any_time(self) -> None:
        check(rollout(), Decision(replace(rollout().status, weight=0), (SetWeight(0),)))


def test_one_wrong_action_among_right_ones_is_found() -> None:
    assert_refused("S5", rollout(), SetWeight(10), Apply(service(), force=False))


def test_what_has_no_rule_is_let_through() -> None:
    do(rollout(), Unguard("7"))
