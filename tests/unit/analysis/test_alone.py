"""The judge is a package of its own: numpy is all that it needs."""

import subprocess
import sys

PROGRAM = """
import pkgutil, sys
import analysis
for module in pkgutil.iter_modules(analysis.__path__, "analysis."):
    __import__(module.name)
known = set(sys.stdlib_module_names) | {"analysis", "numpy"}
print(sorted({name.partition(".")[0] for name in sys.modules} - known - BEFORE))
"""


def test_it_imports_nothing_but_numpy() -> None:
    before = "import sys; BEFORE = {name.partition('.')[0] for name in sys.modules}\n"
    found = subprocess.run([sys.executable, "-c", before + PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
