"""The design's invariants as rules over what was seen of a namespace. They know nothing of the operator's code.

Each rule yields a sentence for each time that it did not hold, beginning with the number of the invariant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from e2e.sights import SKEW_SECONDS, Manifest, Share, Sight, Sights, Told, is_canary, share, told

DRAIN_SECONDS = 3.0
"""The ingress controller may send requests to a canary for that long after its weight became 0."""
_ROUNDING_PERCENT = 1e-6
_TRYING = ("Waiting", "Progressing", "Promoting")
_GUARD_LABEL = "fluxcanary.dev/guard"


@dataclass(frozen=True)
class Case:
    """One Canary and its targets, as they were seen."""

    sights: Sights
    canary: str
    targets: tuple[str, ...]

    def broken(self) -> Iterator[str]:
        """A sentence for each rule that did not hold."""
        for route in self._routes():
            yield from self._shares_are_served(route)
            yield from self._shares_rise_by_decision(route)
        for target in self.targets:
            yield from self._stable_is_judged(target)
            yield from self._stable_is_not_shrunk(target)
            yield from self._traffic_goes_first(target)
        yield from self._failures_are_final()

    # What was seen.

    def _routes(self) -> Iterator[str]:
        """The names of canary Ingresses."""
        for name in self.sights.names("Ingress"):
            if any(sight.obj and is_canary(sight.obj) for sight in self.sights.history("Ingress", name)):
                yield name

    def _shares(self, route: str) -> Iterator[tuple[float, Share, Share]]:
        """Each change of a route: when, from what, to what."""
        before = Share()
        for sight in self.sights.history("Ingress", route):
            yield sight.at, before, (after := share(sight.obj))
            before = after

    def _told_between(self, begin: float, end: float) -> list[Told]:
        return [told(canary) for canary in self.sights.between("Canary", self.canary, begin, end)]

    def _told_at(self, moment: float) -> Told:
        return told(self.sights.at("Canary", self.canary, moment))

    def _on_trial(self, target: str, said: Told) -> str | None:
        """The hash of a target's template on trial; None where the Canary does not say."""
        if said.templates is not None:
            return said.templates.get(target)
        return said.template or None if self.targets == (target,) else None

    # What must hold.

    def _shares_are_served(self, route: str) -> Iterator[str]:
        """S1: what has a share is available when it gets it, and so is stable; the targets on trial go together."""
        for at, before, after in self._shares(route):
            if after.percent <= before.percent and after.matches <= before.matches:
                continue
            moment = at + SKEW_SECONDS
            for target in self._told_at(moment).templates or self.targets:
                for deployment in (target, f"{target}-canary"):
                    if not self._available(deployment, moment):
                        yield f"S1: Ingress {route} got {after} while {deployment} had no available pod"

    def _available(self, deployment: str, moment: float) -> int:
        found = self.sights.at("Deployment", deployment, moment) or {}
        return int((found.get("status") or {}).get("availableReplicas") or 0)

    def _shares_rise_by_decision(self, route: str) -> Iterator[str]:
        """S2, S3: a share is 0 or what the Canary has decided since it was 0 last; it falls only to 0."""
        since: float | None = None
        for at, before, after in self._shares(route):
            if since is None or not before.carries:
                since = at
            said = self._told_between(since - SKEW_SECONDS, at + SKEW_SECONDS)
            decided = max((one.weight for one in said), default=0)
            if 0 < after.percent < before.percent:
                yield f"S2: Ingress {route} went from {before} to {after}"
            if after.percent > decided + _ROUNDING_PERCENT:
                yield f"S3: Ingress {route} carries {after}, decided was {decided:g} %"
            if after.matches and not any(one.step for one in said):
                yield f"S3: Ingress {route} carries {after} before any step was decided"

    def _stable_is_judged(self, target: str) -> Iterator[str]:
        """S4: a template that rolls out in stable was promoted, goes straight through, or rolled out before."""
        served: list[Manifest] = []
        for sight in self.sights.history("Deployment", target):
            spec = (sight.obj or {}).get("spec") or {}
            if not spec or spec.get("paused") or spec["template"] in served:
                continue
            if served and _is_guarded(sight) and not self._may_roll_out(target, spec["template"], sight.at):
                yield f"S4: Deployment {target} rolls out a template that nobody promoted"
                continue
            served.append(spec["template"])

    def _may_roll_out(self, target: str, template: Manifest, at: float) -> bool:
        if any(said.straight_through for said in self._told_between(at - SKEW_SECONDS, at + SKEW_SECONDS)):
            return True
        said = self._told_at(at + SKEW_SECONDS)
        if said.phase not in ("Promoting", "Succeeded") or target not in (said.templates or self.targets):
            return False
        digest = self._on_trial(target, said)
        held = self._held_as(target, digest) if digest else []
        return not held or template in held

    def _held_as(self, target: str, digest: str) -> list[Manifest]:
        """What a target's template was when the Canary first spoke of it by this hash."""
        for sight in self.sights.history("Canary", self.canary):
            if self._on_trial(target, told(sight.obj)) == digest:
                around = sight.at - SKEW_SECONDS, sight.at + SKEW_SECONDS
                return [found["spec"]["template"] for found in self.sights.between("Deployment", target, *around)]
        return []

    def _stable_is_not_shrunk(self, target: str) -> Iterator[str]:
        """S5: stable's replicas never fall."""
        before = 0
        for sight in self.sights.history("Deployment", target):
            replicas = ((sight.obj or {}).get("spec") or {}).get("replicas", before)
            if replicas < before:
                yield f"S5: Deployment {target} went from {before} to {replicas} replicas"
            before = replicas

    def _failures_are_final(self) -> Iterator[str]:
        """S6: what failed is tried again only after a new template, or when somebody asks for it."""
        failed, failed_at = Told(), 0.0
        for sight in self.sights.history("Canary", self.canary):
            said = told(sight.obj)
            if sight.obj is None:
                failed = Told()
            elif said.phase == "Failed" and said.template != failed.template:
                failed, failed_at = said, sight.at
            elif failed.template and said.phase in _TRYING:
                asked = said.template != failed.template or said.retry != failed.retry
                if not asked and not self._templates_changed(failed_at, sight.at):
                    yield f"S6: Canary {self.canary} tries {said.template} again, which failed"
                failed = Told()

    def _templates_changed(self, begin: float, end: float) -> bool:
        """Whether any target had another template in between."""
        for target in self.targets:
            first, *others = self.sights.between("Deployment", target, begin, end) or ({},)
            if any(other["spec"]["template"] != first["spec"]["template"] for other in others):
                return True
        return False

    def _traffic_goes_first(self, target: str) -> Iterator[str]:
        """S7: the canary's pods stay until nothing has been routed to it for some seconds."""
        for sight in self.sights.history("Deployment", f"{target}-canary"):
            if sight.obj is not None:
                continue
            for route in self._routes():
                before = share(self.sights.at("Ingress", route, sight.at - DRAIN_SECONDS))
                if before.carries:
                    yield f"S7: {target}-canary went {DRAIN_SECONDS:g} s after Ingress {route} carried {before}"


def _is_guarded(sight: Sight) -> bool:
    return _GUARD_LABEL in (((sight.obj or {}).get("metadata") or {}).get("labels") or {})
