"""The worlds are what they say they are: otherwise every other figure means nothing."""

import math

import numpy as np
import pytest

from tests.worlds import traffic
from tests.worlds.bound import fewest_requests
from tests.worlds.worlds import FAST_APP, HEALTHY, NGINX_BOUNDS, App, Cluster, World, pareto

ROLLOUTS = 4000


def drawn(world: World, at: float = 0.0, requests: float = 500.0) -> traffic.Counts:
    rng = np.random.default_rng(3)
    mood = traffic.begin(world, ROLLOUTS, 15.0, rng)
    return traffic.scrape(world, mood, at, np.tile([requests / 10, requests], (ROLLOUTS, 1)), rng)


def rates(counts: traffic.Counts) -> tuple[float, float]:
    canary, stable = counts.bad.sum(axis=0) / counts.total.sum(axis=0)
    return float(canary), float(stable)


@pytest.mark.parametrize("world", [world for world in HEALTHY if not world.incident], ids=lambda world: world.name)
def test_arms_are_alike_in_a_healthy_world(world: World) -> None:
    canary, stable = rates(drawn(world, at=100.0))
    assert canary == pytest.approx(stable, rel=0.3 if world.cluster else 0.15, abs=1e-4)
    assert stable == pytest.approx(world.errors * math.sqrt(1 + world.error_drift**2 / 2), rel=0.2)


@pytest.mark.parametrize("cluster", [Cluster(5.0), Cluster(20.0), pareto()], ids=["5", "20", "pareto"])
def test_clusters_have_the_mean_that_they_say(cluster: Cluster) -> None:
    sizes = cluster.sizes(np.ones(200_000, dtype=np.int64), np.random.default_rng(1))
    assert sizes.min() >= 1
    assert sizes.mean() == pytest.approx(cluster.mean, rel=0.03)
    several = cluster.sizes(np.array([[0, 3], [0, 0], [1, 0]]), np.random.default_rng(1))
    assert (several[[0, 1, 1, 2], [0, 0, 1, 1]] == 0).all()
    assert several[0, 1] >= 3


def test_an_incident_is_in_both_arms() -> None:
    canary, stable = rates(drawn(World("", errors=0.0, incident=0.1), at=180.0))
    assert stable == pytest.approx(0.1 * 180 / 300, rel=0.05)
    assert canary == pytest.approx(stable, rel=0.05)


def test_a_regression_is_in_the_canary_from_its_onset() -> None:
    leak = World("", errors=0.01, extra_errors=0.02, onset_seconds=600.0)
    assert rates(drawn(leak, at=599.0)) == pytest.approx((0.01, 0.01), rel=0.1)
    assert rates(drawn(leak, at=601.0)) == pytest.approx((0.03, 0.01), rel=0.1)


@pytest.mark.parametrize(("app", "p99"), [(App(), 0.37), (FAST_APP, 0.04)], ids=["app", "fast"])
def test_latencies_have_the_p99_that_they_say(app: App, p99: float) -> None:
    assert app.median_seconds * math.exp(2.3263 * app.sigma) == pytest.approx(p99, rel=0.02)


def test_a_slower_canary_has_its_survival_shifted() -> None:
    survival = drawn(World("", slower=2.0)).slower.sum(axis=0) / drawn(World("", slower=2.0)).total.sum(axis=0)[:, None]
    # x2 moves 0.1 s to 0.05 s
    assert survival[0, 4] == pytest.approx(survival[1, 3], rel=0.02)


def test_only_the_tail_is_slower() -> None:
    counts = drawn(World("", slower_tail=3.0))
    survival = counts.slower.sum(axis=0) / counts.total.sum(axis=0)[:, None]
    body = NGINX_BOUNDS <= 0.25
    assert survival[0, body] == pytest.approx(survival[1, body], abs=0.01)
    assert survival[0, 6] == pytest.approx(0.02, rel=0.1)
    assert survival[1, 6] < 0.005


def test_the_bound_on_requests_is_that_of_wald() -> None:
    # computed by hand for a tolerance of 1.1 and 0.02 pp, at 10 % and alpha 0.004
    assert fewest_requests(0.01, 0.02, 0.1) == pytest.approx(2240, rel=0.01)
    assert fewest_requests(0.001, 0.011, 0.1) == pytest.approx(506, rel=0.01)
