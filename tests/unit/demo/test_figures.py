"""The figures that the demo prints are what the audit log and the answers say."""

from datetime import UTC, datetime, timedelta

import pytest

from e2e.demo import summary
from e2e.demo.cluster import Route, Sight
from e2e.demo.errors import DemoFailed
from e2e.demo.figures import SPOILED, answerer, held_to_canary_seconds, requests_of, shares
from e2e.demo.rollout import Rollout, line
from e2e.lab.audit import AuditEntry
from e2e.lab.load import Answerer, Record
from e2e.lab.reference import failing, good

OPERATOR = "system:serviceaccount:fluxcanary-system:fluxcanary"
FLUX = "system:serviceaccount:flux-system:staging-flux"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def entry(seconds: float, user: str, verb: str, resource: str, name: str = "", uri: str = "") -> AuditEntry:
    return AuditEntry(
        received_at=START + timedelta(seconds=seconds),
        user=user,
        impersonator="",
        user_agent="",
        verb=verb,
        api_group="",
        resource=resource,
        subresource="",
        namespace="staging",
        name=name,
        uri=uri,
        code=200,
    )


def record(start: float, pod: str = "podinfo-1", message: str = "release 2", status: int = 200) -> Record:
    return Record(start, 0.01, status, Answerer("", message, pod))


def rollout(release: int, records: list[Record], *, bad: bool = False, pods_after: str = "podinfo-1") -> Rollout:
    return Rollout(
        failing(release) if bad else good(release),
        records=records,
        pods_before=frozenset({"podinfo-1"}),
        pods_after=frozenset({pods_after}),
    )


GOOD = rollout(2, [record(1)])
BAD_ANSWER = Record(2, 0.01, 500, answerer(SPOILED + b"\n"))


def test_the_hold_counts_from_the_real_apply_and_not_from_the_dry_run_or_an_earlier_one() -> None:
    entries = [
        entry(0, FLUX, "patch", "deployments", "podinfo"),
        entry(1.0, FLUX, "patch", "deployments", "podinfo"),
        entry(1.1, FLUX, "patch", "deployments", "podinfo", "/apis/apps/v1?dryRun=All"),
        entry(1.2, OPERATOR, "patch", "deployments", "podinfo"),
        entry(1.25, OPERATOR, "patch", "deployments", "podinfo-canary"),
        entry(9, OPERATOR, "patch", "deployments", "podinfo-canary"),
    ]
    assert held_to_canary_seconds(entries, OPERATOR) == pytest.approx(0.25)


def test_without_a_canary_in_the_log_there_is_no_figure() -> None:
    assert held_to_canary_seconds([entry(0, FLUX, "patch", "deployments", "podinfo")], OPERATOR) is None


def test_leases_watches_and_other_users_are_not_counted() -> None:
    entries = [
        entry(0, OPERATOR, "patch", "ingresses"),
        entry(0, OPERATOR, "update", "leases"),
        entry(0, OPERATOR, "watch", "services"),
        entry(0, FLUX, "patch", "deployments"),
    ]
    assert dict(requests_of(entries, OPERATOR)) == {"patch ingresses": 1}


def test_a_share_counts_pods_of_the_canary_from_when_the_weight_is_in_effect_until_the_next() -> None:
    routes = [Route(10, 100), Route(50, 110), Route(0, 120)]
    canary, stable = "podinfo-canary-1", "podinfo-1"
    records = [record(104, canary), *(record(106, stable) for _ in range(3)), record(107, canary), record(111, canary)]
    records += [record(116, stable), record(121, canary)]
    assert [(share.asked, share.got) for share in shares(routes, records)] == [(10, 25.0), (50, 0.0)]


def test_a_bad_release_that_only_its_canary_answered_for_is_as_promised() -> None:
    summary.check(GOOD, rollout(3, [record(1), BAD_ANSWER], bad=True))


@pytest.mark.parametrize(
    ("promoted", "rolled_back", "part"),
    [
        (rollout(2, [record(1, status=503)]), rollout(3, [BAD_ANSWER], bad=True), "users: 1 requests failed"),
        (GOOD, rollout(3, [BAD_ANSWER, record(1, status=503)], bad=True), "others than the canary"),
        (GOOD, rollout(3, [record(1)], bad=True), "not really bad"),
        (GOOD, rollout(3, [BAD_ANSWER], bad=True, pods_after="podinfo-2"), "stable"),
    ],
)
def test_anything_else_fails_the_demo(promoted: Rollout, rolled_back: Rollout, part: str) -> None:
    with pytest.raises(DemoFailed, match=part):
        summary.check(promoted, rolled_back)


def test_a_line_leaves_out_what_its_columns_say() -> None:
    sight = Sight("Progressing", 2, 5, 10, "", "WeightChanged", "step 2 of 5: weight 10 %: a is 1")
    assert line(sight) == "Progressing  2/5  10 %  a is 1"
