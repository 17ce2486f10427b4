"""Several Deployments as one release: one barrier for each step, and one end."""

from typing import Any

import pytest

from canary.model import reasons
from canary.model.status import Phase, Trial
from tests.manifests import APP, ingress, path, service
from tests.simulation import BACKEND, BAD, BROKEN, V1, V2, V3, Cluster
from tests.stories import adopted, assert_at_rest, message, told

BOTH = {"targets": [{"name": APP}, {"name": BACKEND}]}
ONE = {"targets": [{"name": APP}]}


def pair(**fields: Any) -> Cluster:
    return adopted(targets=2, **fields)


def rolling(cluster: Cluster) -> Cluster:
    """Both on trial, at the first share."""
    cluster.push(V2, backend=V2)
    return cluster.run_until(lambda c: c.weight == 10)


class TestOneRelease:
    @pytest.mark.parametrize("apart", [0, 1, 20, 45])
    def test_both_are_promoted_however_far_apart_flux_applies_them(self, apart: float) -> None:
        cluster = pair()
        cluster.push(V2, backend=V2, apart=apart)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V2)
        assert [trial.name for trial in cluster.status.trial] == [APP, BACKEND]

    def test_each_route_carries_each_share(self) -> None:
        cluster = rolling(pair())
        cluster.run(1)
        assert {name: share.weight for name, share in cluster.shares.items()} == {
            "podinfo-canary": 10,
            "backend-canary": 10,
        }
        cluster.run_until(lambda c: {share.weight for share in c.shares.values()} == {50})

    def test_no_request_goes_to_either_before_both_are_ready(self) -> None:
        cluster = pair()
        cluster.push(V2, backend=BROKEN)
        cluster.run(300)
        assert cluster.apps[APP].canary_available == 1
        assert cluster.weight == 0
        assert "backend-canary" in message(cluster, "Reconciling")

    def test_one_that_is_never_ready_fails_both_and_is_named(self) -> None:
        cluster = pair()
        cluster.push(V2, backend=BROKEN)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1, V1)
        assert "backend-canary" in message(cluster, "Stalled")
        assert all(app.target.paused for app in cluster.apps.values())

    def test_the_next_step_waits_for_pods_of_both(self) -> None:
        cluster = pair(replicas=8)
        cluster.push(V2, backend=V2)
        cluster.run_until(lambda c: c.status.step == 2)
        cluster.scale(40, BACKEND)
        cluster.ready_after = cluster.ready_after * 10
        cluster.run(20)
        assert cluster.weight == 10, "the backend's canary is still growing"

    def test_one_that_is_bad_takes_both_back(self) -> None:
        cluster = pair()
        cluster.push(V2, backend=BAD)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1, V1)

    def test_flux_is_told_of_both(self) -> None:
        cluster = pair()
        cluster.push(BAD, backend=V2)
        cluster.run_until(lambda c: all(app.target.verdict for app in c.apps.values()))
        cluster.run()
        cluster.assert_nothing_left()

    def test_no_traffic_returns_before_both_are_rolled_out(self) -> None:
        cluster = rolling(pair())
        cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
        cluster.run_until(lambda c: c.weight == 0)
        assert [app.serving for app in cluster.apps.values()] == [{V2.name}, {V2.name}]

    def test_both_pauses_are_lifted_in_one_pass(self) -> None:
        cluster = rolling(pair())
        cluster.run_until(lambda c: not c.target.paused)
        assert not cluster.apps[BACKEND].target.paused

    def test_only_what_changed_gets_a_canary(self) -> None:
        cluster = pair()
        cluster.push_backend(V2)
        cluster.run_until(lambda c: c.weight == 10)
        assert cluster.status.trial == (Trial(BACKEND, cluster.apps[BACKEND].target.template_hash),)
        assert cluster.copies == {f"{kind} backend-canary" for kind in ("Deployment", "Service", "Ingress")}
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V1, V2)


class TestNewerTemplates:
    @pytest.mark.parametrize("weight", [10, 50])
    def test_of_one_begin_again_with_both_at_no_share(self, weight: float) -> None:
        cluster = pair()
        cluster.push(V2, backend=V2)
        cluster.run_until(lambda c: c.weight == weight)
        cluster.push_backend(V3)
        cluster.run_until(lambda c: c.weight == 0)
        assert (cluster.phase, cluster.status.step) == (Phase.PROGRESSING, 0)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V3)
        shares = [line for line in cluster.promises.order if line.startswith("weight")]
        assert shares.count("weight 10") == 2

    def test_of_one_in_mid_promotion_are_judged(self) -> None:
        cluster = rolling(pair())
        cluster.run_until(lambda c: not c.target.paused)
        cluster.push_backend(V3)
        cluster.run()
        assert cluster.phase is Phase.SUCCEEDED
        assert cluster.apps[BACKEND].serving == {V3.name}
        assert cluster.serving == {V2.name}

    def test_that_mend_what_failed_are_tried_with_the_other_as_it_was(self) -> None:
        cluster = pair()
        cluster.push(V2, backend=BAD)
        cluster.run()
        cluster.push_backend(V3)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V3)

    def test_a_revert_of_one_judges_the_other_alone(self) -> None:
        cluster = rolling(pair())
        cluster.push_backend(V1)
        cluster.run_until(lambda c: c.weight == 0)
        cluster.run_until(lambda c: c.weight == 10)
        assert [trial.name for trial in cluster.status.trial] == [APP]
        assert "Deployment backend-canary" not in cluster.copies
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V1)

    def test_a_revert_of_both_ends_it(self) -> None:
        cluster = rolling(pair())
        cluster.push(V1, backend=V1)
        cluster.run()
        assert_at_rest(cluster, Phase.INITIALIZED, V1, V1)


