"""When two pod templates are the same."""

import copy
from typing import Any

import pytest

from canary.model.template import template_hash

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "podinfo", "tier": "web"}, "annotations": {"a": "1"}},
    "spec": {"containers": [{"name": "podinfo", "image": "podinfo:1", "args": ["--a", "--b"]}]},
}


def changed(**metadata: Any) -> dict[str, Any]:
    return {**TEMPLATE, "metadata": {**TEMPLATE["metadata"], **metadata}}


def test_it_is_ten_hex_digits_and_the_same_in_every_release_of_this_program() -> None:
    assert template_hash(TEMPLATE) == "dae7afbb61"


def test_the_order_of_keys_does_not_matter() -> None:
    turned = {key: TEMPLATE[key] for key in reversed(TEMPLATE)}
    turned["metadata"] = {"annotations": {"a": "1"}, "labels": {"tier": "web", "app": "podinfo"}}
    assert template_hash(turned) == template_hash(TEMPLATE)


def test_the_label_that_the_deployment_controller_adds_does_not_matter() -> None:
    labelled = changed(labels={**TEMPLATE["metadata"]["labels"], "pod-template-hash": "5d8f7"})
    assert template_hash(labelled) == template_hash(TEMPLATE)


def test_the_null_creation_timestamp_of_older_clients_does_not_matter() -> None:
    assert template_hash(changed(creationTimestamp=None)) == template_hash(TEMPLATE)


def test_a_template_without_metadata_has_a_name() -> None:
    assert template_hash({"spec": {}}) != template_hash({"spec": {"a": 1}})


@pytest.mark.parametrize(
    "other",
    [
        changed(annotations={"a": "1", "kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}),
        changed(annotations={"a": "2"}),
        changed(annotations={"pod-template-hash": "5d8f7", "a": "1"}),
        changed(labels={"app": "podinfo"}),
        changed(labels={"app": "podinfo", "tier": "web", "version": "2"}),
        {**TEMPLATE, "spec": {"containers": [{**TEMPLATE["spec"]["containers"][0], "image": "podinfo:2"}]}},
        {**TEMPLATE, "spec": {"containers": [{**TEMPLATE["spec"]["containers"][0], "args": ["--b", "--a"]}]}},
        {**TEMPLATE, "spec": {**TEMPLATE["spec"], "creationTimestamp": None}},
    ],
    ids=["restart", "annotation", "hash-annotation", "label-gone", "label-new", "image", "order-of-list", "spec-field"],
)
def test_everything_else_matters(other: dict[str, Any]) -> None:
    assert template_hash(other) != template_hash(TEMPLATE)


def test_the_template_is_left_as_it_is() -> None:
    template = changed(labels={"app": "podinfo", "pod-template-hash": "5d8f7"}, creationTimestamp=None)
    before = copy.deepcopy(template)
    template_hash(template)
    assert template == before
