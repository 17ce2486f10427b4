"""When a step passes: with proof, or with nothing against it once its time is over."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import judge, step
from analysis.judge import Judgement
from analysis.state import State, fresh

ONE = np.ones(1)


def judgement(errors: float = 0.0, outage: float = 0.0, latency: float = 0.0, proof: float = 0.0) -> Judgement:
    return Judgement(
        errors=errors * ONE,
        outage=outage * ONE,
        latency=latency * ONE,
        slowest=np.zeros(1, dtype=np.intp),
        harmless=proof * ONE,
        harmless_latency=proof * ONE,
        excess=ONE,
    )


def state_with(requests: float) -> State:
    state = fresh(1, 0)
    counts = np.full((1, 2), requests)
    return replace(state, tally=replace(state.tally, settled=counts, timed=counts))


def passed(judged: Judgement, *, over: bool, requests: float = 0.0, waited: float = 0.0) -> tuple[bool, bool]:
    errors, latency = step.outcomes(
        state_with(requests), judged, over=np.array([over]), min_requests=10 * ONE, waited=waited * ONE
    )
    return bool(errors.passed[0]), bool(latency.passed[0])


def test_proof_passes_at_any_time() -> None:
    assert passed(judgement(proof=2.9), over=False) == (False, False)
    assert passed(judgement(proof=3.0), over=False) == (True, True)


def test_without_proof_it_passes_when_the_time_is_over_and_enough_was_seen() -> None:
    assert passed(judgement(), over=True, requests=9) == (False, False)
    assert passed(judgement(), over=True, requests=10) == (True, True)
    assert passed(judgement(), over=False, requests=1e6) == (False, False)


@pytest.mark.parametrize(
    ("name", "held"), [("errors", (False, True)), ("outage", (False, True)), ("latency", (True, False))]
)
def test_suspicion_holds_the_metric_that_it_is_about(name: str, held: tuple[bool, bool]) -> None:
    suspected = judgement(proof=9.0, **{name: np.log(1.6)})
    assert passed(suspected, over=True, requests=100) == held


def test_suspicion_asks_for_more_the_longer_it_was_held() -> None:
    suspected = judgement(errors=np.log(4.0))
    assert [passed(suspected, over=True, requests=100, waited=part)[0] for part in (0.0, 0.4, 0.6, 1.0, 9.0)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert not passed(judgement(errors=np.log(13.0)), over=True, requests=100, waited=9.0)[0]


def test_failed_is_never_passed() -> None:
    proven = judgement(errors=-np.log(judge.ERRORS_ALPHA), proof=9.0)
    errors, latency = step.outcomes(state_with(100), proven, over=np.array([True]), min_requests=10 * ONE)
    assert errors.failed[0]
    assert not errors.passed[0]
    assert latency.passed[0]
    assert not latency.failed[0]
