"""A pushed commit becomes a canary and is promoted; a bad one is rolled back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import sqrt

import pytest

from e2e.installation import USER
from e2e.lab.load import by_message, summarize
from e2e.rollout import NAMESPACE, Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

FIVE_SIGMA = 5
"""How far a share may be from what was asked, in standard deviations of so many independent draws."""

FIVE_STEPS = [{"weight": weight, "for": "3s"} for weight in (5, 10, 20, 35, 50)]


def test_a_pushed_release_is_promoted_in_steps_and_no_request_fails(
    rollouts: Rollouts, record_property: Callable[[str, object], None]
) -> None:
    rollouts.create(steps=FIVE_STEPS)
    begun = datetime.now(UTC)
    with rollouts.load() as load:
        commit = rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        line = rollouts.lab.kubectl("get", "canary", "podinfo", "-n", NAMESPACE, "--no-headers")
        assert f"→ main@{commit[:7]}" in line
        assert "Progressing" in line
        at_fifty = rollouts.await_status(lambda s: s["canaryWeight"] == 50, 120, "step of 50 %")
        assert at_fifty["progress"] == "5/5"
        load.mark("at 50 %")
        rollouts.await_phase("Promoting", 60)
        load.mark("promoting")
        status = rollouts.await_phase("Succeeded", 90)
    assert status["revision"]["to"] == f"main@sha1:{commit}"
    assert rollouts.serving_tags() == {release.tag}
    rollouts.await_nothing_left()
    assert rollouts.condition("Ready")["status"] == "True"
    summary = load.summary()
    assert summary.failed == 0, str(summary)
    share = summarize(load.between(load.marks["at 50 %"] + 5, load.marks["promoting"])).shares[release.message]
    assert abs(share.percent - 50) < FIVE_SIGMA * 50 / sqrt(share.count / (share.percent / 100)), str(share)
    requests = rollouts.requests(begun)
    record_property("user requests failed in a promotion", f"{summary.failed} of {summary.total}")
    record_property("share of the canary in the step of 50 %", f"{share.percent:.1f} %")
    record_property("held → canary Deployment created", f"{seconds_to_canary(rollouts, begun):.2f} s")
    record_property("API requests of the operator for a promotion in 5 steps", len(requests))
    assert len(requests) <= 40, sorted(f"{r.verb} {r.resource}/{r.subresource}" for r in requests)


def seconds_to_canary(rollouts: Rollouts, begun: datetime) -> float:
    """From Flux's patch of the target to the request that makes the canary's Deployment, by the API server's clock."""
    audit = rollouts.lab.audit(since=begun)
    held = next(entry for entry in audit if entry.impersonator and (entry.verb, entry.name) == ("patch", "podinfo"))
    made = next(entry for entry in audit if entry.user == USER and entry.name == "podinfo-canary")
    return (made.received_at - held.received_at).total_seconds()


def test_a_failing_release_is_rolled_back_and_the_next_good_one_works(
    rollouts: Rollouts, record_property: Callable[[str, object], None]
) -> None:
    rollouts.create()
    stable = rollouts.stable_pods()
    before = rollouts.last
    with rollouts.load() as load:
        rollouts.push(bad := rollouts.failing())
        rollouts.await_trial(bad)
        rollouts.await_phase("Failed", 90)
        stalled = rollouts.condition("Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "RolledBack")
        assert "request-success-rate" in stalled["message"]
        rollouts.await_nothing_left()
        load.mark("gone")
    assert {by_message(record) for record in load.records if record.failed and record.status} <= {"", bad.message}
    canary = [record for record in load.records if by_message(record) == bad.message]
    failed = [record for record in load.records if record.failed]
    assert failed, "the bad release failed no request: nothing was shown"
    record_property("user requests failed in a rollback", f"{len(failed)} of {load.summary().total}")
    assert len(failed) <= 2 * len(canary)
    assert all(record.status == 500 for record in failed)
    assert rollouts.stable_pods() == stable
    assert rollouts.serving_tags() == {before.tag}
    assert rollouts.app.deployment()["spec"]["paused"] is True
    rollouts.push(release := rollouts.good())
    with rollouts.load():
        rollouts.await_trial(release, timeout=90)
        rollouts.await_phase("Succeeded", 120)
    assert rollouts.serving_tags() == {release.tag}


def test_removing_the_canary_gives_the_app_back_with_no_failed_request(rollouts: Rollouts) -> None:
    rollouts.create()
    with rollouts.load() as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_status(lambda s: s["canaryWeight"] == 20, 60, "the first step")
        rollouts.delete()
        rollouts.await_nothing_left()
        rollouts.lab.wait_for(lambda: rollouts.serving_tags() == {release.tag}, 90, "the app to roll by itself")
    deployment = rollouts.app.deployment()
    assert "paused" not in deployment["spec"]
    assert "fluxcanary.dev/guard" not in deployment["metadata"]["labels"]
    fields = rollouts.lab.get("deployment", "podinfo", "-n", NAMESPACE, "--show-managed-fields")
    assert "fluxcanary" not in {entry["manager"] for entry in fields["metadata"]["managedFields"]}
    assert load.summary().failed == 0, str(load.summary())
