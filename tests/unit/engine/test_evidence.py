"""From what was measured to checks."""

from dataclasses import replace
from datetime import timedelta

import pytest

from analysis.verdict import Verdict
from canary.engine.evidence import compare, hold_to_limits, judge_samples, share_text
from canary.engine.judging import Memory, learn
from canary.model.evidence import Evidence, Exposure
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.scrape import Arms, Counts, Scrape
from canary.model.spec import DEFAULT_METRICS, REQUEST_DURATION, REQUEST_SUCCESS_RATE, Metric, ThresholdRange
from canary.model.status import Arm, Check
from tests.manifests import START

SUCCESS = Metric(REQUEST_SUCCESS_RATE, ThresholdRange(min=99.0), timedelta(seconds=30))
DURATION = Metric(REQUEST_DURATION, ThresholdRange(max=500.0), timedelta(seconds=30))
OWN = Metric("saturation", ThresholdRange(0, 0.5), query="vector(1)")
BOUNDS = (0.1, 0.25, 0.5, 1.0)
SLOW = (0.5, 0.1, 0.03, 0.01)
"""Shares of requests beyond BOUNDS."""


def counts(requests: int, failed: float = 0.0, slower: tuple[float, ...] = SLOW) -> Counts:
    return Counts(requests, failed, 0.0, tuple(requests * share for share in slower))


def scrape(number: int, canary: Counts, stable: Counts) -> Scrape:
    """The n-th one since the share took effect; 0 and below are stable's history."""
    end = START.timestamp() + 15 * number
    return Scrape(end - 15, end, canary, stable, BOUNDS)


def evidence(*canary: Counts, stable: Counts | None = None, problem: ProviderError | None = None) -> Evidence:
    """After half an hour of history, and one scrape for each of `canary`."""
    arms = Arms("apps", ())
    exposure = Exposure("v2", arms, 1, 10, START, START, timedelta(), timedelta(seconds=30), None)
    serving = stable or counts(10_000, 10)
    history = [scrape(number, Counts(), serving) for number in range(-100, 1)]
    scrapes = [scrape(number, one, serving) for number, one in enumerate(canary, start=1)]
    (memory,) = learn([Memory(exposure)], [[*history, *scrapes]])
    return Evidence(memory.state, {}, memory.recent, problem=problem)


def errors_and_latency(known: Evidence, *, over: bool = False) -> tuple[Check, Check]:
    errors, latency = compare(DEFAULT_METRICS, known, 10, waited=0.0 if over else None, min_requests=10)
    return errors, latency


class TestComparison:
    def test_a_canary_like_stable_is_proven_harmless_and_its_numbers_are_said(self) -> None:
        errors, latency = errors_and_latency(evidence(*[counts(500, 0.5)] * 3))
        assert (errors.verdict, latency.verdict) == (Verdict.PASS, Verdict.PASS)
        assert (errors.canary, errors.stable) == (Arm(1500, 0.1), Arm(30_000, 0.1))
        assert errors.bound is not None
        assert 0 < errors.bound < 5
        assert errors.message.startswith("request-success-rate: 0.1 % of 1,500 failed, stable 0.1 % of 30,000: at most")

    def test_a_canary_with_more_errors_fails_and_says_by_how_much(self) -> None:
        errors, latency = errors_and_latency(evidence(*[counts(500, 30)] * 4))
        assert (errors.verdict, latency.verdict) == (Verdict.FAIL, Verdict.PASS)
        assert errors.canary == Arm(2000, 6.0)
        assert "6 % of 2,000 failed, stable 0.1 % of 40,000: that is a regression" in errors.message

    def test_a_broken_canary_is_called_so_after_two_scrapes(self) -> None:
        assert errors_and_latency(evidence(counts(500, 500)))[0].verdict is not Verdict.FAIL
        errors, _ = errors_and_latency(evidence(counts(500, 500), counts(500, 500)))
        assert errors.verdict is Verdict.FAIL
        assert errors.message.endswith("it is plainly broken")

    def test_a_slower_canary_fails_by_the_threshold_that_shows_it(self) -> None:
        slow = counts(500, 0.5, (0.9, 0.6, 0.3, 0.05))
        errors, latency = errors_and_latency(evidence(*[slow] * 4))
        assert (errors.verdict, latency.verdict) == (Verdict.PASS, Verdict.FAIL)
        assert "that is slower" in latency.message

    def test_too_few_requests_prove_nothing_until_the_time_for_proof_is_over(self) -> None:
        few = evidence(*[counts(4)] * 3)
        assert [check.verdict for check in errors_and_latency(few)] == [Verdict.INCONCLUSIVE] * 2
        assert [check.verdict for check in errors_and_latency(few, over=True)] == [Verdict.PASS] * 2
        fewer = evidence(*[counts(3)] * 3)
        assert [check.verdict for check in errors_and_latency(fewer, over=True)] == [Verdict.INCONCLUSIVE] * 2

    def test_no_request_at_all_is_inconclusive_however_long_it_takes(self) -> None:
        silent = evidence(*[Counts()] * 50, stable=counts(10))
        assert [check.verdict for check in errors_and_latency(silent, over=True)] == [Verdict.INCONCLUSIVE] * 2

    def test_a_failed_provider_is_an_error_but_proof_stands(self) -> None:
        dead = ProviderError("cannot connect to Prometheus")
        good = errors_and_latency(evidence(*[counts(500)] * 3, problem=dead))
        assert [check.verdict for check in good] == [Verdict.ERROR] * 2
        assert good[0].message == "request-success-rate: cannot connect to Prometheus"
        assert errors_and_latency(evidence(*[counts(500, 500)] * 3, problem=dead))[0].verdict is Verdict.FAIL

    def test_what_was_not_asked_for_yet_is_inconclusive(self) -> None:
        unheard = Evidence(None, {}, heard=False)
        assert [check.verdict for check in errors_and_latency(unheard)] == [Verdict.INCONCLUSIVE] * 2
        remembered = replace(evidence(*[counts(500)] * 3), heard=False)
        assert [check.verdict for check in errors_and_latency(remembered)] == [Verdict.INCONCLUSIVE] * 2

    def test_an_app_too_quiet_to_say_what_is_slow_passes_when_the_time_is_over(self) -> None:
        quiet = evidence(
            counts(10),
            counts(5),
            stable=counts(1),
        )
        assert errors_and_latency(quiet)[1].verdict is Verdict.INCONCLUSIVE
        latency = errors_and_latency(quiet, over=True)[1]
        assert latency.verdict is Verdict.PASS
        assert "too few of stable's requests" in latency.message

    def test_durations_that_are_not_scraped_are_never_a_pass(self) -> None:
        known = evidence(*[counts(500)] * 3)
        bare = [Scrape(one.start, one.end, Counts(500), Counts(9500), ()) for one in known.recent]
        exposure = Exposure("v2", Arms("apps", ()), 1, 10, START, START, timedelta(), timedelta(seconds=30), None)
        (memory,) = learn([Memory(exposure)], [bare])
        errors, latency = errors_and_latency(Evidence(memory.state, {}, memory.recent), over=True)
        assert (errors.verdict, latency.verdict) == (Verdict.PASS, Verdict.INCONCLUSIVE)
        assert "no request durations" in latency.message


