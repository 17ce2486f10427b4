"""A small part of what `make explore` looks at, in each run of the tests."""

import pytest

from canary.engine.phases import TRANSITIONS, Move
from canary.model.status import Phase
from tests.explorer.explore import Bound, Explorer, story
from tests.explorer.planted import BUGS, Bug, hunt
from tests.explorer.settings import SETTINGS, SMALL, TABLE, Setting

SHORT = Bound(states=250, interruptions=2, violations=3)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_state_that_can_be_reached_breaks_a_promise(setting: Setting) -> None:
    report = Explorer(setting, SHORT).run()
    assert not report.violations, "\n\n".join(story(report.model, one) for one in report.violations)
    assert report.looked_at > SHORT.states / 2
    assert any(kind.startswith("healed: Succeeded") for kind in report.ends)


def test_without_interruptions_everything_is_looked_at() -> None:
    report = Explorer(SMALL, Bound(states=10_000, interruptions=0)).run()
    assert report.complete
    assert report.looked_at == report.states
    assert not report.violations


def test_nearly_every_move_of_the_table_is_taken() -> None:
    """`make explore` takes all of them."""
    report = Explorer(TABLE, Bound(states=5000, interruptions=1, endings=False)).run()
    assert set(TRANSITIONS) - report.taken <= {(Phase.FAILED, Move.LOSE), (Phase.SUCCEEDED, Move.HOLD)}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_planted_bug_is_found(bug: Bug) -> None:
    report = hunt(bug, guard=False)
    assert report.violations, f"nothing in {report.states} states"


def test_an_engine_without_a_bug_has_none_to_be_found() -> None:
    """What the hunt finds is the bug's doing: in the same settings, and as far, there is nothing without it."""
    assert not Explorer(SMALL, Bound(states=700, interruptions=2), guard=False).run().violations
