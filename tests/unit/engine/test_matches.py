"""Steps with a match: testers first."""

from canary.model.share import Header, Match, Share
from canary.model.status import Phase
from tests.manifests import APP
from tests.promises import TWIN
from tests.simulation import BAD, V1, V2, V3, Cluster
from tests.stories import adopted, assert_at_rest

TESTERS = [{"headers": {"X-Tester": {"exact": "yes"}}}]
SHARE = Share(0, Match(Header("X-Tester", exact="yes")))
STEPS = [
    {"match": TESTERS, "for": "15s"},
    {"match": TESTERS, "weight": 10, "for": "15s"},
    {"weight": 10, "for": "15s"},
]


def with_testers(cluster: Cluster) -> Cluster:
    cluster.push(V2)
    return cluster.run_until(lambda c: c.shares.get(TWIN) == SHARE)


def test_testers_come_first_then_testers_and_others_then_others_alone() -> None:
    cluster = with_testers(adopted(steps=STEPS))
    assert cluster.weight == 0
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)
    words = ("header", "weight")
    assert [line for line in cluster.promises.order if line.startswith(words)] == [
        "header X-Tester=yes",
        "header X-Tester=yes, weight 10 %",
        "weight 10",
        "weight 0",
    ]


def test_what_fails_for_testers_reaches_nobody_else() -> None:
    cluster = adopted(steps=STEPS)
    cluster.push(BAD)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
    assert not [line for line in cluster.promises.order if "weight 10" in line]


def test_nobody_gets_a_canary_that_is_not_ready_though_the_weight_is_0() -> None:
    cluster = adopted(steps=STEPS)
    cluster.set_readiness(canary=False)
    cluster.push(V2)
    cluster.run(60)
    assert cluster.shares == {}


def test_a_newer_template_takes_the_testers_share_away_before_the_canary_is_replaced() -> None:
    cluster = with_testers(adopted(steps=STEPS))
    cluster.push(V3)
    cluster.run_until(lambda c: not any(c.shares.values()))
    assert cluster.canary_version == V2
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V3)


def test_no_object_goes_while_testers_may_arrive() -> None:
    """S7: the promises look at each deletion."""
    cluster = with_testers(adopted(steps=STEPS))
    cluster.command("abort")
    cluster.run_until(lambda c: not any(c.shares.values()))
    assert "Deployment" in cluster.copies
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)


def test_edited_matches_begin_anew() -> None:
    cluster = with_testers(adopted(steps=STEPS))
    cluster.set_spec(steps=[{"match": [{"headers": {"X-Other": {"exact": "yes"}}}], "for": "15s"}])
    cluster.run_until(lambda c: not any(c.shares.values()))
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)
    assert cluster.target.guard == APP
