"""What is remembered, as the API server holds it."""

from datetime import timedelta

import pytest

from analysis.verdict import Verdict
from canary.model.status import Check, Condition, Phase, Status, change, dump_status, parse_status, short_revision
from tests.manifests import START


def test_a_canary_never_looked_at_has_an_empty_status() -> None:
    assert parse_status({}) == Status()


def test_what_is_empty_is_written_as_null_so_that_a_merge_patch_removes_it() -> None:
    dumped = dump_status(Status())
    for key in ("phase", "suspendedPhase", "template", "progress", "startedAt", "checkedAt", "stableRevision"):
        assert key in dumped
        assert dumped[key] is None


def test_every_key_is_written_every_time() -> None:
    full = Status(phase=Phase.PROGRESSING, started_at=START, checks=(Check("a", Verdict.PASS, 1.0, "is 1"),))
    assert dump_status(full).keys() == dump_status(Status()).keys()


def test_the_progress_is_said_as_a_fraction() -> None:
    assert dump_status(Status(step=2, steps=5))["progress"] == "2/5"


def test_times_of_conditions_have_whole_seconds_as_kubernetes_wants_them() -> None:
    since = START + timedelta(milliseconds=250)
    status = Status(conditions=(Condition("Ready", "True", "Promoted", "done", since),), observed_generation=3)
    (dumped,) = dump_status(status)["conditions"]
    assert dumped == {
        "type": "Ready",
        "status": "True",
        "reason": "Promoted",
        "message": "done",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "observedGeneration": 3,
    }


def test_values_of_checks_are_text_for_the_schema_has_no_floats() -> None:
    checks = (Check("a", Verdict.FAIL, 98.7654321, "low"), Check("b", Verdict.ERROR, None, "down"))
    assert [check.get("value") for check in dump_status(Status(checks=checks))["checks"]] == ["98.7654", None]


@pytest.mark.parametrize(
    ("revision", "short"),
    [
        ("main@sha1:4c1ca09d2e1f", "main@4c1ca09"),
        ("release/1@x@sha256:0123456789", "release/1@x@0123456"),
        ("6.5.0@sha256:4c1ca09d2e1f", "6.5.0@4c1ca09"),
        ("6.5.0", "6.5.0"),
        ("template 0123456789", "template 0123456789"),
        ("main@4c1ca09d2e1f", "main@4c1ca09d2e1f"),
        ("sha256:4c1ca09d2e1f", "sha256:4c1ca09d2e1f"),
        ("", ""),
    ],
)
def test_a_revision_is_said_as_people_say_it(revision: str, short: str) -> None:
    assert short_revision(revision) == short


def test_a_change_is_from_one_revision_to_the_next() -> None:
    status = Status(stable_revision="x", revision_from="main@sha1:4c1ca09d2e1f", revision_to="main@sha1:77e0b1dd2e1f")
    assert change(status) == "main@4c1ca09 → main@77e0b1d"


def test_a_change_from_something_unknown_says_so() -> None:
    assert change(Status(revision_to="main@sha1:77e0b1dd2e1f")) == "? → main@77e0b1d"


def test_without_a_change_it_is_what_serves() -> None:
    assert change(Status(stable_revision="main@sha1:4c1ca09d2e1f")) == "main@4c1ca09"
    assert dump_status(Status(stable_revision="6.5.0"))["revision"]["change"] == "6.5.0"


def test_a_condition_is_found_by_its_type() -> None:
    ready = Condition("Ready", "True", "Promoted", "done", START)
    assert Status(conditions=(ready,)).condition("Ready") is ready
    assert Status(conditions=(ready,)).condition("Stalled") is None
