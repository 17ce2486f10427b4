"""Reasons: each constant is used, and each one used is a constant."""

import ast
import re
from pathlib import Path

from canary.model import reasons

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "canary" / "model" / "reasons.py"
CONSTANTS = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "canary").rglob("*.py") if path != MODULE}


def used() -> set[str]:
    """The attributes of the module `reasons` that the code names."""
    return {
        node.attr
        for source in SOURCES.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "reasons"
    }


def test_every_reason_is_used_in_the_code() -> None:
    assert set(CONSTANTS) - used() == set()


def test_every_reason_is_written_as_kubernetes_wants_it_and_is_there_once() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*", reason) for reason in CONSTANTS.values())
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)


def test_no_reason_is_written_out_elsewhere() -> None:
    """`Initialized` and `Promoting` are phases, too; a Deployment of Kubernetes has the reason of our deadline."""
    shared = {"Initialized", "Promoting", "Suspended", "ProgressDeadlineExceeded"}
    for path, source in SOURCES.items():
        literals = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        assert (literals & set(CONSTANTS.values())) - shared == set(), path
