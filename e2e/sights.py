"""What was seen of a namespace's objects, and when: the ground that the rules of `e2e.rules` stand on.

Each watch is a stream of its own, so two changes may be seen in the other order within some milliseconds; what must
hold at a moment is therefore asked shortly after it, and of what was true for that long.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

SKEW_SECONDS = 0.5

RETRY_ANNOTATION = "fluxcanary.dev/retry"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Sight:
    """An object as it was from `at` on; None once it was gone."""

    at: float
    obj: Manifest | None


class Sights:
    """All sights of one namespace, by kind and name, each list in the order of time. Threads may add to it."""

    def __init__(self) -> None:
        self._sights: dict[tuple[str, str], list[Sight]] = {}
        self._lock = threading.Lock()

    def see(self, at: float, obj: Manifest, *, gone: bool = False) -> None:
        """Add what was seen of an object."""
        with self._lock:
            key = (obj["kind"], obj["metadata"]["name"])
            self._sights.setdefault(key, []).append(Sight(at, None if gone else obj))

    def see_only(self, at: float, kind: str, names: Collection[str]) -> None:
        """Add that all objects of a kind but these are gone, if that is news."""
        with self._lock:
            for (of, name), sights in self._sights.items():
                if of == kind and name not in names and sights[-1].obj is not None:
                    sights.append(Sight(at, None))

    def names(self, kind: str) -> tuple[str, ...]:
        """The objects of a kind that were ever seen."""
        return tuple(name for of, name in list(self._sights) if of == kind)

    def history(self, kind: str, name: str) -> tuple[Sight, ...]:
        """All that was seen of an object."""
        return tuple(self._sights.get((kind, name), ()))

    def at(self, kind: str, name: str, moment: float) -> Manifest | None:
        """An object as it was at a moment; None where it was not there."""
        found: Manifest | None = None
        for sight in self.history(kind, name):
            if sight.at > moment:
                break
            found = sight.obj
        return found

    def between(self, kind: str, name: str, begin: float, end: float) -> tuple[Manifest, ...]:
        """All that an object was at some moment in [begin, end], beginning with what it was at `begin`."""
        first = self.at(kind, name, begin)
        later = [sight.obj for sight in self.history(kind, name) if begin < sight.at <= end]
        return tuple(obj for obj in (first, *later) if obj is not None)


@dataclass(frozen=True)
class Told:
    """What a Canary says of its rollout."""

    phase: str = ""
    weight: float = 0
    """The canary's share, in percent, as decided."""
    step: int = 0
    """Counted from 1; 0 before there is any traffic."""
    template: str = ""
    templates: Mapping[str, str] | None = None
    """Target → hash of its template, of those on trial; None where the Canary does not say."""
    straight_through: str = ""
    """Why a template goes through without a trial; empty where none does."""
    retry: str = ""


def told(canary: Manifest | None) -> Told:
    """Read a Canary; one that is gone says nothing."""
    if canary is None:
        return Told()
    status = canary.get("status") or {}
    on_trial = status.get("targets")
    return Told(
        phase=status.get("phase") or "",
        weight=status.get("canaryWeight") or 0,
        step=status.get("step") or 0,
        template=status.get("template") or "",
        templates={row["name"]: row.get("template") or "" for row in on_trial} if on_trial else None,
        straight_through=status.get("straightThrough") or "",
        retry=(canary["metadata"].get("annotations") or {}).get(RETRY_ANNOTATION, ""),
    )


_NGINX = "nginx.ingress.kubernetes.io/canary"
_MATCHES = (f"{_NGINX}-by-header", f"{_NGINX}-by-cookie")


@dataclass(frozen=True)
class Share:
    """What a canary Ingress takes from the users' requests."""

    percent: float = 0
    matches: bool = False
    """Whether it takes the requests with some header or cookie, whatever the weight."""

    @property
    def carries(self) -> bool:
        """Whether any request may come by it."""
        return self.percent > 0 or self.matches

    def __str__(self) -> str:
        """As a sentence goes on after "it carries"."""
        parts = [f"{self.percent:g} %"] if self.percent or not self.matches else []
        return " and ".join([*parts, *(["what a header or cookie asks for"] if self.matches else [])])


def is_canary(ingress: Manifest) -> bool:
    """Whether it is a canary Ingress."""
    return (ingress["metadata"].get("annotations") or {}).get(_NGINX) == "true"


def share(ingress: Manifest | None) -> Share:
    """Read a canary Ingress; any other, or one that is gone, takes nothing."""
    if ingress is None or not is_canary(ingress):
        return Share()
    annotations: dict[str, str] = ingress["metadata"]["annotations"]
    weight = float(annotations.get(f"{_NGINX}-weight") or 0)
    total = float(annotations.get(f"{_NGINX}-weight-total") or 100)
    matches = any(value for key, value in annotations.items() if key.startswith(_MATCHES))
    return Share(100 * weight / total, matches)
