"""What a pod template reads beside itself, and whether that changed."""

from typing import Any

import pytest

from canary.model.configuration import ConfigRef, changed, references, version
from canary.model.template import Json

A, B = ConfigRef("ConfigMap", "a"), ConfigRef("Secret", "b")


def template(**spec: Any) -> Json:
    return {"metadata": {"labels": {"app": "podinfo"}}, "spec": spec}


def container(**fields: Any) -> list[Json]:
    return [{"name": "podinfo", "image": "podinfo:1", **fields}]


def env(**source: Any) -> list[Json]:
    return [{"name": "PLAIN", "value": "1"}, {"name": "X", "valueFrom": source}]


def volume(**source: Any) -> list[Json]:
    return [{"name": "tmp", "emptyDir": {}}, {"name": "v", **source}]


READ = [
    ("env", template(containers=container(env=env(configMapKeyRef={"name": "a", "key": "k"}))), A),
    ("env of a Secret", template(containers=container(env=env(secretKeyRef={"name": "b", "key": "k"}))), B),
    ("envFrom", template(containers=container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "a"}}])), A),
    ("envFrom of a Secret", template(containers=container(envFrom=[{"secretRef": {"name": "b"}}])), B),
    ("an init container", template(initContainers=container(envFrom=[{"configMapRef": {"name": "a"}}])), A),
    ("a volume", template(volumes=volume(configMap={"name": "a", "optional": True})), A),
    ("a volume of a Secret", template(volumes=volume(secret={"secretName": "b"})), B),
    (
        "projected",
        template(volumes=volume(projected={"sources": [{"downwardAPI": {}}, {"configMap": {"name": "a"}}]})),
        A,
    ),
    ("a projected Secret", template(volumes=volume(projected={"sources": [{"secret": {"name": "b"}}]})), B),
]

IGNORED = [
    ("nothing", template(containers=container())),
    ("an empty template", {}),
    ("nulls", template(containers=container(env=None, envFrom=None), initContainers=None, volumes=None)),
    ("the fields of the pod", template(containers=container(env=env(fieldRef={"fieldPath": "metadata.name"})))),
    ("secrets to pull with", template(containers=container(), imagePullSecrets=[{"name": "b"}])),
    ("other volumes", template(volumes=volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "b"}}))),
    ("a reference without a name", template(containers=container(envFrom=[{"configMapRef": {"name": ""}}]))),
]


@pytest.mark.parametrize(("pods", "ref"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_it_is_read(pods: Json, ref: ConfigRef) -> None:
    assert references(pods) == (ref,)


@pytest.mark.parametrize("pods", [row[1] for row in IGNORED], ids=[row[0] for row in IGNORED])
def test_it_is_no_configuration(pods: Json) -> None:
    assert references(pods) == ()


def test_each_is_named_once_and_in_order() -> None:
    both = [{"secretRef": {"name": "b"}}, {"configMapRef": {"name": "z"}}, {"configMapRef": {"name": "a"}}]
    pods = template(containers=container(envFrom=both), initContainers=container(envFrom=both))
    assert references(pods) == (A, ConfigRef("ConfigMap", "z"), B)


def config_map(**fields: Any) -> Json:
    return {"metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, **fields}


def secret(data: str = "x", **metadata: str) -> Json:
    return {"metadata": {"name": "b", "uid": "u", "resourceVersion": "7", **metadata}, "data": {"k": data}}


@pytest.mark.parametrize(
    "other",
    [
        config_map(data={"k": "2"}),
        config_map(data={"k": "1", "l": ""}),
        config_map(data={"l": "1"}),
        config_map(binaryData={"k": "1"}),
        config_map(data={"k": "1"}, binaryData={"b": "AA=="}),
        config_map(),
    ],
)
def test_another_content_of_a_config_map_is_another_version(other: Json) -> None:
    assert version("ConfigMap", config_map(data={"k": "1"})) != version("ConfigMap", other)


def test_the_version_of_a_config_map_is_its_content_alone() -> None:
    first, second = config_map(data={"k": "1", "l": "2"}), config_map(data={"l": "2", "k": "1"}, binaryData=None)
    second["metadata"] = {"name": "other", "labels": {"a": "b"}}
    assert version("ConfigMap", first) == version("ConfigMap", second)
    assert len(version("ConfigMap", first)) == 10


def test_the_version_of_a_secret_is_that_of_the_api_server() -> None:
    assert version("Secret", secret()) == version("Secret", secret("y"))
    assert version("Secret", secret()) != version("Secret", secret(resourceVersion="8"))
    assert version("Secret", secret()) != version("Secret", secret(uid="v"))
    assert version("Secret", {"metadata": secret()["metadata"]}) == version("Secret", secret())


def test_only_what_was_known_before_can_have_changed() -> None:
    c = ConfigRef("ConfigMap", "c")
    assert changed({B: "1", A: "1", c: "1"}, {A: "2", B: "2", c: "1"}) == (A, B)
    assert changed({A: "1"}, {B: "1"}) == ()
    assert changed({}, {}) == ()
