"""Mounts: how a container that sees this machine's file system is shown its volumes, and nobody else is."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MountPlan:
    """The shell commands that show a container its volumes, and the mounts that cannot be, each with its reason."""

    commands: tuple[str, ...]
    left_out: tuple[str, ...]


def plan_mounts(mounts: Sequence[tuple[Path, Path]], kept: Sequence[Path], scratch: Path) -> MountPlan:
    """Plan bind mounts of (source, mount point) in a mount namespace of the container's own.

    Nothing is written on the machine's file system: a missing mount point is made on an overlay (in memory) of its
    nearest existing folder. `kept` are folders that must stay visible; `scratch` is an empty folder to mount on, beside
    the sources: what hides it comes last.
    """
    commands: list[str] = []
    left_out: list[str] = []
    shown: list[Path] = []
    real = [(source, Path(os.path.realpath(point))) for source, point in mounts]
    for source, target in sorted(real, key=lambda mount: (scratch.is_relative_to(mount[1]), mount[1])):
        if any(folder.is_relative_to(target) for folder in kept):
            left_out.append(f"{target} (would hide the image's files)")
            continue
        if not target.exists() and not any(target.is_relative_to(other) for other in shown):
            base = _nearest_folder(target)
            if base == base.parent:
                left_out.append(f"{target} (no such folder on this machine)")
                continue
            commands.append(_overlay(base, scratch))
            shown.append(base)
        if not target.exists():
            commands.append(_make_mount_point(source, target))
        commands.append(f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}")
        shown.append(target)
    return MountPlan(tuple(commands), tuple(left_out))


def _nearest_folder(path: Path) -> Path:
    """The deepest folder on the way to a path that exists."""
    return next(folder for folder in path.parents if folder.is_dir())


def _overlay(folder: Path, scratch: Path) -> str:
    """Cover a folder with itself plus a writable layer in memory."""
    layers, covered = shlex.quote(str(scratch)), shlex.quote(str(folder))
    return (
        f"mount -t tmpfs tmpfs {layers} && mkdir {layers}/upper {layers}/work"
        f" && mount -t overlay -o lowerdir={covered},upperdir={layers}/upper,workdir={layers}/work overlay {covered}"
        f" && umount {layers}"
    )


def _make_mount_point(source: Path, target: Path) -> str:
    """Make the folder or the empty file to mount on."""
    if source.is_dir():
        return f"mkdir -p {shlex.quote(str(target))}"
    return f"mkdir -p {shlex.quote(str(target.parent))} && : > {shlex.quote(str(target))}"
