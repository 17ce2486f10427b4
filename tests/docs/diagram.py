"""The diagram of phases in docs/concepts.md, drawn from the engine's own table.

python -m tests.docs.diagram      draws it anew
"""

from collections.abc import Mapping
from pathlib import Path

from canary.engine.phases import TRANSITIONS, Move
from canary.model.status import Phase

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"
BEGIN = "<!-- drawn from canary/engine/phases.py by `python -m tests.docs.diagram` -->\n```mermaid\n"
END = "```\n<!-- end of the drawing -->\n"


def diagram(transitions: Mapping[tuple[Phase | None, Move], Phase]) -> str:
    """Mermaid's text: one arrow for each pair of phases, with all moves that lead from one to the other."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, what), after in transitions.items():
        arrows.setdefault((before or "[*]", after), []).append(what)
    lines = [f"    {before} --> {after}: {', '.join(moves)}" for (before, after), moves in arrows.items()]
    return "\n".join(("stateDiagram-v2", *lines)) + "\n"


def committed(page: str) -> str:
    """The diagram that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0]


def redrawn(page: str, drawing: str) -> str:
    """The page with another diagram."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{drawing}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(), diagram(TRANSITIONS)))
