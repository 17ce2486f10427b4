"""Whatever labels and selectors an app has, no request for stable reaches a canary by a Service of stable."""

from collections.abc import Mapping

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from canary.engine.snapshot import canary_deployment, canary_service
from canary.engine.world import Finding
from canary.model import names
from canary.model.spec import Target
from canary.model.template import Json, template_hash
from canary.model.workload import Workload
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from tests.manifests import APP, CANARY, deployment, ingress, path, service

KEYS = st.sampled_from(["app", "tier", "version", "app.kubernetes.io/name", "track"])
VALUES = st.sampled_from(["podinfo", "podinfo-canary", "web", "", "a" * 63, "a" * 62 + "b", "stable", "canary-canary"])
LABELS = st.dictionaries(KEYS, VALUES, min_size=1)


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


@st.composite
def apps(draw: st.DrawFn) -> tuple[Workload, list[Json]]:
    """A Deployment that selects its own pods, and Services some of which select them, too."""
    labels = draw(LABELS)
    some_keys = st.lists(st.sampled_from(sorted(labels)), min_size=1, unique=True)
    own = {key: labels[key] for key in draw(some_keys)}
    mine = [{key: labels[key] for key in draw(some_keys)} for _ in range(draw(st.integers(1, 3)))]
    others = draw(st.lists(LABELS, max_size=2))
    services = [service(f"service-{index}", selector) for index, selector in enumerate(mine + others)]
    return Workload(deployment(pods={"metadata": {"labels": labels}}, selector={"matchLabels": own})), services


@settings(max_examples=150, deadline=None)
@given(apps())
def test_the_canary_is_reached_by_its_own_services_and_by_none_of_stables(app: tuple[Workload, list[Json]]) -> None:
    target, services = app
    routed = ingress(APP, *(path(each["metadata"]["name"], at=f"/{index}") for index, each in enumerate(services)))
    traffic = IngressNginx().discover(Network(services, [routed], []), Target(APP), target)
    assert not isinstance(traffic, Finding)
    made = canary_deployment(target, CANARY, traffic.selector_keys, 1)
    labels = made["spec"]["template"]["metadata"]["labels"]

    of_stable = [each["spec"]["selector"] for each in services if selects(each["spec"]["selector"], target.pod_labels)]
    assert not any(selects(selector, labels) for selector in of_stable)
    assert not selects(target.selector["matchLabels"], labels)

    twin = made["spec"]["selector"]["matchLabels"]
    assert selects(twin, labels)
    assert not selects(twin, target.pod_labels)
    for each in traffic.services:
        selector = canary_service(each, CANARY, traffic.selector_keys)["spec"]["selector"]
        assert selects(selector, labels)
        assert not selects(selector, target.pod_labels)


@settings(max_examples=100, deadline=None)
@given(apps())
def test_labels_that_no_selector_uses_are_kept(app: tuple[Workload, list[Json]]) -> None:
    target, services = app
    selecting = [each["spec"]["selector"] for each in services if selects(each["spec"]["selector"], target.pod_labels)]
    keys = frozenset(key for selector in selecting for key in selector)
    labels = canary_deployment(target, CANARY, keys, 1)["spec"]["template"]["metadata"]["labels"]
    used = keys | set(target.selector["matchLabels"])
    assert {key: value for key, value in labels.items() if key not in used} == {
        **{key: value for key, value in target.pod_labels.items() if key not in used},
        names.CANARY_LABEL: CANARY.name,
    }


@settings(max_examples=100, deadline=None)
@given(LABELS, LABELS)
def test_two_templates_have_one_hash_only_when_they_are_one(one: dict[str, str], other: dict[str, str]) -> None:
    assume(one != other)
    assert template_hash({"metadata": {"labels": one}}) != template_hash({"metadata": {"labels": other}})
