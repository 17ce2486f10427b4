"""What must be true before a Canary can do anything."""

from dataclasses import replace
from typing import Any

import pytest

from canary.engine.checks import CHAIN, first_problem
from canary.engine.world import Finding, Member, World
from canary.model import reasons
from canary.model.spec import Target
from canary.model.traffic import Traffic
from canary.model.workload import Workload
from tests.manifests import GONE, OLDER, deployment, world

SPEC = Finding(reasons.INVALID_SPEC, "spec.steps: no")
NOT_FOUND = Finding(reasons.NO_SERVICE, "no Service")
QUERIES = Finding(reasons.METRIC_TEMPLATE_NOT_FOUND, "spec.analysis.metrics[0].templateRef: no")
WEBHOOK = Finding(reasons.WEBHOOK_REFUSED, "spec.webhooks[0].url: no")
REFUSED = Finding(reasons.ACTION_REFUSED, "the API server said no")


def test_nothing_is_wrong_where_nothing_is_wrong() -> None:
    assert first_problem(world()) is None


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (world(spec=SPEC), reasons.INVALID_SPEC),
        (world(rival=OLDER), reasons.TARGET_IN_USE),
        (world(members=(GONE,)), reasons.TARGET_NOT_FOUND),
        (world(target=Workload(deployment(metadata={"deletionTimestamp": "2026"}))), reasons.TARGET_NOT_FOUND),
        (world(traffic=NOT_FOUND), reasons.NO_SERVICE),
        (world(queries=QUERIES), reasons.METRIC_TEMPLATE_NOT_FOUND),
        (world(webhooks=WEBHOOK), reasons.WEBHOOK_REFUSED),
        (world(refused=REFUSED), reasons.ACTION_REFUSED),
    ],
    ids=["spec", "rival", "no-target", "target-on-its-way-out", "traffic", "queries", "webhook", "refused"],
)
def test_a_problem_is_found(broken: World, reason: str) -> None:
    problem = first_problem(broken)
    assert problem is not None
    assert problem.reason == reason


def test_what_a_user_would_mend_first_is_said_first() -> None:
    gone, unrouted = replace(GONE, traffic=NOT_FOUND), world(traffic=NOT_FOUND).members
    problems: dict[str, Any] = {"spec": SPEC, "rival": OLDER, "queries": QUERIES, "webhooks": WEBHOOK}
    everything = world(members=(gone,), refused=REFUSED, **problems)
    found = []
    fields = ["spec", "rival", "members", "members", "queries", "webhooks", "refused"]
    steps = iter([unrouted, world().members])
    for field in fields:
        problem = first_problem(everything)
        assert problem is not None
        found.append(problem.reason)
        mended: Any = next(steps) if field == "members" else getattr(world(), field)
        everything = replace(everything, **{field: mended})
    assert first_problem(everything) is None
    assert found == [
        reasons.INVALID_SPEC,
        reasons.TARGET_IN_USE,
        reasons.TARGET_NOT_FOUND,
        reasons.NO_SERVICE,
        reasons.METRIC_TEMPLATE_NOT_FOUND,
        reasons.WEBHOOK_REFUSED,
        reasons.ACTION_REFUSED,
    ]
    assert len(found) == len(CHAIN)


def test_a_problem_with_a_field_begins_with_its_path() -> None:
    for broken in (world(rival=OLDER), world(members=(GONE,))):
        problem = first_problem(broken)
        assert problem is not None
        assert problem.message.startswith("spec.targets[0].name: ")


def test_a_rival_is_named() -> None:
    problem = first_problem(world(rival=OLDER))
    assert problem is not None
    assert "older" in problem.message


BACKEND = Target("backend", path="spec.targets[1]")


def two(backend: Traffic | Finding, *ingresses: str) -> World:
    """`podinfo` in order, and a second target."""
    target = replace(BACKEND, ingresses=ingresses)
    return world(members=(*world().members, Member(target, Workload(deployment("backend")), None, backend)))


@pytest.mark.parametrize("reason", [reasons.NO_SERVICE, reasons.NO_INGRESS])
def test_a_target_without_traffic_of_its_own_rides_along(reason: str) -> None:
    assert first_problem(two(Finding(reason, "none"))) is None


def test_routes_that_cannot_carry_a_canary_are_a_problem_of_any_target() -> None:
    unsupported = Finding(reasons.UNSUPPORTED_INGRESS, "no class that we know")
    assert first_problem(two(unsupported)) == unsupported


def test_a_target_whose_ingresses_are_named_must_have_them() -> None:
    missing = Finding(reasons.NO_INGRESS, "none")
    assert first_problem(two(missing, "public")) == missing


def test_one_target_must_have_traffic() -> None:
    without = Finding(reasons.NO_SERVICE, "none")
    (member,) = world(traffic=without).members
    riders = world(members=(member, Member(BACKEND, Workload(deployment("backend")), None, without)))
    assert first_problem(riders) == without


def test_each_target_must_exist_and_the_missing_one_is_named() -> None:
    gone = Member(BACKEND, None, None, Finding(reasons.TARGET_NOT_FOUND, "none"))
    problem = first_problem(world(members=(*world().members, gone)))
    assert problem is not None
    assert problem.message.startswith("spec.targets[1].name: ")
    assert "'backend'" in problem.message
