"""Explores every setting, then every planted bug: python -m tests.explorer [--states N] [--only TEXT]."""

import argparse
import sys
from collections.abc import Iterator

from canary.engine.phases import TRANSITIONS
from tests.explorer.explore import Bound, Explorer, Report, Taken, story
from tests.explorer.planted import BOUND, BUGS, Bug, hunt
from tests.explorer.settings import SETTINGS


def _explored(report: Report, bound: Bound) -> Iterator[str]:
    """What was found in one setting."""
    rate = report.states / report.seconds
    end = "all of these bounds" if report.complete else "cut off there"
    yield f"{report.setting.name}"
    yield f"    {report.states:,} states ({end}), {report.transitions:,} transitions, {report.plans:,} plans"
    depth = ", ".join(f"{number} after {cost}" for cost, number in sorted(report.by_cost.items()))
    yield f"    by interruptions: {depth}; {report.seconds:.0f} s of one core, {rate:,.0f} states/s"
    yield f"    ends: {', '.join(f'{kind} {number}' for kind, number in sorted(report.ends.items()))}"
    for violation in report.violations:
        yield from ("", story(report.model, violation), "")


def _caught(bug: Bug) -> tuple[bool, str]:
    """Whether a bug is found, and by what."""
    alone, guarded = hunt(bug, guard=False), hunt(bug, guard=True)
    if not alone.violations:
        return False, f"MISSED  {bug.name}: nothing in {alone.states:,} states"
    found = alone.violations[0]
    guards = any(one.what.startswith("InvariantViolation") for one in guarded.violations)
    by = "and the engine's guard stops it" if guards else "the engine's guard would not"
    how = f"{found.what.partition(': ')[2]} ({alone.looked_at:,} states looked at, {len(found.path)} moves; {by})"
    return True, f"caught  {bug.name}\n        {how}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _explore(bound: Bound, only: str) -> bool:
    """Whether nothing is wrong, and the whole table of phases was taken."""
    reports = []
    taken: set[Taken] = set()
    for setting in SETTINGS:
        if only not in setting.name:
            continue
        reports.append(Explorer(setting, bound).run())
        taken |= reports[-1].taken
        for line in _explored(reports[-1], bound):
            _say(line)
    missing = set(TRANSITIONS) - taken
    states, transitions = sum(r.states for r in reports), sum(r.transitions for r in reports)
    violations = sum(len(r.violations) for r in reports)
    _say(f"\n{states:,} states, {transitions:,} transitions, {violations} violations")
    _say(f"the table of phases: {len(taken)} of {len(TRANSITIONS)} moves taken")
    for phase, what in missing:
        _say(f"    never: {what} from {phase}")
    return not violations and (not missing or bool(only))


def _hunt() -> bool:
    """Whether each planted bug is found."""
    _say(f"\nplanted bugs, within {BOUND.states:,} states and {BOUND.interruptions} interruptions:")
    found = []
    for bug in BUGS:
        caught, line = _caught(bug)
        found.append(caught)
        _say(line)
    _say(f"{sum(found)} of {len(found)} caught")
    return all(found)


def main() -> int:
    """The exit code: 0 where nothing is wrong and each bug is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=15_000, help="of each setting, at most")
    parser.add_argument("--interruptions", type=int, default=3, help="on the way to a state, at most")
    parser.add_argument("--only", default="", help="settings whose names contain this, and no planted bugs")
    asked = parser.parse_args()
    bound = Bound(asked.states, asked.interruptions, violations=3)
    _say(f"at most {bound.states:,} states of each setting and {bound.interruptions} interruptions on the way")
    good = _explore(bound, asked.only)
    return 0 if (bool(asked.only) or _hunt()) and good else 1


if __name__ == "__main__":
    sys.exit(main())
