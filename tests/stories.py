"""How a story in the simulated cluster begins and ends."""

from collections.abc import Mapping
from typing import Any

from canary.model.status import Phase
from tests.manifests import APP
from tests.simulation import BACKEND, Cluster, Version


def adopted(spec: Mapping[str, Any] | None = None, *, replicas: int = 4, targets: int = 1, **fields: Any) -> Cluster:
    """A Canary at rest whose first version serves."""
    return Cluster({**(spec or {}), **fields}, replicas=replicas, targets=targets).run()


def assert_at_rest(cluster: Cluster, phase: Phase, serving: Version, backend: Version | None = None) -> None:
    """Nothing is left, nothing will happen, and these versions serve."""
    assert cluster.phase is phase, str(cluster)
    assert cluster.apps[APP].serving == {serving.name}
    if backend:
        assert cluster.apps[BACKEND].serving == {backend.name}
    cluster.assert_nothing_left()
    cluster.assert_quiet()


def told(cluster: Cluster) -> list[str]:
    """The reasons of all events."""
    return [event.reason for event in cluster.events]


def message(cluster: Cluster, type_: str) -> str:
    """Of a condition."""
    condition = cluster.status.condition(type_)
    return condition.message if condition else ""


def hook(name: str, type_: str, **fields: Any) -> dict[str, Any]:
    """A webhook of the spec."""
    return {"name": name, "type": type_, "url": "http://hooks.example/", **fields}
