"""Gates and commands: what humans and their hooks decide, on real parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.lab.hooks import Hooks
from e2e.lab.load import by_message
from e2e.rollout import NAMESPACE, Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(400)]

GATED: list[dict[str, Any]] = [{"weight": 20, "for": "3s", "gate": "manual"}, {"weight": 50, "for": "3s"}]


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as running:
        yield running


def webhooks(hooks: Hooks, *types: str) -> list[dict[str, Any]]:
    """One webhook of each type, named after it."""
    return [
        {"name": type_, "type": type_, "url": hooks.url(f"/{type_}"), "metadata": {"type": type_}} for type_ in types
    ]


def test_a_rollout_passes_every_gate_in_turn(rollouts: Rollouts, hooks: Hooks) -> None:
    """Flagger's hooks around a manual gate: no, then yes; and what each was told."""
    hooks.answers = {"/confirm-rollout": 403, "/confirm-promotion": 403, "/rollback": 403}
    types = ("confirm-rollout", "pre-rollout", "rollout", "rollback", "confirm-promotion", "post-rollout", "event")
    rollouts.create(steps=GATED, webhooks=webhooks(hooks, *types))
    with rollouts.load() as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_phase("Waiting", 30)
        assert rollouts.condition("Reconciling")["reason"] == "WebhookGate"
        assert not rollouts.leftovers(), "the canary was made before the rollout was confirmed"
        hooks.answers["/confirm-rollout"] = 200
        rollouts.await_status(lambda s: s["canaryWeight"] == 20, 60, "the first step")
        rollouts.await_status(lambda s: reason(s) == "ManualGate", 60, "the manual gate")
        assert hooks.to("/pre-rollout"), "users came before the load test"
        token = rollouts.command("advance")
        rollouts.await_status(lambda s: s["canaryWeight"] == 50, 30, "the next step")
        assert rollouts.status()["handled"] == {"advance": token}
        rollouts.await_status(lambda s: reason(s) == "WebhookGate", 60, "the gate before the promotion")
        assert len(rollouts.serving_tags()) == 1
        assert rollouts.serving_tags() != {release.tag}
        hooks.answers["/confirm-promotion"] = 200
        rollouts.await_phase("Succeeded", 90)
    assert load.summary().failed == 0
    hooks.await_request("/post-rollout", 30)
    last = hooks.to("/rollout")[0].body
    assert (last["name"], last["namespace"]) == ("podinfo", NAMESPACE)
    assert last.keys() == {"name", "namespace", "phase", "checksum", "metadata"}
    assert (last["phase"], last["checksum"]) == ("Progressing", rollouts.status()["template"])
    assert last["metadata"] == {"type": "rollout"}
    assert hooks.to("/post-rollout")[0].body["phase"] == "Succeeded"
    said = [request.body["metadata"] for request in hooks.to("/event")]
    assert {"eventMessage", "eventType", "timestamp"} <= said[0].keys()
    assert any("was promoted" in one["eventMessage"] for one in said)


def test_a_webhook_rolls_back(rollouts: Rollouts, hooks: Hooks) -> None:
    hooks.answers["/rollback"] = 403
    before = rollouts.last
    rollouts.create(webhooks=webhooks(hooks, "rollback"))
    with rollouts.load() as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_status(lambda s: s["canaryWeight"] == 20, 60, "the first step")
        hooks.answers["/rollback"] = 200
        rollouts.await_phase("Failed", 30)
        rollouts.await_nothing_left()
    assert "webhook rollback" in rollouts.condition("Stalled")["message"]
    assert rollouts.serving_tags() == {before.tag}
    assert load.summary().failed == 0


def test_a_human_has_every_say(rollouts: Rollouts) -> None:
    """Paused, it holds its share, also when the Canary is applied again; aborted, it is gone; retried, promoted."""
    steps = [{"weight": 20, "for": "10s"}, {"weight": 50, "for": "60s"}]
    rollouts.create(steps=steps)
    with rollouts.load() as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_status(lambda s: s["canaryWeight"] == 20, 60, "the first step")
        rollouts.command("pause")
        rollouts.await_status(lambda s: reason(s) == "Paused", 60, "the pause")
        rollouts.apply(steps=steps)
        time.sleep(5)
        assert (rollouts.status()["canaryWeight"], reason(rollouts.status())) == (20, "Paused")
        rollouts.command("abort")
        rollouts.await_phase("Failed", 30)
        assert rollouts.condition("Stalled")["reason"] == "Aborted"
        rollouts.await_nothing_left()
        rollouts.command("resume")
        rollouts.command("retry")
        rollouts.await_status(lambda s: s["canaryWeight"] == 20, 60, "the first step once more")
        rollouts.command("promote")
        status = rollouts.await_phase("Succeeded", 90)
    assert status["straightThrough"] == "PromoteCommand"
    assert rollouts.serving_tags() == {release.tag}
    assert load.summary().failed == 0


def test_what_was_promoted_before_and_what_is_only_restarted_goes_straight_through(rollouts: Rollouts) -> None:
    rollouts.create()
    first = rollouts.last
    with rollouts.load() as load:
        rollouts.push(second := rollouts.good())
        rollouts.await_trial(second)
        rollouts.await_phase("Succeeded", 120)
        pods = rollouts.stable_pods()
        rollouts.lab.kubectl("rollout", "restart", "deployment/podinfo", "-n", NAMESPACE, "--field-manager=human")
        rollouts.await_status(lambda s: s.get("straightThrough") == "NoCanaryNeeded", 30, "the restart")
        rollouts.await_phase("Succeeded", 90)
        rollouts.lab.wait_for(lambda: not pods.keys() & rollouts.stable_pods().keys(), 60, "the old pods to be gone")
        rollouts.push(first)
        rollouts.await_status(lambda s: s.get("straightThrough") == "KnownGood", 60, "the known good release")
        rollouts.await_phase("Succeeded", 90)
    assert rollouts.serving_tags() == {first.tag}
    assert load.summary().failed == 0


def test_testers_go_first_by_a_header(rollouts: Rollouts) -> None:
    """A step of testers alone: who sends the header gets the canary, and nobody else does."""
    testers = {"match": [{"headers": {"x-tester": {"exact": "yes"}}}], "for": "8s", "gate": "manual"}
    rollouts.create(steps=[testers, {"weight": 50, "for": "3s"}])
    with rollouts.load(50) as users, rollouts.load(20, headers={"X-Tester": "yes"}) as team:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_status(lambda s: reason(s) == "ManualGate", 90, "the testers' gate")
        begun = time.time()
        time.sleep(3)
        at_gate = (begun, time.time())
        assert {by_message(record) for record in users.between(*at_gate)}.isdisjoint({release.message})
        assert {by_message(record) for record in team.between(*at_gate)} == {release.message}
        rollouts.command("advance")
        rollouts.await_phase("Succeeded", 120)
    assert users.summary().failed + team.summary().failed == 0


def reason(status: dict[str, Any]) -> str:
    """Why a rollout is where it is."""
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    return next((str(c["reason"]) for c in conditions if c["type"] == "Reconciling"), "")
