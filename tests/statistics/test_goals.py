"""What the judge promises, measured in small: fixed seeds, and bounds that leave room for chance.

The figures themselves are printed by `python -m tests.worlds.bench`, from many more releases.
"""

import math

import numpy as np
import pytest

from tests.worlds.bound import fewest_requests
from tests.worlds.release import DEADLINE, PROMOTED, Ends, Policy, simulate
from tests.worlds.steady import errors_only, watch
from tests.worlds.worlds import HEALTHY, LEAK, NO_TRAFFIC, NOISY, OUTAGE, REGRESSIONS, Cluster, World, pareto

SEED = 20
BY_NAME = {world.name: world for world in (*HEALTHY, *NOISY, *REGRESSIONS)}


def most_by_chance(share: float, count: int) -> float:
    """What a share (0 to 1) of `count` releases comes to at the most: three standard errors, and at least one."""
    return share * count + 3 * math.sqrt(share * count) + 1


def median(ends: Ends) -> float:
    return float(np.median(ends.seconds))


@pytest.mark.parametrize("rps", [1.0, 10.0, 100.0, 1000.0])
def test_healthy_releases_are_not_rolled_back(rps: float) -> None:
    ends = [simulate(world, rps, 100, SEED) for world in HEALTHY]
    count = 100 * len(HEALTHY)
    assert sum(end.rolled_back.sum() for end in ends) <= most_by_chance(0.001, count)
    # the clusters of 20 are held the most, at 10 and 100 rps
    assert sum((end.how == DEADLINE).sum() for end in ends) <= most_by_chance(0.002, count)


def test_noise_of_one_arm_is_seldom_a_regression() -> None:
    wrong = [simulate(NOISY[0], rps, 300, SEED).rolled_back.sum() for rps in (100.0, 1000.0)]
    assert sum(wrong) <= most_by_chance(0.01, 600)


@pytest.mark.parametrize(("rps", "seconds"), [(10.0, 600), (100.0, 300), (1000.0, 180)])
def test_a_healthy_release_is_promoted_soon(rps: float, seconds: float) -> None:
    ends = simulate(BY_NAME["errors 0.1 %"], rps, 100, SEED)
    assert (ends.how == PROMOTED).mean() >= 0.99
    assert median(ends) <= seconds


@pytest.mark.parametrize(
    ("name", "rps", "seconds"),
    [
        ("+5 pp", 100.0, 60),
        ("0.1 -> 1.1 %", 100.0, 240),
        ("0.1 -> 1.1 %, after an incident", 100.0, 600),
        ("1 -> 2 %", 100.0, 420),
        ("1 -> 2 %", 1000.0, 120),
        ("0.1 -> 0.2 %, bake 15 min", 1000.0, 400),
        ("latency x2", 100.0, 90),
        ("fast app, latency x2", 100.0, 90),
        ("latency x1.5", 100.0, 180),
        ("only p99 x3", 100.0, 420),
        ("only p99 x3", 1000.0, 180),
    ],
)
def test_a_regression_is_found(name: str, rps: float, seconds: float) -> None:
    ends = simulate(BY_NAME[name], rps, 200, SEED)
    assert (ends.how != PROMOTED).all()
    assert ends.rolled_back.mean() >= 0.93
    assert median(ends) <= seconds


def test_a_leak_is_found_soon_after_its_onset() -> None:
    ends = simulate(LEAK, 100.0, 100, SEED)
    assert ends.rolled_back.all()
    assert median(ends) <= LEAK.onset_seconds + 90


@pytest.mark.parametrize("rps", [10.0, 100.0, 1000.0])
def test_an_outage_is_found_in_two_scrapes(rps: float) -> None:
    ends = simulate(OUTAGE, rps, 200, SEED)
    assert ends.rolled_back.all()
    assert np.median(ends.scrapes) == 2
    assert np.quantile(ends.scrapes, 0.98) <= 3


@pytest.mark.parametrize("rps", [0.05, 1.0])
def test_an_outage_with_little_traffic_costs_few_requests(rps: float) -> None:
    ends = simulate(OUTAGE, rps, 60, SEED, Policy(patience=1e9))
    assert ends.rolled_back.all()
    assert np.quantile(ends.failed, 0.95) <= 10


def test_a_canary_that_nothing_reaches_is_never_promoted() -> None:
    assert (simulate(NO_TRAFFIC, 100.0, 20, SEED).how == DEADLINE).all()


@pytest.mark.parametrize(
    ("stable", "canary"), [(0.001, 0.002), (0.01, 0.02), (0.05, 0.1), (0.001, 0.011), (0.001, 0.051)]
)
def test_few_more_requests_are_needed_than_any_test_needs(stable: float, canary: float) -> None:
    fewest = fewest_requests(stable, canary, 0.1)
    world = errors_only(World("", errors=stable, extra_errors=canary - stable))
    found = watch(world, fewest / 30 / 0.1 / 15, 0.1, 150, SEED, looks=300)
    assert found.errors.all()
    assert found.requests.mean() <= 2.3 * fewest


@pytest.mark.parametrize(
    "world",
    [
        World("as bad as is tolerated", errors=0.01, extra_errors=0.0012),
        World("the same in clusters of 5", errors=0.01, extra_errors=0.0012, cluster=Cluster(5.0)),
        World("clusters of 20", cluster=Cluster(20.0)),
        World("clusters Pareto", cluster=pareto()),
        World("common incident", incident=0.1),
    ],
    ids=lambda world: world.name,
)
def test_looking_often_does_not_convict_the_innocent(world: World) -> None:
    for rps, weight in ((100.0, 0.5), (1000.0, 0.1)):
        found = watch(errors_only(world), rps, weight, 60, SEED, looks=200)
        assert found.errors.sum() <= most_by_chance(0.004, 60)


@pytest.mark.parametrize(
    ("world", "rps"), [(HEALTHY[1], 100.0), (REGRESSIONS[3], 100.0), (REGRESSIONS[8], 100.0), (OUTAGE, 1.0)]
)
def test_a_restart_after_every_scrape_changes_no_verdict(world: World, rps: float) -> None:
    without, restarted = (simulate(world, rps, 20, SEED, Policy(restarts=restarts)) for restarts in (False, True))
    assert np.array_equal(without.how, restarted.how)
    assert np.array_equal(without.seconds, restarted.seconds)
