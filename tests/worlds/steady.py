"""One share for as long as one likes, without a policy: what the tests themselves do."""

from dataclasses import dataclass, replace

import numpy as np

from analysis import judge
from analysis.kernel import Bools, Floats
from analysis.state import merge
from tests.worlds import traffic
from tests.worlds.release import Policy, history
from tests.worlds.worlds import App, World

NO_LATENCY = App(bounds=np.zeros(0))


@dataclass(frozen=True)
class Found:
    """When R canaries were proven bad."""

    errors: Bools
    """(R,): proven to fail more than is tolerated."""
    latency: Bools
    """(R,): proven to be slower."""
    requests: Floats
    """(R,) of the canary up to then, or in all."""
    failed: Floats
    """(R,) of them."""
    scrapes: Floats
    """(R,)"""


def watch(
    world: World, rps: float, weight: float, rollouts: int, seed: int, *, looks: int, scrape_seconds: float = 15.0
) -> Found:
    """Judge after each of so many scrapes; a canary that is proven bad is watched no longer."""
    rng = np.random.default_rng(seed)
    policy = Policy(scrape=scrape_seconds)
    mood = traffic.begin(world, rollouts, scrape_seconds, rng)
    past, mood = history(world, mood, rps, policy, rng)
    state, left = judge.seed(past), np.arange(rollouts)
    found = Found(
        np.zeros(rollouts, dtype=bool), np.zeros(rollouts, dtype=bool), *(np.zeros(rollouts) for _ in range(3))
    )
    load = np.array([weight, 1 - weight]) * rps * scrape_seconds
    for number in range(looks):
        mood = traffic.advance(mood, world, scrape_seconds, rng)
        drawn = traffic.scrape(world, mood, (number + 0.5) * scrape_seconds, np.tile(load, (len(left), 1)), rng)
        always = np.ones(len(left), dtype=bool)
        share = np.full(len(left), weight)
        state = judge.update(state, drawn.seen(world), share=share, settled=always, warm=always)
        judged = judge.look(state, np.full(len(left), 1.0))
        found.errors[left], found.latency[left] = judged.failed_errors, judged.failed_latency
        found.requests[left] += drawn.total[:, 0]
        found.failed[left] += drawn.bad[:, 0]
        found.scrapes[left] += 1
        over = judged.failed_errors | judged.failed_latency
        if over.any():
            state, mood = (
                merge(lambda array, over=over: array[~over], (state)),
                merge(lambda array, over=over: array[~over], mood),
            )
            left = left[~over]
            if not left.size:
                break
    return found


def errors_only(world: World) -> World:
    """The same world without a latency histogram."""
    return replace(world, app=NO_LATENCY)
