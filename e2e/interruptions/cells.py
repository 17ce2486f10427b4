"""The table: in which phase what comes, and how it must end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from e2e.interruptions.app import APP, EXTRA, METRIC, OTHER_STEPS, QUERY, App
from e2e.lab.load import Load
from e2e.sights import SKEW_SECONDS

END_SECONDS = 240.0
"""A rollout takes about 40 s alone, and more where many share two cores."""


class Row(StrEnum):
    """Where a rollout is when something comes."""

    AT_REST = "Initialized"
    STARTING = "Progressing, no share yet"
    STEPPING = "Progressing, 20 %"
    WAITING = "Waiting"
    PROMOTING = "Promoting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class Column(StrEnum):
    """What comes."""

    NEWER = "a newer template"
    REVERT = "a revert to what serves"
    SAME = "the same again"
    STEPS = "steps edited"
    METRICS = "metrics edited"
    TARGET_ADDED = "a target added"
    TARGET_REMOVED = "a target removed"
    SUSPEND = "suspended and resumed"
    CANARY_DELETED = "the Canary deleted"
    OURS_DELETED = "our objects deleted"
    OURS_EDITED = "our Deployment scaled to 0"
    TARGET_RECREATED = "the target deleted and made again"
    INGRESS_CHANGED = "a path more in the Ingress"
    INGRESS_GONE = "the Ingress gone and back"
    NOTHING = "nothing"


EXTRAS = (Column.TARGET_ADDED, Column.TARGET_REMOVED)
HARMFUL = (Column.TARGET_RECREATED, Column.INGRESS_GONE, Column.OURS_DELETED, Column.OURS_EDITED)
"""Here whoever interrupts takes pods or routes away from under their users: failed requests are counted apart."""


@dataclass(frozen=True)
class End:
    """How it must end. `phases` empty: the Canary is gone."""

    phases: frozenset[str]
    serves: int


def end_of(row: Row, column: Column) -> End:
    """The table of the outcomes."""
    undisturbed = _end(
        ("Initialized", 1) if row is Row.AT_REST else ("Failed", 1) if row is Row.FAILED else ("Succeeded", 2)
    )
    match column:
        case Column.NEWER:
            return _end(("Succeeded", 3))
        case Column.REVERT if row is Row.SUCCEEDED:
            return _end(("Succeeded", 1))
        case Column.REVERT:
            # once no pod of version 1 is left it is known good, else it still serves
            phases = {"Initialized", "Succeeded"} if row is Row.PROMOTING else {"Initialized"}
            return End(frozenset(phases), 1)
        case Column.CANARY_DELETED:
            return End(frozenset(), 1 if row is Row.AT_REST else 2)
        case Column.TARGET_RECREATED:
            return _end(("Succeeded" if row is Row.SUCCEEDED else "Initialized", 3))
        case _:
            return undisturbed


def _end(of: tuple[str, int]) -> End:
    return End(frozenset({of[0]}), of[1])


@dataclass
class Outcome:
    """What became of one cell."""

    row: Row
    column: Column
    wrong: list[str]
    requests: int = 0
    failed: int = 0


def play(row: Row, column: Column, app: App) -> Outcome:
    """One cell, from the app's first Deployment to the end of its rollout."""
    outcome = Outcome(row, column, [])
    try:
        app.create(gated=row is Row.WAITING, extra=column in EXTRAS)
        if column is Column.TARGET_ADDED:
            app.set_canary(targets=[{"name": APP}])
        _await_users(app)
        with app.load() as load:
            _TO[row](app)
            _INTERRUPT[column](app)
            _finish(row, column, app)
            _await_end(row, column, app)
        _count(outcome, load)
    except AssertionError as error:
        outcome.wrong.append(str(error))
    taken_away_by_others = column is Column.OURS_DELETED
    outcome.wrong += [rule for rule in app.broken((APP,)) if not (taken_away_by_others and rule.startswith("S7"))]
    if outcome.failed and column not in HARMFUL:
        outcome.wrong.append(f"{outcome.failed} of {outcome.requests} user requests failed")
    return outcome


def _await_users(app: App) -> None:
    """Until the ingress controller knows the app: for a second good answers and 503 mix."""
    good = 0

    def steady() -> bool:
        nonlocal good
        with app.load() as load:
            time.sleep(1)
        good = good + 1 if load.records and not any(record.status != 200 for record in load.records) else 0
        return good > 1

    app.await_(steady, "users to be served", 60)


def _count(outcome: Outcome, load: Load) -> None:
    records = load.records
    outcome.requests, outcome.failed = len(records), sum(record.failed for record in records)


def _await_end(row: Row, column: Column, app: App) -> None:
    end = end_of(row, column)
    app.await_(lambda: (not app.phase and not end.phases) or app.phase in end.phases, f"end in {end}", END_SECONDS)
    app.await_(lambda: app.serves(end.serves), f"version {end.serves} to serve", END_SECONDS)
    app.await_(lambda: not app.leftovers(), f"clean end, left are {app.leftovers()}", 120)
    guard = APP if end.phases else None
    app.await_(lambda: app.guard == guard, f"guard label {guard}, it is {app.guard}", 60)


