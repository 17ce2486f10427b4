"""What is known of the ConfigMaps and Secrets of a template."""

from canary.kube.cache import Cache
from canary.model.configuration import ConfigRef, changed
from canary.model.template import Json
from canary.operator.configuration import configuration_of
from canary.operator.watches import trim

PODS: Json = {
    "spec": {
        "containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "here"}}, {"secretRef": {"name": "here"}}]}],
        "volumes": [{"name": "v", "configMap": {"name": "gone", "optional": True}}],
    }
}
HERE = ConfigRef("ConfigMap", "here")


def cache(namespace: str = "staging", version: str = "7", **data: str) -> Cache:
    filled = Cache()
    metadata = {"name": "here", "namespace": namespace, "uid": "u", "resourceVersion": version}
    filled.put("ConfigMap", trim("ConfigMap", {"metadata": metadata, "data": data}))
    return filled


def test_what_is_not_known_is_left_out() -> None:
    assert configuration_of(cache(), "staging", PODS).keys() == {HERE}
    assert configuration_of(cache("production"), "staging", PODS) == {}


def test_a_change_in_place_is_seen() -> None:
    before = configuration_of(cache(a="1"), "staging", PODS)
    assert changed(before, configuration_of(cache(a="2", version="8"), "staging", PODS)) == (HERE,)
    assert changed(before, configuration_of(cache(a="1", version="8"), "staging", PODS)) == ()
