"""Whole rollouts in the simulated cluster, which holds each write to the design's promises."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from analysis.verdict import Verdict
from canary.engine.winddown import SETTLE
from canary.model import names, reasons
from canary.model.status import Phase
from tests.manifests import APP, deployment, ingress, service
from tests.promises import TWIN
from tests.simulation import BAD, BROKEN, LIMITS, UNKNOWN, V1, V2, V3, Cluster, Version

DEADLINE = timedelta(minutes=10)
"""The default of progressDeadlineSeconds."""


def adopted(spec: Mapping[str, Any] | None = None, replicas: int = 4) -> Cluster:
    return Cluster(spec, replicas=replicas).run()


def assert_at_rest(cluster: Cluster, phase: Phase, serving: Version) -> None:
    assert cluster.phase is phase, str(cluster)
    assert cluster.serving == {serving.name}
    cluster.assert_nothing_left()
    cluster.assert_quiet()


def test_adopting_a_target_that_serves_changes_no_more_than_its_label() -> None:
    cluster = Cluster()
    before = cluster.deployments[APP]
    cluster.run()
    assert_at_rest(cluster, Phase.INITIALIZED, V1)
    after = cluster.deployments[APP]
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"] | {names.GUARD_LABEL: APP}
    assert cluster.status.stable_revision == V1.revision


def test_a_good_version_goes_through_the_default_steps_and_is_promoted() -> None:
    cluster = adopted(spec={"steps": None, "analysis": None})
    cluster.push(V2)
    cluster.run()
    shares = [written for written in cluster.promises.order if written.startswith("weight")]
    assert shares == ["weight 5", "weight 10", "weight 20", "weight 35", "weight 50", "weight 0"]
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)
    assert cluster.status.stable_revision == V2.revision
    assert not cluster.target.paused


def test_each_share_is_held_for_its_time_at_the_least() -> None:
    cluster = adopted()
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    at_10 = cluster.now
    cluster.run_until(lambda c: c.weight == 50)
    at_50 = cluster.now
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    assert at_50 - at_10 >= timedelta(seconds=20) + SETTLE
    assert cluster.now - at_50 >= timedelta(seconds=30) + SETTLE


def test_a_share_of_a_good_version_is_not_held_much_longer_than_asked() -> None:
    cluster = adopted()
    cluster.push(V2)
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    begun = cluster.status.started_at
    assert begun is not None
    # ready after 3 s, two shares of 20 and 30 s, each settled, and pods for the second one in between
    assert cluster.now - begun <= timedelta(seconds=3 + 20 + 3 + 30) + 2 * SETTLE


def test_a_hold_that_is_no_multiple_of_the_interval_ends_in_time() -> None:
    cluster = adopted(spec={"steps": [{"weight": 10, "for": "26s"}]})
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    begun = cluster.now
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    assert cluster.now - begun == timedelta(seconds=26)


def test_a_rollout_may_take_longer_than_the_deadline_as_long_as_it_moves() -> None:
    steps = [{"weight": weight, "for": "20s"} for weight in (10, 20, 30, 40)]
    cluster = adopted(spec={"steps": steps, "progressDeadlineSeconds": 30})
    cluster.push(V2)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_each_step_is_told_by_one_event_and_none_is_a_warning() -> None:
    cluster = adopted()
    cluster.events.clear()
    cluster.push(V2)
    cluster.run()
    assert [event.reason for event in cluster.events] == [
        reasons.NEW_REVISION,
        reasons.WEIGHT_CHANGED,
        reasons.WEIGHT_CHANGED,
        reasons.PROMOTING,
        reasons.PROMOTED,
    ]
    assert not any(event.warning for event in cluster.events)


def test_it_has_succeeded_only_when_nothing_is_left() -> None:
    cluster = adopted()
    cluster.push(V2)
    cluster.run_until(lambda c: c.phase is Phase.SUCCEEDED)
    cluster.assert_nothing_left()


def test_a_version_that_served_once_and_no_longer_does_is_judged_again_where_the_user_wants_that() -> None:
    cluster = adopted(spec={"knownGoodRevisions": 0})
    cluster.push(V2)
    cluster.run()
    cluster.push(V1)
    cluster.run_until(lambda c: c.weight == 50)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V1)


def test_going_back_takes_the_traffic_away_before_the_pause_and_says_so() -> None:
    cluster = adopted()
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.events.clear()
    before = len(cluster.requests)
    cluster.push(V1)
    cluster.run()
    written = cluster.requests[before:]
    assert written.index("weight 0") < written.index("LiftPause")
    assert [event.reason for event in cluster.events] == [reasons.REVERTED]
    assert_at_rest(cluster, Phase.INITIALIZED, V1)


def test_the_canary_grows_with_its_share() -> None:
    cluster = adopted(replicas=10)
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    assert cluster.deployments[TWIN]["spec"]["replicas"] == 1
    cluster.run_until(lambda c: c.weight == 50)
    assert cluster.deployments[TWIN]["spec"]["replicas"] == 5
    assert cluster.canary_available == 5


def test_the_traffic_returns_to_stable_only_when_its_rolling_update_has_finished() -> None:
    cluster = adopted()
    cluster.roll_takes = timedelta(seconds=40)
    cluster.push(V2)
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    cluster.run_until(lambda c: c.weight == 0)
    assert cluster.serving == {V2.name}


def test_a_promotion_in_five_steps_costs_no_more_than_36_requests() -> None:
    steps = [{"weight": weight, "for": "10s"} for weight in (10, 20, 30, 40, 50)]
    cluster = adopted(spec={"steps": steps}, replicas=1)
    before = len(cluster.requests)
    cluster.push(V2)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)
    spent = cluster.requests[before:]
    assert len(spent) <= 36, spent


def test_a_rollback_costs_no_more_than_30_requests() -> None:
    cluster = adopted()
    before = len(cluster.requests)
    cluster.push(BAD)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
    spent = cluster.requests[before:]
    assert len(spent) <= 30, spent


def test_holding_a_share_for_long_costs_nothing() -> None:
    cluster = adopted(spec={"steps": [{"weight": 10, "for": "1h"}]})
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    before = len(cluster.requests)
    cluster.run(1800)
    assert cluster.weight == 10
    assert cluster.requests[before:] == []


class TestRollback:
    def test_the_first_failed_check_changes_no_weight_and_the_second_rolls_back(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run_until(lambda c: c.status.failed_checks == 1)
        assert cluster.weight == 10
        assert cluster.reason("Reconciling") == reasons.CHECKS_FAILED
        first = cluster.now
        cluster.run_until(lambda c: c.phase is Phase.FAILED)
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now - first == timedelta(seconds=10)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_a_threshold_of_one_rolls_back_at_once(self) -> None:
        cluster = adopted(spec={"analysis": {"interval": "10s", "threshold": 1, "metrics": LIMITS}})
        cluster.push(BAD)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now - begun == SETTLE + timedelta(seconds=10)

    def test_failed_checks_of_all_steps_count_together(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        for weight in (10, 50):
            cluster.scrapes_fail = None
            cluster.run_until(lambda c, weight=weight: c.weight == weight)  # type: ignore[misc]
            cluster.scrapes_fail = Verdict.FAIL
            cluster.run(16)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_one_failed_check_does_not_stop_a_version_that_passes_then(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.scrapes_fail = Verdict.FAIL
        cluster.run_until(lambda c: c.status.failed_checks == 1)
        cluster.scrapes_fail = None
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_one_check_is_counted_once_however_often_the_world_is_looked_at(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run_until(lambda c: c.status.failed_checks == 1)
        for tenth in range(90):
            cluster.after(tenth / 10, cluster.touch_canary)
        cluster.run(9.5)
        assert cluster.status.failed_checks == 1
        cluster.run(1)
        assert cluster.phase is Phase.FAILED

    def test_what_failed_is_said_with_the_value_the_limit_and_the_revisions(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        stalled = cluster.status.condition("Stalled")
        assert stalled is not None
        assert stalled.reason == reasons.ROLLED_BACK
        for part in ("main@356a192", "main@1902e3d", "step 1 of 2 at 10 %", "50 %", "at least 99 %"):
            assert part in stalled.message
        assert cluster.events[-1].warning
        assert cluster.events[-1].message == stalled.message

    def test_the_failed_template_stays_held_and_is_not_tried_again(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        begun = len(cluster.requests)
        cluster.after(100, cluster.touch_canary)
        cluster.after(200, lambda: cluster.push(BAD))
        cluster.after(300, lambda: cluster.scale(5))
        cluster.run(100000)
        assert cluster.target.paused
        assert_at_rest(cluster, Phase.FAILED, V1)
        assert [request for request in cluster.requests[begun:] if request != "MarkVerdict"] == []

    def test_flux_stops_waiting_for_the_failed_template_and_the_mark_goes(self) -> None:
        cluster = adopted()
        cluster.flux.waits_for = timedelta(hours=1)
        cluster.push(BAD)
        cluster.run_until(lambda c: c.phase is Phase.FAILED)
        assert cluster.flux_waits
        failed_at = cluster.now
        cluster.run_until(lambda c: not c.flux_waits)
        assert cluster.now - failed_at <= timedelta(seconds=1)
        cluster.run()
        assert cluster.target.verdict is None

    def test_flux_is_not_told_that_the_next_template_failed(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        told = cluster.requests.count("MarkVerdict")
        cluster.push(V2)
        cluster.run()
        assert cluster.requests.count("MarkVerdict") == told

    def test_the_traffic_is_off_before_flux_is_told(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        assert cluster.requests.index("weight 0") < cluster.requests.index("MarkVerdict")

    def test_the_next_good_version_goes_through(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        cluster.push(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert cluster.status.failed_checks == 0
        assert cluster.status.revision_from == V1.revision

    def test_the_serving_template_applied_again_is_let_through_at_once(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        at = cluster.now
        cluster.push(V1)
        cluster.run_until(lambda c: not c.target.paused)
        assert cluster.now == at
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V1)
        assert cluster.reason("Ready") == reasons.INITIALIZED

    def test_a_failed_template_that_is_pushed_anew_is_tried_anew(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        cluster.push(V1)
        cluster.run()
        cluster.push(BAD)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)


class TestNoEvidence:
    @pytest.mark.parametrize(
        ("verdict", "reason"),
        [(Verdict.INCONCLUSIVE, reasons.CHECKS_INCONCLUSIVE), (Verdict.ERROR, reasons.PROVIDER_FAILED)],
    )
    def test_it_holds_the_share_and_fails_by_the_deadline(self, verdict: Verdict, reason: str) -> None:
        cluster = adopted()
        cluster.push(UNKNOWN)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.scrapes_fail = verdict
        begun = cluster.now
        cluster.run_until(lambda c: c.reason("Reconciling") == reason)
        cluster.run_until(lambda c: c.phase is not Phase.PROGRESSING)
        assert cluster.phase is Phase.FAILED
        assert timedelta() <= cluster.now - begun - DEADLINE - timedelta(minutes=2) <= timedelta(seconds=10)
        assert cluster.status.failed_checks == 0
        stalled = cluster.status.condition("Stalled")
        assert stalled is not None
        assert stalled.reason == reasons.DEADLINE_EXCEEDED
        assert "holding" in stalled.message
        assert {check.verdict for check in cluster.status.checks} == {verdict}
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_nobody_gets_a_canary_before_it_can_be_judged(self) -> None:
        cluster = adopted()
        cluster.scrapes_fail = Verdict.ERROR
        cluster.push(V2)
        cluster.run(120)
        assert (cluster.weight, cluster.reason("Reconciling")) == (0, reasons.PROVIDER_FAILED)
        cluster.scrapes_fail = None
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_an_outage_of_the_provider_only_takes_time(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.scrapes_fail = Verdict.ERROR
        cluster.run(60)
        assert cluster.weight == 10
        cluster.scrapes_fail = None
        cluster.run_until(lambda c: c.status.step == 2, seconds=10)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_an_outage_is_said_once(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.scrapes_fail = Verdict.ERROR
        before = len(cluster.requests)
        cluster.run(300)
        assert cluster.requests[before:] == ["status"]


COMPARED = {"steps": [{"weight": 10, "for": "25s"}, {"weight": 50, "for": "35s", "maxFor": "60s"}], "analysis": None}
"""Two steps, and nothing said of metrics: canary is compared with stable."""


class TestComparison:
    def test_a_canary_like_stable_needs_no_longer_than_its_steps(self) -> None:
        cluster = adopted(spec=COMPARED | {"analysis": {"warmUp": "0s"}})
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
        assert cluster.now - begun <= timedelta(seconds=65), "and what its pods need to start"
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_a_worse_one_is_rolled_back_as_soon_as_that_is_proven(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.push(BAD)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now - begun <= timedelta(seconds=20), "two scrapes"
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)
        stalled = cluster.status.condition("Stalled")
        assert stalled is not None
        assert stalled.reason == reasons.ROLLED_BACK
        assert "request-success-rate: 50 % of" in stalled.message

    def test_the_evidence_of_each_step_stays_in_the_status(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.push(V2)
        cluster.run()
        assert [(evidence.step, evidence.weight) for evidence in cluster.status.evidence] == [(1, 10), (2, 50)]
        for evidence in cluster.status.evidence:
            assert {check.verdict for check in evidence.checks} == {Verdict.PASS}
            for check in evidence.checks:
                assert check.canary is not None
                assert check.canary.requests > 0
        assert cluster.status.judge is None, "the judge's memory goes with the rollout"

    def test_the_status_keeps_the_evidence_of_the_last_ten_steps(self) -> None:
        steps = [{"weight": weight, "for": "15s", "maxFor": "15s"} for weight in range(1, 13)]
        cluster = adopted(spec=COMPARED | {"steps": steps})
        cluster.push(V2)
        cluster.run()
        assert [evidence.step for evidence in cluster.status.evidence] == list(range(3, 13))

    def test_each_written_status_takes_the_judges_memory_along(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 50)
        saved = cluster.status.judge
        assert saved is not None
        assert (saved.step, max(saved.cursor.values())) == (2, cluster.scrapes[-1].end)

    def test_the_next_rollout_begins_with_its_own_first_traffic(self) -> None:
        cluster = adopted(spec=COMPARED)
        for version in (V2, V3):
            cluster.push(version)
            cluster.run_until(lambda c: c.weight == 10)
            assert cluster.status.exposed_at == cluster.now
            assert cluster.status.evidence == ()
            cluster.run()
            assert_at_rest(cluster, Phase.SUCCEEDED, version)

    def test_a_dead_provider_is_said_before_a_share_that_it_no_longer_tells(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.canary_is_passed_over = True
        cluster.push(V2)
        cluster.run_until(lambda c: c.reason("Reconciling") == reasons.ROUTING_NOT_EFFECTIVE)
        cluster.scrapes_fail = Verdict.ERROR
        cluster.run(60)
        assert cluster.reason("Reconciling") == reasons.PROVIDER_FAILED

    def test_an_operator_that_forgot_everything_comes_to_the_same_verdict_at_the_same_time(self) -> None:
        def verdict(version: Version, *, forgets: bool) -> tuple[object, ...]:
            cluster = adopted(spec=COMPARED)
            cluster.push(version)
            cluster.run_until(lambda c: c.weight == 10)
            if forgets:
                cluster.run(7)
                cluster.forget()
            cluster.run()
            return cluster.phase, cluster.status.evidence

        for version in (V2, BAD):
            assert verdict(version, forgets=True) == verdict(version, forgets=False)

    def test_a_canary_that_gets_no_share_of_the_requests_is_held_and_said_so(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.canary_is_passed_over = True
        cluster.push(V2)
        cluster.run_until(lambda c: c.reason("Reconciling") == reasons.ROUTING_NOT_EFFECTIVE)
        cluster.run(300)
        assert cluster.weight == 10
        cluster.canary_is_passed_over = False
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_without_any_user_the_share_is_held_until_the_deadline(self) -> None:
        cluster = adopted(spec=COMPARED)
        cluster.push(UNKNOWN)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)
        assert cluster.reason("Stalled") == reasons.DEADLINE_EXCEEDED

    @pytest.mark.parametrize(
        ("policy", "phase", "serving"), [("advance", Phase.SUCCEEDED, UNKNOWN), ("rollback", Phase.FAILED, V1)]
    )
    def test_what_follows_when_nothing_is_decided_in_time_is_the_users_to_say(
        self, policy: str, phase: Phase, serving: Version
    ) -> None:
        cluster = adopted(spec=COMPARED | {"analysis": {"onInconclusive": policy}})
        cluster.promises.policy_is_advance = policy == "advance"
        cluster.push(UNKNOWN)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        cluster.run_until(lambda c: c.weight != 10)
        assert timedelta(minutes=2) <= cluster.now - begun <= timedelta(minutes=2, seconds=5)
        cluster.run()
        assert_at_rest(cluster, phase, serving)

    def test_a_provider_that_fails_for_too_long_is_a_rollback_where_the_user_says_so(self) -> None:
        steps = [{"weight": 10, "for": "10m"}]
        cluster = adopted(spec={"steps": steps, "analysis": {"onError": "rollback", "errorLimit": "90s"}})
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        for seconds in (60, 60, 300):
            cluster.run(20)
            cluster.scrapes_fail = Verdict.ERROR
            cluster.run(seconds)
            assert (cluster.phase is Phase.FAILED) is (seconds == 300), "only without a break"
            cluster.scrapes_fail = None
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)
        stalled = cluster.status.condition("Stalled")
        assert stalled is not None
        assert "the provider of the metrics failed for 1m30s" in stalled.message


class TestNotReady:
    def test_a_canary_that_never_starts_fails_by_the_deadline_and_got_no_request(self) -> None:
        cluster = adopted()
        cluster.push(BROKEN)
        begun = cluster.now
        cluster.run_until(lambda c: c.phase is Phase.FAILED)
        assert cluster.now - begun == DEADLINE
        assert cluster.weight == 0
        stalled = cluster.status.condition("Stalled")
        assert stalled is not None
        assert stalled.reason == reasons.DEADLINE_EXCEEDED
        assert "0 of 1 pods are available" in stalled.message
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_the_deadline_is_the_one_of_the_spec(self) -> None:
        cluster = adopted(spec={"progressDeadlineSeconds": 90})
        cluster.push(BROKEN)
        begun = cluster.now
        cluster.run_until(lambda c: c.phase is Phase.FAILED)
        assert cluster.now - begun == timedelta(seconds=90)

    def test_a_canary_that_stops_being_ready_holds_its_share_until_it_is_ready_again(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.set_readiness(canary=False)
        cluster.run(120)
        assert cluster.weight == 10
        assert cluster.reason("Reconciling") == reasons.CANARY_NOT_READY
        cluster.set_readiness(canary=True)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_no_share_is_given_while_stable_has_no_available_pod(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.set_readiness(stable=False)
        cluster.run(60)
        assert cluster.weight == 0
        assert cluster.reason("Reconciling") == reasons.STABLE_NOT_READY
        cluster.set_readiness(stable=True)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_a_target_that_never_served_gets_its_second_template_at_once(self) -> None:
        cluster = Cluster(first=Version("never ready", rolls_out=False))
        cluster.run(30)
        assert cluster.phase is None
        assert cluster.reason("Reconciling") == reasons.TARGET_NOT_READY
        cluster.push(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V2)

    def test_the_canary_outgrows_a_stable_that_is_scaled_up(self) -> None:
        cluster = adopted(spec={"steps": [{"weight": 50, "for": "60s"}]})
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 50)
        cluster.scale(8)
        cluster.run_until(lambda c: c.deployments[TWIN]["spec"]["replicas"] == 4)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_a_canary_never_shrinks_while_it_has_a_share(self) -> None:
        cluster = adopted(replicas=8, spec={"steps": [{"weight": 50, "for": "60s"}]})
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 50)
        cluster.scale(2)
        cluster.run(40)
        assert cluster.deployments[TWIN]["spec"]["replicas"] == 4


class TestFailingCanaryThatIsNotAllReady:
    """A share in effect is judged whatever the pods do: half of a canary that crashes is no reason to keep users on the
    other half, which fails."""

    def test_it_is_rolled_back_as_fast_as_one_that_is_ready(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        cluster.set_readiness(canary=False)
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now - begun == SETTLE + timedelta(seconds=20)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_it_is_rolled_back_while_pods_for_the_next_step_start(self) -> None:
        cluster = adopted(replicas=8)
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.ready_after = timedelta(minutes=5)
        cluster.run_until(lambda c: c.status.step == 2)
        cluster.scrapes_fail = Verdict.FAIL
        begun = cluster.now
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now - begun <= timedelta(seconds=20)


class TestPromotion:
    def test_one_that_is_stuck_keeps_the_share_and_says_why(self) -> None:
        cluster = adopted()
        cluster.push(Version("stuck", rolls_out=False))
        cluster.run_until(lambda c: c.reason("Stalled") == reasons.PROMOTION_STUCK)
        cluster.run(3600)
        assert cluster.phase is Phase.PROMOTING
        assert cluster.weight == 50
        assert cluster.reason("Ready") == reasons.PROMOTION_STUCK

    def test_one_that_is_stuck_gives_way_to_the_next_template(self) -> None:
        cluster = adopted()
        cluster.push(Version("stuck", rolls_out=False))
        cluster.run_until(lambda c: c.reason("Stalled") == reasons.PROMOTION_STUCK)
        cluster.push(V3)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V3)

    def test_a_newer_template_is_no_loss_of_the_hold(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
        cluster.run_until(lambda c: not c.target.paused)
        cluster.events.clear()
        cluster.push(V3)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V3)
        assert cluster.events[0].reason == reasons.NEW_REVISION
        assert reasons.TARGET_NOT_HELD not in [event.reason for event in cluster.events]

    def test_the_target_recreated_meanwhile_with_something_else_is_a_loss_of_the_hold(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
        cluster.create_target(V3)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V3)
        assert cluster.events[-1].reason == reasons.TARGET_NOT_HELD

    def test_the_target_recreated_meanwhile_finishes_it(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
        cluster.create_target(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert cluster.target.guard == APP


class TestTargetRecreated:
    def test_in_mid_rollout_nothing_is_on_trial_any_more(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.create_target(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V2)
        assert cluster.target.guard == APP
        assert any(event.reason == reasons.TARGET_NOT_HELD and event.warning for event in cluster.events)

    def test_the_next_version_is_held_again(self) -> None:
        cluster = adopted()
        cluster.create_target(V2)
        cluster.run()
        cluster.push(V3)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V3)

    def test_after_a_failure_the_canary_is_initialized_again(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run()
        cluster.create_target(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V2)


class TestBlocked:
    def test_without_its_ingress_a_rollout_holds_and_fails_by_the_deadline(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.set_ingress(present=False)
        cluster.run(60)
        assert cluster.reason("Stalled") == reasons.NO_INGRESS
        assert cluster.weight == 10
        cluster.run()
        assert cluster.phase is Phase.FAILED
        cluster.assert_nothing_left()
        assert cluster.serving == {V1.name}

    def test_with_its_ingress_back_it_goes_on(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.set_ingress(present=False)
        cluster.run(60)
        cluster.set_ingress(present=True)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert cluster.reason("Stalled") is None

    def test_a_problem_is_told_by_one_event_however_long_it_lasts(self) -> None:
        cluster = adopted()
        cluster.set_ingress(present=False)
        cluster.run(3600)
        assert [event.reason for event in cluster.events].count(reasons.NO_INGRESS) == 1

    def test_an_older_share_is_taken_back_even_while_the_ingress_of_stable_is_gone(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.push(V3)
        cluster.run_until(lambda c: c.status.template == V3.hash)
        cluster.set_ingress(present=False)
        cluster.run(20)
        assert cluster.weight == 0

    def test_the_name_of_somebody_elses_deployment_is_left_alone(self) -> None:
        cluster = adopted()
        theirs = deployment(TWIN, guard=None)
        cluster.deployments[TWIN] = theirs
        cluster.push(V2)
        cluster.run()
        assert cluster.phase is Phase.FAILED
        assert cluster.deployments[TWIN]["spec"] == theirs["spec"]
        assert any(event.reason == reasons.NAME_TAKEN for event in cluster.events)

    def test_the_name_of_somebody_elses_service_is_left_alone(self) -> None:
        cluster = adopted()
        theirs = service(TWIN, {"app": "somebody-else"})
        cluster.services[TWIN] = theirs
        cluster.push(V2)
        cluster.run()
        assert cluster.phase is Phase.FAILED
        assert cluster.services[TWIN] is theirs
        assert cluster.serving == {V1.name}

    def test_the_name_of_somebody_elses_ingress_is_left_alone(self) -> None:
        cluster = adopted()
        theirs = ingress(TWIN, host="another.example", annotations={names.NGINX_CANARY_WEIGHT: "0"})
        cluster.ingresses[TWIN] = theirs
        cluster.push(V2)
        cluster.run()
        assert cluster.phase is Phase.FAILED
        assert cluster.ingresses[TWIN] is theirs

    def test_a_target_that_is_gone_is_on_trial_no_more_and_leaves_nothing(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        begun = cluster.now
        del cluster.deployments[APP]
        cluster.touch_canary()
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now == begun, "there is nothing left to compare with"
        cluster.run()
        assert cluster.phase is Phase.INITIALIZED
        assert cluster.reason("Stalled") == reasons.TARGET_NOT_FOUND
        cluster.assert_nothing_left()

    def test_a_target_that_is_there_again_is_taken_in_and_its_next_version_is_judged(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        del cluster.deployments[APP]
        cluster.touch_canary()
        cluster.run()
        cluster.create_target(V1)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V1)
        assert cluster.reason("Stalled") is None
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)


class TestTampering:
    def test_a_weight_set_by_hand_is_set_back(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        route = cluster.ingresses[TWIN]
        annotations = route["metadata"]["annotations"] | {names.NGINX_CANARY_WEIGHT: "9"}
        cluster.ingresses[TWIN] = route | {"metadata": route["metadata"] | {"annotations": annotations}}
        cluster.promises.order.append("by hand")
        assert cluster.weight == 9
        cluster.touch_canary()
        cluster.run(1)
        assert cluster.weight == 10

    @pytest.mark.parametrize("kind", ["Deployment", "Service", "Ingress"])
    def test_an_object_of_the_canary_deleted_by_hand_comes_back(self, kind: str) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        place = {"Deployment": cluster.deployments, "Service": cluster.services, "Ingress": cluster.ingresses}[kind]
        del place[TWIN]
        cluster.touch_canary()
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_a_pause_lifted_by_somebody_who_may_ends_the_rollout(self) -> None:
        cluster = adopted()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        target = cluster.deployments[APP]
        cluster.create_target(V2)
        cluster.deployments[APP] = cluster.deployments[APP] | {"metadata": target["metadata"]}
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V2)


def test_objects_that_take_long_to_go_are_waited_for() -> None:
    cluster = adopted()
    cluster.deletion_takes = timedelta(seconds=40)
    cluster.push(V2)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)
    assert cluster.requests.count("delete Deployment") == 1
