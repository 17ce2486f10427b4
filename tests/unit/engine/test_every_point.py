"""What may come at any moment of a rollout comes at every moment of it: just before each request in turn.

The oracle is the run that nothing came between: whatever is lost, the end is the same. The promises of the design are
checked at every write on the way.
"""

from collections.abc import Callable

import pytest

from canary.model.status import Phase
from tests.manifests import APP
from tests.promises import TWIN
from tests.simulation import BAD, V1, V2, V3, Cluster, Loss, Version

LATER = 3
"""Requests after the end of a rollout that are points, too: what comes then finds it at rest."""


def begun(version: Version) -> Cluster:
    cluster = Cluster().run()
    cluster.push(version)
    return cluster


def points(version: Version) -> range:
    """The numbers of the requests of a rollout that nothing comes between."""
    first = len(begun(version).requests)
    return range(first, len(begun(version).run().requests))


def end(cluster: Cluster) -> tuple[object, ...]:
    cluster.assert_quiet()
    cluster.assert_nothing_left()
    status = cluster.status
    ready = status.condition("Ready")
    assert ready is not None
    return (status.phase, cluster.serving, status.weight, ready.status, cluster.target.paused, cluster.target.guard)


PROMOTED = (Phase.SUCCEEDED, {V2.name}, 0, "True", False, APP)
ROLLED_BACK = (Phase.FAILED, {V1.name}, 0, "False", True, APP)


@pytest.mark.parametrize("how", Loss)
@pytest.mark.parametrize(("version", "expected"), [(V2, PROMOTED), (BAD, ROLLED_BACK)], ids=["good", "bad"])
def test_the_loss_of_any_one_request_changes_no_outcome(
    version: Version, expected: tuple[object, ...], how: Loss
) -> None:
    assert end(begun(version).run()) == expected
    for number in points(version):
        cluster = begun(version)
        cluster.lose_request(number, how)
        assert end(cluster.run()) == expected, number


@pytest.mark.parametrize("how", Loss)
def test_the_loss_of_any_three_requests_in_a_row_changes_no_outcome(how: Loss) -> None:
    for number in points(V2):
        cluster = begun(V2)
        for lost in range(number, number + 3):
            cluster.lose_request(lost, how)
        assert end(cluster.run()) == PROMOTED, number


@pytest.mark.parametrize("how", Loss)
def test_the_adoption_survives_the_loss_of_any_request(how: Loss) -> None:
    for number in range(len(Cluster().run().requests)):
        cluster = Cluster()
        cluster.lose_request(number, how)
        assert end(cluster.run()) == (Phase.INITIALIZED, {V1.name}, 0, "True", False, APP), number


def test_a_status_that_was_written_on_a_stale_canary_is_refused_and_written_again() -> None:
    for number in points(V2):
        cluster = begun(V2)
        cluster.before_request(number, cluster.touch_canary)
        assert end(cluster.run()) == PROMOTED, number


def test_a_target_that_changes_between_look_and_write_is_looked_at_again() -> None:
    for number in points(V2):
        cluster = begun(V2)
        cluster.before_request(number, lambda cluster=cluster: cluster.scale(5))  # type: ignore[misc]
        assert end(cluster.run()) == PROMOTED, number
        assert cluster.target.replicas == 5


def interrupted(version: Version, what: Callable[[Cluster], None], number: int) -> Cluster:
    cluster = begun(version)
    cluster.before_request(number, lambda: what(cluster))
    return cluster


@pytest.mark.parametrize("first", [V2, BAD], ids=["good", "bad"])
def test_a_newer_template_starts_anew_at_weight_0_and_goes_through(first: Version) -> None:
    for number in points(first):
        cluster = interrupted(first, lambda cluster: cluster.push(V3), number).run()
        if cluster.serving == {first.name}:
            cluster.push(V3)  # the request did not come, for the push came after the end
        assert end(cluster.run()) == (Phase.SUCCEEDED, {V3.name}, 0, "True", False, APP), number
        # where the first one had got a share, it was gone before the newer one got its first
        shares = [written for written in cluster.promises.order if written.startswith("weight")]
        tens = [index for index, written in enumerate(shares) if written == "weight 10"]
        assert all(shares[index - 1] == "weight 0" for index in tens[1:])


def test_a_newer_bad_template_fails_and_what_serves_stays() -> None:
    for number in points(V2):
        cluster = interrupted(V2, lambda cluster: cluster.push(BAD), number).run()
        assert cluster.phase is Phase.FAILED, number
        # into the promotion: both judged versions may serve, for the rolling update is frozen where it was
        assert cluster.serving <= {V1.name, V2.name}
        cluster.assert_nothing_left()
        cluster.assert_quiet()


@pytest.mark.parametrize("first", [V2, BAD], ids=["good", "bad"])
def test_going_back_to_the_serving_template_ends_with_it(first: Version) -> None:
    for number in points(first):
        cluster = interrupted(first, lambda cluster: cluster.push(V1), number).run()
        assert cluster.serving == {V1.name}, number
        # where the first one was promoted already, going back is a rollout like any other
        assert cluster.phase in (Phase.INITIALIZED, Phase.SUCCEEDED)
        assert end(cluster)[3:] == ("True", False, APP)


