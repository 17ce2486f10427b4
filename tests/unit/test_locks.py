"""The operator's image installs what the tests ran with, and all that the operator imports."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ]+)", re.MULTILINE)


def _pins(lock: str) -> set[tuple[str, str]]:
    return set(_PIN.findall((ROOT / lock).read_text()))


def test_the_image_installs_versions_that_the_tests_ran_with() -> None:
    assert _pins("deploy/requirements.lock") <= _pins("tests/requirements.lock"), "make lock"


def test_the_image_installs_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[>=<\[]", dependency)[0] for dependency in project["dependencies"]}
    assert wanted <= {name for name, _ in _pins("deploy/requirements.lock")}, "make lock"


def test_the_image_needs_no_package_of_the_tests() -> None:
    assert not {"pytest", "hypothesis", "mypy", "ruff", "uv"} & {n for n, _ in _pins("deploy/requirements.lock")}
