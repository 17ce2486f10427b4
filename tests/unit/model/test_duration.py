"""Durations and times as Kubernetes writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.model.duration import format_duration, format_time, parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h1m1s", 3661), ("500ms", 0.5), ("1s500ms", 1.5), ("0s", 0)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "1.5h", "5d", "5m ", "1h30", "5M", "5s\n"])
def test_what_is_no_duration_is_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as") as failure:
        parse_duration(text)
    assert repr(text) in str(failure.value)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (3661, "1h1m1s"), (5400, "1h30m")]
)
def test_a_duration_is_written_without_empty_parts(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, 10**7))
def test_writing_and_reading_whole_seconds_gives_the_same(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_a_time_is_read_in_any_zone_and_written_in_utc() -> None:
    assert parse_time("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05.250+02:00") == datetime(2026, 1, 2, 1, 4, 5, 250000, tzinfo=UTC)
    east = datetime(2026, 1, 2, 5, 4, 5, 250000, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(east) == "2026-01-02T03:04:05.250Z"


@given(st.datetimes(timezones=st.just(UTC)))
def test_writing_and_reading_a_time_loses_less_than_a_millisecond(moment: datetime) -> None:
    assert timedelta() <= moment - parse_time(format_time(moment)) < timedelta(milliseconds=1)
