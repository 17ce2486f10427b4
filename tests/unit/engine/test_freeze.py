"""Whether a window is open, and until when no rollout goes on; across changes of the clocks, too."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from canary.engine.freeze import LINKS, frozen_until
from canary.model.freeze import Freeze, Window

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(schedule: str, hours: float, zone: str = "UTC") -> Window:
    return Window(schedule, timedelta(hours=hours), zone)


def until(now: str, *windows: Window) -> str | None:
    found = frozen_until(Freeze(windows), at(now))
    return found[1].strftime("%Y-%m-%d %H:%M") if found else None


WEEKEND = window("0 18 * * FRI", 62)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-02 17:59:59.999", None),
        ("2026-01-02 18:00", "2026-01-05 08:00"),
        ("2026-01-04 12:00:00.001", "2026-01-05 08:00"),
        ("2026-01-05 07:59:59.999", "2026-01-05 08:00"),
        ("2026-01-05 08:00", None),
    ],
)
def test_a_window_is_open_from_its_opening_to_before_its_end(now: str, end: str | None) -> None:
    assert until(now, WEEKEND) == end


def test_without_windows_nothing_is_frozen() -> None:
    assert until("2026-01-03 00:00") is None


def test_times_are_in_utc() -> None:
    found = frozen_until(Freeze((window("0 18 * * FRI", 62, "Asia/Tokyo"),)), at("2026-01-03 00:00"))
    assert found is not None
    assert found[1].tzinfo is UTC


def test_a_week_is_frozen_to_its_end() -> None:
    week = window("0 0 1 1 *", 168)
    assert until("2026-01-07 23:59", week) == "2026-01-08 00:00"
    assert until("2026-01-08 00:00", week) is None


class TestSeveral:
    NIGHT = window("0 22 * * *", 8)

    def test_of_those_that_are_open_the_one_that_closes_last_is_told(self) -> None:
        found = frozen_until(Freeze((self.NIGHT, WEEKEND)), at("2026-01-02 23:00"))
        assert found is not None
        assert found[0] == WEEKEND

    def test_one_that_is_still_open_when_the_other_closes_holds_on(self) -> None:
        assert until("2026-01-04 23:00", WEEKEND, window("0 7 * * MON", 3)) == "2026-01-05 10:00"

    def test_one_that_opens_as_the_other_closes_holds_on(self) -> None:
        assert until("2026-01-04 23:00", WEEKEND, window("0 8 * * MON", 3)) == "2026-01-05 11:00"

    def test_one_that_opens_later_is_another_freeze(self) -> None:
        assert until("2026-01-04 23:00", WEEKEND, window("1 8 * * MON", 3)) == "2026-01-05 08:00"

    def test_one_that_opens_again_while_it_is_open_lasts_from_its_last_opening(self) -> None:
        assert until("2026-01-05 09:30", window("0 9-11 * * *", 2)) == "2026-01-05 13:00"

    def test_what_never_ends_is_followed_only_so_far(self) -> None:
        end = at("2026-01-05 00:00") + (LINKS + 1) * 24 * HOUR
        assert until("2026-01-05 00:00", window("0 0 * * *", 24)) == end.strftime("%Y-%m-%d %H:%M")


class TestClocks:
    """In Berlin they skip from 2 to 3 on 2026-03-29 and show the hour from 2 to 3 twice on 2026-10-25."""

    @pytest.mark.parametrize(
        ("now", "end"),
        [
            ("2026-03-29 00:59", None),
            ("2026-03-29 01:00", "2026-03-29 02:00"),
            ("2026-03-29 02:00", None),
        ],
    )
    def test_a_window_whose_time_is_skipped_opens_at_the_skip(self, now: str, end: str | None) -> None:
        assert until(now, window("30 2 * * *", 1, "Europe/Berlin")) == end

    @pytest.mark.parametrize(
        ("now", "end"),
        [
            ("2026-10-25 00:29", None),
            ("2026-10-25 00:30", "2026-10-25 01:00"),
            ("2026-10-25 01:10", None),
            ("2026-10-25 01:30", "2026-10-25 02:00"),
            ("2026-10-25 02:00", None),
        ],
    )
    def test_a_window_whose_time_comes_twice_opens_twice(self, now: str, end: str | None) -> None:
        assert until(now, window("30 2 * * *", 0.5, "Europe/Berlin")) == end

    def test_every_minute_is_every_minute_of_a_day_with_25_hours(self) -> None:
        always = Freeze((Window("* * * * *", MINUTE, "Europe/Berlin"),))
        day = [at("2026-10-24 22:00") + n * MINUTE for n in range(25 * 60)]
        assert all(frozen_until(always, moment) for moment in day)

    @pytest.mark.parametrize(
        ("now", "end"),
        [("2026-03-28 12:00", "2026-03-30 07:00"), ("2026-10-24 12:00", "2026-10-26 06:00")],
    )
    def test_a_window_lasts_as_long_as_it_says(self, now: str, end: str) -> None:
        """62 h from Friday 18:00: on Monday the clocks in Berlin show 9:00 in spring and 7:00 in autumn."""
        assert until(now, window("0 18 * * FRI", 62, "Europe/Berlin")) == end

    def test_a_skip_of_half_an_hour(self) -> None:
        lord_howe = window("15 2 * * *", 1, "Australia/Lord_Howe")
        assert until("2026-10-03 15:29", lord_howe) is None
        assert until("2026-10-03 15:30", lord_howe) == "2026-10-03 16:30"


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo")


@dataclass(frozen=True)
class Times:
    """A schedule as sets, for an oracle that reads no cron expressions."""

    minutes: frozenset[int]
    hours: frozenset[int]
    weekdays: frozenset[int]
    """Monday is 1."""

    @property
    def cron(self) -> str:
        return f"{_list(self.minutes)} {_list(self.hours)} * * {_list(self.weekdays)}"

    def has(self, local: datetime) -> bool:
        return local.minute in self.minutes and local.hour in self.hours and local.isoweekday() in self.weekdays


def _list(numbers: frozenset[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def some(low: int, high: int) -> st.SearchStrategy[frozenset[int]]:
    every = st.just(frozenset(range(low, high + 1)))
    return st.frozensets(st.integers(low, high), min_size=1, max_size=3) | every


TIMES = st.builds(Times, some(0, 59), some(0, 5) | some(0, 23), some(1, 7))
LENGTHS = st.integers(1, 180).map(lambda n: n * MINUTE) | st.integers(1, 168).map(lambda n: n * HOUR)
CHANGES = {
    "Europe/Berlin": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "America/New_York": ("2026-03-08 07:00", "2026-11-01 06:00"),
    "Australia/Lord_Howe": ("2026-04-04 15:00", "2026-10-03 15:30"),
    "America/Havana": ("2026-03-08 05:00", "2026-11-01 05:00"),
    "Africa/Cairo": ("2026-04-23 22:00", "2026-10-29 21:00"),
}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A time zone, and a time that is often within a day of a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    around = at(draw(st.sampled_from(CHANGES.get(zone, ("2026-02-28 23:00",)))))
    spread = draw(st.sampled_from([3 * HOUR, 24 * HOUR, 168 * HOUR])) // timedelta(seconds=1)
    return zone, around + timedelta(seconds=draw(st.integers(-spread, spread)))


def openings(times: Times, zone: str, since: datetime, till: datetime) -> Iterator[datetime]:
    """Minute by minute: what the clocks show, and what they skipped since the minute before."""
    place, moment = ZoneInfo(zone), since.replace(second=0, microsecond=0)
    shown = (moment - MINUTE).astimezone(place).replace(tzinfo=None)
    while moment <= till:
        local = moment.astimezone(place).replace(tzinfo=None)
        skipped = [shown + n * MINUTE for n in range(1, (local - shown) // MINUTE)]
        if any(times.has(each) for each in (*skipped, local)):
            yield moment
        shown, moment = local, moment + MINUTE


def slowly(opened: list[tuple[list[datetime], timedelta]], now: datetime) -> datetime | None:
    """When the freeze ends by a walk along all openings; None where there is none now."""
    end = None
    for _ in range(LINKS + 1):
        here = end or now
        further = [each + length for each_all, length in opened for each in each_all if each <= here < each + length]
        if not further:
            break
        end = max(further)
    return end


@settings(max_examples=100, deadline=None)
@given(moments(), st.lists(st.tuples(TIMES, LENGTHS), min_size=1, max_size=3))
def test_it_is_what_a_walk_from_minute_to_minute_finds(
    moment: tuple[str, datetime], said: list[tuple[Times, timedelta]]
) -> None:
    zone, now = moment
    horizon = now + timedelta(days=3)
    opened = [(list(openings(times, zone, now - length, horizon)), length) for times, length in said]
    expected = slowly(opened, now)
    found = frozen_until(Freeze(tuple(Window(times.cron, length, zone) for times, length in said)), now)
    event("open" if expected else "closed")
    if expected is None or found is None:
        assert found == expected
    elif expected > horizon:
        assert found[1] > horizon
    else:
        assert found[1] == expected
