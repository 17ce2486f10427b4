"""Tables of goals and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.kernel import Bools, Floats


@dataclass(frozen=True)
class Row:
    """One figure beside its goal."""

    name: str
    goal: str
    figure: str
    met: bool | None
    """None: no goal is set."""


def render(title: str, rows: Sequence[Row]) -> str:
    """As text, with columns as wide as they need."""
    cells = [("", "goal", "figure", "")]
    cells += [(row.name, row.goal, row.figure, {True: "met", False: "MISSED", None: ""}[row.met]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(["", title, "-" * len(title), *lines])


def percent(part: Floats | Bools | float) -> str:
    """A share between 0 and 1."""
    return f"{100 * float(np.mean(part)):.3g} %"


def quantiles(values: Floats, unit: str, *parts: float) -> str:
    """For example "45 / 60 / 75 s"."""
    known = values[~np.isnan(values)]
    if not known.size:
        return "-"
    return " / ".join(f"{value:.0f}" for value in np.quantile(known, parts)) + f" {unit}"
