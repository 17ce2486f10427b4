"""Release sets: two Deployments of one Kustomization, one barrier per step, one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.conftest import restore
from e2e.lab.reference import BACKEND_HOSTS, never_ready
from e2e.rollout import NAMESPACE, Rollouts
from e2e.sights import share
from e2e.witness import Witness

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(400)]

BOTH = [{"name": "podinfo"}, {"name": "backend"}]
HOST = BACKEND_HOSTS[NAMESPACE]


@pytest.fixture
def watched(installed: Rollouts) -> Iterator[tuple[Rollouts, Witness]]:
    """Both apps with no Canary yet, and a witness of both."""
    with Witness(installed.lab, NAMESPACE, targets=("podinfo", "backend")) as witness:
        yield installed, witness
        restore(installed)
        witness.nothing_left()


def shares_apart(witness: Witness) -> list[float]:
    """For how many seconds each two routes of the set carried different shares, change by change."""
    routes = [name for name in witness.sights.names("Ingress") if name.endswith("-canary")]
    assert len(routes) == 2, routes
    one, other = ([(sight.at, share(sight.obj)) for sight in witness.history("Ingress", name)] for name in routes)
    assert [carried for _, carried in one] == [carried for _, carried in other]
    return [abs(mine - theirs) for (mine, _), (theirs, _) in zip(one, other, strict=True)]


@pytest.mark.parametrize("spec", [{"targets": BOTH}, {"scope": "Release"}], ids=["targets", "release"])
def test_two_deployments_of_one_commit_go_through_together(
    watched: tuple[Rollouts, Witness], spec: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    rollouts, witness = watched
    rollouts.create(**spec)
    release = rollouts.good()
    with rollouts.load(50) as load, rollouts.load(50, host=HOST) as backend_load:
        rollouts.push(release, backend=release)
        rollouts.await_status(lambda s: len(s.get("targets") or ()) == 2, 90, "both on trial")
        status = rollouts.await_phase("Succeeded", 150)
    assert {row["name"] for row in status["targets"]} == {"podinfo", "backend"}
    assert (rollouts.serving_tags(), rollouts.serving_tags("backend")) == ({release.tag}, {release.tag})
    failed = load.summary().failed + backend_load.summary().failed
    total = load.summary().total + backend_load.summary().total
    record_property("user requests failed in a promotion of two Deployments", f"{failed} of {total}")
    apart = max(shares_apart(witness))
    record_property("routes of one set carried different shares for at most", f"{1000 * apart:.0f} ms")
    assert failed == 0
    assert apart < 1


def test_one_that_never_becomes_ready_fails_both_and_is_named(watched: tuple[Rollouts, Witness]) -> None:
    rollouts, _ = watched
    rollouts.create(targets=BOTH, progressDeadlineSeconds=20)
    before = rollouts.stable_pods()
    release, better = rollouts.good(), rollouts.good()
    number = int(release.tag.rpartition(".")[2])
    with rollouts.load(50) as load, rollouts.load(50, host=HOST) as backend_load:
        rollouts.push(release, backend=never_ready(number))
        rollouts.await_phase("Failed", 120)
    assert "Deployment backend-canary: 0 of 1 pods are available" in rollouts.condition("Stalled")["message"]
    assert rollouts.stable_pods() == before
    assert load.summary().failed + backend_load.summary().failed == 0
    with rollouts.load(50), rollouts.load(50, host=HOST):
        rollouts.push(better, backend=better)
        rollouts.await_phase("Succeeded", 200)
    assert (rollouts.serving_tags(), rollouts.serving_tags("backend")) == ({better.tag}, {better.tag})
