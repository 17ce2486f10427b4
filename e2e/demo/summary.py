"""What happened, in figures; and what of it the demo promises."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from e2e.demo.cluster import Route
from e2e.demo.errors import DemoFailed
from e2e.demo.figures import StepShare, answered_by, held_to_canary_seconds, requests_of, shares
from e2e.demo.rollout import Rollout
from e2e.installation import USER

_LABEL_WIDTH = 24
_WIDTH = 110


def of_good(rollout: Rollout) -> list[str]:
    """Lines about the release that was promoted."""
    requests = requests_of(rollout.audit, USER)
    by_kind = ", ".join(f"{count} {what}" for what, count in requests.most_common())
    return [
        f"{rollout.release.message}, good: {rollout.end.change} was promoted {_seconds(rollout)} after its push",
        _row("user requests", f"{len(rollout.records)} sent, {_failures(rollout)} failed{_late(rollout)}"),
        _row("held to canary created", _created(rollout)),
        *_shares(shares(rollout.routes, rollout.records)),
        _row("API requests", f"{requests.total()} by the operator ({by_kind})"),
    ]


def of_bad(rollout: Rollout) -> list[str]:
    """Lines about the release that was rolled back."""
    stable = "the same as before" if rollout.pods_before == rollout.pods_after else "changed"
    return [
        f"{rollout.release.message}, bad: {rollout.end.change} was rolled back {_seconds(rollout)} after its push",
        _row("why", rollout.end.message.partition("stays held: ")[2] or rollout.end.message),
        _row("user requests", f"{len(rollout.records)} sent, {_failures(rollout)} failed{_late(rollout)}"),
        _row("failed, by whom", f"{_by_canary(rollout)} of {_failures(rollout)} were answered by the canary"),
        _row("on traffic", f"{_exposed_seconds(rollout):.1f} s, at {_highest(rollout.routes)} % at the most"),
        _row("stable's pods", f"{stable}: {', '.join(sorted(rollout.pods_after))}"),
        _row("Flux", rollout.flux),
    ]


def check(good: Rollout, bad: Rollout) -> None:
    """Raise DemoFailed where the figures are not what the demo promises."""
    if failures := _failures(good):
        first = next(record for record in good.records if record.failed)
        text = f"{failures} requests failed during the good release, the first with {first.status} {first.error}"
        raise DemoFailed(f"users: {text}; none should have")
    if _by_canary(bad) != _failures(bad):
        raise DemoFailed("users: during the bad release others than the canary failed")
    if not _failures(bad):
        raise DemoFailed("users: the bad release was rolled back, but no request failed: it was not really bad")
    if bad.pods_before != bad.pods_after:
        raise DemoFailed("stable: its pods were replaced during the bad release")


def _row(label: str, text: str) -> str:
    """A label and a text, which goes on below itself where it is long."""
    indent = " " * (2 + _LABEL_WIDTH)
    return textwrap.fill(text, _WIDTH, initial_indent=f"  {label:<{_LABEL_WIDTH}}", subsequent_indent=indent)


def _seconds(rollout: Rollout) -> str:
    return f"{rollout.ended - rollout.began:.0f} s"


def _failures(rollout: Rollout) -> int:
    return sum(record.failed for record in rollout.records)


def _by_canary(rollout: Rollout) -> int:
    """Failed requests that the bad release answered, which ran nowhere but in the canary."""
    message = rollout.release.message
    return sum(record.failed and answered_by(record, message, spoils=True) for record in rollout.records)


def _late(rollout: Rollout) -> str:
    late = sum(record.late_seconds > 1 for record in rollout.records)
    return f" ({late} were sent more than 1 s late: this machine was busy)" if late else ""


def _created(rollout: Rollout) -> str:
    seconds = held_to_canary_seconds(rollout.audit, USER)
    return "not in the audit log" if seconds is None else f"{seconds:.2f} s (API server's audit log)"


def _shares(found: Sequence[StepShare]) -> list[str]:
    """A line for each step."""
    rows = [f"asked {s.asked:>2} %, got {s.got:4.1f} % (95 % interval {s.low:.1f} to {s.high:.1f})" for s in found]
    return [_row("canary's share" if number == 0 else "", row) for number, row in enumerate(rows)]


def _exposed_seconds(rollout: Rollout) -> float:
    """From the first to the last answer of the bad release."""
    message = rollout.release.message
    moments = [record.start for record in rollout.records if answered_by(record, message, spoils=True)]
    return max(moments) - min(moments) if moments else 0.0


def _highest(routes: Sequence[Route]) -> int:
    return max((route.weight for route in routes), default=0)
