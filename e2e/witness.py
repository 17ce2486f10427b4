"""An independent witness of the design's invariants: it watches the cluster and says which were broken.

It knows nothing of the operator's code.

Each watch is a stream of its own, so two changes may be seen in the other order within some milliseconds; what must
hold at a moment is therefore asked shortly after it, and of what was true for that long.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from e2e.lab.lab import Lab, kubectl_program

SKEW_SECONDS = 0.5
DRAIN_SECONDS = 3.0
"""The ingress controller may send requests to a canary for that long after its weight became 0."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Sight:
    """An object as it was from `at` on; None once it was gone."""

    at: float
    obj: Manifest | None


@dataclass
class Witness:
    """Watches one namespace between `__enter__` and `__exit__`, where it raises if a rule was broken."""

    lab: Lab
    namespace: str
    target: str = "podinfo"
    _sights: dict[tuple[str, str], list[Sight]] = field(default_factory=dict)
    _watches: list[subprocess.Popen[str]] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        """Begin to watch."""
        for kind in ("deployments", "ingresses", "canaries"):
            argv = [kubectl_program(), f"--kubeconfig={self.lab.kubeconfig}", "get", kind, "-n", self.namespace]
            watch = subprocess.Popen(
                [*argv, "--watch", "--output-watch-events", "-o=json"], stdout=subprocess.PIPE, text=True
            )
            thread = threading.Thread(target=self._follow, args=(watch,), daemon=True)
            thread.start()
            self._watches.append(watch)
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; say what was broken, unless the test has failed already."""
        time.sleep(SKEW_SECONDS)
        for watch in self._watches:
            watch.terminate()
            watch.wait()
        for thread in self._threads:
            thread.join()
        for watch in self._watches:
            if watch.stdout:
                watch.stdout.close()
        broken = list(self.broken())
        if error is None:
            assert not broken, "\n".join(broken)

    def broken(self) -> Iterator[str]:
        """A sentence for each rule that did not hold."""
        yield from self._shares_rise_by_decision()
        yield from self._shares_are_served()
        yield from self._stable_is_judged()
        yield from self._stable_is_not_shrunk()
        yield from self._traffic_goes_first()

    def history(self, kind: str, name: str) -> list[Sight]:
        """All that was seen of an object."""
        return self._sights.get((kind, name), [])

    def _follow(self, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout is not None
        decoder, text = json.JSONDecoder(), ""
        for line in watch.stdout:
            text += line
            if line.rstrip() != "}":
                continue
            try:
                event, end = decoder.raw_decode(text)
            except ValueError:
                continue
            text = text[end:].lstrip()
            self._see(event)

    def _see(self, event: Manifest) -> None:
        obj = event["object"]
        sight = Sight(time.time(), None if event["type"] == "DELETED" else obj)
        with self._lock:
            self._sights.setdefault((obj["kind"], obj["metadata"]["name"]), []).append(sight)

    def _at(self, kind: str, name: str, moment: float) -> Manifest | None:
        found: Manifest | None = None
        for sight in self.history(kind, name):
            if sight.at > moment:
                break
            found = sight.obj
        return found

    def _routes(self) -> Iterator[tuple[str, list[Sight]]]:
        for (kind, name), sights in self._sights.items():
            if kind == "Ingress" and any(sight.obj and _is_canary(sight.obj) for sight in sights):
                yield name, sights

    def _shares_rise_by_decision(self) -> Iterator[str]:
        """S2, S3: a share is 0 or what the Canary's status says; it falls only to 0."""
        for name, sights in self._routes():
            before = 0
            for sight in sights:
                weight = _weight(sight.obj)
                if 0 < weight < before:
                    yield f"S2: Ingress {name} went from {before} % to {weight} %"
                canary = self._at("Canary", self.target, sight.at + SKEW_SECONDS) or {}
                decided = max(
                    (status.get("canaryWeight") or 0 for status in self._statuses(sight.at + SKEW_SECONDS)), default=0
                )
                if weight > decided:
                    yield f"S3: Ingress {name} carries {weight} %, decided was {decided} % ({canary.get('status')})"
                before = weight

    def _statuses(self, until: float) -> Iterator[Manifest]:
        for sight in self.history("Canary", self.target):
            if sight.at <= until and sight.obj:
                yield sight.obj.get("status") or {}

    def _shares_are_served(self) -> Iterator[str]:
        """S1: what has a share is available when it gets it, and so is stable."""
        for name, sights in self._routes():
            before = 0
            for sight in sights:
                weight = _weight(sight.obj)
                if weight > before:
                    for deployment in (self.target, f"{self.target}-canary"):
                        available = self._available(deployment, sight.at + SKEW_SECONDS)
                        if not available:
                            yield f"S1: Ingress {name} got {weight} % while {deployment} had no available pod"
                before = weight

    def _available(self, deployment: str, moment: float) -> int:
        found = self._at("Deployment", deployment, moment) or {}
        return int((found.get("status") or {}).get("availableReplicas") or 0)

    def _stable_is_judged(self) -> Iterator[str]:
        """S4: a template that rolls out in stable was promoted, or is one that rolled out before."""
        served: list[Manifest] = []
        for sight in self.history("Deployment", self.target):
            spec = (sight.obj or {}).get("spec") or {}
            if not spec or spec.get("paused"):
                continue
            if not served or self._is_guarded_no_more(sight) or self._was_promoted(sight.at + SKEW_SECONDS):
                served.append(spec["template"])
            elif spec["template"] not in served:
                yield f"S4: Deployment {self.target} rolls out a template that nobody promoted"

    def _is_guarded_no_more(self, sight: Sight) -> bool:
        labels = ((sight.obj or {}).get("metadata") or {}).get("labels") or {}
        return "fluxcanary.dev/guard" not in labels

    def _was_promoted(self, moment: float) -> bool:
        canary = self._at("Canary", self.target, moment) or {}
        return (canary.get("status") or {}).get("phase") in ("Promoting", "Succeeded")

    def _stable_is_not_shrunk(self) -> Iterator[str]:
        """S5: stable's replicas never fall."""
        before = 0
        for sight in self.history("Deployment", self.target):
            replicas = ((sight.obj or {}).get("spec") or {}).get("replicas", before)
            if replicas < before:
                yield f"S5: Deployment {self.target} went from {before} to {replicas} replicas"
            before = replicas

    def _traffic_goes_first(self) -> Iterator[str]:
        """S7: the canary's pods stay until its weight has been 0 for some seconds."""
        for sight in self.history("Deployment", f"{self.target}-canary"):
            if sight.obj is None:
                for name, _ in self._routes():
                    route = self._at("Ingress", name, sight.at - DRAIN_SECONDS)
                    if _weight(route):
                        yield f"S7: the canary went {DRAIN_SECONDS} s after Ingress {name} carried {_weight(route)} %"


def _is_canary(ingress: Manifest) -> bool:
    return (ingress["metadata"].get("annotations") or {}).get("nginx.ingress.kubernetes.io/canary") == "true"


def _weight(ingress: Manifest | None) -> int:
    if ingress is None or not _is_canary(ingress):
        return 0
    return int(ingress["metadata"]["annotations"].get("nginx.ingress.kubernetes.io/canary-weight", "0"))