def _finish(row: Row, column: Column, app: App) -> None:
    """What a human does after it: resume what is suspended, and open the gate."""
    if column is Column.CANARY_DELETED:
        return
    if row is Row.SUSPENDED:
        app.set_canary(suspend=False)
        app.await_(lambda: app.phase != "Suspended", "resumption", 180)
    if row is Row.WAITING:
        _through_the_gate(app, end_of(row, column))


def _through_the_gate(app: App, end: End) -> None:
    """Advance whenever it waits, until it has ended. Where it ends where it was, it must have gone on first."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if app.phase == "Waiting":
            app.command("advance")
            app.await_(lambda: app.phase != "Waiting", "the gate to open", 180)
        if app.phase in (*end.phases, "Promoting"):
            return
        time.sleep(0.2)


# ------------------------------------------------------------------------------------------------ to where it comes


def _begin(app: App) -> None:
    app.push(2)


def _to_start(app: App) -> None:
    _begin(app)
    app.await_(lambda: app.phase == "Progressing" and app.canary_exists, "a canary", 180)


def _to_share(app: App) -> None:
    _begin(app)
    app.await_(lambda: app.weight == 20, "a share", 180)
    # what a human does to the pods right then would look like the operator's doing
    time.sleep(2 * SKEW_SECONDS)


def _to_gate(app: App) -> None:
    _begin(app)
    app.await_(lambda: app.phase == "Waiting", "a gate", 180)


def _to_promotion(app: App) -> None:
    _begin(app)
    app.await_(lambda: app.phase == "Promoting" and app.rolling, "a promotion", 180)
    # the observer asks half a second later whether what rolls out was promoted
    time.sleep(2 * SKEW_SECONDS)


def _to_success(app: App) -> None:
    _begin(app)
    app.await_(lambda: app.phase == "Succeeded", "success", END_SECONDS)


def _to_failure(app: App) -> None:
    _to_share(app)
    app.command("abort")
    app.await_(lambda: app.phase == "Failed" and not app.canary_exists, "failure", 180)


def _to_suspension(app: App) -> None:
    _to_share(app)
    app.set_canary(suspend=True)
    app.await_(lambda: app.phase == "Suspended", "suspension", 180)


_TO: Mapping[Row, Callable[[App], None]] = {
    Row.AT_REST: lambda _: None,
    Row.STARTING: _to_start,
    Row.STEPPING: _to_share,
    Row.WAITING: _to_gate,
    Row.PROMOTING: _to_promotion,
    Row.SUCCEEDED: _to_success,
    Row.FAILED: _to_failure,
    Row.SUSPENDED: _to_suspension,
}

# --------------------------------------------------------------------------------------------------------- what comes


def _suspend(app: App) -> None:
    app.set_canary(suspend=True)
    app.await_(lambda: app.phase == "Suspended", "suspension", 180)
    time.sleep(3)
    app.set_canary(suspend=False)
    app.await_(lambda: app.phase != "Suspended", "resumption", 180)


def _delete_ours(app: App) -> None:
    """The Deployment first: a route that is made again while the pods still seem to be there is nobody's fault."""
    app.api.delete("Deployment", app.namespace, f"{APP}-canary")
    time.sleep(2 * SKEW_SECONDS)
    for kind in ("Ingress", "Service"):
        app.api.delete(kind, app.namespace, f"{APP}-canary")


def _scale_ours(app: App) -> None:
    if app.canary_exists:
        app.api.patch("Deployment", app.namespace, f"{APP}-canary", {"spec": {"replicas": 0}})


def _recreate_target(app: App) -> None:
    app.delete("Deployment")
    app.push(3)


def _lose_ingress(app: App) -> None:
    app.delete("Ingress")
    time.sleep(3)
    app.set_ingress()


_INTERRUPT: Mapping[Column, Callable[[App], None]] = {
    Column.NEWER: lambda app: app.push(3),
    Column.REVERT: lambda app: app.push(1),
    Column.SAME: lambda app: app.push(app.version),
    Column.STEPS: lambda app: app.set_canary(steps=OTHER_STEPS),
    Column.METRICS: lambda app: app.set_canary(analysis={"interval": "4s", "metrics": [METRIC, QUERY]}),
    Column.TARGET_ADDED: lambda app: app.set_canary(targets=[{"name": APP}, {"name": EXTRA}]),
    Column.TARGET_REMOVED: lambda app: app.set_canary(targets=[{"name": APP}]),
    Column.SUSPEND: _suspend,
    Column.CANARY_DELETED: lambda app: app.delete("Canary"),
    Column.OURS_DELETED: _delete_ours,
    Column.OURS_EDITED: _scale_ours,
    Column.TARGET_RECREATED: _recreate_target,
    Column.INGRESS_CHANGED: lambda app: app.set_ingress("/more"),
    Column.INGRESS_GONE: _lose_ingress,
    Column.NOTHING: lambda _: None,
}
