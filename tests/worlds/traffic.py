"""The traffic of R releases at once: what each scrape of a made-up world adds.

Requests arrive as a Poisson process, so those of each arm in each latency bucket are independent Poisson counts. Which
of them fail is drawn given their number: independently, or in clusters.
"""

import math
from dataclasses import dataclass

import numpy as np

from analysis.judge import Requests
from analysis.kernel import Bools, Floats
from tests.worlds.worlds import App, Cluster, World

NOISE_SECONDS = 60.0
"""How long noise of one arm remembers (AR(1))."""
DRIFT_SECONDS = 600.0
"""The period of slow changes that both arms share."""
INCIDENT_SECONDS = 180.0
INCIDENT_WITHIN_SECONDS = 300.0
"""An incident begins within the first so many seconds of the release."""
PAST_INCIDENT_SECONDS = -600.0
"""When an incident of the past began."""

_Z = np.linspace(-9.0, 9.0, 3601)
_UPPER = np.array([0.5 * math.erfc(z / math.sqrt(2.0)) for z in _Z])


@dataclass(frozen=True)
class Mood:
    """What lasts longer than a scrape. The arms, axis 1, are canary and stable."""

    errors: Floats
    """(R, 2): standard normal, moves each arm's rate of bad requests."""
    latency: Floats
    """(R, 2): likewise for its latency."""
    incident: Floats
    """(R,): when the common incident begins, in seconds of the release."""
    phase: Floats
    """(R,): of the slow drift, in radians."""


@dataclass(frozen=True)
class Counts:
    """`analysis.judge.Requests` without the bounds, which are the same for all."""

    total: Floats
    """(R, 2)"""
    bad: Floats
    """(R, 2)"""
    slower: Floats
    """(R, 2, B)"""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.total + other.total, self.bad + other.bad, self.slower + other.slower)

    def where(self, which: Bools) -> "Counts":
        """Those of some releases (R,); nothing for the others."""
        one = which[:, None]
        return Counts(self.total * one, self.bad * one, self.slower * one[..., None])

    def seen(self, world: World) -> Requests:
        """As the judge takes them."""
        return Requests(self.total, self.bad, self.slower, world.app.bounds)


def begin(world: World, rollouts: int, scrape_seconds: float, rng: np.random.Generator) -> Mood:
    """Draw what is different from release to release."""
    incident = rng.uniform(0.0, INCIDENT_WITHIN_SECONDS, rollouts)
    if world.incident_at_change:
        # shares take effect at multiples of this, counted from the first traffic: there the parts of a mixed scrape
        # differ the most
        incident = np.floor(incident / scrape_seconds) * scrape_seconds
    return Mood(
        errors=rng.standard_normal((rollouts, 2)),
        latency=rng.standard_normal((rollouts, 2)),
        incident=incident,
        phase=rng.uniform(0.0, 2 * math.pi, rollouts),
    )


def advance(mood: Mood, world: World, seconds: float, rng: np.random.Generator) -> Mood:
    """Let noise go on for so many seconds."""
    kept = math.exp(-seconds / NOISE_SECONDS)
    fresh = math.sqrt(1 - kept**2)

    def moved(noise: Floats, amount: float) -> Floats:
        return kept * noise + fresh * rng.standard_normal(noise.shape) if amount else noise

    return Mood(
        moved(mood.errors, world.error_noise), moved(mood.latency, world.latency_noise), mood.incident, mood.phase
    )


def scrape(world: World, mood: Mood, at: float, load: Floats, rng: np.random.Generator) -> Counts:
    """What an interval around `at` (seconds of the release) adds; `load` (R, 2): requests that each arm expects."""
    shares = _bucket_shares(world, mood, at)
    counts = rng.poisson(load[..., None] * shares).astype(float)
    beyond = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    total = beyond[..., 0]
    return Counts(
        total=total,
        bad=_bad(world.cluster, total, error_rates(world, mood, at), rng),
        slower=beyond[..., 1:],
    )


def error_rates(world: World, mood: Mood, at: float) -> Floats:
    """The share (R, 2) of bad requests of each arm at that second of the release."""
    rates = np.full(mood.errors.shape, world.errors)
    if world.error_drift:
        rates *= np.exp(world.error_drift * _sine(mood, at))[:, None]
    if world.error_noise:
        rates *= np.exp(world.error_noise * mood.errors - world.error_noise**2 / 2)
    rates += world.incident * _within(at - mood.incident)[:, None]
    if world.past_incident:
        rates += world.past_incident * float(0 <= at - PAST_INCIDENT_SECONDS < INCIDENT_SECONDS)
    rates[:, 0] += world.extra_errors * (at >= world.onset_seconds)
    return np.asarray(np.minimum(rates, 1.0))


def _within(age: Floats) -> Bools:
    within: Bools = (age >= 0) & (age < INCIDENT_SECONDS)
    return within


def _sine(mood: Mood, at: float) -> Floats:
    return np.sin(2 * math.pi * at / DRIFT_SECONDS + mood.phase)


def _bucket_shares(world: World, mood: Mood, at: float) -> Floats:
    """The share (R or 1, 2, B + 1) of requests in each latency bucket."""
    slower = np.ones((1, 2))
    if 0 <= at < world.slower_seconds:
        slower = slower * [world.slower, 1.0]
    if world.latency_drift:
        slower = slower * np.exp(world.latency_drift * _sine(mood, at))[:, None]
    if world.latency_noise:
        slower = slower * np.exp(world.latency_noise * mood.latency)
    survival = survivals(world.app, slower)
    if world.slower_tail > 1:
        tail = survivals(world.app, slower[:, 0] * world.slower_tail)
        survival[:, 0] = np.maximum(survival[:, 0], np.minimum(tail, world.tail))
    edges = np.concatenate((np.ones((*slower.shape, 1)), survival, np.zeros((*slower.shape, 1))), axis=-1)
    return np.maximum(-np.diff(edges, axis=-1), 0.0)


def survivals(app: App, slower: Floats) -> Floats:
    """The share (…, B) of requests beyond each bound, with all latencies multiplied by `slower` (…)."""
    z = np.log(app.bounds / app.median_seconds / slower[..., None]) / app.sigma
    return np.asarray(np.interp(z, _Z, _UPPER))


def _bad(cluster: Cluster | None, total: Floats, rates: Floats, rng: np.random.Generator) -> Floats:
    if cluster is None:
        return rng.binomial(total.astype(np.int64), rates).astype(float)
    clusters = rng.poisson(total * rates / cluster.mean)
    return np.minimum(cluster.sizes(clusters, rng), total)
