"""R releases at once under the policy: scrape, judge, then advance, promote, roll back or hold."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis import judge, step
from analysis.dump import dump, load
from analysis.judge import Requests
from analysis.kernel import Bools, Floats
from analysis.state import State, begin_step, concatenate, merge
from tests.worlds import traffic
from tests.worlds.traffic import Counts, Mood
from tests.worlds.worlds import World

PROMOTED, ERRORS, LATENCY, DEADLINE, UNDECIDED = range(5)
"""How a release ended; ERRORS and LATENCY: rolled back for that proof, DEADLINE: for lack of any."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Policy:
    """When a step may end. Times in seconds."""

    weights: tuple[float, ...] = (0.05, 0.10, 0.20, 0.35, 0.50)
    scrape: float = 15.0
    minimum: float = 30.0
    maximum: float = 120.0
    """From then on a step may pass without proof."""
    patience: float = 600.0
    """What a step may take beyond that before the release is given up."""
    lag: float = 5.0
    """Until a new share is in effect. It changes right after a scrape was judged, so the next scrape is mixed."""
    from_change: bool = True
    """The step's times count from the change of the share; otherwise from when it is in effect."""
    restarts: bool = False
    """The state is dumped and loaded after each scrape, as though the operator had been restarted."""
    warm: float = 30.0
    """Latency counts from so long after the first traffic."""
    min_requests: float = 10.0
    history: float = 1800.0


@dataclass(frozen=True)
class Ends:
    """How R releases ended."""

    how: NDArray[np.int64]
    """(R,): PROMOTED, ERRORS, …"""
    seconds: Floats
    """(R,) since the first traffic."""
    scrapes: Floats
    """(R,) that were needed."""
    requests: Floats
    """(R,) that the canary got."""
    failed: Floats
    """(R,) of them."""

    @property
    def rolled_back(self) -> Bools:
        """(R,): for proof of a regression."""
        back: Bools = (self.how == ERRORS) | (self.how == LATENCY)
        return back


@dataclass(frozen=True)
class _Running:
    """The releases that are not over."""

    number: NDArray[np.int64]
    state: State
    mood: Mood
    at_step: NDArray[np.int64]
    began: Floats
    """When the share was last changed, in seconds since the first change."""
    missed: Counts
    """What the scrapes that did not happen would have brought."""
    mixed: Bools
    """The share changed since the last scrape that happened."""
    requests: Floats
    failed: Floats


def simulate(world: World, rps: float, rollouts: int, seed: int, policy: Policy | None = None) -> Ends:
    """Run so many releases to their end, or to the end of four hours."""
    policy = policy or Policy()
    rng = np.random.default_rng(seed)
    running = _begin(world, rps, rollouts, policy, rng)
    ends = Ends(np.full(rollouts, UNDECIDED), *(np.full(rollouts, np.nan) for _ in range(4)))
    for number in range(1, int(4 * 3600 / policy.scrape)):
        now = number * policy.scrape
        running = _scrape(running, world, rps, now, policy, rng)
        running, how = _decide(running, world, now, policy)
        over = how != UNDECIDED
        if over.any():
            _write(ends, running, how, now - policy.lag, number)
            running = merge(lambda array, over=over: array[~over], running)
            if over.all():
                break
    return ends


def _write(ends: Ends, running: _Running, how: NDArray[np.int64], seconds: float, scrapes: int) -> None:
    over = how != UNDECIDED
    which = running.number[over]
    ends.how[which] = how[over]
    ends.seconds[which] = seconds
    ends.scrapes[which] = scrapes
    ends.requests[which] = running.requests[over]
    ends.failed[which] = running.failed[over]


def history(
    world: World, mood: Mood, rps: float, policy: Policy, rng: np.random.Generator
) -> tuple[list[Requests], Mood]:
    """The past of stable, which had all the traffic."""
    load = np.broadcast_to([0.0, rps * policy.scrape], mood.errors.shape)
    past = []
    for number in range(-int(policy.history / policy.scrape), 0):
        mood = traffic.advance(mood, world, policy.scrape, rng)
        past.append(traffic.scrape(world, mood, (number + 0.5) * policy.scrape - policy.lag, load, rng).seen(world))
    return past, mood