class TestShare:
    def test_a_share_near_its_weight_is_in_effect(self) -> None:
        assert share_text(evidence(*[counts(1100)] * 3), weight=10) is None

    def test_a_canary_that_gets_nothing_is_noticed_and_named_with_its_numbers(self) -> None:
        silent = evidence(Counts(), Counts())
        assert share_text(silent, weight=10) == "the canary got 0 of 20,000 requests, 0 % in the place of 10 %"

    def test_one_that_gets_too_much_is_noticed_as_well(self) -> None:
        assert share_text(evidence(counts(5000)), weight=10) is not None

    def test_a_handful_of_requests_says_nothing_about_the_share(self) -> None:
        assert share_text(evidence(Counts(), stable=counts(40)), weight=10) is None


class TestLimits:
    @pytest.mark.parametrize(
        ("metric", "canary", "verdict", "message"),
        [
            (SUCCESS, counts(400, 4), Verdict.PASS, "request-success-rate is 99 %, good is at least 99 %"),
            (SUCCESS, counts(400, 8), Verdict.FAIL, "request-success-rate is 98 %, good is at least 99 %"),
            (DURATION, counts(400, 0, (0.5, 0.1, 0.01, 0.0)), Verdict.PASS, "is 500 ms, good is at most 500 ms"),
            (DURATION, counts(400, 0, (1, 1, 0.02, 0)), Verdict.FAIL, "request-duration is 750 ms, good is at most"),
        ],
    )
    def test_a_built_in_is_counted_from_the_canarys_requests(
        self, metric: Metric, canary: Counts, verdict: Verdict, message: str
    ) -> None:
        (check,) = hold_to_limits((metric,), evidence(canary, canary))
        assert check.verdict is verdict
        assert message in check.message

    def test_only_its_interval_counts(self) -> None:
        (check,) = hold_to_limits((SUCCESS,), evidence(counts(400, 400), counts(400), counts(400)))
        assert check.value == 100.0

    def test_without_requests_or_provider_there_is_no_verdict_on_the_canary(self) -> None:
        (check,) = hold_to_limits((SUCCESS,), evidence(Counts()))
        assert check.verdict is Verdict.INCONCLUSIVE
        (check,) = hold_to_limits((SUCCESS,), evidence(counts(400), problem=ProviderError("timed out")))
        assert check.verdict is Verdict.ERROR

    def test_a_metric_that_is_compared_has_none(self) -> None:
        assert hold_to_limits(DEFAULT_METRICS, evidence(counts(400))) == ()


class TestQueries:
    @staticmethod
    def judged(metric: Metric, sample: Sample) -> Check:
        (check,) = judge_samples((metric,), {metric.name: sample})
        return check

    def test_a_number_is_judged_by_its_limits_and_said_with_them(self) -> None:
        message = "saturation is 0.6, good is at least 0 and at most 0.5"
        assert self.judged(OWN, Measured(0.6, at=0.0)) == Check(OWN.name, Verdict.FAIL, 0.6, message)

    def test_a_query_of_the_user_under_a_built_in_name_has_no_unit(self) -> None:
        own = Metric(REQUEST_DURATION, ThresholdRange(max=1.0), query="vector(1)")
        assert self.judged(own, Measured(0.5, at=0.0)).message == "request-duration is 0.5, good is at most 1"

    def test_no_data_is_inconclusive_and_a_failed_provider_is_an_error(self) -> None:
        assert self.judged(OWN, NoData("no series")).verdict is Verdict.INCONCLUSIVE
        assert self.judged(OWN, ProviderError("timed out")).verdict is Verdict.ERROR
        assert self.judged(OWN, Measured(float("nan"), at=0.0)).verdict is Verdict.INCONCLUSIVE

    def test_checks_come_in_the_order_of_the_spec(self) -> None:
        other = Metric("queue", ThresholdRange(max=1), query="vector(1)")
        samples: dict[str, Sample] = {metric.name: NoData("none") for metric in (OWN, other)}
        assert [check.name for check in judge_samples((other, OWN), samples)] == ["queue", "saturation"]
