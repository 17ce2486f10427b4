"""The question whether an alert fires."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.metrics.alerts import alert_query
from canary.model.freeze import Alert


def test_an_alert_is_asked_for_by_its_name() -> None:
    assert alert_query(Alert("Down")) == 'count(ALERTS{alertname="Down", alertstate="firing"}) or vector(0)'


def test_every_label_has_to_match() -> None:
    alert = Alert("HighErrorRate", (("namespace", "staging"), ("team", "")))
    assert '{alertname="HighErrorRate", alertstate="firing", namespace="staging", team=""}' in alert_query(alert)


@pytest.mark.parametrize(
    ("value", "written"),
    [('"', r'"\""'), ("\\", r'"\\"'), ("\n", r'"\U0000000a"'), ("a.*|b", '"a.*|b"'), ("größer", '"größer"')],
)
def test_a_value_matches_only_itself(value: str, written: str) -> None:
    assert alert_query(Alert(value, (("a", value),))).count(f"={written}") == 2


@given(st.text(min_size=1), st.text())
def test_no_value_changes_what_is_asked(name: str, value: str) -> None:
    query = alert_query(Alert(name, (("a", value),)))
    strings = re.compile(r'"(?:[^"\\\n]|\\.)*"')
    assert strings.sub('""', query) == 'count(ALERTS{alertname="", alertstate="", a=""}) or vector(0)'
