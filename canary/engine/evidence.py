"""From samples to checks: what each metric says about the canary."""

from collections.abc import Mapping

from analysis.threshold import judge_threshold
from analysis.verdict import Verdict
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.spec import REQUEST_DURATION, REQUEST_SUCCESS_RATE, Metric
from canary.model.status import Check

_UNITS = {REQUEST_SUCCESS_RATE: " %", REQUEST_DURATION: " ms"}


def judge(metrics: tuple[Metric, ...], samples: Mapping[str, Sample]) -> tuple[Check, ...]:
    """One check for each metric, in the order of the spec."""
    return tuple(_check(metric, samples[metric.name]) for metric in metrics)


def _check(metric: Metric, sample: Sample) -> Check:
    match sample:
        case Measured(value):
            limits = metric.threshold_range
            unit = _UNITS.get(metric.name, "") if metric.query is None else ""
            verdict = judge_threshold(value, limits.min, limits.max)
            return Check(metric.name, verdict, value, f"{metric.name} is {value:.4g}{unit}, good is {limits}{unit}")
        case NoData(message):
            return Check(metric.name, Verdict.INCONCLUSIVE, None, f"{metric.name}: {message}")
        case ProviderError(message):
            return Check(metric.name, Verdict.ERROR, None, f"{metric.name}: {message}")
