"""What the operator is told at its start."""

import pytest

from canary.operator.settings import parse_settings


def test_webhooks_may_call_no_other_host_unless_told() -> None:
    assert parse_settings([]).webhook_hosts == ()


def test_hosts_of_webhooks_are_told_between_commas() -> None:
    settings = parse_settings(["--webhook-hosts", "gate.example.com, *.Flagger-system"])
    assert settings.webhook_hosts == ("gate.example.com", "*.flagger-system")


def test_a_host_that_is_none_ends_the_start_with_a_usage_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--webhook-hosts=https://gate.example.com"])
    assert "is no host such as gate.example.com" in capsys.readouterr().err
