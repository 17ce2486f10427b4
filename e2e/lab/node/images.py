"""Images: what stands on this machine for a container image, found by the reference in a pod's spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.lab.node.objects import Json

_MISSING = "missing"


@dataclass(frozen=True)
class Image:
    """Programs on this machine."""

    cwd: Path | None
    """The working directory, from which `./program` is found; None for a folder of the pod's own."""
    path: tuple[Path, ...]
    """Folders that come first on PATH."""
    entrypoint: tuple[str, ...]
    """What runs where a container has no `command`."""
    tag: str


class Images:
    """The images that can be pulled."""

    def __init__(self, entries: Mapping[str, Json], bin_dir: Path) -> None:
        """Take the entries of the images file (`e2e.lab.lab.Image`); relative paths in it start at `bin_dir`."""
        self._entries = entries
        self._bin_dir = bin_dir

    def pull(self, reference: str) -> Image | None:
        """Find an image; None if it cannot be pulled."""
        name, tag = split_image(reference)
        entry = self._entries.get(name)
        if entry is None or tag.endswith(_MISSING):
            return None
        return Image(
            cwd=self._bin_dir / entry["cwd"] if "cwd" in entry else None,
            path=tuple(self._bin_dir / folder for folder in entry.get("path", ())),
            entrypoint=tuple(entry.get("entrypoint", ())),
            tag=tag,
        )


def split_image(reference: str) -> tuple[str, str]:
    """Split an image reference into its name and its tag (`latest` if it has none); a digest is dropped."""
    name = reference.partition("@")[0]
    last_colon = name.rfind(":")
    if last_colon <= name.rfind("/"):
        return name, "latest"
    return name[:last_colon], name[last_colon + 1 :]
