"""Templates are held with the operator down, by whomever they come; a killed operator goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from e2e.installation import NAMESPACE as OPERATOR_NAMESPACE
from e2e.installation import kill_operator, operator_log, scale_operator
from e2e.lab.load import by_message
from e2e.rollout import NAMESPACE, Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]


def test_a_push_is_held_while_the_operator_is_down_and_goes_on_when_it_is_back(rollouts: Rollouts) -> None:
    rollouts.create()
    before = rollouts.stable_pods()
    scale_operator(rollouts.lab, 0)
    rollouts.push(release := rollouts.good())
    rollouts.held_template(release, 60)
    assert rollouts.app.deployment()["spec"]["paused"] is True
    rollouts.lab.kubectl("rollout", "resume", "deployment/podinfo", "-n", NAMESPACE)
    assert rollouts.app.deployment()["spec"]["paused"] is True, "a human got past the guard"
    assert rollouts.stable_pods() == before
    scale_operator(rollouts.lab, 1)
    with rollouts.load() as load:
        rollouts.await_phase("Succeeded", 150)
    assert rollouts.serving_tags() == {release.tag}
    assert load.summary().failed == 0, str(load.summary())


def test_a_killed_operator_goes_on_in_the_middle_of_a_step_and_no_request_is_lost_to_the_judge(
    rollouts: Rollouts,
) -> None:
    steps = [{"weight": 20, "for": "3s", "maxFor": "20s"}, {"weight": 50, "for": "40s"}]
    rollouts.create(steps=steps, analysis={"warmUp": "3s"})
    with rollouts.load() as load:
        rollouts.push(release := rollouts.good())
        rollouts.await_trial(release)
        rollouts.await_status(lambda s: s["canaryWeight"] == 50, 90, "the second step")
        load.mark("second step")
        started = rollouts.status()["startedAt"]
        kill_and_await_successor(rollouts)
        rollouts.await_phase("Promoting", 150)
        load.mark("judged")
        status = rollouts.await_phase("Succeeded", 150)
    assert status["startedAt"] == started, "the rollout was begun anew"
    assert rollouts.serving_tags() == {release.tag}
    assert load.summary().failed == 0, str(load.summary())
    judged = status["evidence"][-1]["checks"][0]["canary"]["requests"]
    sent = sum(
        by_message(one) == release.message for one in load.between(load.marks["second step"], load.marks["judged"])
    )
    assert abs(judged - sent) < 0.1 * sent, f"{sent} were answered by the canary, {judged} were judged"


def kill_and_await_successor(rollouts: Rollouts) -> None:
    """SIGKILL; the kubelet starts the container again, and the Lease of the dead one has to run out."""
    holder, released = lease_holder(rollouts), operator_log(rollouts.lab).count("lease released")
    kill_operator(rollouts.lab)
    rollouts.lab.wait_for(lambda: lease_holder(rollouts) not in ("", holder), 60, "another operator to lead")
    assert operator_log(rollouts.lab).count("lease released") == released, "it was not killed"


def lease_holder(rollouts: Rollouts) -> str:
    """Who leads."""
    path = "-o=jsonpath={.spec.holderIdentity}"
    return rollouts.lab.kubectl("get", "lease", "fluxcanary", "-n", OPERATOR_NAMESPACE, path)


def test_an_idle_canary_costs_no_request(rollouts: Rollouts, record_property: Callable[[str, object], None]) -> None:
    rollouts.create()
    time.sleep(5)  # its own last write comes back through the watch
    since = datetime.now(UTC)
    time.sleep(60)
    requests = [entry for entry in rollouts.requests(since) if entry.namespace or entry.verb != "list"]
    record_property("API requests for an idle Canary in 60 s", len(requests))
    assert requests == [], "the sweep, which lists whole kinds now and then whatever there is, is not counted"