class TestRidingAlong:
    def worker(self, **fields: Any) -> Cluster:
        """The backend gets no requests of users."""
        cluster = Cluster(fields, targets=2)
        cluster.remove_traffic(BACKEND)
        return cluster.run()

    def test_one_without_traffic_is_held_and_promoted_with_the_other_and_gets_no_canary(self) -> None:
        cluster = self.worker()
        cluster.push(V2, backend=V2)
        cluster.run_until(lambda c: c.weight == 10)
        assert cluster.apps[BACKEND].target.paused
        assert cluster.apps[BACKEND].twin not in cluster.deployments
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V2)

    def test_it_stays_held_when_the_other_fails(self) -> None:
        cluster = self.worker()
        cluster.push(BAD, backend=V2)
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1, V1)
        assert cluster.apps[BACKEND].target.paused

    def test_where_nothing_else_changed_it_goes_straight_through(self) -> None:
        cluster = self.worker()
        cluster.push_backend(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V1, V2)
        assert "none of it gets requests of users" in cluster.events[-3].message
        assert "apply Deployment" not in cluster.requests

    def test_routes_that_went_away_in_mid_rollout_are_a_problem_and_no_ride(self) -> None:
        cluster = rolling(pair())
        cluster.remove_traffic(BACKEND)
        cluster.run(20)
        assert cluster.reason("Stalled") in (reasons.NO_SERVICE, reasons.NO_INGRESS)


class TestEditedTargets:
    def test_one_more_is_taken_in(self) -> None:
        cluster = Cluster(ONE, targets=2).run()
        assert cluster.apps[BACKEND].target.guard is None
        cluster.set_spec(**BOTH)
        cluster.run()
        assert cluster.apps[BACKEND].target.guard == APP
        cluster.push_backend(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V1, V2)

    @pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.PROGRESSING, Phase.WAITING, Phase.FAILED])
    def test_one_that_leaves_the_list_is_given_back(self, phase: Phase) -> None:
        cluster = pair(steps=[{"weight": 10, "for": "15s", "gate": "manual"}])
        if phase is not Phase.INITIALIZED:
            cluster.push(V2, backend=BAD if phase is Phase.FAILED else V2)
            cluster.run_until(lambda c: c.phase is phase and (c.weight == 10 or phase is Phase.FAILED))
        cluster.set_spec(**ONE)
        cluster.run(300)
        assert cluster.apps[BACKEND].target.guard is None
        assert not cluster.apps[BACKEND].target.paused
        assert "Deployment backend-canary" not in cluster.copies
        assert cluster.target.guard == APP

    def test_a_rollout_with_one_that_left_begins_anew_with_the_rest(self) -> None:
        cluster = rolling(pair())
        cluster.set_spec(**ONE)
        cluster.run_until(lambda c: c.status.trial == (Trial(APP, V2.hash),) and c.weight == 0)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert reasons.TARGET_NOT_HELD in told(cluster)

    def test_in_mid_promotion_the_rest_is_promoted_or_judged_anew(self) -> None:
        cluster = rolling(pair())
        cluster.run_until(lambda c: not c.target.paused)
        cluster.set_spec(**ONE)
        cluster.run()
        assert cluster.phase in (Phase.SUCCEEDED, Phase.INITIALIZED)
        assert cluster.serving == {V2.name}
        assert cluster.apps[BACKEND].target.guard is None

    def test_one_that_joins_in_mid_rollout_disturbs_nothing(self) -> None:
        cluster = Cluster(ONE, targets=2).run()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.set_spec(**BOTH)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V1)
        assert cluster.apps[BACKEND].target.guard == APP
        assert cluster.promises.order.count("weight 10") == 1


class TestGone:
    def test_one_of_two_is_deleted_in_mid_rollout(self) -> None:
        cluster = rolling(pair())
        begun = cluster.now
        cluster.delete_target(BACKEND)
        cluster.run_until(lambda c: c.weight == 0)
        assert cluster.now == begun
        cluster.run()
        assert cluster.phase is Phase.INITIALIZED
        assert cluster.reason("Stalled") == reasons.TARGET_NOT_FOUND
        assert "'backend'" in message(cluster, "Stalled")
        cluster.assert_nothing_left()

    def test_with_it_there_again_the_rest_is_judged(self) -> None:
        cluster = rolling(pair())
        cluster.delete_target(BACKEND)
        cluster.run()
        cluster.create_target(V1, app=BACKEND)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V1)
        assert cluster.apps[BACKEND].target.guard == APP

    def test_the_canary_is_deleted_and_both_are_given_back(self) -> None:
        cluster = rolling(pair())
        cluster.delete_canary()
        cluster.run()
        assert cluster.canary is None
        assert cluster.copies == set()
        for app in cluster.apps.values():
            assert app.target.guard is None
            assert not app.target.paused


class TestSharedService:
    def test_two_behind_one_service_and_one_ingress_are_carried_by_one_route(self) -> None:
        cluster = Cluster(targets=2)
        for name in cluster.apps:
            del cluster.services[name], cluster.ingresses[name]
        cluster.services["shop"] = service("shop", {"shop": "yes"})
        cluster.ingresses["shop"] = ingress("shop", path("shop"))
        cluster.shared = "shop"
        for name in cluster.apps:
            cluster.create_target(V1, app=name)
        cluster.run()
        cluster.push(V2, backend=V2)
        cluster.run_until(lambda c: c.weight == 10)
        assert set(cluster.shares) == {"shop-canary"}
        assert cluster.copies == {
            "Deployment",
            "Deployment backend-canary",
            "Service shop-canary",
            "Ingress shop-canary",
        }
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2, V2)
