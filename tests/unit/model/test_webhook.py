"""What a webhook may say, what is said of what it may not, what is sent, and which hosts may be called."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from canary.model.fields import SpecError
from canary.model.spec import parse_spec
from canary.model.template import Json
from canary.model.webhook import (
    LONGEST_NAME,
    MOST_RETRIES,
    HookEvent,
    HookType,
    OnTimeout,
    Payload,
    Webhook,
    destination,
    event_payload,
    host,
    parse_hosts,
    parse_webhook,
    refused_host,
)

CRD = Path(__file__).parents[3] / "crds/fluxcanary.dev_canaries.yaml"
PATH = "spec.webhooks[0]"
URL = "http://loadtester.test/"
PAYLOAD = Payload("podinfo", "test", "Progressing", "85b557", (("cmd", "hey -z 1m"), ("type", "cmd")))


def written(**fields: Any) -> Json:
    return {"name": "gate", "url": URL, **fields}


def test_a_name_and_a_url_are_all_that_is_needed() -> None:
    assert parse_webhook(PATH, written()) == Webhook(
        "gate", HookType.ROLLOUT, URL, timedelta(seconds=10), 0, OnTimeout.HOLD, ()
    )


def test_everything_can_be_said() -> None:
    item = written(
        name="load test",
        type="confirm-promotion",
        timeout="1h",
        retries=10,
        onTimeout="advance",
        metadata={"type": "cmd", "cmd": "hey"},
    )
    assert parse_webhook(PATH, item) == Webhook(
        "load test",
        HookType.CONFIRM_PROMOTION,
        URL,
        timedelta(hours=1),
        10,
        OnTimeout.ADVANCE,
        (("cmd", "hey"), ("type", "cmd")),
    )


REFUSED: list[tuple[str, Json, str]] = [
    ("name", {"url": URL}, "is required"),
    ("name", written(name=""), "1 to 63 characters"),
    ("name", written(name="a" * 64), "has 64"),
    ("name", written(name="two\nlines"), "of one line"),
    ("type", written(type="confirm-traffic-increase"), "must be one of confirm-rollout, pre-rollout, rollout,"),
    ("url", {"name": "gate"}, "is required"),
    ("url", written(url=5), "wrong type"),
    ("timeout", written(timeout="999ms"), "from 1s to 1h, is 999ms"),
    ("timeout", written(timeout="61m"), "from 1s to 1h, is 61m"),
    ("timeout", written(timeout="10"), "is not a duration"),
    ("retries", written(retries=-1), "from 0 to 10, is -1"),
    ("retries", written(retries=11), "from 0 to 10, is 11"),
    ("retries", written(retries=True), "wrong type"),
    ("onTimeout", written(onTimeout="ignore"), "one of hold, rollback, advance"),
    ("metadata", written(metadata=[]), "wrong type"),
    ("metadata.clone", written(metadata={"clone": 100}), "wrong type"),
]


@pytest.mark.parametrize(("field", "item", "problem"), REFUSED, ids=[f"{path}-{text}" for path, _, text in REFUSED])
def test_what_is_refused_is_named_by_its_field(field: str, item: Json, problem: str) -> None:
    with pytest.raises(SpecError) as failure:
        parse_webhook(PATH, item)
    assert failure.value.path == f"{PATH}.{field}"
    assert problem in str(failure.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with http:// or https://"),
        ("loadtester.test", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("gopher://loadtester.test", "must begin with"),
        ("http://loadtester.test/a b", "without blanks"),
        ("http://loadtester.test/\r\nX: y", "without blanks"),
        ("http://loadtester.test/é", "be ASCII"),
        ("http://", "must name a host"),
        ("http:///path", "must name a host"),
        ("http://:80/", "must name a host"),
        ("http://.test", "must name a host"),
        ("http://a..test", "must name a host"),
        ("http://loadtester.test.", "must name a host"),
        ("http://-a.test", "must name a host"),
        ("http://under_score.test", "must name a host"),
        (f"http://{'a' * 64}.test", "must name a host"),
        (f"http://{'a.' * 127}test", "must name a host"),
        ("http://loadtester.test\\.example.com", "must name a host"),
        ("http://\u212aube.test", "must name a host"),
        ("http://[::1", "must name a host"),
        ("http://::1/", "must name a host"),
        ("http://loadtester.test:/", "must name a host"),
        ("http://loadtester.test:80:80/", "must name a host"),
        ("http://loadtester.test:0/", "port from 1 to 65535"),
        ("http://loadtester.test:65536/", "port from 1 to 65535"),
        ("http://user@loadtester.test/", "no user name or password"),
        ("http://user:hunter2@loadtester.test/", "no user name or password"),
        ("http://hunter2:@/", "no user name or password"),
    ],
)
def test_a_url_that_is_none_is_refused_and_not_shown(url: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as failure:
        parse_webhook(PATH, written(url=url))
    assert failure.value.path == f"{PATH}.url"
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://loadtester.test", "loadtester.test"),
        ("https://Gate.Example.com:8443?token=a@b", "gate.example.com"),
        ("http://10.0.0.1/x", "10.0.0.1"),
        ("http://[fd00::1]:80/", "[fd00::1]"),
        ("http://a#b", "a"),
    ],
)
def test_the_host_is_told_from_the_rest(url: str, name: str) -> None:
    assert host(parse_webhook(PATH, written(url=url)).url) == name


def test_no_two_webhooks_have_one_name() -> None:
    hooks = [written(), written(name="other"), written(type="event")]
    targets = [{"name": "app"}]
    with pytest.raises(SpecError, match=r"^spec\.webhooks\[2\]\.name: 'gate' is there twice$"):
        parse_spec({"targets": targets, "webhooks": hooks})
    two = parse_spec({"targets": targets, "webhooks": hooks[:2]})
    assert [webhook.name for webhook in two.webhooks] == ["gate", "other"]
    assert parse_spec({"targets": targets}).webhooks == ()


def _schema() -> Json:
    crd = yaml.safe_load(CRD.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields: Json = spec["properties"]["webhooks"]["items"]["properties"]
    return fields


def test_the_schema_knows_the_same_types_and_limits() -> None:
    fields = _schema()
    assert fields["type"]["enum"] == list(HookType)
    assert fields["onTimeout"]["enum"] == list(OnTimeout)
    assert fields["name"]["maxLength"] == LONGEST_NAME
    assert (fields["retries"]["minimum"], fields["retries"]["maximum"]) == (0, MOST_RETRIES)


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        (URL, True),
        ("https://gate.example.com:8443?token=a@b", True),
        ("http://[fd00::1]", True),
        ("ftp://loadtester.test", False),
        ("http://user:hunter2@loadtester.test/", False),
        ("http://loadtester.test/a b", False),
    ],
)
def test_the_schema_refuses_what_is_no_url(url: str, fits: bool) -> None:
    pattern = _schema()["url"]["pattern"].replace("[:space:]", r"\s")
    assert bool(re.search(pattern, url)) == fits


# -------------------------------------------------------------------------------------------------------------- payload


def test_what_is_sent_is_what_the_load_tester_of_flagger_decodes() -> None:
    assert json.dumps(PAYLOAD.json()) == (
        '{"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": "85b557", '
        '"metadata": {"cmd": "hey -z 1m", "type": "cmd"}}'
    )


@pytest.mark.parametrize(("warning", "kind"), [(False, "Normal"), (True, "Warning")])
def test_an_event_is_told_in_the_metadata_with_its_time_in_milliseconds(warning: bool, kind: str) -> None:
    event = HookEvent("weight 5 %", warning, datetime(2026, 11, 21, 12, 0, 0, 7000, tzinfo=UTC))
    assert event_payload(PAYLOAD, event).json() == PAYLOAD.json() | {
        "metadata": {
            "cmd": "hey -z 1m",
            "type": "cmd",
            "eventMessage": "weight 5 %",
            "eventType": kind,
            "timestamp": "1795262400007",
        }
    }


# ---------------------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    "name", ["gate.staging", "GATE.staging", "gate.staging.svc", "gate.staging.svc.cluster.local", "1.staging:9898"]
)
def test_services_of_the_own_namespace_may_be_called(name: str) -> None:
    assert refused_host(f"http://{name}/gate/check", "staging", ()) is None


@pytest.mark.parametrize(
    "name",
    [
        "gate",
        "staging",
        "gate.production",
        "gate.production.svc",
        "gate.production.svc.cluster.local",
        "a.gate.staging",
        "gate.staging.example.com",
        "gate.staging.svc.example.com",
        "staging.gate",
        "gate.xstaging",
        "169.254.169.254",
        "127.0.0.1",
        "[::1]",
        "kubernetes.default.svc",
    ],
)
def test_no_other_host_may_be_called_and_the_flag_that_allows_it_is_named(name: str) -> None:
    refused = refused_host(f"http://{name}/x?token=hunter2", "staging", ())
    assert refused == (
        f"host {name} is neither a Service of namespace staging (<service>.staging) "
        "nor allowed by the operator's flag --webhook-hosts"
    )


def test_a_dot_in_the_namespace_of_a_pattern_is_a_dot() -> None:
    assert refused_host("http://gate.a-b", "a.b", ()) is not None


@pytest.mark.parametrize("name", ["gate.example.com", "Gate.Example.com:8443", "loadtester.flagger-system", "10.1.2.3"])
def test_hosts_that_the_operator_allows_may_be_called(name: str) -> None:
    allowed = parse_hosts("gate.example.com, *.Flagger-system,10.1.*,")
    assert refused_host(f"https://{name}/x", "staging", allowed) is None
    assert refused_host(f"https://x{name}/x", "staging", parse_hosts("gate.example.com,10.1.*")) is not None


@pytest.mark.parametrize(
    "text", ["gate.example.com:80", "http://gate.example.com", "a/b", "a b", "[ab].com", "é.com", "a;b"]
)
def test_a_pattern_that_could_match_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no host such as"):
        parse_hosts(text)


def test_no_pattern_is_needed() -> None:
    assert parse_hosts("") == ()


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("http://gate.dev", "http://gate.dev.svc"),
        ("https://Gate.dev:8443/x?y#z", "https://Gate.dev.svc:8443/x?y#z"),
        ("http://gate.dev.svc/x", "http://gate.dev.svc/x"),
        ("http://gate.dev.svc.cluster.local/x", "http://gate.dev.svc.cluster.local/x"),
        ("http://allowed.dev/x", "http://allowed.dev/x"),
        ("http://10.1.2.3/x", "http://10.1.2.3/x"),
    ],
)
def test_the_name_of_a_service_leads_out_of_the_cluster_in_no_namespace(url: str, called: str) -> None:
    assert destination(url, "dev", ("allowed.dev", "10.*")) == called
