"""The bake: nearly all requests for a while, and stable keeps what it takes to compare with."""

from datetime import timedelta

from analysis.verdict import Verdict
from canary.model.status import Phase
from tests.simulation import V1, V2, Cluster
from tests.stories import adopted, assert_at_rest

STEPS = [{"weight": 10, "for": "25s"}, {"weight": 50, "for": "35s", "maxFor": "60s"}]


def baking() -> Cluster:
    cluster = adopted(steps=STEPS, analysis=None, bake="15m")
    cluster.push(V2)
    return cluster.run_until(lambda c: c.weight == 95)


def test_it_is_waited_for_before_the_promotion() -> None:
    cluster = baking()
    begun = cluster.now
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    assert timedelta(minutes=15) <= cluster.now - begun <= timedelta(minutes=15, seconds=10)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_it_is_a_step_of_its_own() -> None:
    cluster = baking()
    assert (cluster.status.step, cluster.status.steps) == (3, 3)


def test_what_turns_bad_in_it_is_found() -> None:
    cluster = baking()
    cluster.run(600)
    cluster.scrapes_fail = Verdict.FAIL
    cluster.run(30)
    assert cluster.phase is Phase.FAILED
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
