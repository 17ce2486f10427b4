"""The phases of a rollout as a table.

A Canary rests in Initialized, Succeeded or Failed. When the guard holds a new template of a target, the rollout is
Progressing through the steps, and Waiting where a gate keeps it from the next one; the evidence then makes it Promoting
or Failed. Promoting cannot fail: from the moment the pause is lifted the judged template is stable, and a rolling
update that gets stuck holds where it is. A newer template begins anew from anywhere. Suspended remembers the phase it
interrupted.

Every change of phase goes through `move`; one that the table does not know raises and changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum

from canary.model.status import Phase


class Move(StrEnum):
    """What happens to a rollout."""

    ADOPT = "adopt"
    """The Canary is looked at for the first time."""
    HOLD = "hold"
    """A template that neither serves nor was judged is held."""
    REVERT = "revert"
    """The held template is one that serves: nothing to judge."""
    PROMOTE = "promote"
    """Every step passed."""
    FAIL = "fail"
    """The evidence, or the deadline, is against the canary."""
    FINISH = "finish"
    """Stable runs the judged template and the canary is gone."""
    LOSE = "lose"
    """A target is no longer held: what was on trial is so no more."""
    WAIT = "wait"
    """A gate is closed."""
    GO_ON = "go on"
    """It waits at no gate any more."""
    RETRY = "retry"
    """A human wants the template that failed tried again."""


TRANSITIONS: Mapping[tuple[Phase | None, Move], Phase] = {
    (None, Move.ADOPT): Phase.INITIALIZED,
    (Phase.INITIALIZED, Move.HOLD): Phase.PROGRESSING,
    (Phase.SUCCEEDED, Move.HOLD): Phase.PROGRESSING,
    (Phase.FAILED, Move.HOLD): Phase.PROGRESSING,
    (Phase.PROGRESSING, Move.HOLD): Phase.PROGRESSING,
    (Phase.PROMOTING, Move.HOLD): Phase.PROGRESSING,
    (Phase.FAILED, Move.REVERT): Phase.INITIALIZED,
    (Phase.PROGRESSING, Move.REVERT): Phase.INITIALIZED,
    (Phase.PROMOTING, Move.REVERT): Phase.INITIALIZED,
    (Phase.PROGRESSING, Move.PROMOTE): Phase.PROMOTING,
    (Phase.PROGRESSING, Move.FAIL): Phase.FAILED,
    (Phase.PROMOTING, Move.FINISH): Phase.SUCCEEDED,
    (Phase.PROGRESSING, Move.LOSE): Phase.INITIALIZED,
    (Phase.PROMOTING, Move.LOSE): Phase.INITIALIZED,
    (Phase.FAILED, Move.LOSE): Phase.INITIALIZED,
    (Phase.PROGRESSING, Move.WAIT): Phase.WAITING,
    (Phase.WAITING, Move.GO_ON): Phase.PROGRESSING,
    (Phase.WAITING, Move.HOLD): Phase.PROGRESSING,
    (Phase.WAITING, Move.REVERT): Phase.INITIALIZED,
    (Phase.WAITING, Move.PROMOTE): Phase.PROMOTING,
    (Phase.WAITING, Move.FAIL): Phase.FAILED,
    (Phase.WAITING, Move.LOSE): Phase.INITIALIZED,
    (Phase.FAILED, Move.RETRY): Phase.PROGRESSING,
}

RESTING = frozenset({Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED})


class IllegalMove(RuntimeError):
    """A fault of ours: the engine tried a move that its own table does not have."""


def move(phase: Phase | None, what: Move) -> Phase:
    """The phase after `what` happened in `phase`."""
    try:
        return TRANSITIONS[phase, what]
    except KeyError:
        raise IllegalMove(f"no {what} from {phase or 'nothing'}") from None
