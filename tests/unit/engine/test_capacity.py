"""Whether there is room: pods that cannot start, and stable's own size."""

from datetime import timedelta

import pytest

from canary.model import reasons
from canary.model.status import Phase
from tests.simulation import BAD, V1, V2, Cluster, Version
from tests.stories import adopted, assert_at_rest, message


class TestPodsThatCannotStart:
    @pytest.mark.parametrize(
        ("problem", "reason", "seconds"),
        [
            ("ImagePullBackOff", reasons.IMAGE_PULL_FAILED, 0),
            ("CrashLoopBackOff", reasons.CRASH_LOOP, 0),
            ("CreateContainerConfigError", reasons.CONTAINER_CONFIG, 10),
        ],
    )
    def test_they_fail_the_rollout_as_soon_as_that_is_certain(self, problem: str, reason: str, seconds: int) -> None:
        cluster = adopted()
        cluster.push(Version("stillborn", starts=False, problem=problem))
        begun = cluster.now
        cluster.run_until(lambda c: c.phase is Phase.FAILED)
        assert timedelta(seconds=seconds) <= cluster.now - begun <= timedelta(seconds=seconds + 5)
        assert cluster.reason("Stalled") == reason
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1)

    def test_the_one_of_two_is_named(self) -> None:
        cluster = adopted(targets=2)
        cluster.push(V2, backend=Version("stillborn", starts=False, problem="ImagePullBackOff"))
        cluster.run()
        assert_at_rest(cluster, Phase.FAILED, V1, V1)
        assert "backend-canary-pod" in message(cluster, "Stalled")

    def test_pods_of_what_came_before_do_not_count(self) -> None:
        cluster = adopted()
        cluster.push(Version("stillborn", starts=False, problem="CreateContainerConfigError"))
        cluster.run(5)
        cluster.push(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)


class TestFloor:
    def scaled(self) -> Cluster:
        cluster = adopted(replicas=6)
        cluster.add_autoscaler()
        return cluster.run(1)

    def test_it_is_held_before_the_first_request_goes_to_the_canary(self) -> None:
        cluster = self.scaled()
        cluster.push(V2)
        cluster.run_until(lambda c: c.weight == 10)
        assert cluster.floor_is_held()
        cluster.autoscale(2)
        assert cluster.target.replicas == 6
        order = cluster.promises.order
        assert order.index("floor on") < order.index("weight 10")

    def test_at_rest_it_is_free(self) -> None:
        assert not self.scaled().floor_is_held()

    @pytest.mark.parametrize("end", ["promoted", "rolled back", "reverted", "aborted", "deleted", "target gone"])
    def test_it_is_given_back_in_every_outcome(self, end: str) -> None:
        cluster = self.scaled()
        cluster.push(BAD if end == "rolled back" else V2)
        cluster.run_until(lambda c: c.weight == 10)
        match end:
            case "reverted":
                cluster.push(V1)
            case "aborted":
                cluster.command("abort")
            case "deleted":
                cluster.delete_canary()
            case "target gone":
                cluster.delete_target()
        cluster.run()
        assert not cluster.floor_is_held()
        cluster.assert_nothing_left()

    def test_what_the_user_disabled_is_not_enabled(self) -> None:
        cluster = adopted()
        cluster.add_autoscaler(selectPolicy="Disabled")
        cluster.push(V2)
        cluster.run()
        assert cluster.floor_is_held()
        assert "floor off" not in cluster.requests

    def test_it_is_released_only_when_users_are_back(self) -> None:
        cluster = self.scaled()
        cluster.push(V2)
        cluster.run()
        order = cluster.promises.order
        assert order.index("weight 0") < order.index("floor off")
