"""Canary against stable, on real counters of ingress-nginx: what a good release and each kind of bad one come to.

A Canary that says nothing of metrics but how fast to go: Prometheus scrapes each second here, and nobody wants to wait
for minutes. The time for proof is the default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from e2e.lab.load import Load, by_message
from e2e.lab.reference import Release, failing, slow
from e2e.rollout import Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

STEPS = [{"weight": weight, "for": "5s", "maxFor": "2m"} for weight in (10, 50)]
ANALYSIS = {"interval": "2s", "warmUp": "3s"}
RATE = 200
OUTAGE_SECONDS = 60

Record = Callable[[str, object], None]


def compare(rollouts: Rollouts, **spec: object) -> None:
    """A Canary that compares; `spec` may change what it says otherwise."""
    rollouts.create(**{"steps": STEPS, "analysis": ANALYSIS, **spec})  # type: ignore[arg-type]


def checks(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The last verdicts by metric."""
    return {check["name"]: check for check in status["checks"]}


def seconds_on_traffic(status: dict[str, Any]) -> float:
    """From the canary's first share to the verdict."""
    ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
    since = datetime.fromisoformat(status["exposedAt"])
    told = status["evidence"][-1]["until"] if status.get("evidence") else ready["lastTransitionTime"]
    return (datetime.fromisoformat(told) - since).total_seconds()


def told(record: Record, what: str, status: dict[str, Any], load: Load, release: Release) -> None:
    """Print what a release came to."""
    canary = [one for one in load.records if by_message(one) == release.message]
    failed = sum(one.failed for one in load.records)
    record(
        what,
        f"{status['phase']} {seconds_on_traffic(status):.1f} s after its first share; "
        f"{len(canary)} answers by its message, {failed} of {len(load.records)} user requests failed",
    )


def stalled(status: dict[str, Any]) -> dict[str, str]:
    """Why it was rolled back."""
    return next((one for one in status["conditions"] if one["type"] == "Stalled"), {})


def test_a_good_release_is_proven_harmless_step_by_step(rollouts: Rollouts, record_property: Record) -> None:
    compare(rollouts)
    with rollouts.load(RATE) as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        status = rollouts.await_phase("Succeeded", 300)
    assert load.summary().failed == 0, str(load.summary())
    assert [evidence["weight"] for evidence in status["evidence"]] == [10, 50]
    for evidence in status["evidence"]:
        assert [check["verdict"] for check in evidence["checks"]] == ["pass", "pass"]
        errors = evidence["checks"][0]
        assert errors["canary"]["requests"] > 0
        assert float(errors["bound"]) <= (1.0 if evidence["weight"] == 10 else 0.5), "percent more: its proof"
    assert "judge" not in status
    told(record_property, "judged: good", status, load, release)


@pytest.mark.parametrize(
    ("kind", "share", "scrapes"), [("100 % errors", 1.0, 10), ("5 % errors", 0.05, 90)], ids=["outage", "five-percent"]
)
def test_a_release_with_errors_is_rolled_back_for_them(
    rollouts: Rollouts, record_property: Record, kind: str, share: float, scrapes: int
) -> None:
    compare(rollouts)
    with rollouts.load(RATE) as load:
        rollouts.push(release := replace(failing(0, share), tag=rollouts.good().tag, message="spoilt"))
        rollouts.await_trial(release)
        status = rollouts.await_phase("Failed", 240)
    told(record_property, f"judged: {kind}", status, load, release)
    assert stalled(status)["reason"] == "RolledBack"
    assert "request-success-rate" in stalled(status)["message"]
    verdicts = checks(status)
    assert verdicts["request-success-rate"]["verdict"] == "fail"
    assert verdicts["request-duration"]["verdict"] != "fail"
    assert float(verdicts["request-success-rate"]["canary"]["bad"]) >= 40 * share, "percent, of few requests"
    assert seconds_on_traffic(status) <= 5 + scrapes


def test_a_release_twice_as_slow_is_rolled_back_for_its_latency(rollouts: Rollouts, record_property: Record) -> None:
    compare(rollouts)
    with rollouts.load(RATE) as load:
        steady = replace(slow(0, milliseconds=40), tag=rollouts.good().tag, message="40 ms")
        rollouts.push(steady)
        rollouts.await_trial(steady)
        # the release before it was faster: the user takes this one as it is
        rollouts.delete()
        rollouts.lab.wait_for(lambda: rollouts.serving_tags() == {steady.tag}, 90, "the slower one to serve")
        compare(rollouts)
        load.mark("compared")
        rollouts.push(release := replace(slow(0, milliseconds=80), tag=rollouts.good().tag, message="80 ms"))
        rollouts.await_trial(release)
        status = rollouts.await_phase("Failed", 240)
    assert load.summary().failed == 0, str(load.summary())
    told(record_property, "judged: latency x2", status, load, release)
    assert stalled(status)["reason"] == "RolledBack"
    assert "that is slower" in stalled(status)["message"]
    assert checks(status)["request-duration"]["verdict"] == "fail"
    assert checks(status)["request-success-rate"]["verdict"] != "fail"


def test_a_release_that_its_service_does_not_reach_gets_no_share(rollouts: Rollouts, record_property: Record) -> None:
    compare(rollouts, progressDeadlineSeconds=20)
    with rollouts.load(RATE) as load:
        release = replace(rollouts.good(), port_name="web")
        rollouts.push(release)
        rollouts.await_trial(release)
        status = rollouts.await_phase("Failed", 240)
    assert load.summary().failed == 0, str(load.summary())
    assert stalled(status)["reason"] == "ProgressDeadlineExceeded"
    assert "endpoint" in stalled(status)["message"]
    assert status["step"] == 0, "it got no share at all"
    record_property("judged: no endpoints", stalled(status)["message"])


def test_a_dead_prometheus_holds_the_weight_and_the_rollout_goes_on_when_it_is_back(
    rollouts: Rollouts, record_property: Record
) -> None:
    # in time for proof no longer than the outage: what is missing then is only word of the canary
    compare(rollouts, steps=[{**step, "maxFor": "20s"} for step in STEPS])
    with rollouts.load(RATE) as load:
        rollouts.push(rollouts.good())
        rollouts.await_status(lambda s: s["canaryWeight"] == 10, 60, "the first step")
        rollouts.lab.processes["prometheus"].kill()
        ends_at = time.monotonic() + OUTAGE_SECONDS
        try:
            rollouts.await_status(
                lambda s: any(c["reason"] == "MetricProviderFailed" for c in s["conditions"]),
                30,
                "the failure to be told",
            )
            while time.monotonic() < ends_at:
                status = rollouts.status()
                assert (status["canaryWeight"], status["failedChecks"]) == (10, 0)
                time.sleep(1)
        finally:
            rollouts.lab.restart("prometheus")
        back = time.monotonic()
        rollouts.await_status(lambda s: s["canaryWeight"] == 50, 60, "the next step")
        record_property("judged: next step after an outage of Prometheus", f"{time.monotonic() - back:.1f} s")
        rollouts.await_phase("Succeeded", 180)
    assert load.summary().failed == 0, str(load.summary())
