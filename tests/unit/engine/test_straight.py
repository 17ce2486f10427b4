"""Releases that need no judgement."""

from dataclasses import replace

import pytest

from analysis.verdict import Verdict
from canary.model.status import Cause, Phase
from tests.simulation import BAD, V1, V2, V3, Cluster, Version
from tests.stories import adopted, assert_at_rest, hook


def straight(cluster: Cluster) -> bool:
    """Whether what is on trial goes through without a canary."""
    made = cluster.requests.count("apply Deployment")
    cluster.run()
    return cluster.requests.count("apply Deployment") == made


def released(*versions: Version, **spec: object) -> Cluster:
    cluster = adopted(spec)
    for version in versions:
        cluster.push(version)
        cluster.run()
    return cluster


class TestKnownGood:
    def test_what_was_promoted_before_comes_back_at_once(self) -> None:
        cluster = released(V2)
        cluster.push(V1)
        assert straight(cluster)
        assert_at_rest(cluster, Phase.SUCCEEDED, V1)

    def test_what_failed_before_does_not(self) -> None:
        cluster = released(BAD, V2)
        cluster.push(BAD)
        assert not straight(cluster)
        assert_at_rest(cluster, Phase.FAILED, V2)

    @pytest.mark.parametrize(("known", "expected"), [(0, False), (1, False), (2, False), (3, True)])
    def test_as_many_are_known_as_the_user_says(self, known: int, expected: bool) -> None:
        cluster = released(V2, V3, knownGoodRevisions=known)
        cluster.push(V1)
        assert straight(cluster) is expected
        assert_at_rest(cluster, Phase.SUCCEEDED, V1)

    def test_what_the_user_says_now_counts(self) -> None:
        cluster = released(V2)
        cluster.set_spec(knownGoodRevisions=0)
        cluster.push(V1)
        assert not straight(cluster)

    def test_a_combination_that_never_served_together_is_judged(self) -> None:
        cluster = adopted(targets=2)
        cluster.push(V2, backend=V2)
        cluster.run()
        cluster.push(V1)
        assert not straight(cluster)
        assert_at_rest(cluster, Phase.SUCCEEDED, V1, V2)

    def test_a_whole_combination_comes_back(self) -> None:
        cluster = adopted(targets=2)
        cluster.push(V2, backend=V2)
        cluster.run()
        cluster.push(V1, backend=V1)
        assert straight(cluster)
        assert_at_rest(cluster, Phase.SUCCEEDED, V1, V1)

    def test_a_closed_gate_is_waited_for(self) -> None:
        cluster = released(V2, webhooks=[hook("gate", "confirm-promotion")])
        cluster.answer("gate", Verdict.FAIL)
        cluster.push(V1)
        cluster.run()
        assert (cluster.phase, cluster.serving) == (Phase.WAITING, {V2.name})
        cluster.answer("gate", Verdict.PASS)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V1)


class TestSkipAnalysisFor:
    RESTARTED = replace(V1, restarted="2026-01-02")

    def test_a_restart_needs_no_canary(self) -> None:
        cluster = adopted()
        cluster.push(self.RESTARTED)
        cluster.run_until(lambda c: c.status.straight is Cause.NO_CANARY_NEEDED)
        assert straight(cluster)
        assert cluster.phase is Phase.SUCCEEDED

    def test_a_restart_and_another_image_does(self) -> None:
        cluster = adopted()
        cluster.push(replace(V2, restarted="2026-01-02"))
        assert not straight(cluster)

    @pytest.mark.parametrize(("pointers", "expected"), [([], False), (["/spec/containers/0/envFrom"], True)])
    def test_what_the_user_names_does_not_either(self, pointers: list[str], expected: bool) -> None:
        cluster = adopted(skipAnalysisFor=pointers)
        cluster.push(replace(V1, config_map="settings"))
        assert straight(cluster) is expected
        assert cluster.phase is Phase.SUCCEEDED

    def test_in_mid_rollout_a_restart_of_the_canarys_version_is_judged(self) -> None:
        cluster = adopted()
        cluster.push(BAD)
        cluster.run_until(lambda c: c.weight == 10)
        cluster.push(replace(BAD, restarted="2026-01-02"))
        cluster.run()
        assert (cluster.phase, cluster.serving) == (Phase.FAILED, {V1.name})


def test_a_restart_in_between_does_not_make_a_known_release_unknown() -> None:
    """`kubectl rollout restart` leaves its mark in every later template: Flux does not own it."""
    cluster = adopted()
    cluster.push(V2)
    cluster.run()
    cluster.push(replace(V1, restarted="2026-01-02"))
    cluster.run_until(lambda c: c.status.straight is Cause.KNOWN_GOOD)
    assert straight(cluster)
