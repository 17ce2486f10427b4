"""A lab for use by hand.

python -m e2e.lab up [NAME]       start a lab that stays; prints how to reach it
python -m e2e.lab down [NAME]     end it and all that runs in it
python -m e2e.lab status          list the labs of this machine
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from e2e.lab import folder
from e2e.lab.errors import LabError
from e2e.lab.lab import Lab
from e2e.lab.namespaces import kill_init

DEFAULT_NAME = "lab"


def up(name: str, arguments: argparse.Namespace) -> None:
    """Start a lab that outlives this command."""
    node = None if arguments.node == "none" else arguments.node
    with Lab(name, node=node, keep=True) as lab:
        print(f"{name} is up. Its kubectl, for any shell:\n  {lab.kubectl_script}")
        print(f"A shell in its network:\n  {lab.shell_command}")
        print(f"There: KUBECONFIG={lab.kubeconfig}, ingress {lab.ingress_url}, Prometheus {lab.prometheus_url}")
        print(f"Logs:\n  {lab.logs_dir}")


def down(name: str) -> None:
    """End a lab."""
    path = folder.labs_dir() / name
    if not folder.is_up(path):
        raise LabError(f"no lab {name!r} is up")
    kill_init(int((path / "pid").read_text()))
    folder.remove(path)
    print(f"{name} is down; its logs are in {folder.kept_logs_dir() / name}")


def status() -> None:
    """List the labs."""
    labs = sorted(path for path in folder.labs_dir().iterdir() if path.is_dir())
    for path in labs:
        print(f"{path.name}\t{'up' if folder.is_up(path) else 'killed'}\t{_describe(path)}")
    if not labs:
        print("no labs")


def _describe(path: Path) -> str:
    """The folder of a lab, and the number of its first process."""
    pid = path / "pid"
    return f"{path} (process {pid.read_text()})" if pid.exists() else str(path)


def main() -> int:
    """Do what the command line says; the exit code says whether it worked."""
    parser = argparse.ArgumentParser(prog="python -m e2e.lab", description="A lab for use by hand.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start a lab that stays")
    start.add_argument("name", nargs="?", default=DEFAULT_NAME)
    start.add_argument("--node", choices=("process", "fake", "none"), default="process", help="how pods are run")
    commands.add_parser("down", help="end a lab").add_argument("name", nargs="?", default=DEFAULT_NAME)
    commands.add_parser("status", help="list the labs of this machine")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            up(arguments.name, arguments)
        elif arguments.command == "down":
            down(arguments.name)
        else:
            status()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
