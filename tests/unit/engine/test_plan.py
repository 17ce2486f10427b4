"""Single looks at Worlds that the simulated cluster does not come to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from canary.engine.decision import (
    Apply,
    AskEvidence,
    AskSamples,
    Decision,
    MarkVerdict,
    SetFinalizer,
    SetShare,
    Unguard,
)
from canary.engine.plan import plan
from canary.engine.winddown import SETTLE
from canary.engine.world import Finding, World
from canary.model import names, reasons
from canary.model.evidence import Evidence
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.scrape import Arms
from canary.model.share import NOTHING, Share
from canary.model.spec import CanarySpec, Step, Target
from canary.model.status import Phase, Status
from canary.model.traffic import Route
from canary.model.workload import Workload
from tests.manifests import (
    APP,
    ASKED,
    CANARY,
    COPIES,
    GONE,
    OLDER,
    QUEUE,
    START,
    STEPS,
    TRAFFIC,
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
LONG_AGO = START - timedelta(minutes=5)


def rollout(**fields: Any) -> World:
    """Step 1 of 2 at 10 % has been in effect for five minutes."""
    status = Status(
        phase=Phase.PROGRESSING,
        step=1,
        steps=2,
        share=Share(10),
        trial=on_trial(HELD),
        progressed_at=LONG_AGO,
        observed_generation=1,
    )
    ready: dict[str, Any] = {
        "status": status,
        "target": HELD,
        "workload": TWIN,
        "route": route(10, since=LONG_AGO),
        "copies": COPIES,
    }
    return world(**ready | fields)


def decided(at: World) -> Decision:
    answer = plan(at)
    assert isinstance(answer, Decision), answer
    return answer


def reason(decision: Decision, type_: str = "Reconciling") -> str | None:
    condition = decision.status.condition(type_)
    return condition.reason if condition else None


class TestBeforeTheFirstShare:
    AT_0 = replace(rollout().status, step=0, share=NOTHING)

    def test_services_without_endpoints_are_waited_for(self) -> None:
        decision = decided(rollout(status=self.AT_0, route=route(endpoints=False)))
        assert decision.actions == ()
        assert decision.status.step == 0
        assert reason(decision) == reasons.CANARY_NOT_READY

    def test_an_older_share_settles_at_0_first(self) -> None:
        decision = decided(rollout(status=self.AT_0, route=route(0, since=START - timedelta(seconds=1))))
        assert decision.status.step == 0
        assert decision.after == SETTLE - timedelta(seconds=1)

    def test_the_share_is_written_down_and_nothing_is_done_yet(self) -> None:
        decision = decided(rollout(status=self.AT_0, route=route()))
        assert (decision.status.step, decision.status.weight) == (1, 10)
        assert decision.actions == ()
        assert decision.after == timedelta()


class TestRoutesAreAsTheyShouldBe:
    @pytest.mark.parametrize(
        "broken", [route(10, LONG_AGO, complete=False), route(9, LONG_AGO), route()], ids=["part", "other", "none"]
    )
    def test_or_they_are_written_again(self, broken: Route) -> None:
        decision = decided(rollout(route=broken))
        assert decision.actions == (SetShare(Share(10)),)
        assert decision.after == SETTLE

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"selector": {"app": "somebody-else"}},
            {"ports": [{"port": 1, "targetPort": 2}]},
            {"ports": []},
        ],
        ids=["selector", "port", "no-ports"],
    )
    def test_services_that_lead_elsewhere_are_applied_again(self, spoilt: dict[str, Any]) -> None:
        (twin,) = route().services
        found = {**twin, "spec": {**twin["spec"], **spoilt}}
        decision = decided(rollout(route=route(10, LONG_AGO, services=(found,))))
        applied = [action.manifest for action in decision.actions if isinstance(action, Apply)]
        assert applied == [twin], "a canary with a share does not shrink, though one pod would do for 10 %"

    def test_what_the_api_server_adds_to_a_service_is_no_difference(self) -> None:
        (twin,) = route().services
        ports = [{**port, "protocol": "TCP", "nodePort": 30080} for port in twin["spec"]["ports"]]
        found = {**twin, "spec": {**twin["spec"], "ports": ports, "clusterIP": "10.0.0.9", "sessionAffinity": "None"}}
        assert isinstance(plan(rollout(route=route(10, LONG_AGO, services=(found,)))), AskSamples)

    def test_a_target_port_that_is_not_said_is_the_port(self) -> None:
        stable = service(ports=[{"port": 9898}])
        traffic = replace(TRAFFIC, services=(stable,))
        settled = route(10, LONG_AGO, traffic=traffic)
        (twin,) = settled.services
        found = {**twin, "spec": {**twin["spec"], "ports": [{"port": 9898, "targetPort": 9898}]}}
        at = rollout(traffic=traffic, route=replace(settled, services=(found,)))
        assert isinstance(plan(at), AskSamples)


class TestEvidence:
    DOWN = Workload(deployment(pods=HELD.template, paused=True, status={"availableReplicas": 0}))

    def test_users_requests_are_followed_from_the_beginning(self) -> None:
        at_0 = replace(rollout().status, step=0, share=NOTHING)
        question = plan(rollout(spec=CanarySpec((Target(APP),)), status=at_0, route=route(), workload=None))
        assert isinstance(question, AskEvidence)
        assert (question.exposure.step, question.exposure.exposed_at, question.exposure.in_effect_at) == (0, None, None)
        assert question.exposure.arms == Arms(CANARY.namespace, TRAFFIC.backends)

    def test_what_the_judge_must_know_of_the_share_goes_with_the_question(self) -> None:
        status = replace(rollout().status, exposed_at=LONG_AGO)
        question = plan(rollout(spec=CanarySpec((Target(APP),), steps=STEPS), status=status))
        assert isinstance(question, AskEvidence)
        assert (question.exposure.step, question.exposure.exposed_at) == (1, LONG_AGO)
        assert question.exposure.in_effect_at == LONG_AGO + SETTLE

    def test_a_weight_that_is_not_in_effect_is_no_share(self) -> None:
        question = plan(rollout(spec=CanarySpec((Target(APP),), steps=STEPS), route=route(5, LONG_AGO)))
        assert isinstance(question, AskEvidence)
        assert question.exposure.in_effect_at is None

    def test_nobody_gets_a_canary_that_cannot_be_judged(self) -> None:
        at_0 = replace(rollout().status, step=0, share=NOTHING)
        dead = Evidence(None, {}, problem=ProviderError("cannot connect to Prometheus"))
        for evidence, why in ((dead, reasons.PROVIDER_FAILED), (Evidence(None, {}, heard=False), None)):
            at = rollout(spec=CanarySpec((Target(APP),), steps=STEPS), status=at_0, route=route(), evidence=evidence)
            decision = decided(at)
            assert (decision.status.step, decision.actions) == (0, ())
            assert reason(decision) == why

    def test_metrics_with_queries_are_asked_for(self) -> None:
        question = plan(rollout())
        assert question == AskSamples((QUEUE,))

    def test_no_data_is_not_written_again(self) -> None:
        samples: dict[str, Sample] = {QUEUE.name: NoData("no series")}
        first = decided(rollout(samples=samples))
        assert reason(first) == reasons.CHECKS_INCONCLUSIVE
        second = decided(rollout(status=first.status, samples=samples))
        assert second.status == first.status

    def test_a_share_is_judged_while_stable_is_down(self) -> None:
        assert isinstance(plan(rollout(target=self.DOWN)), AskSamples)
        decision = decided(rollout(target=self.DOWN, samples={QUEUE.name: Measured(6.0, 0.0)}))
        assert decision.status.failed_checks == 1

    def test_good_news_while_stable_is_down_change_no_weight(self) -> None:
        decision = decided(rollout(target=self.DOWN, samples={QUEUE.name: Measured(5.0, 0.0)}))
        assert (decision.status.step, decision.status.weight) == (1, 10)
        assert reason(decision) == reasons.STABLE_NOT_READY


LONGER = tuple(Step(Share(weight)) for weight in (10, 20, 30))


class TestEditedSteps:
    @pytest.mark.parametrize("steps", [(Step(Share(9)), Step(Share(50))), (Step(Share(20)),)], ids=["lower", "fewer"])
    def test_they_begin_anew(self, steps: tuple[Step, ...]) -> None:
        decision = decided(rollout(spec=CanarySpec((Target(APP),), steps=steps, analysis=ASKED)))
        assert (decision.status.step, decision.status.weight, decision.status.steps) == (0, 0, len(steps))
        assert decision.actions == ()
        assert [event.message for event in decision.events] == [
            "spec.steps was edited: beginning again with the first step"
        ]

    def test_an_edit_of_later_ones_changes_nothing_of_the_present_one(self) -> None:
        assert isinstance(plan(rollout(spec=CanarySpec((Target(APP),), steps=LONGER, analysis=ASKED))), AskSamples)


class TestApplyingCopies:
    def test_others_are_not_forced_away_and_our_own_are(self) -> None:
        at_0 = replace(rollout().status, step=0, share=NOTHING)
        fresh = decided(rollout(status=at_0, workload=None, route=route(), copies=()))
        again = decided(rollout(status=at_0, workload=None, route=route()))
        assert [action.force for action in fresh.actions if isinstance(action, Apply)] == [False, False]
        assert [action.force for action in again.actions if isinstance(action, Apply)] == [True, True]


class TestGivingBack:
    DELETED = replace(CANARY, deleting=True)
    MARKED: ClassVar[dict[str, Any]] = {"conditions": [{"type": "Stalled", "status": "True", "message": "rolled back"}]}

    def test_one_that_was_never_finalized_does_nothing(self) -> None:
        decision = decided(world(canary=replace(self.DELETED, finalized=False)))
        assert (decision.actions, decision.after) == ((), None)

    def test_its_mark_goes_then_its_label_then_its_finalizer(self) -> None:
        marked = Workload(deployment(status=self.MARKED))
        assert decided(world(canary=self.DELETED, target=marked)).actions == (MarkVerdict(APP, None),)
        assert decided(world(canary=self.DELETED)).actions == (Unguard(APP, "7"),)
        free = Workload(deployment(guard=None))
        assert decided(world(canary=self.DELETED, target=free)).actions == (SetFinalizer(present=False),)

    def test_a_target_of_an_older_canary_keeps_its_mark_and_its_label(self) -> None:
        theirs = Workload(deployment(guard="older", status=self.MARKED))
        decision = decided(world(canary=self.DELETED, target=theirs, rival=OLDER))
        assert decision.actions == (SetFinalizer(present=False),)

    def test_it_needs_neither_a_spec_nor_routes_of_stable(self) -> None:
        broken = Finding(reasons.INVALID_SPEC, "no")
        at = rollout(canary=self.DELETED, spec=broken, members=(replace(GONE, traffic=broken),))
        assert decided(at).actions == (SetShare(NOTHING),)


def test_a_rival_is_left_alone() -> None:
    unguarded = Workload(deployment(guard="older"))
    decision = decided(world(rival=OLDER, target=unguarded))
    assert decision.actions == ()
    assert reason(decision, "Stalled") == reasons.TARGET_IN_USE


def test_a_target_that_lost_its_label_gets_it_again() -> None:
    lost = Workload(deployment(guard=None))
    decision = decided(world(target=lost, status=Status(phase=Phase.INITIALIZED)))
    assert [type(action).__name__ for action in decision.actions] == ["Guard"]
    assert names.GUARD_LABEL not in lost.manifest["metadata"]["labels"]
