"""The demo is the first thing that a newcomer runs: it must go through."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]


def test_the_demo_promotes_the_good_release_and_rolls_the_bad_one_back(
    record_property: Callable[[str, object], None],
) -> None:
    environment = {**os.environ, "KEEP": "", "DEMO_NAME": f"demo-{os.getpid()}"}
    demo = subprocess.run(
        [sys.executable, "-m", "e2e.demo"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    sent = re.search(r"user requests +(\d+) sent, (\d+) failed", demo.stdout)
    assert sent, demo.stdout
    assert int(sent[1]) > 1000
    assert int(sent[2]) == 0
    assert "was promoted" in demo.stdout
    assert "was rolled back and stays held" in demo.stdout
    record_property("user requests failed in the demo's good release", f"{sent[2]} of {sent[1]}")
