"""The fields of an object as a user wrote it, each read once; what is wrong is named by its path."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from canary.model.duration import format_duration, parse_duration
from canary.model.template import Json

LONGEST = timedelta(days=7)
"""No duration of a Canary is longer: sums of them with a point in time stay far from what overflows."""

_T = TypeVar("_T")
_Choice = TypeVar("_Choice", bound=StrEnum)


class SpecError(ValueError):
    """A field that cannot be understood; the text begins with the path of the field."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


def get(item: Json, path: str, key: str, kind: type | tuple[type, ...], default: Any) -> Any:  # noqa: ANN401 - JSON
    """The value of a field, of this type; null counts as left out."""
    value = item.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SpecError(f"{path}.{key}", f"has the wrong type ({type(value).__name__})")
    return value


def required(item: Json, path: str, key: str, kind: type[_T] | tuple[type[_T], ...]) -> _T:
    """The value of a field that must be there."""
    if item.get(key) is None:
        raise SpecError(f"{path}.{key}", "is required")
    value: _T = get(item, path, key, kind, None)
    return value


def items(item: Json, path: str, key: str, parse: Callable[[str, Json], _T]) -> tuple[_T, ...]:
    """A list of objects, each parsed with its own path."""
    entries: Sequence[Any] = get(item, path, key, list, [])
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise SpecError(f"{path}.{key}[{index}]", "must be an object")
    return tuple(parse(f"{path}.{key}[{index}]", dict(entry)) for index, entry in enumerate(entries))


def texts(item: Json, path: str, key: str) -> tuple[tuple[str, str], ...]:
    """A map of names to texts, by name."""
    entries = get(item, path, key, dict, {})
    return tuple((name, required(entries, f"{path}.{key}", name, str)) for name in sorted(entries))


def choice(item: Json, path: str, key: str, default: _Choice) -> _Choice:
    """One of the values of an enumeration, that of the default."""
    kind, value = type(default), get(item, path, key, str, default.value)
    try:
        return kind(value)
    except ValueError:
        raise SpecError(f"{path}.{key}", f"must be one of {', '.join(kind)}, is {value!r}") from None


def integer(item: Json, path: str, key: str, default: int, most: int, *, least: int = 1) -> int:
    """A whole number from `least` to `most`."""
    value: int = get(item, path, key, int, default)
    if not least <= value <= most:
        raise SpecError(f"{path}.{key}", f"must be from {least} to {most}, is {value}")
    return value


def duration(item: Json, path: str, key: str, default: timedelta) -> timedelta:
    """`1m30s`, at most `LONGEST`."""
    text = get(item, path, key, str, None)
    if text is None:
        return default
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise SpecError(f"{path}.{key}", str(error)) from None
    except OverflowError:
        found = timedelta.max
    if found > LONGEST:
        raise SpecError(f"{path}.{key}", f"must be at most {format_duration(LONGEST)}, is {text}")
    return found
