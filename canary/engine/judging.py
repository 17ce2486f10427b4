"""From scrapes to the judge's memory: which scrape counts for what, for many rollouts in one call.

A scrape before the canary's first traffic is stable's history. One that lies wholly under the present weight is judged
in full; one in which the weight changed mixes two shares, and tells of harm only.
Pure: used by `canary.operator`, which keeps the memories.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from analysis.dump import DumpError, dump, load
from analysis.judge import Requests, seed, update
from analysis.state import State, begin_step, concatenate, fresh, take
from canary.model.evidence import Exposure, Saved
from canary.model.scrape import Counts, Scrape

HISTORY = 2000
"""Scrapes of stable's past that are kept until the canary gets traffic."""


@dataclass(frozen=True, eq=False)
class Memory:
    """What is remembered of one rollout."""

    exposure: Exposure
    step: int = 0
    """The step that the state is of."""
    state: State | None = None
    """Of one rollout; None before the first scrape with the canary in traffic."""
    history: tuple[Scrape, ...] = ()
    recent: tuple[Scrape, ...] = ()


def remember(exposure: Exposure) -> Memory:
    """What the status has kept; nothing if it has none, or one that another version wrote."""
    saved = exposure.saved
    if saved is not None:
        try:
            return expose(Memory(exposure, saved.step, load(saved.state)), exposure)
        except DumpError:
            pass
    return Memory(exposure)


def expose(memory: Memory, exposure: Exposure) -> Memory:
    """The rollout goes on: at another step the proof of harmlessness begins anew."""
    if exposure.attempt != memory.exposure.attempt:
        return Memory(exposure)
    state, recent = memory.state, memory.recent
    if exposure.step != memory.step and state is not None:
        state = begin_step(state, np.array([True]))
    if exposure.in_effect_at != memory.exposure.in_effect_at:
        recent = ()
    return replace(memory, exposure=exposure, step=exposure.step, state=state, recent=recent)


def save(state: State | None, step: int, cursor: Mapping[str, float]) -> Saved | None:
    """What the status keeps."""
    return None if state is None else Saved(step, dump(state), cursor)


def learn(memories: Sequence[Memory], scrapes: Sequence[Sequence[Scrape]]) -> list[Memory]:
    """Take the new scrapes of each rollout, oldest first."""
    memories = list(memories)
    for position in range(max(map(len, scrapes), default=0)):
        groups: defaultdict[_Alike, list[tuple[int, Scrape]]] = defaultdict(list)
        for index, news in enumerate(scrapes):
            if position < len(news) and (alike := _note(memories, index, news[position])):
                groups[alike].append((index, news[position]))
        for (size, bounds), members in groups.items():
            _judge(memories, members, size, bounds)
    return memories


_Alike = tuple[int, tuple[float, ...]]
"""How many bounds the states have, and those of the scrape: what can be judged in one call. Nearly always all is."""


def _note(memories: list[Memory], index: int, scrape: Scrape) -> _Alike | None:
    """Put a scrape into the history, or say with which others it is judged."""
    memory = memories[index]
    if _is_history(memory.exposure, scrape):
        memories[index] = replace(memory, history=(*memory.history, scrape)[-HISTORY:])
        return None
    state = memory.state
    if state is None:
        state = _seed(memory.history, scrape.bounds)
    elif scrape.bounds and state.early.shape[1] == 1:
        state = replace(state, early=np.zeros((1, 1 + len(scrape.bounds))))
    recent = memory.recent
    if _is_settled(memory.exposure, scrape):
        oldest = scrape.end - memory.exposure.window.total_seconds()
        recent = (*(old for old in recent if old.end > oldest), scrape)
    memories[index] = replace(memory, state=state, recent=recent, history=())
    return state.early.shape[1] - 1, scrape.bounds


def _judge(memories: list[Memory], members: list[tuple[int, Scrape]], size: int, bounds: tuple[float, ...]) -> None:
    """One call of the judge for rollouts whose states and scrapes are alike."""
    exposures = [memories[index].exposure for index, _ in members]
    updated = update(
        concatenate([state for index, _ in members if (state := memories[index].state) is not None]),
        _requests([scrape for _, scrape in members], bounds if len(bounds) == size else (), size),
        # at weight 0 nothing is known of the odds: as at 1, such a scrape compares nothing
        share=np.array([exposure.weight / 100 or 1.0 for exposure in exposures]),
        settled=np.array([_is_settled(e, s) for e, (_, s) in zip(exposures, members, strict=True)]),
        warm=np.array([_is_warm(e, s) for e, (_, s) in zip(exposures, members, strict=True)]),
    )
    for row, (index, _) in enumerate(members):
        memories[index] = replace(memories[index], state=take(updated, slice(row, row + 1)))


def _seed(history: Sequence[Scrape], bounds: tuple[float, ...]) -> State:
    alike = [scrape for scrape in history if scrape.bounds == bounds]
    return seed([_requests([scrape], bounds, len(bounds)) for scrape in alike]) if alike else fresh(1, len(bounds))


def _requests(scrapes: Sequence[Scrape], bounds: tuple[float, ...], size: int) -> Requests:
    """`bounds` empty: latency is not told; the arrays have the `size` of the states all the same."""
    arms = [(scrape.canary, scrape.stable) for scrape in scrapes]
    return Requests(
        total=np.array([[arm.requests for arm in pair] for pair in arms], dtype=np.float64),
        bad=np.array([[arm.failed + arm.aborted for arm in pair] for pair in arms], dtype=np.float64),
        slower=np.array([[_slower(arm, bounds, size) for arm in pair] for pair in arms], dtype=np.float64),
        bounds=np.array(bounds, dtype=np.float64),
    )


def _slower(counts: Counts, bounds: tuple[float, ...], size: int) -> tuple[float, ...]:
    return counts.slower if bounds and len(counts.slower) == size else (0.0,) * size


def _is_history(exposure: Exposure, scrape: Scrape) -> bool:
    return exposure.exposed_at is None or scrape.end <= exposure.exposed_at.timestamp()


def _is_settled(exposure: Exposure, scrape: Scrape) -> bool:
    return _since(exposure.in_effect_at, scrape)


def _is_warm(exposure: Exposure, scrape: Scrape) -> bool:
    warm_at = exposure.exposed_at and exposure.exposed_at + exposure.warm_up
    return bool(scrape.bounds) and _since(warm_at, scrape)


def _since(moment: datetime | None, scrape: Scrape) -> bool:
    return moment is not None and scrape.start >= moment.timestamp()
