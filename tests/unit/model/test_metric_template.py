"""What a MetricTemplate may say, what is said of what it may not, and that the schema agrees."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from canary.model.fields import SpecError
from canary.model.metric_template import (
    BUILTIN_VARIABLES,
    MetricTemplate,
    Value,
    Variable,
    VariableType,
    parse_metric_template,
    promql_duration,
    typed,
)
from canary.model.template import Json

CRD = Path(__file__).parents[3] / "crds/fluxcanary.dev_metrictemplates.yaml"
STRING, NUMBER, DURATION = VariableType.STRING, VariableType.NUMBER, VariableType.DURATION


def template(**spec: Any) -> Json:
    return {"metadata": {"name": "queue-length"}, "spec": {"query": "vector(1)", **spec}}


def variables(*items: Any) -> Json:
    return template(variables=list(items))


def test_a_query_is_all_that_is_needed() -> None:
    assert parse_metric_template(template()) == MetricTemplate("queue-length", "vector(1)", ())


def test_everything_can_be_said() -> None:
    parsed = parse_metric_template(
        variables(
            {"name": "queue", "type": "string"},
            {"name": "Quantile_2", "type": "number", "default": "0.99", "description": "from 0 to 1"},
            {"name": "_window", "type": "duration", "default": "90s"},
            {"name": "empty", "type": "string", "default": ""},
        )
    )
    assert parsed.variables == (
        Variable("queue", STRING),
        Variable("Quantile_2", NUMBER, Value(NUMBER, "0.99")),
        Variable("_window", DURATION, Value(DURATION, "1m30s")),
        Variable("empty", STRING, Value(STRING, "")),
    )


REFUSED: list[tuple[str, Json, str]] = [
    ("spec.query", {"metadata": {"name": "t"}}, "is required"),
    ("spec.query", template(query=1), "wrong type"),
    ("spec.variables", template(variables={}), "wrong type"),
    ("spec.variables[0].name", variables({"type": "string"}), "is required"),
    ("spec.variables[0].name", variables({"name": "2nd", "type": "string"}), "not begin with a digit"),
    ("spec.variables[0].name", variables({"name": "", "type": "string"}), "must be letters"),
    ("spec.variables[0].name", variables({"name": "a-b", "type": "string"}), "must be letters"),
    ("spec.variables[0].name", variables({"name": "interval", "type": "duration"}), "is built in"),
    ("spec.variables[1].name", variables(*2 * [{"name": "a", "type": "string"}]), "'a' is there twice"),
    ("spec.variables[0].type", variables({"name": "a"}), "is required"),
    ("spec.variables[0].type", variables({"name": "a", "type": "regex"}), "one of string, number, duration"),
    ("spec.variables[0].default", variables({"name": "a", "type": "number", "default": 5}), "wrong type"),
    ("spec.variables[0].default", variables({"name": "a", "type": "number", "default": "5m"}), "'5m' is not a number"),
    ("spec.variables[0].default", variables({"name": "a", "type": "duration", "default": "5"}), "is not a duration"),
]


@pytest.mark.parametrize(("path", "obj", "problem"), REFUSED, ids=[f"{path}-{text}" for path, _, text in REFUSED])
def test_what_is_refused_is_named_by_its_field(path: str, obj: Json, problem: str) -> None:
    with pytest.raises(SpecError) as failure:
        parse_metric_template(obj)
    assert failure.value.path == path
    assert problem in str(failure.value)


@pytest.mark.parametrize("name", BUILTIN_VARIABLES)
def test_no_built_in_variable_can_be_defined_anew(name: str) -> None:
    with pytest.raises(SpecError, match="is built in"):
        parse_metric_template(variables({"name": name, "type": "string"}))


@pytest.mark.parametrize("text", ["0", "5", "007", "-5", "0.95", "-0.5", "1e3", "1E-3", "2.5e+10"])
def test_a_number_stays_as_it_is_written(text: str) -> None:
    assert typed(NUMBER, text) == Value(NUMBER, text)


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "5\n", "+5", ".5", "5.", "1e", "0x10", "NaN", "Inf", "1e999", "1,5", "1_000", "٣", "5)"]
)
def test_what_prometheus_or_a_reader_could_take_otherwise_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        typed(NUMBER, text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("90s", "1m30s"),
        ("1s1m", "1m1s"),
        ("1500ms", "1s500ms"),
        ("60m", "1h"),
        ("48h", "48h"),
        ("30m30m", "1h"),
        ("0s", "0s"),
        ("1ms", "1ms"),
    ],
)
def test_a_duration_is_written_as_prometheus_wants_it(text: str, written: str) -> None:
    assert typed(DURATION, text) == Value(DURATION, written)


@pytest.mark.parametrize("text", ["", "5", "-5m", "1.5h", "5m ", "1d", "forever", "9" * 30 + "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        typed(DURATION, text)


def test_milliseconds_are_not_rounded_away() -> None:
    assert promql_duration(timedelta(minutes=1, milliseconds=500)) == "1m500ms"


def test_a_string_may_be_any_text_but_half_a_character() -> None:
    assert typed(STRING, '"{{ }}\n\0').text == '"{{ }}\n\0'
    with pytest.raises(ValueError, match="surrogates"):
        typed(STRING, "\ud800")


def test_the_schema_knows_the_same_types_and_built_in_variables() -> None:
    crd = yaml.safe_load(CRD.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields = schema["properties"]["variables"]["items"]["properties"]
    assert fields["type"]["enum"] == list(VariableType)
    (rule,) = fields["name"]["x-kubernetes-validations"]
    assert rule["rule"] == f"!(self in {list(BUILTIN_VARIABLES)})"
