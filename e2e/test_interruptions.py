"""Every phase and every interruption, on the real API server with real Deployments and users.

The oracle is an independent observer of the design's invariants, the table of outcomes in `e2e.interruptions.cells`,
and the count of failed requests. The cells of one phase are played side by side, each in a namespace of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.external import external_cluster
from e2e.installation import IMAGES, await_operator, install, kill_operator
from e2e.interruptions.api import Api, Observatory
from e2e.interruptions.app import App
from e2e.interruptions.cells import HARMFUL, Column, Outcome, Row, play
from e2e.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

COLUMNS = tuple(column for column in Column if column is not Column.NOTHING)


class Table:
    """A lab that plays cells."""

    def __init__(self, lab: Lab, api: Api, observatory: Observatory) -> None:
        self.lab = lab
        self._api = api
        self._observatory = observatory

    def play(self, cells: list[tuple[Row, Column]], meanwhile: Callable[[], None] = lambda: None) -> list[Outcome]:
        """Play cells side by side; `meanwhile` runs beside them."""
        beside = threading.Thread(target=meanwhile)
        beside.start()
        with ThreadPoolExecutor(len(cells)) as pool:
            outcomes = list(pool.map(lambda cell: play(cell[0], cell[1], self._app(*cell)), cells))
        beside.join()
        return outcomes

    def _app(self, row: Row, column: Column) -> App:
        namespace = f"t-{row.name.lower()}-{column.name.lower()}".replace("_", "-")
        return App(self._api, self._observatory.sights(namespace), namespace, self.lab.ingress_url)


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    if external_cluster():
        pytest.skip("plays many apps in a lab of its own")
    with Lab(f"interruptions-{os.getpid()}", flux=False, images=IMAGES) as lab:
        install(lab)
        api = Api(lab.kubeconfig)
        with Observatory(api) as observatory:
            yield Table(lab, api, observatory)


@pytest.mark.parametrize("row", Row)
def test_whatever_comes_it_ends_as_it_must(
    table: Table, row: Row, record_property: Callable[[str, object], None]
) -> None:
    judge(table.play([(row, column) for column in COLUMNS]), row, record_property)


def test_a_killed_operator_changes_no_outcome(table: Table, record_property: Callable[[str, object], None]) -> None:
    """Twice: each time its Lease has to run out before the next operator leads."""

    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(20)
            kill_operator(table.lab)
            await_operator(table.lab)

    outcomes = table.play([(row, Column.NOTHING) for row in Row], meanwhile=kill_twice)
    judge(outcomes, "operator killed twice", record_property)


def judge(outcomes: list[Outcome], what: str, record_property: Callable[[str, object], None]) -> None:
    ours = [outcome for outcome in outcomes if outcome.column not in HARMFUL]
    requests, failed = (sum(getattr(outcome, of) for outcome in ours) for of in ("requests", "failed"))
    others = sum(outcome.failed for outcome in outcomes) - failed
    right = sum(not outcome.wrong for outcome in outcomes)
    text = (
        f"{right} of {len(outcomes)}; user requests failed: {failed} of {requests}, by what humans took away: {others}"
    )
    record_property(f"{what}: cells right", text)
    wrong = [f"{outcome.column}: {text}" for outcome in outcomes for text in outcome.wrong]
    assert not wrong, "\n".join(wrong)
