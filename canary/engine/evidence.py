"""From what was measured to checks: what each metric says about the canary, and in which words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.harmless import BETA
from analysis.judge import Judgement, look
from analysis.quantile import quantile
from analysis.state import State
from analysis.step import Outcome, outcomes
from analysis.threshold import judge_threshold
from analysis.verdict import Verdict
from canary.engine.share import can_tell, is_effective
from canary.model.evidence import Evidence
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.scrape import Scrape
from canary.model.spec import REQUEST_SUCCESS_RATE, Metric
from canary.model.status import Arm, Check

PERCENTILE = 0.99
"""Of the request durations, where they have fixed limits."""
_PROOF = -np.log(BETA)
_UNITS = {True: " %", False: " ms"}


def compare(
    metrics: tuple[Metric, ...], evidence: Evidence, next_weight: float, *, waited: float | None, min_requests: int
) -> tuple[Check, ...]:
    """A check for each metric that compares canary with stable.

    `waited`: how much of the time that the share may be held beyond the time for proof has passed; None before that.
    """
    compared = [metric.name for metric in metrics if metric.compared]
    if not compared:
        return ()
    state = evidence.state
    if state is None or not evidence.heard:
        return tuple(_unknown(name, evidence, "nothing was counted of the canary yet") for name in compared)
    judged = look(state, np.array([next_weight / 100]))
    errors, latency = outcomes(
        state,
        judged,
        over=np.array([waited is not None]),
        min_requests=np.array([float(min_requests)]),
        waited=waited or 0.0,
    )
    return tuple(
        _errors(name, evidence, state, judged, errors)
        if name == REQUEST_SUCCESS_RATE
        else _latency(name, evidence, state, judged, latency)
        for name in compared
    )


def hold_to_limits(metrics: tuple[Metric, ...], evidence: Evidence) -> tuple[Check, ...]:
    """A check for each built-in metric that has fixed limits."""
    limited = [metric for metric in metrics if metric.built_in and not metric.compared]
    return tuple(_check(metric, _measured(metric, evidence)) for metric in limited)


def judge_samples(metrics: tuple[Metric, ...], samples: Mapping[str, Sample]) -> tuple[Check, ...]:
    """A check for each metric that was asked for."""
    return tuple(_check(metric, samples[metric.name]) for metric in metrics if metric.name in samples)


def share_text(evidence: Evidence, weight: float) -> str | None:
    """What the canary gets in the place of its weight; None where that is in effect, or not known.

    The last scrapes count, or all of the step where they have too few requests to tell.
    """
    if evidence.state is None:
        return None
    canary = sum(scrape.canary.requests for scrape in evidence.recent)
    total = canary + sum(scrape.stable.requests for scrape in evidence.recent)
    if not can_tell(total, weight):
        canary, stable = _pair(evidence.state.tally.settled)
        total = canary + stable
    if is_effective(canary, total - canary, weight):
        return None
    share = 100 * canary / total
    return f"the canary got {canary:,.0f} of {total:,.0f} requests, {share:.2g} % in the place of {weight:g} %"


def _pair(array: np.ndarray) -> tuple[float, float]:
    return float(array[0, 0]), float(array[0, 1])


def _unknown(name: str, evidence: Evidence, why: str) -> Check:
    if evidence.problem:
        return Check(name, Verdict.ERROR, None, f"{name}: {evidence.problem.message}")
    return Check(name, Verdict.INCONCLUSIVE, None, f"{name}: {why}")


def _errors(name: str, evidence: Evidence, state: State, judged: Judgement, outcome: Outcome) -> Check:
    canary, stable = _arms(state.tally.requests, state.tally.bad)
    bound = 100 * float(judged.excess[0])
    said = _Said(
        rates=f"{canary.bad:.3g} % of {canary.requests:,} failed, stable {stable.bad:.3g} % of {stable.requests:,}",
        failed="it is plainly broken" if judged.outage[0] > judged.errors[0] else "that is a regression",
        proven=f"at most {bound:.2g} points more" if judged.harmless[0] >= _PROOF else None,
    )
    return _compared(name, evidence, outcome, said, (canary, stable, bound if judged.excess[0] < 1 else None))


def _latency(name: str, evidence: Evidence, state: State, judged: Judgement, outcome: Outcome) -> Check:
    thresholds = state.thresholds[0]
    if state.early.shape[1] == 1:
        return _unknown(name, evidence, "Prometheus has no request durations of ingress-nginx")
    if np.isnan(thresholds).all():
        said = _Said("too few of stable's requests are known to say what is slow", "", None)
        return _compared(name, evidence, outcome, said, (None, None, None))
    slowest = int(judged.slowest[0])
    canary, stable = _arms(state.tally.timed, state.tally.slow[:, :, slowest])
    if not canary.requests and not outcome.failed[0]:
        return _unknown(name, evidence, "the canary is warming up, or answered nothing")
    said = _Said(
        rates=f"{canary.bad:.3g} % took over {1000 * thresholds[slowest]:g} ms, stable {stable.bad:.3g} %",
        failed="that is slower",
        proven="no slower" if judged.harmless_latency[0] >= _PROOF else None,
    )
    return _compared(name, evidence, outcome, said, (canary, stable, None))


@dataclass(frozen=True)
class _Said:
    """The words of a comparison."""

    rates: str
    failed: str
    """If it fails."""
    proven: str | None
    """What is proven of it, if it passes by proof."""


def _compared(
    name: str, evidence: Evidence, outcome: Outcome, said: _Said, numbers: tuple[Arm | None, Arm | None, float | None]
) -> Check:
    """Proof against the canary stands whatever became of the provider since; anything else needs it alive."""
    if outcome.failed[0]:
        return Check(name, Verdict.FAIL, None, f"{name}: {said.rates}: {said.failed}", *numbers)
    if evidence.problem:
        return _unknown(name, evidence, "")
    if outcome.passed[0]:
        text = f"{name}: {said.rates}: {said.proven or 'nothing speaks against it'}"
        return Check(name, Verdict.PASS, None, text, *numbers)
    return Check(name, Verdict.INCONCLUSIVE, None, f"{name}: {said.rates}: no proof yet", *numbers)


def _arms(requests: np.ndarray, bad: np.ndarray) -> tuple[Arm, Arm]:
    canary, stable = (
        Arm(round(n), 100 * f / n if n else 0.0) for n, f in zip(_pair(requests), _pair(bad), strict=True)
    )
    return canary, stable


def _measured(metric: Metric, evidence: Evidence) -> Sample:
    """The built-in metric over its interval, from the canary's requests alone."""
    if evidence.problem:
        return evidence.problem
    newest = evidence.recent[-1].end if evidence.recent else 0.0
    oldest = newest - metric.interval.total_seconds()
    scrapes = [scrape for scrape in evidence.recent if scrape.end > oldest]
    requests = sum(scrape.canary.requests for scrape in scrapes)
    if not requests:
        return NoData("the canary answered no request")
    if metric.name == REQUEST_SUCCESS_RATE:
        return Measured(100 - 100 * sum(scrape.canary.failed for scrape in scrapes) / requests, newest)
    seconds = _percentile(scrapes)
    return NoData("no request durations were scraped") if seconds is None else Measured(1000 * seconds, newest)


def _percentile(scrapes: list[Scrape]) -> float | None:
    """In seconds, over the scrapes that have the newest one's buckets."""
    bounds = scrapes[-1].bounds
    alike = [scrape.canary for scrape in scrapes if scrape.bounds == bounds and scrape.canary.slower]
    requests = sum(counts.requests for counts in alike)
    if not bounds or not requests:
        return None
    slower = np.sum([counts.slower for counts in alike], axis=0)
    return quantile(PERCENTILE, np.array(bounds), float(requests), slower)


def _check(metric: Metric, sample: Sample) -> Check:
    assert metric.threshold_range is not None, "a metric without limits is compared"
    match sample:
        case Measured(value):
            limits = metric.threshold_range
            unit = _UNITS[metric.name == REQUEST_SUCCESS_RATE] if metric.built_in else ""
            verdict = judge_threshold(value, limits.min, limits.max)
            return Check(metric.name, verdict, value, f"{metric.name} is {value:.4g}{unit}, good is {limits}{unit}")
        case NoData(message):
            return Check(metric.name, Verdict.INCONCLUSIVE, None, f"{metric.name}: {message}")
        case ProviderError(message):
            return Check(metric.name, Verdict.ERROR, None, f"{metric.name}: {message}")
