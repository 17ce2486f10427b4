"""The judge: canary against stable, over the same scrapes, after every scrape if one likes.

`seed` learns from stable's past, `update` takes what one scrape added, `look` says what all of it means. Every function
takes and returns whole arrays, for any number of rollouts at once; those for which a scrape brought nothing stay as
they are.

A healthy canary is called regressed with a probability of at most 1 % per release, however often one looks and however
long it takes: ERRORS_ALPHA + OUTAGE_ALPHA + LATENCY_ALPHA, each bounded by Ville's inequality.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis import dispersion, harmless, latency, mixture
from analysis.kernel import Bools, Floats, split_evidence
from analysis.outage import WEIGHTS as OUTAGE_WEIGHTS
from analysis.outage import outage_evidence
from analysis.regression import CAP, ERRORS, HARMLESS_FACTOR, LATENCY, LATENCY_FACTOR
from analysis.state import Block, State, Tally, choose, fresh

ERRORS_ALPHA = 0.004
LATENCY_ALPHA = 0.004
OUTAGE_ALPHA = 0.002

LONG = 8
"""Scrapes of a long interval of the dispersion."""
BLOCK_CANARY = 1
BLOCK_STABLE = 3
"""Requests of each arm that a block has at the least. Counts of requests, never of failures: that keeps it valid."""


@dataclass(frozen=True)
class Requests:
    """What one scrape added for R rollouts. The arms are canary and stable, in this order."""

    total: Floats
    """(R, 2)"""
    bad: Floats
    """(R, 2): failed ones, by whatever measure."""
    slower: Floats
    """(R, 2, B): those that took longer than each bound."""
    bounds: Floats
    """(B,) in seconds, rising; B may be 0."""


def seed(history: Sequence[Requests]) -> State:
    """Learn from stable's past, oldest first: how bursty its errors are, and which latencies to watch.

    Canary's part of the history is not looked at. At least one scrape is needed, for the number of rollouts.
    """
    first = history[0]
    rollouts, bounds = len(first.total), len(first.bounds)
    alone = [replace(one, total=one.total * [0, 1], bad=one.bad * [0, 1]) for one in history]
    total, slower = sum(one.total[:, 1] for one in alone), sum(one.slower[:, 1] for one in alone)
    state = _watch(fresh(rollouts, bounds), first.bounds, np.asarray(total), np.asarray(slower))
    for one in alone:
        state = _learn_thresholds(state, one)
        state = _learn_dispersion(state, one, _beyond(state, one)[0], np.ones(rollouts, dtype=bool))
    return state


def update(state: State, scrape: Requests, *, share: Floats, settled: Bools, warm: Bools) -> State:
    """Take what one scrape added, for canaries that have traffic.

    `share` (R,) in (0, 1]: what the canary is asked to get by now, at least as much as before.
    `settled` (R,): the whole scrape was under that share; otherwise it tells of harm only, not of harmlessness.
    `warm` (R,): canary's latency counts by now.
    """
    state = _learn_thresholds(state, scrape)
    slow, below = _beyond(state, scrape)
    block = _block(state, scrape, slow, below, warm)
    pooled = _add(state.open, block)
    judged = choose(settled, pooled, block)
    ready: Bools = _enough(judged)
    state = _judge_outage(state, judged, ready)
    compared = choose(settled, judged, _at_largest_odds(judged, share))
    timed: Bools = np.asarray((judged.timed > 0).all(axis=-1))
    errors_phi, latency_phi = error_dispersion(state), latency_dispersion(state)
    state = _judge_errors(state, compared, errors_phi, ready)
    state = _judge_latency(state, compared, latency_phi, ready & timed)
    state = _prove_errors_harmless(state, judged, errors_phi, settled & ready)
    state = _prove_latency_harmless(state, judged, latency_phi, settled & ready & timed)
    empty = fresh(len(settled), 0)
    state = replace(
        state,
        open=choose(np.logical_not(settled & ~ready), empty.open, pooled),
        tally=_tally(state.tally, scrape, slow, settled, warm),
    )
    return _learn_dispersion(state, scrape, slow, settled)


def _at_largest_odds(block: Block, share: Floats) -> Block:
    """A block in which the share rose, as evidence of harm: a bad request was canary's by the present odds at the most.

    An incident that begins with the new share would else look like the canary's, for more of its requests are new
    (Simpson). Fewer requests of stable make the odds what they were when they were largest: the kernel's bound holds.
    """

    def counted(requests: Floats) -> Floats:
        canary, stable = _arms(requests)
        return np.stack((canary, np.minimum(stable, canary * (1 - share) / share)), axis=-1)

    return replace(block, requests=counted(block.requests), timed=counted(block.timed))


def _learn_thresholds(state: State, scrape: Requests) -> State:
    """Choose what to watch once stable had enough requests; frozen for the rest of the release."""
    unknown: Bools = np.asarray(np.isnan(state.thresholds).all(axis=-1))
    if not unknown.any() or not scrape.bounds.size:
        return state
    early = state.early + np.concatenate((scrape.total[:, 1:], scrape.slower[:, 1]), axis=-1)
    watched = choose(unknown, _watch(state, scrape.bounds, early[:, 0], early[:, 1:]), state)
    known = np.isfinite(watched.thresholds).any(axis=-1)
    return replace(watched, early=choose(np.asarray(known), np.zeros_like(early), early))


def _watch(state: State, bounds: Floats, requests: Floats, slower: Floats) -> State:
    """Choose thresholds from what is known of stable, `requests` (R,) and `slower` (R, B)."""
    thresholds = latency.choose_thresholds(bounds, requests, slower)
    shift = latency.likely_part(bounds, thresholds, requests, slower, LATENCY_FACTOR)
    return replace(state, thresholds=thresholds, shift=shift)


def _beyond(state: State, scrape: Requests) -> tuple[Floats, Floats]:
    """Requests beyond each threshold, (R, A, T), and stable's beyond the bound below it, (R, T)."""
    (canary, _), (stable, below) = (
        latency.beyond(scrape.bounds, state.thresholds, scrape.total[:, arm], scrape.slower[:, arm]) for arm in (0, 1)
    )
    return np.stack((canary, stable), axis=1), below


