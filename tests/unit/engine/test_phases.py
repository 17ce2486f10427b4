"""The table of phases."""

from itertools import product

import pytest

from canary.engine.phases import RESTING, TRANSITIONS, IllegalMove, Move, move
from canary.engine.plan import STAGES
from canary.model.status import Phase

INITIALIZED, PROGRESSING, WAITING = Phase.INITIALIZED, Phase.PROGRESSING, Phase.WAITING
PROMOTING = Phase.PROMOTING
SUCCEEDED, FAILED = Phase.SUCCEEDED, Phase.FAILED

LEGAL: dict[tuple[Phase | None, Move], Phase] = {
    (None, Move.ADOPT): INITIALIZED,
    **dict.fromkeys(
        [(phase, Move.HOLD) for phase in (INITIALIZED, SUCCEEDED, FAILED, PROGRESSING, WAITING, PROMOTING)], PROGRESSING
    ),
    (FAILED, Move.REVERT): INITIALIZED,
    (PROGRESSING, Move.REVERT): INITIALIZED,
    (WAITING, Move.REVERT): INITIALIZED,
    (PROMOTING, Move.REVERT): INITIALIZED,
    (PROGRESSING, Move.WAIT): WAITING,
    (WAITING, Move.GO_ON): PROGRESSING,
    (PROGRESSING, Move.PROMOTE): PROMOTING,
    (WAITING, Move.PROMOTE): PROMOTING,
    (PROGRESSING, Move.FAIL): FAILED,
    (WAITING, Move.FAIL): FAILED,
    (FAILED, Move.RETRY): PROGRESSING,
    (PROMOTING, Move.FINISH): SUCCEEDED,
    (PROGRESSING, Move.LOSE): INITIALIZED,
    (WAITING, Move.LOSE): INITIALIZED,
    (PROMOTING, Move.LOSE): INITIALIZED,
    (FAILED, Move.LOSE): INITIALIZED,
}


@pytest.mark.parametrize(("start", "end"), LEGAL.items(), ids=[f"{phase}-{what}" for phase, what in LEGAL])
def test_a_legal_move(start: tuple[Phase | None, Move], end: Phase) -> None:
    assert move(*start) is end


@pytest.mark.parametrize(
    ("phase", "what"), [start for start in product((None, *Phase), Move) if start not in LEGAL], ids=str
)
def test_an_illegal_move_is_refused_by_its_name_and_changes_nothing(phase: Phase | None, what: Move) -> None:
    table = dict(TRANSITIONS)
    with pytest.raises(IllegalMove, match=f"no {what} from {phase or 'nothing'}"):
        move(phase, what)
    assert table == TRANSITIONS


def test_only_a_rollout_under_way_is_promoted_and_only_a_promotion_succeeds() -> None:
    promoted = {start for start, end in TRANSITIONS.items() if end is PROMOTING}
    assert promoted == {(PROGRESSING, Move.PROMOTE), (WAITING, Move.PROMOTE)}
    into = {phase for (phase, _), end in TRANSITIONS.items() if end is SUCCEEDED and phase is not SUCCEEDED}
    assert into == {PROMOTING}


def test_every_phase_but_suspended_can_be_reached_and_left() -> None:
    phases = set(Phase) - {Phase.SUSPENDED}
    assert set(TRANSITIONS.values()) == phases
    assert {phase for phase, _ in TRANSITIONS} == phases | {None}


def test_every_phase_has_somebody_who_looks_at_it() -> None:
    assert set(STAGES) == (set(Phase) - {Phase.SUSPENDED}) | {None}


def test_a_canary_rests_where_nothing_is_on_trial() -> None:
    assert {INITIALIZED, SUCCEEDED, FAILED} == RESTING
