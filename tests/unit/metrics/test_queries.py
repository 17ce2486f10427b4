"""From a Canary and the MetricTemplates of its namespace to the queries that are sent."""

from collections.abc import Mapping
from typing import Any

import pytest

from canary.engine.world import Finding, Identity
from canary.metrics.queries import queries
from canary.model import reasons
from canary.model.spec import parse_spec
from canary.model.template import Json
from canary.model.traffic import Backend, Traffic

CANARY = Identity("staging", "the-canary", "uid", generation=1)
BACKENDS = (Backend("public", "web", "80"), Backend("internal", "api", "8080"))
FIRST = "spec.analysis.metrics[0]"


def template(query: str, *variables: Mapping[str, str], name: str = "t") -> Json:
    return {"metadata": {"name": name}, "spec": {"query": query, "variables": list(variables)}}


def metric(**fields: Any) -> Json:
    return {"name": "mine", "thresholdRange": {"max": 1}, **fields}


def using(**fields: Any) -> Json:
    return metric(templateRef={"name": "t"}, **fields)


def asked(*metrics: Json, templates: tuple[Json, ...] = ()) -> Mapping[str, str] | Finding:
    spec = parse_spec({"targets": [{"name": "podinfo"}], "analysis": {"metrics": list(metrics)}})
    known = {each["metadata"]["name"]: each for each in templates}
    return queries(CANARY, spec, spec.targets[0].name, Traffic(BACKENDS, (), frozenset()), known.get)


def test_the_built_in_metrics_have_none() -> None:
    assert asked() == {}
    assert asked({"name": "request-duration"}, {"name": "request-success-rate", "thresholdRange": {"min": 99}}) == {}


def test_a_built_in_metric_can_have_a_query_of_the_users() -> None:
    assert asked(metric(name="request-duration", query="vector(1)")) == {"request-duration": "vector(1)"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("namespace", "staging"),
        ("canary", "the-canary"),
        ("target", "podinfo"),
        ("canaryTarget", "podinfo-canary"),
        ("ingress", "public"),
        ("service", "web"),
        ("canaryService", "web-canary"),
        ("interval", "1m30s"),
    ],
)
def test_every_query_knows_the_built_in_variables(variable: str, value: str) -> None:
    query, written = f'f("{{{{ {variable} }}}}")', {"mine": f'f("{value}")'}
    assert asked(metric(query=query, interval="90s")) == written
    assert asked(using(interval="90s"), templates=(template(query),)) == written


def test_the_interval_is_a_duration_and_each_metric_has_its_own() -> None:
    shared = template("rate(x[{{ interval }}])")
    assert asked(using(), using(name="other", interval="1500ms"), templates=(shared,)) == {
        "mine": "rate(x[1m])",
        "other": "rate(x[1s500ms])",
    }


def test_a_value_of_the_metric_goes_before_the_default() -> None:
    shared = template("f({{ n }})", {"name": "n", "type": "number", "default": "5"})
    assert asked(using(), templates=(shared,)) == {"mine": "f(5)"}
    assert asked(using(templateVariables={"n": "7"}), templates=(shared,)) == {"mine": "f(7)"}


def test_an_empty_default_is_a_default() -> None:
    shared = template('f("{{ s }}")', {"name": "s", "type": "string", "default": ""})
    assert asked(using(), templates=(shared,)) == {"mine": 'f("")'}


STRING = {"name": "queue", "type": "string"}
NUMBER = {"name": "n", "type": "number"}
UNKNOWN = (
    "is unknown; the variables are canary, canaryService, canaryTarget, ingress, interval, namespace, service, target"
)
IN_TEMPLATE = f"{FIRST}.templateRef: MetricTemplate 't': "

WRONG: list[tuple[str, Json, tuple[Json, ...], str, str]] = [
    (
        "no such template",
        using(),
        (template("up", name="other"),),
        reasons.METRIC_TEMPLATE_NOT_FOUND,
        f"{FIRST}.templateRef: there is no MetricTemplate 't' in namespace 'staging'",
    ),
    (
        "a template that is not understood",
        using(),
        (template("up", {"name": "interval", "type": "duration"}),),
        reasons.INVALID_METRIC_TEMPLATE,
        f"{IN_TEMPLATE}spec.variables[0].name: 'interval' is built in and cannot be defined anew",
    ),
    (
        "a string outside of quotes",
        using(templateVariables={"queue": "up"}),
        (template("{{ queue }}", STRING),),
        reasons.INVALID_METRIC_TEMPLATE,
        f"{IN_TEMPLATE}spec.query: {{{{ queue }}}} at character 1 is a string, which can stand only between quotes",
    ),
    (
        "an unknown variable",
        using(),
        (template('f("{{ pod }}")'),),
        reasons.INVALID_METRIC_TEMPLATE,
        f"{IN_TEMPLATE}spec.query: {{{{ pod }}}} at character 4 {UNKNOWN}",
    ),
    (
        "no value",
        using(),
        (template('f("{{ queue }}")', STRING),),
        reasons.INVALID_SPEC,
        f"{FIRST}.templateVariables.queue: is required: MetricTemplate 't' gives it no default",
    ),
    (
        "a value of another type",
        using(templateVariables={"n": "many"}),
        (template("f({{ n }})", NUMBER),),
        reasons.INVALID_SPEC,
        f"{FIRST}.templateVariables.n: 'many' is not a number such as 5, 0.95 or 1e-3",
    ),
    (
        "a value for nothing",
        using(templateVariables={"queu": "mails"}),
        (template("up", STRING, NUMBER),),
        reasons.INVALID_SPEC,
        f"{FIRST}.templateVariables.queu: MetricTemplate 't' has no such variable; it has queue, n",
    ),
    (
        "a value for a built-in variable",
        using(templateVariables={"namespace": "production"}),
        (template("up"),),
        reasons.INVALID_SPEC,
        f"{FIRST}.templateVariables.namespace: MetricTemplate 't' has no such variable; it has none",
    ),
    (
        "a variable of nobody in a query",
        metric(query="f({{ n }})"),
        (template("up", NUMBER),),
        reasons.INVALID_SPEC,
        f"{FIRST}.query: {{{{ n }}}} at character 3 {UNKNOWN}",
    ),
]


@pytest.mark.parametrize(
    ("metric", "templates", "reason", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_what_is_wrong_is_named_by_its_field(
    metric: Json, templates: tuple[Json, ...], reason: str, message: str
) -> None:
    assert asked(metric, templates=templates) == Finding(reason, message)


def test_the_metric_at_fault_is_named_among_others() -> None:
    found = asked({"name": "request-duration"}, metric(query="{{"), metric(name="other", query="}}"))
    assert isinstance(found, Finding)
    assert found.message.startswith("spec.analysis.metrics[1].query: ")
