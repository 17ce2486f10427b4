"""Pod networks: addresses, and a network namespace for each pod on the bridge that the lab's `init.py` makes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from collections.abc import Sequence
from ipaddress import IPv4Address

from e2e.lab.node.objects import NODE_ADDRESS

_BRIDGE = "cni0"
_FIRST_POD_ADDRESS = IPv4Address("10.244.1.0")
_LAST_POD_ADDRESS = IPv4Address("10.244.255.255")


class Addresses:
    """Gives out pod addresses in turn: one that was used comes back only after all the others.

    So nobody who still has the address of a pod that is gone reaches another pod.
    """

    def __init__(self) -> None:
        self._next = _FIRST_POD_ADDRESS
        self._taken: set[IPv4Address] = set()

    def take(self) -> str:
        """Take the next free address; .0 and .255 are left out, for they look like mistakes."""
        while self._next in self._taken or int(self._next) % 256 in (0, 255):
            self._advance()
        address = self._next
        self._taken.add(address)
        self._advance()
        return str(address)

    def give_back(self, address: str) -> None:
        """Let the address be used again."""
        self._taken.discard(IPv4Address(address))

    def _advance(self) -> None:
        self._next = _FIRST_POD_ADDRESS if self._next >= _LAST_POD_ADDRESS else self._next + 1


class PodNetwork:
    """A network namespace of one pod, joined to the bridge by a veth pair whose inner end is `eth0`."""

    def __init__(self, uid: str, address: str) -> None:
        """Name it; `create` makes it."""
        self.name = f"pod-{uid}"
        self.address = address
        self._outer = f"veth{int(IPv4Address(address)) & 0xFFFF:04x}"

    async def create(self) -> None:
        """Make it: two `ip` processes, some 10 ms."""
        outside = (
            f"netns add {self.name}",
            f"link add {self._outer} type veth peer name eth0 netns {self.name}",
            f"link set {self._outer} master {_BRIDGE} up",
        )
        inside = (
            "link set lo up",
            f"address add {self.address}/16 dev eth0",
            "link set eth0 up",
            f"route add default via {NODE_ADDRESS}",
        )
        await _run(["ip", "-batch", "-"], "\n".join(outside))
        await _run(["ip", "-netns", self.name, "-batch", "-"], "\n".join(inside))

    async def remove(self) -> None:
        """Take it down; parts that are already gone do not matter."""
        with contextlib.suppress(OSError):
            await _run(["ip", "-force", "-batch", "-"], f"link del {self._outer}\nnetns del {self.name}\n")


async def prepare_bridge() -> None:
    """Fix the bridge's hardware address, and remove what an agent before this one left behind.

    Left alone the address follows the lowest one among the bridge's ports: pods would lose the way to the node for
    as long as they remember the one before, each time that a pod comes or goes.
    """
    bridge, *_ = json.loads(await _run(["ip", "-json", "link", "show", _BRIDGE]))
    ports = json.loads(await _run(["ip", "-json", "link", "show", "master", _BRIDGE]))
    spaces = [line.split()[0] for line in (await _run(["ip", "netns", "list"])).splitlines() if line]
    steps = [
        f"link set {_BRIDGE} address {bridge['address']}",
        *(f"link del {port['ifname']}" for port in ports if port["ifname"].startswith("veth")),
        *(f"netns del {name}" for name in spaces if name.startswith("pod-")),
    ]
    await _run(["ip", "-force", "-batch", "-"], "\n".join(steps))


async def _run(argv: Sequence[str], stdin: str = "") -> str:
    """Run a system command to its end and give its output; an error carries what it said."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate(stdin.encode())
    finally:
        # Whoever is cancelled here cleans up next, and must not meet the command half done.
        await process.wait()
    if process.returncode != 0:
        raise OSError(f"`{shlex.join(argv)}` ended with {process.returncode}: {errors.decode().strip()}")
    return output.decode()
