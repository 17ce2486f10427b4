"""What users install: the two packages, and nothing of the checkout besides."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_it_holds_exactly_the_two_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"canary", "analysis"}


def test_it_holds_every_module_of_them(wheel: zipfile.ZipFile) -> None:
    sources = {
        path.relative_to(ROOT).as_posix() for top in ("canary", "analysis") for path in (ROOT / top).rglob("*.py")
    }
    assert {name for name in wheel.namelist() if name.endswith(".py")} == sources


def test_it_brings_the_program_and_its_licence(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "fluxcanary-operator = canary.operator.__main__:main" in wheel.read(entry_points).decode()
    assert any(name.endswith("LICENSE") for name in wheel.namelist())
