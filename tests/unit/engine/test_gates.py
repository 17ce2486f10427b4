"""What keeps a rollout from starting or going on, besides the evidence."""

from datetime import timedelta
from typing import Any

import pytest

from analysis.verdict import Verdict
from canary.model import reasons
from canary.model.status import Phase
from tests.manifests import START
from tests.simulation import BAD, V1, V2, Cluster
from tests.stories import adopted, assert_at_rest, hook

STEPS = [{"weight": 10, "for": "15s", "gate": "manual"}, {"weight": 50, "for": "15s"}]
ALERT = {"freeze": {"alerts": [{"name": "Paging"}]}}
FROZEN_5_TO_6 = {"freeze": {"windows": [{"schedule": "0 5 * * *", "duration": "1h"}]}}
"""The cluster is at rest at 05:04."""

GATES: dict[str, tuple[dict[str, Any], str]] = {
    "manual": ({"steps": STEPS}, reasons.MANUAL_GATE),
    "confirm-rollout": ({"webhooks": [hook("gate", "confirm-rollout")]}, reasons.WEBHOOK_GATE),
    "confirm-promotion": ({"webhooks": [hook("gate", "confirm-promotion")]}, reasons.WEBHOOK_GATE),
    "alert": (ALERT, reasons.ALERT_FIRES),
}


def closed(gate: str) -> Cluster:
    spec, reason = GATES[gate]
    cluster = adopted(spec)
    cluster.answer("gate", Verdict.FAIL)
    cluster.fire(1)
    cluster.push(V2)
    return cluster.run_until(lambda c: c.phase is Phase.WAITING and c.reason("Reconciling") == reason)


def opened(cluster: Cluster) -> Cluster:
    cluster.answer("gate", Verdict.PASS)
    cluster.fire(0)
    cluster.command("advance")
    return cluster


@pytest.mark.parametrize("gate", GATES)
def test_no_deadline_passes_while_it_is_closed_and_opened_it_goes_on(gate: str) -> None:
    cluster = closed(gate)
    weight = cluster.weight
    cluster.run(4000)
    assert (cluster.phase, cluster.weight) == (Phase.WAITING, weight)
    opened(cluster).run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


@pytest.mark.parametrize("gate", ["manual", "confirm-promotion"])
def test_the_canary_is_judged_while_it_waits(gate: str) -> None:
    cluster = closed(gate)
    cluster.run(60)
    cluster.scrapes_fail = BAD.verdict
    cluster.run(60)
    assert cluster.phase is Phase.FAILED
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)


@pytest.mark.parametrize("gate", ["confirm-rollout", "alert"])
def test_nothing_is_made_before_the_first_gates_are_open(gate: str) -> None:
    cluster = closed(gate)
    assert cluster.copies == set()


def test_a_manual_gate_is_left_once() -> None:
    steps = [{"weight": weight, "for": "15s", "gate": "manual"} for weight in (10, 50)]
    cluster = adopted(steps=steps)
    cluster.push(V2)
    for weight in (10, 50):
        cluster.run_until(lambda c, weight=weight: c.phase is Phase.WAITING and c.weight == weight)  # type: ignore[misc]
        cluster.run(600)
        assert cluster.weight == weight
        cluster.command("advance")
        cluster.run(1)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_the_deadline_counts_again_from_where_the_gate_opened() -> None:
    cluster = closed("confirm-rollout")
    cluster.run(4000)
    cluster.set_readiness(canary=False)
    cluster.answer("gate", Verdict.PASS)
    cluster.run_until(lambda c: bool(c.copies))
    begun = cluster.now
    cluster.run_until(lambda c: c.phase is Phase.FAILED)
    assert cluster.now - begun >= timedelta(minutes=10)


def test_a_freeze_window_closes_by_the_clock() -> None:
    cluster = adopted(FROZEN_5_TO_6)
    assert cluster.now == START + timedelta(hours=2)
    cluster.push(V2)
    cluster.run(600)
    assert (cluster.phase, cluster.reason("Reconciling")) == (Phase.WAITING, reasons.FROZEN)
    cluster.run_until(lambda c: bool(c.copies))
    assert cluster.now.strftime("%H:%M:%S") == "06:00:00"
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_a_window_that_opens_in_mid_rollout_keeps_the_share_where_it_is() -> None:
    cluster = adopted({"freeze": {"windows": [{"schedule": "5 5 * * *", "duration": "1h"}]}})
    cluster.push(V2)
    cluster.run_until(lambda c: c.reason("Reconciling") == reasons.FROZEN)
    weight = cluster.weight
    assert weight in (10, 50)
    cluster.run(3000)
    assert cluster.weight == weight
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_an_alert_that_fires_in_mid_rollout_keeps_the_share_where_it_is() -> None:
    cluster = adopted(ALERT)
    cluster.push(V2)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.fire(2)
    cluster.run(3600)
    assert (cluster.phase, cluster.weight) == (Phase.WAITING, 10)
    cluster.fire(0)
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


def test_a_rollback_waits_for_no_gate() -> None:
    cluster = adopted(ALERT)
    cluster.push(BAD)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.fire(1)
    cluster.run_until(lambda c: c.weight == 0, seconds=60)
    assert cluster.phase is Phase.FAILED


def test_while_it_waits_a_target_that_goes_back_ends_it() -> None:
    cluster = closed("manual")
    cluster.push(V1)
    cluster.run()
    assert_at_rest(cluster, Phase.INITIALIZED, V1)
