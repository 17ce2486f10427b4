"""Anything may happen at any time: the promises hold at every write, and once it stops, the rollout ends by itself.

The same stories in each run; take `derandomize` out to look for new ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analysis.verdict import Verdict
from canary.model.status import Phase
from tests.manifests import APP
from tests.promises import TWIN
from tests.simulation import BACKEND, BAD, BROKEN, SPEC, UNKNOWN, V1, V2, V3, Cluster, Loss, Version
from tests.stories import hook

COMMANDS = ("abort", "pause", "resume", "retry", "promote", "advance")
HOOKS = ("confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "rollback", "post-rollout")
TESTERS = {"match": [{"headers": {"X-Tester": {"exact": "yes"}}}], "for": "10s"}
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
    "scale up": lambda c: c.scale(7) if APP in c.deployments else None,
    "scale down": lambda c: c.scale(2) if APP in c.deployments else None,
    "ingress gone": lambda c: c.set_ingress(present=False),
    "ingress back": lambda c: c.set_ingress(present=True),
    "fewer steps": lambda c: c.set_spec(steps=[{"weight": 20, "for": "20s"}]),
    "other steps": lambda c: c.set_spec(steps=[{"weight": 10, "for": "10s"}, {"weight": 30, "for": "10s"}]),
    "canary deployment deleted": lambda c: tamper(c, "Deployment"),
    "canary service deleted": lambda c: tamper(c, "Service"),
    "canary ingress deleted": lambda c: tamper(c, "Ingress"),
    **{command: lambda c, command=command: c.command(command) for command in COMMANDS},  # type: ignore[misc]
    **{f"hook {said}": lambda c, said=said: c.answer("it", said) for said in (*Verdict, None)},  # type: ignore[misc]
    **{f"hooks of type {type_}": lambda c, type_=type_: c.set_spec(webhooks=[hook("it", type_)]) for type_ in HOOKS},  # type: ignore[misc]
    "silence rolls back": lambda c: c.set_spec(webhooks=[hook("it", "pre-rollout", onTimeout="rollback")]),
    "alerts count": lambda c: c.set_spec(freeze={"alerts": [{"name": "Paging"}]}),
    "alert fires": lambda c: c.fire(1),
    "alert is over": lambda c: c.fire(0),
    "freeze": lambda c: c.set_spec(freeze={"windows": [{"schedule": "* * * * *", "duration": "5m"}]}),
    "thaw": lambda c: c.set_spec(freeze=None),
    "failures are held": lambda c: c.set_spec(onFailure="hold"),
    "failures roll back": lambda c: c.set_spec(onFailure=None),
    "testers first": lambda c: c.set_spec(steps=[TESTERS, {"weight": 10, "for": "10s"}, {"weight": 50, "for": "10s"}]),
    "manual step": lambda c: c.set_spec(steps=[{"weight": 10, "for": "10s", "gate": "manual"}]),
    "autoscaler": lambda c: c.add_autoscaler(),
    "target deleted": lambda c: c.delete_target() if APP in c.deployments else None,
    "target made anew": lambda c: c.create_target(V1),
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


SECONDS = st.sampled_from([0.0, 1.0, 4.0, 11.0, 37.0, 90.0])
HAPPENING = st.builds(Happening, st.sampled_from(sorted(HAPPENINGS)), SECONDS, st.booleans())
PAIRS = (("2", "2"), ("1", "1"), ("2", "bad"), ("3", "broken"))
SHARED = ("lose request", "lose answer", "suspend", "resume", "pause", "abort", "retry", "target deleted", "scale up")


def play(
    cluster: Cluster, story: list[Happening], happenings: Mapping[str, Callable[[Cluster], None]] = HAPPENINGS
) -> None:
    for happening in story:
        cluster.run(happening.seconds)
        what = happenings[happening.what]
        if happening.midway:
            cluster.before_request(len(cluster.requests), lambda what=what: what(cluster))  # type: ignore[misc]
        else:
            what(cluster)


def heal(cluster: Cluster) -> None:
    cluster.calm()
    cluster.set_readiness(canary=True, stable=True)
    cluster.scrapes_fail = None
    cluster.set_ingress(present=True)
    cluster.set_spec(suspend=False, freeze=None, webhooks=None, onFailure=None, steps=SPEC["steps"])
    cluster.command("resume")
    cluster.fire(0)
    for app in cluster.apps.values():
        if not app.exists:
            cluster.create_target(V1, app=app.name)


def held(cluster: Cluster) -> Version:
    return next(version for version in VERSIONS.values() if version.hash == cluster.target.template_hash)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HAPPENING, max_size=12))
@example([Happening("push bad", 0), Happening("suspend", 17), Happening("push 2", 1), Happening("resume", 90)])
@example([Happening("push 2", 0), Happening("push 3", 37, midway=True), Happening("push 1", 4, midway=True)])
@example([Happening("push 2", 0), Happening("push 3", 90), Happening("ingress gone", 0, midway=True)])
@example([Happening("push 2", 0, midway=True), Happening("target made anew", 0)])
@example([Happening("failures are held", 0), Happening("push bad", 0), Happening("lose request", 37)])
def test_whatever_happens_it_ends_at_rest_with_nothing_left(story: list[Happening]) -> None:
    cluster = Cluster().run()
    play(cluster, story)
    heal(cluster)
    cluster.run()
    assert_ended(cluster)
    last = held(cluster)
    # a human may have ordered what the evidence was against, or applied it before the target was taken in
    allowed = set(VERSIONS) if ordered(cluster) or cluster.promises.unheld else GOOD
    if cluster.phase is Phase.FAILED:
        # good ones may fail as well: what broke around them counts against their deadline
        assert cluster.target.paused
        assert cluster.serving <= allowed
    else:
        assert not cluster.target.paused
        assert cluster.serving == {last.name}
        assert last.name in allowed


def assert_ended(cluster: Cluster) -> None:
    assert cluster.phase in (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED), cluster
    cluster.assert_nothing_left()
    cluster.assert_quiet()
    assert {app.target.guard for app in cluster.apps.values()} == {APP}


def ordered(cluster: Cluster) -> bool:
    return bool({"promote", "advance"} & {command for command, _ in cluster.status.handled})


OF_SETS: dict[str, Callable[[Cluster], None]] = {
    **{f"push both {a} {b}": lambda c, a=a, b=b: c.push(VERSIONS[a], backend=VERSIONS[b]) for a, b in PAIRS},  # type: ignore[misc]
    **{f"push backend {name}": lambda c, name=name: c.push_backend(VERSIONS[name]) for name in ("1", "2", "bad")},  # type: ignore[misc]
    "push both apart": lambda c: c.push(V3, backend=V3, apart=8),
    "podinfo alone": lambda c: c.set_spec(targets=[{"name": APP}]),
    "both": lambda c: c.set_spec(targets=[{"name": APP}, {"name": BACKEND}]),
    **{name: HAPPENINGS[name] for name in SHARED},
}


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.builds(Happening, st.sampled_from(sorted(OF_SETS)), SECONDS, st.booleans()), max_size=8))
@example([Happening("push both 2 2", 0), Happening("push backend 1", 37), Happening("push backend bad", 37)])
@example([Happening("push both 2 2", 0), Happening("podinfo alone", 90), Happening("both", 11)])
def test_whatever_happens_to_a_set_it_ends_together(story: list[Happening]) -> None:
    cluster = Cluster(targets=2).run()
    play(cluster, story, OF_SETS)
    heal(cluster)
    cluster.set_spec(targets=[{"name": APP}, {"name": BACKEND}])
    cluster.run()
    assert_ended(cluster)
    paused = [app.target.paused for app in cluster.apps.values()]
    assert any(paused) is (cluster.phase is Phase.FAILED)
    for app in cluster.apps.values():
        assert len(app.serving) == 1 or app.target.paused


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
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


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HAPPENING, max_size=6))
def test_whatever_happened_the_canary_can_be_deleted(story: list[Happening]) -> None:
    cluster = Cluster().run()
    play(cluster, story)
    cluster.calm()
    cluster.delete_canary()
    cluster.run()
    assert cluster.canary is None, cluster
    assert cluster.copies == set()
    if APP in cluster.deployments:
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
    with pytest.raises(AssertionError, match=f"version {version.name} of podinfo reaches stable unjudged"):
        cluster.run()
