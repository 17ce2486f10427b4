"""One rollout's state as a small dict that JSON can hold, and back.

    {"version": 1, "bounds": 11, "floats": "<base64>"}

`floats` are all arrays of `State` in the order of its fields, little-endian, in single precision: evidence keeps seven
digits, and counts are exact to 16 million. About 1.2 KB; as JSON numbers it would be twice that.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.kernel import Floats
from analysis.state import State, fresh, merge

VERSION = 1


class DumpError(ValueError):
    """Not a dump of this version."""


def dump(state: State, rollout: int = 0) -> dict[str, Any]:
    """The state of one of the rollouts."""
    parts: list[Floats] = []

    def collect(array: Floats) -> Floats:
        parts.append(array[rollout].ravel())
        return array

    merge(collect, state)
    floats = np.concatenate(parts).astype("<f4")
    return {
        "version": VERSION,
        "bounds": state.early.shape[1] - 1,
        "floats": base64.b64encode(floats.tobytes()).decode("ascii"),
    }


def load(dumped: Mapping[str, Any]) -> State:
    """A state of one rollout. Raises DumpError for anything but a dump of this version."""
    if dumped.get("version") != VERSION:
        raise DumpError(f"version is {dumped.get('version')!r}, understood is {VERSION}")
    bounds, text = dumped.get("bounds"), dumped.get("floats")
    if not isinstance(bounds, int) or not 0 <= bounds <= 1000 or not isinstance(text, str):
        raise DumpError("bounds or floats are missing")
    try:
        floats = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)
    except (ValueError, binascii.Error):
        raise DumpError("floats cannot be decoded") from None
    return _fill(fresh(1, bounds), floats)


def _fill(shape: State, floats: Floats) -> State:
    rest = [floats]

    def next_array(like: Floats) -> Floats:
        values, rest[0] = rest[0][: like.size], rest[0][like.size :]
        if values.size != like.size:
            raise DumpError("floats are too few")
        return values.reshape(like.shape)

    state = merge(next_array, shape)
    if rest[0].size:
        raise DumpError("floats are too many")
    return state
