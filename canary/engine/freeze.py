"""Whether a window is open in which no rollout starts or advances, and when the last of them closes.

A window opens whenever the clocks of its time zone show a time of its schedule: twice where they show it twice, and
where they skip it, at the moment of the skip. It lasts as long as it says, whatever the clocks do meanwhile.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from canary.model.freeze import Freeze, Window

LINKS = 50
"""How many windows that take turns are followed. After that the end is only known to be no earlier."""

_MINUTE = timedelta(minutes=1)


def frozen_until(freeze: Freeze, now: datetime) -> tuple[Window, datetime] | None:
    """The window that holds rollouts now, and from when on none does; None where none is open.

    Of several that are open it is the one that closes last. Times are in UTC. An end counts as closed.
    """
    last = _last_to_close(freeze, now)
    if last is None:
        return None
    window, end = last
    for _ in range(LINKS):
        following = _last_to_close(freeze, end)
        if following is None:
            break
        end = following[1]
    return window, end


def _last_to_close(freeze: Freeze, at: datetime) -> tuple[Window, datetime] | None:
    """Of the windows that are open at a time the one that closes last, and when it does."""
    ends = [(window, opening + window.duration) for window in freeze.windows if (opening := _opening(window, at))]
    still_open = [(window, end) for window, end in ends if end > at]
    return max(still_open, key=lambda each: each[1], default=None)


def _opening(window: Window, at: datetime) -> datetime | None:
    """When the window opened last, up to and with `at`; None or any earlier time where it has closed since.

    Between two changes of the clocks local time is UTC and a constant. No week has two changes.
    """
    zone, since = ZoneInfo(window.time_zone), at - window.duration
    before, after = _offset(zone, since), _offset(zone, at)
    if before == after:
        return _latest(window, at, after)
    change = _change(zone, since, at)
    opening = _latest(window, at, after)
    if opening is not None and opening + after >= change + min(before, after):
        return max(opening, change)
    return _latest(window, change - _MINUTE, before)


def _latest(window: Window, at: datetime, offset: timedelta) -> datetime | None:
    """The last time up to and with `at` that the schedule names, if the clocks are never changed."""
    minute = (at + offset).replace(tzinfo=None, second=0, microsecond=0)
    local = next(CronSim(window.schedule, minute + _MINUTE, reverse=True), None)
    return None if local is None else local.replace(tzinfo=at.tzinfo) - offset


def _change(zone: ZoneInfo, since: datetime, until: datetime) -> datetime:
    """When the clocks were changed: later than `since`, not later than `until`, to the minute."""
    early, late = (moment.replace(second=0, microsecond=0) for moment in (since, until))
    before = _offset(zone, early)
    while late - early > _MINUTE:
        middle = early + (late - early) // _MINUTE // 2 * _MINUTE
        early, late = (middle, late) if _offset(zone, middle) == before else (early, middle)
    return late


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None, "a ZoneInfo always knows"
    return offset