@pytest.mark.parametrize("first", [V2, BAD], ids=["good", "bad"])
def test_deleting_the_canary_takes_everything_back(first: Version) -> None:
    for number in points(first):
        cluster = interrupted(first, lambda cluster: cluster.delete_canary(), number).run()
        assert cluster.canary is None, number
        assert cluster.copies == set()
        assert cluster.target.guard is None
        assert not cluster.target.paused
        assert cluster.target.verdict is None
        assert cluster.promises.order[-1] == "finalizer off"


@pytest.mark.parametrize("how", Loss)
def test_the_loss_of_any_request_while_the_canary_is_deleted_changes_no_outcome(how: Loss) -> None:
    def deleting() -> Cluster:
        cluster = begun(V2).run_until(lambda cluster: cluster.weight == 50)
        cluster.delete_canary()
        return cluster

    for number in range(len(deleting().requests), len(deleting().run().requests)):
        cluster = deleting()
        cluster.lose_request(number, how)
        cluster.run()
        assert cluster.canary is None, number
        assert cluster.copies == set()
        assert cluster.target.guard is None


@pytest.mark.parametrize(("version", "expected"), [(V2, PROMOTED), (BAD, ROLLED_BACK)], ids=["good", "bad"])
def test_suspended_nothing_goes_on_and_resumed_it_ends_as_it_would_have(
    version: Version, expected: tuple[object, ...]
) -> None:
    for number in points(version):
        cluster = interrupted(version, lambda cluster: cluster.set_spec(suspend=True), number)
        cluster.run(3600)
        assert cluster.phase is Phase.SUSPENDED, number
        before = (cluster.weight, cluster.serving, cluster.copies, len(cluster.requests))
        cluster.run(3600)
        assert (cluster.weight, cluster.serving, cluster.copies, len(cluster.requests)) == before, number
        assert cluster.weight <= cluster.status.weight, number
        cluster.set_spec(suspend=False)
        assert end(cluster.run()) == expected, number
        assert cluster.status.suspended_phase is None


def test_a_rollback_that_is_decided_is_done_even_when_suspended() -> None:
    cluster = begun(BAD).run_until(lambda cluster: cluster.phase is Phase.FAILED)
    assert cluster.weight == 10
    cluster.set_spec(suspend=True)
    cluster.run_until(lambda cluster: cluster.weight == 0, seconds=1)


def test_why_it_failed_is_still_said_after_a_suspension() -> None:
    cluster = begun(BAD).run()
    said = cluster.status.condition("Stalled")
    cluster.set_spec(suspend=True)
    cluster.run()
    cluster.set_spec(suspend=False)
    cluster.run()
    assert cluster.phase is Phase.FAILED
    assert cluster.status.condition("Stalled") == said


def test_the_time_spent_suspended_does_not_count_against_the_deadline() -> None:
    cluster = begun(V2).run_until(lambda cluster: cluster.weight == 10)
    cluster.set_spec(suspend=True)
    cluster.run(100000)
    cluster.set_spec(suspend=False)
    assert end(cluster.run()) == PROMOTED


def test_a_template_that_comes_while_suspended_is_held_and_judged_after() -> None:
    cluster = Cluster().run()
    cluster.set_spec(suspend=True)
    cluster.run()
    cluster.push(V2)
    cluster.run()
    assert cluster.target.paused
    assert cluster.copies == set()
    assert cluster.serving == {V1.name}
    condition = cluster.status.condition("Reconciling")
    assert condition is not None
    assert condition.reason == "Suspended"
    cluster.set_spec(suspend=False)
    assert end(cluster.run()) == PROMOTED


@pytest.mark.parametrize("version", [V2, BAD], ids=["good", "bad"])
def test_a_canary_deleted_at_rest_leaves_the_target_as_it_was(version: Version) -> None:
    cluster = Cluster()
    before = cluster.deployments[APP]
    cluster.run()
    cluster.push(version)
    cluster.run()
    cluster.delete_canary()
    cluster.run()
    after = cluster.deployments[APP]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["spec"] == before["spec"] | {"template": version.template}
    assert cluster.canary is None


def test_a_suspended_canary_can_be_deleted() -> None:
    cluster = begun(V2).run_until(lambda cluster: cluster.weight == 10)
    cluster.set_spec(suspend=True)
    cluster.run(60)
    cluster.delete_canary()
    cluster.run()
    assert cluster.canary is None
    assert cluster.copies == set()


def test_a_canary_without_its_target_can_be_deleted() -> None:
    cluster = begun(V2).run_until(lambda cluster: cluster.weight == 10)
    del cluster.deployments[APP]
    cluster.delete_canary()
    cluster.run()
    assert cluster.canary is None
    assert TWIN not in cluster.deployments


def test_steps_edited_in_mid_rollout_never_let_it_go_astray() -> None:
    """The promises hold, and it ends, whenever the edit comes."""
    for number in points(V2):
        for steps in ([{"weight": 5, "for": "20s"}], [{"weight": weight, "for": "10s"} for weight in (20, 60, 90)]):
            cluster = interrupted(V2, lambda cluster, steps=steps: cluster.set_spec(steps=steps), number)  # type: ignore[misc]
            cluster.run()
            assert cluster.phase in (Phase.SUCCEEDED, Phase.FAILED), (number, steps)
            cluster.assert_nothing_left()
            cluster.assert_quiet()
