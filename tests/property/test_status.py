"""Nothing that is remembered is lost or changed on its way through the API server."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from analysis.verdict import Verdict
from canary.model.configuration import ConfigRef
from canary.model.evidence import Saved
from canary.model.share import Header, Match, Share
from canary.model.status import (
    Arm,
    Cause,
    Check,
    Condition,
    HookRecord,
    Phase,
    Release,
    Status,
    StepEvidence,
    Trial,
    dump_status,
    parse_status,
)

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=20)
MILLISECONDS = st.integers(0, 2**42).map(
    lambda number: datetime.fromtimestamp(0, UTC) + number * timedelta.resolution * 1000
)
SECONDS = MILLISECONDS.map(lambda moment: moment.replace(microsecond=0))
PHASES = st.none() | st.sampled_from(Phase)
MOMENTS = st.none() | MILLISECONDS
# six digits are written
NUMBERS = st.integers(-999999, 999999).map(float)
VALUES = st.none() | NUMBERS
COUNTS = st.integers(0, 1000)
WEIGHTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)

HEADERS = st.builds(Header, NAME, st.none() | TEXT, st.none() | TEXT)
MATCHES = st.builds(Match, HEADERS, st.none() | NAME) | st.builds(Match, st.none(), NAME)
SHARES = st.builds(Share, WEIGHTS, st.none() | MATCHES)
ARMS = st.none() | st.builds(Arm, COUNTS, NUMBERS)
CHECKS = st.builds(Check, NAME, st.sampled_from(Verdict), VALUES, TEXT, ARMS, ARMS, VALUES)
TRIALS = st.lists(st.builds(Trial, NAME, NAME), max_size=3).map(tuple)
REFS = st.builds(ConfigRef, st.sampled_from(["ConfigMap", "Secret"]), NAME)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "phase": PHASES,
    "suspended_phase": PHASES,
    "share": SHARES,
    "step": COUNTS,
    "steps": COUNTS,
    "trial": TRIALS,
    "stable_revision": TEXT,
    "revision_from": TEXT,
    "revision_to": TEXT,
    "straight": st.none() | st.sampled_from(Cause),
    "approved": st.none() | COUNTS,
    "failure": st.none() | TEXT,
    "paused": st.booleans(),
    "started_at": MOMENTS,
    "progressed_at": MOMENTS,
    "failed_checks": COUNTS,
    "checked_at": MOMENTS,
    "exposed_at": MOMENTS,
    "erring_since": MOMENTS,
    "checks": st.lists(CHECKS, max_size=3).map(tuple),
    "evidence": st.lists(
        st.builds(StepEvidence, COUNTS, WEIGHTS, MILLISECONDS, st.lists(CHECKS, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    "hooks": st.lists(st.builds(HookRecord, NAME, st.sampled_from(Verdict), TEXT, MILLISECONDS), max_size=2).map(tuple),
    "judge": st.none() | st.builds(Saved, COUNTS, TEXT, st.dictionaries(NAME, COUNTS.map(float), max_size=2)),
    "promoted": st.lists(st.builds(Release, TEXT, TRIALS), max_size=2).map(tuple),
    "configuration": st.dictionaries(REFS, NAME, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    "handled": st.dictionaries(NAME, NAME, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    "conditions": st.lists(st.builds(Condition, NAME, NAME, NAME, TEXT, SECONDS), max_size=4).map(tuple),
    "observed_generation": COUNTS,
}
STATUSES = st.builds(Status, **FIELDS)


def test_no_field_is_left_out_here() -> None:
    assert set(FIELDS) == {field.name for field in fields(Status)}


@given(STATUSES)
def test_a_status_survives_the_api_server(status: Status) -> None:
    assert parse_status(json.loads(json.dumps(dump_status(status)))) == status


@given(STATUSES)
def test_what_the_api_server_drops_because_it_is_null_was_empty(status: Status) -> None:
    kept = {key: value for key, value in dump_status(status).items() if value is not None}
    assert parse_status(kept) == status


@given(st.builds(Check, NAME, st.sampled_from(Verdict), st.floats(allow_nan=False), TEXT))
def test_a_status_read_back_is_not_written_again(check: Check) -> None:
    dumped = dump_status(Status(checks=(check,)))
    assert dump_status(parse_status(dumped)) == dumped
