"""When no rollout starts or advances: windows that open by a cron expression, and alerts that fire."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from canary.model.duration import format_duration
from canary.model.fields import SpecError, duration, get, items, required, texts
from canary.model.template import Json

MOST = 20
"""Windows of a Canary, and alerts."""
SHORTEST = timedelta(minutes=1)
"""The steps of a cron expression."""

_LONGEST_SCHEDULE = 100
"""Characters."""
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_ANY_YEAR = datetime(2000, 1, 1)  # noqa: DTZ001 - an expression knows no time zone
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SAID_OTHERWISE = ("alertname", "alertstate")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Window:
    """A stretch of time that comes back. Two of its openings may overlap."""

    schedule: str
    """A cron expression of five fields that comes true at some time: when the window opens, by the clocks there."""
    duration: timedelta
    """From its opening, whatever the clocks show meanwhile: from SHORTEST to a week."""
    time_zone: str = "UTC"
    """A name of the IANA time zone database."""


@dataclass(frozen=True)
class Alert:
    """An alert of Prometheus: all that fire by this name and have these labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Freeze:
    """Everything that holds rollouts."""

    windows: tuple[Window, ...] = ()
    alerts: tuple[Alert, ...] = ()


NEVER = Freeze()


def parse_freeze(path: str, item: Json) -> Freeze:
    """The object at this path. Raises SpecError for what the schema of the CRD would have refused, too."""
    windows = _at_most(path, "windows", items(item, path, "windows", _window))
    return Freeze(windows, _at_most(path, "alerts", items(item, path, "alerts", _alert)))


def _at_most(path: str, key: str, found: tuple[_T, ...]) -> tuple[_T, ...]:
    if len(found) > MOST:
        raise SpecError(f"{path}.{key}", f"must be at most {MOST}, are {len(found)}")
    return found


def _window(path: str, item: Json) -> Window:
    schedule, zone = required(item, path, "schedule", str), get(item, path, "timeZone", str, "UTC")
    if problem := _schedule_problem(schedule):
        raise SpecError(f"{path}.schedule", problem)
    if not _is_zone(zone):
        raise SpecError(f"{path}.timeZone", f"{zone!r} is no IANA time zone, such as Europe/Berlin or UTC")
    text = required(item, path, "duration", str)
    length = duration(item, path, "duration", timedelta())
    if length < SHORTEST:
        raise SpecError(f"{path}.duration", f"must be at least {format_duration(SHORTEST)}, is {text}")
    return Window(schedule, length, zone)


@lru_cache(maxsize=1024)
def _schedule_problem(text: str) -> str | None:
    """Why this is no cron expression, or None. Kept, for to find none can take ten milliseconds."""
    if len(text) > _LONGEST_SCHEDULE:
        return f"must have at most {_LONGEST_SCHEDULE} characters, has {len(text)}"
    if len(text.split()) != len(_FIELDS):
        return f"{text!r} must be a cron expression of five fields ({', '.join(_FIELDS)}), such as '0 18 * * FRI'"
    try:
        next(CronSim(text, _ANY_YEAR))
    except CronSimError as error:
        what = str(error).removeprefix("Bad ").replace("-", " ")
        return f"{text!r} is no cron expression, such as '0 18 * * FRI': the {what} is wrong or never comes"
    except StopIteration:
        return f"{text!r} never comes true"
    return None


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    """Whether the database of time zones has it. OSError: a folder of it, such as `Europe`."""
    try:
        return bool(_ZONE.fullmatch(name) and ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return False


def _alert(path: str, item: Json) -> Alert:
    name = required(item, path, "name", str)
    if not name:
        raise SpecError(f"{path}.name", "must not be empty")
    labels = texts(item, path, "labels")
    for label, _ in labels:
        if not _LABEL.fullmatch(label) or label.startswith("__"):
            problem = "is no name of a label: letters, digits and _, not beginning with a digit or __"
            raise SpecError(f"{path}.labels", f"{label!r} {problem}")
        if label in _SAID_OTHERWISE:
            raise SpecError(
                f"{path}.labels", f"{label!r} is no label to choose: `name` names the alert, which must fire"
            )
    return Alert(name, labels)
