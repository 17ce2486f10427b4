"""What webhooks say, and what follows."""

from typing import Any

import pytest

from analysis.verdict import Verdict
from canary.model import reasons
from canary.model.status import Phase
from tests.simulation import BAD, V1, V2, V3, Cluster, Version
from tests.stories import adopted, assert_at_rest, hook, message, told


def hooked(type_: str, answer: Verdict | None, **fields: Any) -> Cluster:
    cluster = adopted(webhooks=[hook("it", type_, **fields)])
    cluster.answer("it", answer)
    cluster.push(V2)
    return cluster


@pytest.mark.parametrize(
    "type_", ["confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout", "event"]
)
def test_where_all_say_yes_a_good_version_goes_through(type_: str) -> None:
    cluster = hooked(type_, Verdict.PASS).run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


@pytest.mark.parametrize(
    ("type_", "weights"), [("confirm-rollout", []), ("pre-rollout", []), ("rollout", [10]), ("confirm-promotion", [50])]
)
@pytest.mark.parametrize("answer", [None, Verdict.ERROR], ids=["not-yet", "no-answer"])
def test_what_says_nothing_is_waited_for(type_: str, weights: list[float], answer: Verdict | None) -> None:
    cluster = hooked(type_, answer)
    cluster.run(400)
    assert cluster.status.under_way
    assert cluster.weight == max(weights, default=0)
    cluster.answer("it", Verdict.PASS)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


@pytest.mark.parametrize("type_", ["confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "rollback"])
def test_silence_is_a_rollback_where_the_user_wants_that(type_: str) -> None:
    cluster = hooked(type_, Verdict.ERROR, onTimeout="rollback").run()
    assert_at_rest(cluster, Phase.FAILED, V1)


@pytest.mark.parametrize("type_", ["confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "rollback"])
def test_silence_is_no_hindrance_where_the_user_wants_that(type_: str) -> None:
    cluster = hooked(type_, Verdict.ERROR, onTimeout="advance").run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


@pytest.mark.parametrize(("type_", "weight"), [("pre-rollout", 0), ("rollout", 10)])
def test_a_no_is_a_failed_check_and_the_last_that_is_allowed_rolls_back(type_: str, weight: float) -> None:
    cluster = hooked(type_, Verdict.FAIL)
    cluster.run_until(lambda c: c.status.failed_checks == 1)
    assert (cluster.weight, cluster.phase) == (weight, Phase.PROGRESSING)
    begun = cluster.now
    cluster.run_until(lambda c: c.phase is Phase.FAILED)
    assert (cluster.now - begun).total_seconds() == pytest.approx(10, abs=5), "the interval, and a scrape"
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
    assert "webhook it says" in message(cluster, "Stalled")


def test_a_no_of_pre_rollout_that_turns_into_a_yes_is_forgiven() -> None:
    cluster = hooked("pre-rollout", Verdict.FAIL)
    cluster.run_until(lambda c: c.status.failed_checks == 1)
    cluster.answer("it", Verdict.PASS)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_pre_rollout_is_asked_when_the_canary_is_ready_and_has_no_traffic() -> None:
    cluster = hooked("pre-rollout", None)
    cluster.run_until(lambda c: bool(c.called))
    assert (cluster.canary_available, cluster.weight) == (1, 0)


def test_rollout_is_asked_again_each_interval() -> None:
    cluster = hooked("rollout", Verdict.PASS)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.called.clear()
    cluster.run_until(lambda c: c.weight == 50)
    assert 2 <= len(cluster.called) <= 4


@pytest.mark.parametrize("when", ["before-the-canary", "with-a-share", "at-a-gate"])
def test_a_yes_of_rollback_rolls_back(when: str) -> None:
    steps = [{"weight": 10, "for": "15s", "gate": "manual"}]
    cluster = adopted(webhooks=[hook("it", "rollback")], steps=steps)
    cluster.answer("it", Verdict.FAIL)
    cluster.push(V2)
    if when == "with-a-share":
        cluster.run_until(lambda c: c.weight == 10)
    elif when == "at-a-gate":
        cluster.run_until(lambda c: c.phase is Phase.WAITING)
    cluster.answer("it", Verdict.PASS)
    cluster.run(30)
    assert cluster.phase is Phase.FAILED
    assert "webhook it asked for it" in message(cluster, "Stalled")


def test_a_no_of_rollback_changes_nothing() -> None:
    assert_at_rest(hooked("rollback", Verdict.FAIL).run(), Phase.SUCCEEDED, V2)


class TestPostRollout:
    @pytest.mark.parametrize(("version", "phase"), [(V2, Phase.SUCCEEDED), (BAD, Phase.FAILED)])
    def test_it_is_told_once_how_it_ended(self, version: Version, phase: Phase) -> None:
        cluster = adopted(webhooks=[hook("it", "post-rollout")])
        cluster.push(version)
        cluster.run()
        cluster.touch_canary()
        cluster.run()
        assert cluster.called == [("it", phase.value)]

    def test_a_no_is_only_reported(self) -> None:
        cluster = hooked("post-rollout", Verdict.FAIL).run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert told(cluster)[-1] == reasons.WEBHOOK_FAILED

    def test_one_that_does_not_answer_does_not_keep_the_next_release(self) -> None:
        cluster = hooked("post-rollout", None).run()
        cluster.push(V3)
        cluster.run()
        assert cluster.serving == {V3.name}
