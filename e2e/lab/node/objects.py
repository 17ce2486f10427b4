"""What all of the node speaks of: the API's objects as JSON, their times, and the node's name and address in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
"""An object of the Kubernetes API, or a part of one."""

NODE_NAME = "lab-node"
NODE_ADDRESS = "10.244.0.1"
"""The node's end of the bridge: where pods reach the node, and the API server."""


def timestamp() -> str:
    """The time of now as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
