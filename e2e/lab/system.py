"""The Debian packages that the lab needs, and their installation.

nginx, its modules and Prometheus come from Debian because none of them can be built from Go modules. Nothing that a
package installs may be left running: the lab starts its own nginx and Prometheus, in its own namespaces.

    python -m e2e.lab.system
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.lab.errors import MissingPackages

PACKAGES: tuple[str, ...] = (
    "nginx",
    "libnginx-mod-http-lua",
    "libnginx-mod-http-headers-more-filter",
    "libnginx-mod-http-set-misc",
    "lua-cjson",
    "lua-nginx-cookie",
    "lua-nginx-dns",
    "prometheus",
    "iproute2",
    "util-linux",
    "mount",
    "git",
    "openssl",
)
"""Debian packages, in the order in which a person would read them: nginx, Prometheus, then tools."""

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Services of packages installed for the lab are not started.\nexit 101\n"


def missing_packages() -> list[str]:
    """List the packages that dpkg does not know as installed; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(PACKAGES)
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Abbrev}\n", *PACKAGES]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = (line.split() for line in answer.stdout.splitlines())
    installed = {row[0] for row in rows if row[1:] == ["ii"]}
    return [package for package in PACKAGES if package not in installed]


def ensure_packages() -> None:
    """Install what is missing, or stop with the command that a person should run."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise MissingPackages(f"there is no apt-get here; the lab needs these Debian packages: {' '.join(missing)}")
    if os.geteuid() != 0:
        raise MissingPackages(f"the lab needs packages; as root: apt-get install {' '.join(missing)}")
    print(f"installing {' '.join(missing)}", flush=True)
    _install(missing)
    left = missing_packages()
    if left:
        raise MissingPackages(f"apt-get installed without an error, yet these are missing: {' '.join(left)}")


def _install(packages: list[str]) -> None:
    """Run apt-get with services held back, so that Debian's own nginx and Prometheus do not start."""
    held_back = not _POLICY.exists()
    if held_back:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
    try:
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)
    finally:
        if held_back:
            _POLICY.unlink(missing_ok=True)


def _apt_get(*arguments: str) -> None:
    """Run one apt-get command; its output is shown only when it fails."""
    with tempfile.TemporaryFile("w+") as output:
        command = ["apt-get", "-qq", *arguments]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        code = subprocess.run(command, env=env, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if code == 0:
            return
        output.seek(0)
        last_lines = "\n".join(output.read().splitlines()[-20:])
    raise MissingPackages(f"`{' '.join(command)}` ended with {code}:\n{last_lines}")


def main() -> int:
    """Install what is missing; the exit code says whether it worked."""
    try:
        ensure_packages()
    except MissingPackages as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
