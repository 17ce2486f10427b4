"""Anything may happen at any time: the promises hold at every write, and once it stops, the rollout ends by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analysis.verdict import Verdict
from canary.model.status import Phase
from tests.manifests import APP
from tests.promises import TWIN
from tests.simulation import BAD, BROKEN, UNKNOWN, V1, V2, V3, Cluster, Loss, Version

VERSIONS = {version.name: version for version in (V1, V2, V3, BAD, BROKEN, UNKNOWN)}
GOOD = {V1.name, V2.name, V3.name}

# by name, so that a failing example reads as a story
HAPPENINGS: dict[str, Callable[[Cluster], None]] = {
    **{f"push {name}": lambda c, version=version: c.push(version) for name, version in VERSIONS.items()},  # type: ignore[misc]
    "canary down": lambda c: c.set_readiness(canary=False),
    "canary up": lambda c: c.set_readiness(canary=True),
    "stable down": lambda c: c.set_readiness(stable=False),
    "stable up": lambda c: c.set_readiness(stable=True),
    "scrapes fail": lambda c: setattr(c, "scrapes_fail", Verdict.ERROR),
    "no data": lambda c: setattr(c, "scrapes_fail", Verdict.INCONCLUSIVE),
    "scrapes back": lambda c: setattr(c, "scrapes_fail", None),
    "lose request": lambda c: c.lose_next(Loss.NEVER_ARRIVED),
    "lose answer": lambda c: c.lose_next(Loss.UNANSWERED),
    "suspend": lambda c: c.set_spec(suspend=True),
    "resume": lambda c: c.set_spec(suspend=False),
    "scale up": lambda c: c.scale(7),
    "scale down": lambda c: c.scale(2),
    "ingress gone": lambda c: c.set_ingress(present=False),
    "ingress back": lambda c: c.set_ingress(present=True),
    "fewer steps": lambda c: c.set_spec(steps=[{"weight": 20, "for": "20s"}]),
    "other steps": lambda c: c.set_spec(steps=[{"weight": 10, "for": "10s"}, {"weight": 30, "for": "10s"}]),
    "canary deployment deleted": lambda c: tamper(c, "Deployment"),
    "canary service deleted": lambda c: tamper(c, "Service"),
    "canary ingress deleted": lambda c: tamper(c, "Ingress"),
    "deletions take long": lambda c: setattr(c, "deletion_takes", timedelta(seconds=20)),
}


def tamper(cluster: Cluster, kind: str) -> None:
    place = {"Deployment": cluster.deployments, "Service": cluster.services, "Ingress": cluster.ingresses}[kind]
    place.pop(TWIN, None)
    cluster.touch_canary()


@dataclass(frozen=True)
class Happening:
    """Something, some seconds after what came before; just before the next request if it is to meet a pass midway."""

    what: str
    seconds: float
    midway: bool = False


HAPPENING = st.builds(
    Happening, st.sampled_from(sorted(HAPPENINGS)), st.sampled_from([0.0, 1.0, 4.0, 11.0, 37.0, 90.0]), st.booleans()
)


def play(cluster: Cluster, story: list[Happening]) -> None:
    for happening in story:
        cluster.run(happening.seconds)
        what = HAPPENINGS[happening.what]
        if happening.midway:
            cluster.before_request(len(cluster.requests), lambda what=what: what(cluster))  # type: ignore[misc]
        else:
            what(cluster)


def heal(cluster: Cluster) -> None:
    cluster.calm()
    cluster.set_readiness(canary=True, stable=True)
    cluster.scrapes_fail = None
    cluster.set_ingress(present=True)
    cluster.set_spec(suspend=False)


def held(cluster: Cluster) -> Version:
    return next(version for version in VERSIONS.values() if version.hash == cluster.target.template_hash)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HAPPENING, max_size=12))
@example([Happening("push bad", 0), Happening("suspend", 17), Happening("push 2", 1), Happening("resume", 90)])
@example([Happening("push 2", 0), Happening("push 3", 37, midway=True), Happening("push 1", 4, midway=True)])
@example([Happening("push 2", 0), Happening("push 3", 90), Happening("ingress gone", 0, midway=True)])
def test_whatever_happens_it_ends_at_rest_with_nothing_left(story: list[Happening]) -> None:
    cluster = Cluster().run()
    play(cluster, story)
    heal(cluster)
    cluster.run()
    assert cluster.phase in (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED), cluster
    cluster.assert_nothing_left()
    cluster.assert_quiet()
    assert cluster.target.guard == APP
    last = held(cluster)
    if cluster.phase is Phase.FAILED:
        # good ones may fail as well: what broke around them counts against their deadline
        assert cluster.target.paused
        assert cluster.serving <= GOOD
    else:
        assert not cluster.target.paused
        assert cluster.serving == {last.name}
        assert last.name in GOOD


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HAPPENING, max_size=6))
def test_whatever_happened_the_next_good_version_just_works(story: list[Happening]) -> None:
    cluster = Cluster().run()
    play(cluster, story)
    heal(cluster)
    cluster.run()
    after = Version("after")
    cluster.push(after)
    cluster.run()
    assert cluster.phase is Phase.SUCCEEDED, cluster
    assert cluster.serving == {after.name}
    cluster.assert_nothing_left()
    cluster.assert_quiet()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HAPPENING, max_size=6))
def test_whatever_happened_the_canary_can_be_deleted(story: list[Happening]) -> None:
    cluster = Cluster().run()
    play(cluster, story)
    cluster.calm()
    cluster.delete_canary()
    cluster.run()
    assert cluster.canary is None, cluster
    assert cluster.copies == set()
    assert cluster.target.guard is None
    assert not cluster.target.paused
    assert cluster.target.verdict is None


@pytest.mark.parametrize("version", [V2, V3])
def test_the_simulation_itself_would_notice_a_version_that_nobody_judged(version: Version) -> None:
    """The promises are no tautology: let the pause be lifted by somebody else, and they are broken."""
    cluster = Cluster().run()
    cluster.push(version)
    cluster.run_until(lambda c: c.weight == 10)
    cluster._edit_spec(APP, paused=None)
    with pytest.raises(AssertionError, match=f"version {version.name} reaches stable unjudged"):
        cluster.run()
