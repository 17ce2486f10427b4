"""What the judge remembers of its rollouts: arrays whose first axis, R, is the rollout.

Further axes: A arms (canary, stable), J alternatives, T latency thresholds, B bounds of latency buckets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from analysis import harmless, mixture, outage
from analysis.dispersion import Pairs
from analysis.kernel import Bools, Floats
from analysis.latency import SURVIVALS
from analysis.regression import ERRORS, LATENCY

ARMS = 2
THRESHOLDS = len(SURVIVALS)


@dataclass(frozen=True)
class Block:
    """Requests that are judged together."""

    requests: Floats
    """(R, A)"""
    bad: Floats
    """(R, A)"""
    timed: Floats
    """(R, A): those of `requests` whose latency counts."""
    slow: Floats
    """(R, A, T): beyond each threshold; stable's beyond the threshold / regression.LATENCY_FACTOR."""
    far: Floats
    """(R, T): stable's beyond the threshold / regression.HARMLESS_FACTOR."""


@dataclass(frozen=True)
class Tally:
    """Plain sums since the step began."""

    requests: Floats
    """(R, A), of every scrape."""
    bad: Floats
    """(R, A), of every scrape."""
    settled: Floats
    """(R, A): requests of the scrapes wholly under the present share."""
    timed: Floats
    """(R, A): those of them whose latency counts."""
    slow: Floats
    """(R, A, T): beyond each threshold, as it is."""


@dataclass(frozen=True)
class State:
    """R rollouts."""

    errors: Floats
    """(R, J) log wealth of the test for more errors, and the blocks (R,) it has seen."""
    errors_blocks: Floats
    outage: Floats
    """(R, J) likewise for gross failure."""
    outage_blocks: Floats
    latency: Floats
    """(R, T, J) likewise for slower requests."""
    latency_blocks: Floats
    harmless: Floats
    """(R, 2, J): sums and slopes of the proof that there are no more errors in this step."""
    harmless_latency: Floats
    """(R, 2, T, J)"""
    pairs: Pairs
    """(R, A): errors from scrape to scrape."""
    long_pairs: Pairs
    """(R, A): errors from one long interval to the next."""
    long: Floats
    """(R, 3, A): scrapes, requests and errors of the long interval that is not over."""
    latency_pairs: Pairs
    """(R, A, T): requests beyond each threshold from scrape to scrape."""
    thresholds: Floats
    """(R, T) in seconds, NaN where there is none (yet)."""
    shift: Floats
    """(R, T): see latency.likely_part; of stable's past, and as fixed as the thresholds."""
    early: Floats
    """(R, 1 + B): while no threshold is chosen, stable's requests, and those beyond each bound."""
    open: Block
    """A block that has not enough requests yet."""
    tally: Tally


def fresh(rollouts: int, bounds: int) -> State:
    """Nothing known yet, with so many bounds of latency buckets."""

    def zeros(*shape: int) -> Floats:
        return np.zeros((rollouts, *shape))

    def nothing(*shape: int) -> Floats:
        return np.full((rollouts, *shape), mixture.FLOOR)

    def pairs(*shape: int) -> Pairs:
        return Pairs(*(zeros(*shape) for _ in fields(Pairs)))

    return State(
        errors=nothing(len(ERRORS.ratios)),
        errors_blocks=zeros(),
        outage=nothing(len(outage.RATES)),
        outage_blocks=zeros(),
        latency=nothing(THRESHOLDS, len(LATENCY.ratios)),
        latency_blocks=zeros(),
        harmless=zeros(2, len(harmless.RATIOS)),
        harmless_latency=zeros(2, THRESHOLDS, len(harmless.LATENCY_RATIOS)),
        pairs=pairs(ARMS),
        long_pairs=pairs(ARMS),
        long=zeros(3, ARMS),
        latency_pairs=pairs(ARMS, THRESHOLDS),
        thresholds=np.full((rollouts, THRESHOLDS), np.nan),
        shift=zeros(THRESHOLDS),
        early=zeros(1 + bounds),
        open=Block(zeros(ARMS), zeros(ARMS), zeros(ARMS), zeros(ARMS, THRESHOLDS), zeros(THRESHOLDS)),
        tally=Tally(zeros(ARMS), zeros(ARMS), zeros(ARMS), zeros(ARMS), zeros(ARMS, THRESHOLDS)),
    )


def begin_step(state: State, which: Bools) -> State:
    """A new share of the traffic for some: the proof of harmlessness begins anew, other evidence goes on."""
    new = fresh(len(which), state.early.shape[1] - 1)
    return replace(
        state,
        harmless=choose(which, new.harmless, state.harmless),
        harmless_latency=choose(which, new.harmless_latency, state.harmless_latency),
        open=choose(which, new.open, state.open),
        tally=choose(which, new.tally, state.tally),
    )


_T = TypeVar("_T", bound=Any)


def choose(which: Bools, yes: _T, no: _T) -> _T:
    """Per rollout, `yes` or `no`: arrays, or the dataclasses of arrays of this module."""

    def chosen(a: Floats, b: Floats) -> Floats:
        picked: Floats = np.where(which.reshape(-1, *(1,) * (a.ndim - 1)), a, b)
        return picked

    return merge(chosen, yes, no)


def concatenate(states: Sequence[State]) -> State:
    """The rollouts of several states as one."""
    return merge(lambda *arrays: np.concatenate(arrays), *states)


def take(state: State, rollouts: slice) -> State:
    """Some of the rollouts."""
    return merge(lambda array: array[rollouts], state)


def merge(function: Callable[..., Floats], *trees: _T) -> _T:
    """Apply a function of arrays to the arrays that stand in the same place."""
    first: Any = trees[0]
    if isinstance(first, np.ndarray):
        merged: Any = function(*trees)
    else:
        merged = type(first)(*(merge(function, *(getattr(t, f.name) for t in trees)) for f in fields(first)))
    result: _T = merged
    return result
