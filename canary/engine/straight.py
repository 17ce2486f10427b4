"""Releases that need no judgement: promoted before, no change that matters, or nothing that users reach."""

import copy
from typing import Any

from canary.engine.world import Member, World, known_spec, known_stable
from canary.model.spec import CanarySpec
from canary.model.status import Cause, Trial
from canary.model.template import Json, template_hash

WORDS = {
    Cause.KNOWN_GOOD: "it was promoted before",
    Cause.NO_CANARY_NEEDED: "it changes nothing that needs a canary",
    Cause.NOTHING_TO_JUDGE: "none of it gets requests of users",
    Cause.COMMAND: "a human said so",
}


def cause_of(world: World, trial: tuple[Trial, ...]) -> Cause | None:
    """Why these templates may go through unjudged; None: they may not. The ReplicaSets of the held must be known."""
    names = {one.name for one in trial}
    members = [member for member in world.members if member.name in names]
    if all(_is_needless(known_spec(world), member) for member in members):
        return Cause.NO_CANARY_NEEDED
    if _known_good(world, names):
        return Cause.KNOWN_GOOD
    if all(member.rides_along or _is_needless(known_spec(world), member) for member in members):
        return Cause.NOTHING_TO_JUDGE
    return None


def released(world: World) -> tuple[Trial, ...]:
    """What all targets have now, as a release is remembered: without what needs no canary, such as a restart."""
    pointers = known_spec(world).skip_analysis_for
    there = [(member.name, member.stable.template) for member in world.members if member.stable]
    return tuple(Trial(name, _without(template, pointers)) for name, template in there)


def _known_good(world: World, on_trial: set[str]) -> bool:
    """Whether, with what is on trial, exactly what was promoted before would serve again, in all targets."""
    if not all(member.name in on_trial or known_stable(member).rolled_out for member in world.members):
        return False
    known = world.status.promoted[: known_spec(world).known_good]
    return any(set(release.templates) == set(released(world)) for release in known)


def _is_needless(spec: CanarySpec, member: Member) -> bool:
    """Whether the held template differs from one that serves only where no canary is needed."""
    held = _without(known_stable(member).template, spec.skip_analysis_for)
    return any(
        _without(found.pod_template, spec.skip_analysis_for) == held
        for found in member.replica_sets or ()
        if found.pods
    )


def _without(template: Json, pointers: tuple[str, ...]) -> str:
    """The hash of a template without what the JSON pointers (RFC 6901) lead to."""
    left = copy.deepcopy(template)
    for pointer in pointers:
        _cut(left, [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]])
    return template_hash(left)


def _cut(place: Any, parts: list[str]) -> None:  # noqa: ANN401 - JSON
    """Take out what the parts lead to, and a map that is left empty by that: it means the same as none."""
    first, *rest = parts
    if isinstance(place, list):
        if first.isdecimal() and int(first) < len(place):
            _cut_item(place, int(first), rest)
    elif isinstance(place, dict) and first in place:
        _cut_item(place, first, rest)


def _cut_item(place: Any, key: int | str, rest: list[str]) -> None:  # noqa: ANN401 - JSON
    if not rest:
        del place[key]
        return
    _cut(place[key], rest)
    if isinstance(key, str) and place[key] == {}:
        del place[key]