def _begin(world: World, rps: float, rollouts: int, policy: Policy, rng: np.random.Generator) -> _Running:
    mood = traffic.begin(world, rollouts, policy.scrape, rng)
    past, mood = history(world, mood, rps, policy, rng)
    return _Running(
        number=np.arange(rollouts),
        state=judge.seed(past),
        mood=mood,
        at_step=np.zeros(rollouts, dtype=np.int64),
        began=np.zeros(rollouts),
        missed=_nothing(past[0]),
        mixed=np.ones(rollouts, dtype=bool),
        requests=np.zeros(rollouts),
        failed=np.zeros(rollouts),
    )


def _nothing(like: Requests) -> Counts:
    return Counts(0 * like.total, 0 * like.bad, 0 * like.slower)


def _scrape(
    running: _Running, world: World, rps: float, now: float, policy: Policy, rng: np.random.Generator
) -> _Running:
    """Draw the scrape that ends at `now`, and let the judge take it."""
    mood = traffic.advance(running.mood, world, policy.scrape, rng)
    drawn = _draw(running, mood, world, rps, now, policy, rng)
    pending = running.missed + drawn
    happened = rng.uniform(size=len(running.number)) >= world.missed
    state = judge.update(
        running.state,
        pending.where(happened).seen(world),
        share=np.array(policy.weights)[running.at_step],
        settled=~running.mixed | ~happened,
        warm=np.full(len(happened), now - policy.scrape >= policy.warm + policy.lag),
    )
    if policy.restarts:
        state = concatenate([load(dump(state, rollout)) for rollout in range(len(happened))])
    return replace(
        running,
        state=state,
        mood=mood,
        missed=pending.where(~happened),
        mixed=running.mixed & ~happened,
        requests=running.requests + drawn.total[:, 0],
        failed=running.failed + drawn.bad[:, 0],
    )


def _draw(
    running: _Running, mood: Mood, world: World, rps: float, now: float, policy: Policy, rng: np.random.Generator
) -> Counts:
    """One interval of traffic: in two parts where the share changed at its beginning."""
    shares = np.array([0.0, *policy.weights]) * world.routed
    start = now - policy.scrape
    changed = running.began == start
    late = policy.scrape - np.where(changed, policy.lag, 0.0)
    main = traffic.scrape(
        world, mood, now - late.min() / 2 - policy.lag, _load(shares[running.at_step + 1], rps * late), rng
    )
    if not changed.any() or not policy.lag:
        return main
    early = np.where(changed, policy.lag, 0.0)
    before = traffic.scrape(world, mood, start - policy.lag / 2, _load(shares[running.at_step], rps * early), rng)
    return main + before


def _load(share: Floats, requests: Floats) -> Floats:
    return np.stack((share, 1 - share), axis=1) * requests[:, None]


def _decide(running: _Running, world: World, now: float, policy: Policy) -> tuple[_Running, NDArray[np.int64]]:
    """What the policy makes of the evidence: the releases as they go on, and how each one ended (R,)."""
    steps = len(policy.weights)
    following = np.array([*policy.weights[1:], 1.0])
    judged = judge.look(running.state, following[running.at_step])
    elapsed = now - running.began - (0.0 if policy.from_change else policy.lag)
    errors, latency = step.outcomes(
        running.state,
        judged,
        over=elapsed >= policy.maximum,
        min_requests=np.full(len(elapsed), policy.min_requests),
        waited=(elapsed - policy.maximum) / policy.patience,
    )
    passed = errors.passed & latency.passed & (elapsed >= policy.minimum) & ~running.mixed
    last = running.at_step == steps - 1
    promoted = passed & last & (now - policy.lag >= world.bake_seconds)
    how = np.full(len(elapsed), UNDECIDED)
    how[(elapsed >= policy.maximum + policy.patience + last * world.bake_seconds) & ~passed] = DEADLINE
    how[promoted] = PROMOTED
    how[latency.failed] = LATENCY
    how[errors.failed] = ERRORS
    on = passed & ~last & (how == UNDECIDED)
    return (
        replace(
            running,
            state=begin_step(running.state, on),
            at_step=running.at_step + on,
            began=np.where(on, now, running.began),
            mixed=running.mixed | on,
        ),
        how,
    )
