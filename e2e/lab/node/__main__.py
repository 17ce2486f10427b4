"""The command line of the node agent; `python -m e2e.lab.node --help` describes it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path

import aiohttp

from e2e.lab.node.api import Api
from e2e.lab.node.fake_pod import FakePod
from e2e.lab.node.images import Images
from e2e.lab.node.machine import Machine
from e2e.lab.node.network import prepare_bridge
from e2e.lab.node.node import Node
from e2e.lab.node.process_pod import ProcessPod


async def serve(options: argparse.Namespace) -> None:
    """Play the node until SIGTERM or SIGINT."""
    options.work_dir.mkdir(parents=True, exist_ok=True)
    if options.mode == "process":
        await prepare_bridge()
    images = Images(json.loads(options.images.read_text()), options.bin_dir)
    probing = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
    async with Api.of_kubeconfig(options.kubeconfig) as api, probing:
        machine = Machine(api, probing, images, options.work_dir)
        node = Node(machine, ProcessPod if options.mode == "process" else FakePod)
        serving = asyncio.create_task(node.serve())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await node.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m e2e.lab.node", description="The node of the lab.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--mode", choices=("process", "fake"), default="process")
    parser.add_argument("--bin-dir", type=_absolute, required=True, help="where relative paths of the images start")
    parser.add_argument("--images", type=Path, required=True, help="JSON: image name → cwd, path, entrypoint")
    parser.add_argument(
        "--work-dir", type=_absolute, required=True, help="logs as NAMESPACE/POD/CONTAINER.log, and volumes"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if sys.version_info < (3, 12):
        # The default starts a thread for each process; from 3.12 on this one is the default.
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.run(serve(options))


def _absolute(path: str) -> Path:
    return Path(path).resolve()


if __name__ == "__main__":
    main()
