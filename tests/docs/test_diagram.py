"""The diagram in the docs is the table of the engine."""

from canary.engine.phases import TRANSITIONS, Move
from canary.model.status import Phase
from tests.docs.diagram import PAGE, committed, diagram, redrawn


def test_the_committed_diagram_is_the_one_drawn_from_the_table() -> None:
    assert committed(PAGE.read_text()) == diagram(TRANSITIONS), "draw it anew: python -m tests.docs.diagram"


def test_moves_between_the_same_two_phases_share_an_arrow() -> None:
    table = {
        (None, Move.ADOPT): Phase.INITIALIZED,
        (Phase.PROGRESSING, Move.REVERT): Phase.INITIALIZED,
        (Phase.PROGRESSING, Move.LOSE): Phase.INITIALIZED,
    }
    assert diagram(table) == (
        "stateDiagram-v2\n    [*] --> Initialized: adopt\n    Progressing --> Initialized: revert, lose\n"
    )


def test_drawing_anew_changes_nothing_but_the_drawing() -> None:
    page = redrawn(PAGE.read_text(), "stateDiagram-v2\n")
    assert committed(page) == "stateDiagram-v2\n"
    assert redrawn(page, committed(PAGE.read_text())) == PAGE.read_text()
