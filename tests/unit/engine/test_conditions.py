"""Conditions, as kstatus and Flux read them.

https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md: Reconciling and Stalled are
abnormal-true, there only while they are true; `observedGeneration` tells whether any of it is about the present spec.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from canary.engine import conditions
from canary.engine.world import Finding, World
from canary.model import reasons
from canary.model.status import Condition, Phase, Status
from tests.manifests import CANARY, START, world
from tests.simulation import BAD, V2, Cluster

WHY = Finding("Because", "for this reason")
EARLIER = START - timedelta(hours=1)

Say = Callable[[World, Status, Finding], Status]
SAYINGS: list[tuple[Say, dict[str, str]]] = [
    (conditions.ready, {"Ready": "True", "Guarded": "True"}),
    (conditions.reconciling, {"Ready": "Unknown", "Reconciling": "True", "Guarded": "True"}),
    (conditions.stalled, {"Ready": "False", "Stalled": "True", "Guarded": "True"}),
]


def said(status: Status) -> dict[str, str]:
    return {condition.type: condition.status for condition in status.conditions}


def kstatus(status: Status) -> str:
    """The verdict of kstatus, for an object whose observedGeneration is its generation."""
    found = said(status)
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found.get("Ready") == "True" else "InProgress"


@pytest.mark.parametrize(("say", "expected"), SAYINGS)
@pytest.mark.parametrize("before", [say for say, _ in SAYINGS])
def test_reconciling_and_stalled_are_there_only_while_true(say: Say, before: Say, expected: dict[str, str]) -> None:
    old = before(world(), Status(), Finding("Before", "was so"))
    assert said(say(world(status=old), old, WHY)) == expected


@pytest.mark.parametrize(("say", "expected"), SAYINGS)
def test_all_but_the_guard_say_why(say: Say, expected: dict[str, str]) -> None:
    status = say(world(), Status(), WHY)
    for condition in status.conditions:
        if condition.type != "Guarded":
            assert (condition.reason, condition.message) == ("Because", "for this reason")


@pytest.mark.parametrize("say", [say for say, _ in SAYINGS])
def test_they_speak_of_the_generation_that_was_looked_at(say: Say) -> None:
    status = say(world(canary=replace(CANARY, generation=7)), Status(observed_generation=6), WHY)
    assert status.observed_generation == 7


def test_the_time_is_when_it_became_so_not_when_it_was_said_again() -> None:
    old = Status(
        conditions=(
            Condition("Ready", "Unknown", "Before", "was so", EARLIER),
            Condition("Guarded", "True", reasons.GUARD_INSTALLED, "holds", EARLIER),
        )
    )
    again = conditions.reconciling(world(status=old), old, WHY)
    assert {c.type: c.since for c in again.conditions} == {"Ready": EARLIER, "Reconciling": START, "Guarded": EARLIER}
    turned = conditions.ready(world(status=old), old, WHY)
    assert {c.type: c.since for c in turned.conditions} == {"Ready": START, "Guarded": EARLIER}


def test_unchanged_keeps_what_was_said_and_looks_at_the_guard_again() -> None:
    old = conditions.stalled(world(now=EARLIER), Status(), WHY)
    same = conditions.unchanged(world(status=old), old)
    assert same == old
    missing = Finding(reasons.GUARD_MISSING, "no policy")
    without = conditions.unchanged(world(status=old, guard=missing), old)
    guarded = without.condition("Guarded")
    assert guarded == Condition("Guarded", "False", reasons.GUARD_MISSING, "no policy", START)
    assert without.condition("Stalled") == old.condition("Stalled")


def test_a_canary_without_a_guard_is_never_ready() -> None:
    missing = Finding(reasons.GUARD_MISSING, "no policy")
    status = conditions.ready(world(guard=missing), Status(), WHY)
    assert said(status) == {"Ready": "False", "Stalled": "True", "Guarded": "False"}
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.message == "no policy"


def test_kstatus_reads_every_state_of_a_good_rollout_as_meant() -> None:
    read: list[tuple[Phase | None, str]] = []
    cluster = Cluster().run()
    cluster.push(V2)
    while cluster.phase is not Phase.SUCCEEDED:
        cluster.run_until(lambda c: (c.phase, kstatus(c.status)) not in read[-1:])
        read.append((cluster.phase, kstatus(cluster.status)))
    assert read == [
        (Phase.INITIALIZED, "Current"),
        (Phase.PROGRESSING, "InProgress"),
        (Phase.PROMOTING, "InProgress"),
        (Phase.SUCCEEDED, "Current"),
    ]


def test_kstatus_reads_a_rolled_back_canary_as_failed() -> None:
    cluster = Cluster().run()
    cluster.push(BAD)
    cluster.run()
    assert kstatus(cluster.status) == "Failed"


def test_an_edit_of_the_spec_at_rest_is_acknowledged_and_keeps_what_was_said() -> None:
    cluster = Cluster().run()
    ready = cluster.status.condition("Ready")
    cluster.set_spec(progressDeadlineSeconds=900)
    cluster.run()
    assert cluster.status.observed_generation == 2
    assert cluster.status.condition("Ready") == ready
    cluster.assert_quiet()
