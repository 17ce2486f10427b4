"""A MetricTemplate: a query that several Canaries share, and the variables by which it differs between them."""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from canary.model.duration import parse_duration
from canary.model.fields import SpecError, choice, get, items, required
from canary.model.template import Json

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class VariableType(StrEnum):
    """What a value may be, which decides where in a query it can stand."""

    STRING = "string"
    NUMBER = "number"
    DURATION = "duration"


BUILTIN_VARIABLES = (
    "namespace",
    "canary",
    "target",
    "canaryTarget",
    "ingress",
    "service",
    "canaryService",
    "interval",
)
"""The variables that every query has, `interval` a duration and the others strings. No template defines them anew."""


@dataclass(frozen=True)
class Value:
    """A text that is known to be of its type."""

    type: VariableType
    text: str


def typed(kind: VariableType, text: str) -> Value:
    """A text as a value of this type; ValueError where it is none. A duration becomes one that Prometheus reads."""
    match kind:
        case VariableType.NUMBER:
            if not (_NUMBER.fullmatch(text) and math.isfinite(float(text))):
                raise ValueError(f"{text!r} is not a number such as 5, 0.95 or 1e-3")
        case VariableType.DURATION:
            text = promql_duration(_duration(text))
        case VariableType.STRING:
            text.encode()  # half a surrogate pair: UnicodeEncodeError, which is a ValueError
    return Value(kind, text)


@dataclass(frozen=True)
class Variable:
    """A variable that a template defines. Without a default each Canary must give a value."""

    name: str
    type: VariableType
    default: Value | None = None


@dataclass(frozen=True)
class MetricTemplate:
    """The whole of a MetricTemplate. No two variables have one name, and none that of a built-in."""

    name: str
    query: str
    variables: tuple[Variable, ...] = ()


def parse_metric_template(obj: Json) -> MetricTemplate:
    """A MetricTemplate object. Raises SpecError for what the schema of the CRD would have refused, too."""
    spec = obj.get("spec") or {}
    variables = items(spec, "spec", "variables", _variable)
    for index, variable in enumerate(variables):
        if any(variable.name == other.name for other in variables[:index]):
            raise SpecError(f"spec.variables[{index}].name", f"{variable.name!r} is there twice")
    return MetricTemplate(obj["metadata"]["name"], required(spec, "spec", "query", str), variables)


def _variable(path: str, item: Json) -> Variable:
    name = required(item, path, "name", str)
    if not _NAME.fullmatch(name):
        raise SpecError(f"{path}.name", f"{name!r} must be letters, digits and _, and not begin with a digit")
    if name in BUILTIN_VARIABLES:
        raise SpecError(f"{path}.name", f"{name!r} is built in and cannot be defined anew")
    required(item, path, "type", str)
    kind = choice(item, path, "type", VariableType.STRING)
    default = get(item, path, "default", str, None)
    try:
        return Variable(name, kind, None if default is None else typed(kind, default))
    except ValueError as error:
        raise SpecError(f"{path}.default", str(error)) from None


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None


def promql_duration(duration: timedelta) -> str:
    """As Prometheus reads it, the largest unit first, each at most once: `1m30s`."""
    seconds, milliseconds = divmod(duration // timedelta(milliseconds=1), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"), (milliseconds, "ms"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
