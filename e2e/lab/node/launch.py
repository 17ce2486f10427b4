"""How a container's program gets into its namespaces: the command line that starts it and its basic environment."""

from __future__ import annotations

import functools
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from e2e.lab.node.environment import expand
from e2e.lab.node.images import Image
from e2e.lab.node.mounts import plan_mounts
from e2e.lab.node.pods import Container, Pod
from e2e.lab.node.process import SYSTEM_PATH, system_program
from e2e.lab.node.volumes import Volumes

_log = logging.getLogger("lab.node")


@dataclass(frozen=True)
class Place:
    """Where the containers of a pod run."""

    pod: Pod
    address: str
    network: str
    """Name of the network namespace; empty for the node's own."""
    volumes: Volumes
    folder: Path
    """For what belongs to this pod and goes with it."""
    logs: Path


def base_environment(image: Image, place: Place, apiserver: str) -> dict[str, str]:
    """The variables of a container engine and of Kubernetes; `apiserver` is its URL, the same from everywhere."""
    server = urlsplit(apiserver)
    return {
        "PATH": ":".join([*map(str, image.path), SYSTEM_PATH]),
        "HOSTNAME": place.pod.name,
        "HOME": str(place.folder),
        "IMAGE_TAG": image.tag,
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(server.port),
    }


def command_line(container: Container, image: Image, place: Place, env: Mapping[str, str]) -> list[str]:
    """The program, behind those that put it into its namespaces and tie its life to the agent's."""
    program = [*(container.command or image.entrypoint), *container.args]
    network = [system_program("nsenter"), f"--net=/run/netns/{place.network}"] if place.network else []
    return [
        *(system_program("setpriv"), "--pdeathsig", "KILL"),
        *network,
        *(system_program("unshare"), "--mount", "--uts", "--propagation", "private"),
        *(system_program("sh"), "-c", _setup_script(container, image, place), "sh"),
        *(expand(word, env) for word in program),
    ]


def _setup_script(container: Container, image: Image, place: Place) -> str:
    """What the shell does before it gives way: host name, mounts, working directory."""
    mounts = [
        (source, Path(mount.path)) for mount in container.mounts if (source := place.volumes.source(mount)) is not None
    ]
    kept = [folder.resolve() for folder in (image.cwd, *image.path) if folder is not None]
    scratch = place.folder / ".scratch"
    scratch.mkdir(exist_ok=True)
    plan = plan_mounts(mounts, kept, scratch)
    if plan.left_out:
        _say_once(f"not mounted for container {container.name} ({image.tag}): {', '.join(plan.left_out)}")
    steps = [f"echo {shlex.quote(place.pod.name)} > /proc/sys/kernel/hostname", *plan.commands]
    if container.working_dir:
        steps.append(f"cd {shlex.quote(container.working_dir)} 2>/dev/null || true")
    return "\n".join(["set -e", *steps, 'exec "$@" </dev/null'])


@functools.cache
def _say_once(message: str) -> None:
    """Log what would otherwise be said of every pod of a Deployment."""
    _log.info("%s", message)