def _block(state: State, scrape: Requests, slow: Floats, below: Floats, warm: Bools) -> Block:
    counted = warm[:, None] & bool(scrape.bounds.size)
    canary, stable = _arms(slow)
    far = latency.even_part(scrape.bounds, state.thresholds, HARMLESS_FACTOR)
    return Block(
        requests=scrape.total,
        bad=scrape.bad,
        timed=scrape.total * counted,
        slow=np.stack((canary, stable + state.shift * (below - stable)), axis=1) * counted[..., None],
        far=(stable + far * (below - stable)) * counted,
    )


def _add(a: Block, b: Block) -> Block:
    return Block(a.requests + b.requests, a.bad + b.bad, a.timed + b.timed, a.slow + b.slow, a.far + b.far)


def _enough(block: Block) -> Bools:
    enough: Bools = (block.requests[:, 0] >= BLOCK_CANARY) & (block.requests[:, 1] >= BLOCK_STABLE)
    return enough


def _arms(counts: Floats) -> tuple[Floats, Floats]:
    return counts[:, 0], counts[:, 1]


def _judge_outage(state: State, block: Block, which: Bools) -> State:
    blocks = state.outage_blocks + which
    wealth = mixture.add(state.outage, blocks, outage_evidence(_arms(block.requests), _arms(block.bad)))
    return replace(state, outage=choose(which, wealth, state.outage), outage_blocks=blocks)


def _judge_errors(state: State, block: Block, phi: Floats, which: Bools) -> State:
    x, slope = split_evidence(_arms(block.requests), _arms(block.bad), ERRORS.ratios, ERRORS.tolerated_ratio)
    evidence = np.minimum((x + ERRORS.tolerated_excess * slope) / phi[:, None], CAP)
    blocks = state.errors_blocks + which
    wealth = mixture.add(state.errors, blocks, evidence)
    return replace(state, errors=choose(which, wealth, state.errors), errors_blocks=blocks)


def _judge_latency(state: State, block: Block, phi: Floats, which: Bools) -> State:
    known = ~np.isnan(state.thresholds)
    which = which & known.any(axis=-1)
    if not which.any():
        return state
    x, slope = split_evidence(_timed(block), _arms(block.slow), LATENCY.ratios, LATENCY.tolerated_ratio)
    evidence = np.minimum((x + LATENCY.tolerated_excess * slope) / phi[..., None], CAP)
    blocks = state.latency_blocks + which
    wealth = mixture.add(
        state.latency, np.broadcast_to(blocks[:, None], known.shape), np.where(known[..., None], evidence, 0.0)
    )
    return replace(state, latency=choose(which, wealth, state.latency), latency_blocks=blocks)


def _prove_errors_harmless(state: State, block: Block, phi: Floats, which: Bools) -> State:
    x, slope = split_evidence(_arms(block.requests), _arms(block.bad), harmless.RATIOS, harmless.TOLERATED)
    proof = state.harmless + np.stack((x, slope), axis=1) / phi[:, None, None]
    return replace(state, harmless=choose(which, proof, state.harmless))


def _prove_latency_harmless(state: State, block: Block, phi: Floats, which: Bools) -> State:
    which = which & ~np.isnan(state.thresholds).all(axis=-1)
    if not which.any():
        return state
    slow = (block.slow[:, 0], block.far)
    x, slope = split_evidence(_timed(block), slow, harmless.LATENCY_RATIOS, harmless.LATENCY_TOLERATED)
    proof = state.harmless_latency + np.stack((x, slope), axis=1) / phi[:, None, :, None]
    return replace(state, harmless_latency=choose(which, proof, state.harmless_latency))


