"""The second app of the reference scenario: delivered with the first, released in the same commit or alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.lab import reference
from e2e.lab.errors import LabError
from e2e.lab.lab import Lab
from e2e.lab.load import Load
from e2e.lab.reference import BACKEND_HOSTS, HOSTS, Reference, Release

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="a cluster was named, the lab is not used"),
]


@pytest.fixture(scope="module")
def app() -> Iterator[Reference]:
    with Lab("test-backend", prometheus=False) as lab:
        scenario = Reference(lab, ["staging"], backend=True)
        scenario.install(reference.good(1))
        scenario.wait()
        yield scenario


def image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_two_apps_are_released_in_one_commit_or_alone(app: Reference) -> None:
    app.push(reference.good(9), backend=reference.good(10))
    await_served(app, HOSTS["staging"], reference.good(9))
    await_served(app, BACKEND_HOSTS["staging"], reference.good(10))

    app.push(backend=reference.good(11))
    with (
        Load(app.lab.ingress_url, host=HOSTS["staging"], rate=50) as front,
        Load(app.lab.ingress_url, host=BACKEND_HOSTS["staging"], rate=50) as back,
    ):
        await_served(app, BACKEND_HOSTS["staging"], reference.good(11))
    assert image(app.deployment()).endswith(reference.good(9).tag)
    assert image(app.deployment(name="backend")).endswith(reference.good(11).tag)
    assert set(front.summary().shares) == {"release 9"}
    assert "release 11" in back.summary().shares
    assert front.summary().failed == back.summary().failed == 0


def await_served(app: Reference, host: str, release: Release) -> None:
    """Wait until a host answers with a release and no other."""

    def served() -> bool:
        with Load(app.lab.ingress_url, host=host, rate=50) as load:
            app.lab.wait_for(lambda: len(load.records) >= 10, 10, "answers")
        return set(load.summary().shares) == {release.message}

    app.lab.wait_for(served, 60, f"{host} to answer with {release.message}")


def test_release_of_a_backend_that_is_not_there_is_refused(app: Reference) -> None:
    with pytest.raises(LabError, match="backend=True"):
        Reference(app.lab, ["staging"]).push(backend=reference.good(1))
    with pytest.raises(LabError, match="nothing to push"):
        app.push()
