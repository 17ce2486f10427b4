"""Nothing that is remembered is lost or changed on its way through the API server."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analysis.verdict import Verdict
from canary.model.status import Check, Condition, Phase, Status, dump_status, parse_status

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=20)
MILLISECONDS = st.integers(0, 2**42).map(
    lambda number: datetime.fromtimestamp(0, UTC) + number * timedelta.resolution * 1000
)
SECONDS = MILLISECONDS.map(lambda moment: moment.replace(microsecond=0))
PHASES = st.none() | st.sampled_from(Phase)
# six digits are written
VALUES = st.none() | st.integers(-999999, 999999).map(float)
COUNTS = st.integers(0, 1000)

STATUSES = st.builds(
    Status,
    phase=PHASES,
    suspended_phase=PHASES,
    weight=st.integers(0, 100),
    step=COUNTS,
    steps=COUNTS,
    template=TEXT,
    stable_templates=st.lists(NAME, max_size=3).map(tuple),
    stable_revision=TEXT,
    revision_from=TEXT,
    revision_to=TEXT,
    started_at=st.none() | MILLISECONDS,
    progressed_at=st.none() | MILLISECONDS,
    failed_checks=COUNTS,
    checked_at=st.none() | MILLISECONDS,
    checks=st.lists(st.builds(Check, NAME, st.sampled_from(Verdict), VALUES, TEXT), max_size=3).map(tuple),
    conditions=st.lists(st.builds(Condition, NAME, NAME, NAME, TEXT, SECONDS), max_size=4).map(tuple),
    observed_generation=COUNTS,
)


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
