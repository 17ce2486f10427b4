"""What a freeze may say, and what is said of what it may not."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.model.fields import SpecError
from canary.model.freeze import MOST, Alert, Freeze, Window, parse_freeze
from canary.model.template import Json

WEEKEND: Json = {"schedule": "0 18 * * FRI", "duration": "62h"}


def windows(*entries: Any) -> Json:
    return {"windows": list(entries)}


def alerts(*entries: Any) -> Json:
    return {"alerts": list(entries)}


def test_nothing_said_freezes_nothing() -> None:
    assert parse_freeze("spec.freeze", {}) == Freeze((), ())


def test_everything_can_be_said() -> None:
    parsed = parse_freeze(
        "spec.freeze",
        {
            "windows": [WEEKEND | {"timeZone": "Europe/Berlin"}, {"schedule": "*/5 1-3 l 2,dec *", "duration": "90s"}],
            "alerts": [{"name": "HighErrorRate", "labels": {"team": "", "namespace": 'any "text"\n'}}, {"name": "a b"}],
        },
    )
    assert parsed.windows == (
        Window("0 18 * * FRI", timedelta(hours=62), "Europe/Berlin"),
        Window("*/5 1-3 l 2,dec *", timedelta(seconds=90), "UTC"),
    )
    assert parsed.alerts == (Alert("HighErrorRate", (("namespace", 'any "text"\n'), ("team", ""))), Alert("a b"))


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"]
)
def test_time_zones_are_those_of_the_iana(zone: str) -> None:
    assert parse_freeze("f", windows(WEEKEND | {"timeZone": zone})).windows[0].time_zone == zone


def schedule(text: object) -> Json:
    return windows(WEEKEND | {"schedule": text})


def zone(text: object) -> Json:
    return windows(WEEKEND | {"timeZone": text})


def lasting(text: object) -> Json:
    return windows(WEEKEND | {"duration": text})


def labels(**given: Any) -> Json:
    return alerts({"name": "Down", "labels": given})


REFUSED: list[tuple[str, Json, str]] = [
    ("windows", {"windows": {}}, "wrong type"),
    ("windows", windows(*(MOST + 1) * [WEEKEND]), "must be at most 20, are 21"),
    ("windows[0]", windows("0 18 * * FRI"), "must be an object"),
    ("windows[0].schedule", windows({"duration": "1h"}), "is required"),
    ("windows[0].schedule", schedule(5), "wrong type"),
    ("windows[0].schedule", schedule(""), "must be a cron expression of five fields (minute, hour, day of month, "),
    ("windows[0].schedule", schedule("0 0 18 * * FRI"), "must be a cron expression of five fields"),
    ("windows[0].schedule", schedule("@weekly"), "must be a cron expression of five fields"),
    ("windows[0].schedule", schedule("0 18 * * FRIDAY"), "is no cron expression, such as '0 18 * * FRI': the day of "),
    ("windows[0].schedule", schedule("60 18 * * *"), "the minute is wrong"),
    ("windows[0].schedule", schedule("0 24 * * *"), "the hour is wrong"),
    ("windows[0].schedule", schedule("0 18 ? * *"), "the day of month is wrong"),
    ("windows[0].schedule", schedule("0 18 30 FEB *"), "the day of month is wrong or never comes"),
    ("windows[0].schedule", schedule("0 18 */31 * MON#5"), "never comes true"),
    ("windows[0].schedule", schedule(f"{'1,' * 50}1 * * * *"), "at most 100 characters"),
    ("windows[0].timeZone", zone("Berlin"), "'Berlin' is no IANA time zone, such as Europe/Berlin"),
    ("windows[0].timeZone", zone("Europe"), "is no IANA time zone"),
    ("windows[0].timeZone", zone(""), "is no IANA time zone"),
    ("windows[0].timeZone", zone("../UTC"), "is no IANA time zone"),
    ("windows[0].timeZone", zone("/etc/localtime"), "is no IANA time zone"),
    ("windows[0].timeZone", zone("+02:00"), "is no IANA time zone"),
    ("windows[0].timeZone", zone("tzdata.zi"), "is no IANA time zone"),
    ("windows[0].timeZone", zone(1), "wrong type"),
    ("windows[0].duration", windows({"schedule": "0 18 * * FRI"}), "is required"),
    ("windows[0].duration", lasting("forever"), "is not a duration"),
    ("windows[0].duration", lasting("168h1s"), "must be at most 168h"),
    ("windows[0].duration", lasting("59s"), "must be at least 1m, is 59s"),
    ("alerts", alerts(*(MOST + 1) * [{"name": "Down"}]), "must be at most 20, are 21"),
    ("alerts[0].name", alerts({}), "is required"),
    ("alerts[0].name", alerts({"name": ""}), "must not be empty"),
    ("alerts[0].labels.team", labels(team=1), "wrong type"),
    ("alerts[0].labels", labels(**{"a-b": "c"}), "'a-b' is no name of a label"),
    ("alerts[0].labels", labels(**{"2nd": "c"}), "'2nd' is no name of a label"),
    ("alerts[0].labels", labels(**{"": "c"}), "'' is no name of a label"),
    ("alerts[0].labels", labels(**{"a\n": "c"}), "is no name of a label"),
    ("alerts[0].labels", labels(__name__="up"), "'__name__' is no name of a label"),
    ("alerts[0].labels", labels(alertname="x"), "'alertname' is no label to choose"),
    ("alerts[0].labels", labels(alertstate="pending"), "'alertstate' is no label to choose"),
]


@pytest.mark.parametrize(("path", "item", "problem"), REFUSED)
def test_what_is_refused_is_named_by_its_field(path: str, item: Json, problem: str) -> None:
    with pytest.raises(SpecError) as failure:
        parse_freeze("spec.freeze", item)
    assert failure.value.path == f"spec.freeze.{path}"
    assert problem in str(failure.value)


@given(st.text(alphabet="0123456789*/,-#LWlw FRIMON?@²", max_size=40) | st.text(max_size=20))
def test_whatever_is_no_schedule_is_refused_as_one(text: str) -> None:
    assert refusal(schedule(text)) in (None, "spec.freeze.windows[0].schedule")


@given(st.text(max_size=20))
def test_whatever_is_no_time_zone_is_refused_as_one(text: str) -> None:
    assert refusal(zone(text)) in (None, "spec.freeze.windows[0].timeZone")


def refusal(item: Json) -> str | None:
    """The path of what is refused."""
    try:
        parse_freeze("spec.freeze", item)
    except SpecError as error:
        return error.path
    return None