def _timed(block: Block) -> tuple[Floats, Floats]:
    """Requests whose latency counts, (R, T) of each arm."""
    canary, stable = (np.broadcast_to(n[:, None], block.far.shape) for n in _arms(block.timed))
    return canary, stable


def _tally(old: Tally, scrape: Requests, slow: Floats, settled: Bools, warm: Bools) -> Tally:
    counted = (settled & warm)[:, None] & bool(scrape.bounds.size)
    return Tally(
        requests=old.requests + scrape.total,
        bad=old.bad + scrape.bad,
        settled=old.settled + scrape.total * settled[:, None],
        timed=old.timed + scrape.total * counted,
        slow=old.slow + slow * counted[..., None],
    )


def _learn_dispersion(state: State, scrape: Requests, slow: Floats, which: Bools) -> State:
    """After the scrape was judged: what is used is always from before."""
    timed = np.broadcast_to(scrape.total[..., None], slow.shape)
    long = state.long + np.stack((np.ones_like(scrape.total), scrape.total, scrape.bad), axis=1)
    over = which & (long[:, 0, 0] >= LONG)
    learnt = replace(
        state,
        pairs=dispersion.add(state.pairs, scrape.total, scrape.bad),
        long_pairs=choose(over, dispersion.add(state.long_pairs, long[:, 1], long[:, 2]), state.long_pairs),
        long=choose(over, np.zeros_like(long), long),
        latency_pairs=dispersion.add(state.latency_pairs, timed, slow),
    )
    return choose(which & scrape.total.any(axis=-1), learnt, state)


def error_dispersion(state: State) -> Floats:
    """(R,): by what the evidence from errors is divided, at least 1: the larger of both arms and both scales."""
    short = dispersion.of_arms(state.pairs, dispersion.dispersion)
    return np.maximum(short, dispersion.of_arms(state.long_pairs, dispersion.long_dispersion))


def latency_dispersion(state: State) -> Floats:
    """(R, T): likewise for each threshold. At the long scale common drift would dominate: it is left out."""
    return dispersion.of_arms(state.latency_pairs, dispersion.dispersion)


@dataclass(frozen=True)
class Judgement:
    """What all the evidence says about R rollouts. Logarithms are natural: log E >= log(1 / alpha) is proof."""

    errors: Floats
    """(R,) log evidence that the canary fails more requests than is tolerated."""
    outage: Floats
    """(R,) log evidence that it is plainly broken."""
    latency: Floats
    """(R,) log evidence that it is slower, over all thresholds."""
    slowest: NDArray[np.intp]
    """(R,) the threshold at which it is strongest."""
    harmless: Floats
    """(R,) log evidence that its errors do no harm at the next share."""
    harmless_latency: Floats
    """(R,) log evidence that its latency does none; the weakest threshold. -inf where no threshold is known."""
    excess: Floats
    """(R,) with confidence 1 - harmless.BETA canary's error rate is below 1.1 times stable's + this."""

    @property
    def failed_errors(self) -> Bools:
        """(R,) proof of a regression in errors."""
        proof: Bools = (self.errors >= -np.log(ERRORS_ALPHA)) | (self.outage >= -np.log(OUTAGE_ALPHA))
        return proof

    @property
    def failed_latency(self) -> Bools:
        """(R,) proof of a regression in latency."""
        proof: Bools = self.latency >= -np.log(LATENCY_ALPHA)
        return proof


def look(state: State, next_weight: Floats) -> Judgement:
    """All that is known now. `next_weight` (R,): the share (0 to 1] that the canary would get next."""
    known = ~np.isnan(state.thresholds)
    latency_wealth = mixture.log_evidence(
        state.latency, np.broadcast_to(state.latency_blocks[:, None], known.shape), LATENCY.weights
    )
    at_threshold = np.where(known, latency_wealth, -np.inf)
    thresholds = np.maximum(known.sum(axis=-1), 1)
    latency_margin = harmless.latency_margin(next_weight)[:, None]
    proof = harmless.log_harmless(state.harmless_latency[:, 0], state.harmless_latency[:, 1], latency_margin)
    weakest = np.where(known, proof, np.inf).min(axis=-1)
    return Judgement(
        errors=mixture.log_evidence(state.errors, state.errors_blocks, ERRORS.weights),
        outage=mixture.log_evidence(state.outage, state.outage_blocks, OUTAGE_WEIGHTS),
        latency=np.logaddexp.reduce(at_threshold, axis=-1) - np.log(thresholds),
        slowest=at_threshold.argmax(axis=-1),
        harmless=harmless.log_harmless(state.harmless[:, 0], state.harmless[:, 1], harmless.margin(next_weight)),
        harmless_latency=np.where(known.any(axis=-1), weakest, -np.inf),
        excess=harmless.upper_bound(state.harmless[:, 0], state.harmless[:, 1]),
    )
