"""The queries of a Canary's own metrics, as they are sent: its inline queries and those of MetricTemplates."""

from collections.abc import Callable, Mapping

from canary.engine.world import Finding, Identity
from canary.metrics.template import QueryError, render
from canary.model import names, reasons
from canary.model.fields import SpecError
from canary.model.metric_template import (
    MetricTemplate,
    Value,
    Variable,
    VariableType,
    parse_metric_template,
    promql_duration,
    typed,
)
from canary.model.spec import CanarySpec, Metric
from canary.model.template import Json
from canary.model.traffic import Traffic

FindTemplate = Callable[[str], Json | None]
"""The MetricTemplate of a name in the Canary's namespace."""


class _Unusable(Exception):
    def __init__(self, reason: str, message: str) -> None:
        self.finding = Finding(reason, message)


def queries(
    canary: Identity, spec: CanarySpec, target: str, traffic: Traffic, find: FindTemplate
) -> Mapping[str, str] | Finding:
    """The PromQL of each metric that has a query or a template, by the metric's name; or the first thing wrong."""
    found = {}
    for index, metric in enumerate(spec.analysis.metrics):
        path = f"spec.analysis.metrics[{index}]"
        values = _builtin(canary, target, metric, traffic)
        try:
            if metric.template_ref is not None:
                template = _template(f"{path}.templateRef", metric.template_ref, canary.namespace, find)
                found[metric.name] = _from_template(path, template, values, dict(metric.template_variables))
            elif metric.query is not None:
                found[metric.name] = _inline(path, metric.query, values)
        except _Unusable as error:
            return error.finding
    return found


def _builtin(canary: Identity, target: str, metric: Metric, traffic: Traffic) -> dict[str, Value]:
    backend = traffic.backends[0]
    texts = {
        "namespace": canary.namespace,
        "canary": canary.name,
        "target": target,
        "canaryTarget": names.canary_name(target),
        "ingress": backend.ingress,
        "service": backend.service,
        "canaryService": backend.canary_service,
    }
    interval = Value(VariableType.DURATION, promql_duration(metric.interval))
    return {"interval": interval, **{name: Value(VariableType.STRING, text) for name, text in texts.items()}}


def _inline(path: str, query: str, values: Mapping[str, Value]) -> str:
    try:
        return render(query, values)
    except QueryError as error:
        raise _Unusable(reasons.INVALID_SPEC, f"{path}.query: {error}") from None


def _template(path: str, name: str, namespace: str, find: FindTemplate) -> MetricTemplate:
    obj = find(name)
    if obj is None:
        problem = f"{path}: there is no MetricTemplate {name!r} in namespace {namespace!r}"
        raise _Unusable(reasons.METRIC_TEMPLATE_NOT_FOUND, problem)
    try:
        return parse_metric_template(obj)
    except SpecError as error:
        raise _Unusable(reasons.INVALID_METRIC_TEMPLATE, f"{path}: MetricTemplate {name!r}: {error}") from None


def _from_template(path: str, template: MetricTemplate, builtin: Mapping[str, Value], given: Mapping[str, str]) -> str:
    known = {variable.name: variable for variable in template.variables}
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            problem = f"{path}.templateVariables.{name}: MetricTemplate {template.name!r} has no such variable; {has}"
            raise _Unusable(reasons.INVALID_SPEC, problem)
    own = {name: _value(path, template.name, variable, given.get(name)) for name, variable in known.items()}
    try:
        return render(template.query, {**builtin, **own})
    except QueryError as error:
        problem = f"{path}.templateRef: MetricTemplate {template.name!r}: spec.query: {error}"
        raise _Unusable(reasons.INVALID_METRIC_TEMPLATE, problem) from None


def _value(path: str, template: str, variable: Variable, given: str | None) -> Value:
    path = f"{path}.templateVariables.{variable.name}"
    if given is None and variable.default is not None:
        return variable.default
    if given is None:
        raise _Unusable(reasons.INVALID_SPEC, f"{path}: is required: MetricTemplate {template!r} gives it no default")
    try:
        return typed(variable.type, given)
    except ValueError as error:
        raise _Unusable(reasons.INVALID_SPEC, f"{path}: {error}") from None
