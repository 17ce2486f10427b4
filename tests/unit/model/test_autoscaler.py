"""HPAs as they were observed. The objects are as API server 1.36.3 held them before and while the floor was held."""

from typing import Any

import pytest

from canary.model import names
from canary.model.autoscaler import Autoscaler, may_hold, parse_autoscaler
from canary.model.template import Json

SCALE_UP: Json = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
SCALE_DOWN: Json = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def hpa(behavior: Json | None = None, floor: str | None = None, kind: str = "Deployment") -> Json:
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "podinfo"},
        "minReplicas": 2,
        "maxReplicas": 4,
    }
    metadata = {"name": "podinfo", "namespace": "staging", "uid": "hpa-uid"}
    return {
        "metadata": metadata | ({"labels": {names.FLOOR_LABEL: floor}} if floor else {}),
        "spec": spec | ({"behavior": behavior} if behavior is not None else {}),
    }


def choosing(policy: str) -> Json:
    return {"scaleUp": SCALE_UP, "scaleDown": {**SCALE_DOWN, "selectPolicy": policy}}


def test_what_it_says_of_itself() -> None:
    assert parse_autoscaler(hpa(choosing("Disabled"), floor="mine")) == Autoscaler(
        name="podinfo",
        uid="hpa-uid",
        floor="mine",
        scale_down="Disabled",
        target_kind="Deployment",
        target_name="podinfo",
    )


@pytest.mark.parametrize("behavior", [None, {}, {"scaleUp": SCALE_UP}, {"scaleDown": {}}])
def test_without_behaviour_it_has_no_policy_for_shrinking(behavior: Json | None) -> None:
    found = parse_autoscaler(hpa(behavior))
    assert found.scale_down is None
    assert found.floor is None


def test_it_scales_the_deployment_of_its_name_and_nothing_else() -> None:
    assert parse_autoscaler(hpa()).scales("podinfo")
    assert not parse_autoscaler(hpa()).scales("other")
    assert not parse_autoscaler(hpa(kind="StatefulSet")).scales("podinfo")


@pytest.mark.parametrize("behavior", [None, choosing("Max")], ids=["nothing-said", "the-default"])
def test_one_that_shrinks_by_default_may_be_held(behavior: Json | None) -> None:
    assert may_hold(parse_autoscaler(hpa(behavior)))


def test_one_whose_owner_put_the_default_back_may_be_held_again() -> None:
    assert may_hold(parse_autoscaler(hpa(choosing("Max"), floor="mine")))


@pytest.mark.parametrize("floor", [None, "mine"])
@pytest.mark.parametrize("policy", ["Min", "Disabled"])
def test_what_its_owner_chose_is_left_alone(policy: str, floor: str | None) -> None:
    assert not may_hold(parse_autoscaler(hpa(choosing(policy), floor)))
