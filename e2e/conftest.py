"""One lab with the reference scenario and Fluxcanary for all end-to-end tests; each test has a Canary of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from e2e.external import Cluster, external_cluster
from e2e.installation import IMAGES, install, scale_operator
from e2e.lab.lab import Lab
from e2e.lab.reference import Reference, good
from e2e.rollout import NAMESPACE, Rollouts
from e2e.witness import Witness


@pytest.fixture(scope="session")
def installed() -> Iterator[Rollouts]:
    """The app of the reference scenario, delivered by Flux, with Fluxcanary beside it."""
    if external_cluster():
        pytest.skip("needs the lab: Git, audit log, processes to kill")
    with Lab(f"e2e-{os.getpid()}", images=IMAGES) as lab:
        install(lab)
        app = Reference(lab, ["staging"], backend=True)
        app.install(good(1))
        app.wait(120)
        yield Rollouts(lab, app)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The user's cluster if the command line names one, else the lab."""
    lab: Cluster = external_cluster() or request.getfixturevalue("installed").lab
    return lab


@pytest.fixture
def rollouts(installed: Rollouts) -> Iterator[Rollouts]:
    """The app with no Canary yet. Afterwards the app is healthy, and nothing of a rollout is left (S12)."""
    with Witness(installed.lab, NAMESPACE):
        yield installed
        restore(installed)
        installed.await_nothing_left()


def restore(rollouts: Rollouts) -> None:
    """Remove the Canary, which lets the last release through, and see that the app runs it."""
    scale_operator(rollouts.lab, 1)
    if rollouts.last.spoilt:
        rollouts.push(rollouts.good())
        rollouts.held_template(rollouts.last, 240)
    rollouts.delete()
    rollouts.lab.wait_for(lambda: rollouts.serving_tags() == {rollouts.last.tag}, 120, f"{rollouts.last.tag} to serve")
    rollouts.lab.wait_for(lambda: rollouts.app.flux_ready("podinfo-staging"), 240, "Flux to be ready")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded, whichever process ran them."""
    figures = [
        (name, value)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in getattr(report, "user_properties", ())
        if getattr(report, "when", "") == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for name, value in figures:
            terminalreporter.write_line(f"{name}: {value}")
