"""What must be true before a Canary can do anything."""

from dataclasses import replace

import pytest

from canary.engine.checks import CHAIN, first_problem
from canary.engine.world import Finding, World
from canary.model import reasons
from canary.model.workload import Workload
from tests.manifests import deployment, world

SPEC = Finding(reasons.INVALID_SPEC, "spec.steps: no")
TRAFFIC = Finding(reasons.NO_SERVICE, "no Service")
QUERIES = Finding(reasons.METRIC_TEMPLATE_NOT_FOUND, "spec.analysis.metrics[0].templateRef: no")
REFUSED = Finding(reasons.ACTION_REFUSED, "the API server said no")


def test_nothing_is_wrong_where_nothing_is_wrong() -> None:
    assert first_problem(world()) is None


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (world(spec=SPEC), reasons.INVALID_SPEC),
        (world(rival="older"), reasons.TARGET_IN_USE),
        (world(target=None), reasons.TARGET_NOT_FOUND),
        (world(target=Workload(deployment(metadata={"deletionTimestamp": "2026"}))), reasons.TARGET_NOT_FOUND),
        (world(traffic=TRAFFIC), reasons.NO_SERVICE),
        (world(queries=QUERIES), reasons.METRIC_TEMPLATE_NOT_FOUND),
        (world(refused=REFUSED), reasons.ACTION_REFUSED),
    ],
    ids=["spec", "rival", "no-target", "target-on-its-way-out", "traffic", "queries", "refused"],
)
def test_a_problem_is_found(broken: World, reason: str) -> None:
    problem = first_problem(broken)
    assert problem is not None
    assert problem.reason == reason


def test_what_a_user_would_mend_first_is_said_first() -> None:
    everything = world(spec=SPEC, rival="older", target=None, traffic=TRAFFIC, queries=QUERIES, refused=REFUSED)
    found = []
    for field in ("spec", "rival", "target", "traffic", "queries", "refused"):
        problem = first_problem(everything)
        assert problem is not None
        found.append(problem.reason)
        everything = replace(everything, **{field: getattr(world(), field)})
    assert first_problem(everything) is None
    assert found == [
        reasons.INVALID_SPEC,
        reasons.TARGET_IN_USE,
        reasons.TARGET_NOT_FOUND,
        reasons.NO_SERVICE,
        reasons.METRIC_TEMPLATE_NOT_FOUND,
        reasons.ACTION_REFUSED,
    ]
    assert len(found) == len(CHAIN)


def test_a_problem_with_a_field_begins_with_its_path() -> None:
    for broken in (world(rival="older"), world(target=None)):
        problem = first_problem(broken)
        assert problem is not None
        assert problem.message.startswith("spec.targets[0].name: ")


def test_a_rival_is_named() -> None:
    problem = first_problem(world(rival="older"))
    assert problem is not None
    assert "older" in problem.message
