"""Canaries that cannot start: rolled back at once, with the reason, and no user notices."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import yaml

from e2e.lab.reference import (
    Release,
    crashing,
    good,
    out_of_memory,
    unschedulable,
    without_config,
    without_image,
)
from e2e.rollout import NAMESPACE, Rollouts

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(600)]

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "full", "namespace": NAMESPACE},
    "spec": {"hard": {"pods": "1"}},
}
CAUSES: list[tuple[str, Callable[[int], Release]]] = [
    ("ImagePullFailed", without_image),
    ("CrashLoop", crashing),
    ("OutOfMemory", out_of_memory),
    ("Unschedulable", unschedulable),
    ("ContainerConfigInvalid", without_config),
    ("QuotaExceeded", good),
]


def test_pods_that_cannot_start_fail_the_rollout_at_once(
    rollouts: Rollouts, record_property: Callable[[str, object], None]
) -> None:
    rollouts.create()
    before = rollouts.stable_pods()
    with rollouts.load(50) as load:
        for reason, make in CAUSES:
            if reason == "QuotaExceeded":
                rollouts.lab.apply(yaml.safe_dump(QUOTA))
            release = make(int(rollouts.good().tag.rpartition(".")[2]))
            rollouts.push(release)
            rollouts.await_trial(release, 90)
            begun = time.monotonic()
            rollouts.await_status(lambda s: s["phase"] == "Failed", 60, f"failure for {reason}")
            record_property(f"held → rolled back for {reason}", f"{time.monotonic() - begun:.1f} s")
            assert rollouts.condition("Stalled")["reason"] == reason, rollouts.condition("Stalled")
            assert "podinfo-canary" in rollouts.condition("Stalled")["message"]
        rollouts.lab.kubectl("delete", "resourcequota", "full", "-n", NAMESPACE)
    assert load.summary().failed == 0
    assert rollouts.stable_pods() == before
    rollouts.push(release := rollouts.good())
    rollouts.await_trial(release, 90)
    with rollouts.load(50):
        rollouts.await_phase("Succeeded", 150)
    assert rollouts.serving_tags() == {release.tag}
