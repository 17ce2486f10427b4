"""Git repositories that Flux pulls from, over smart HTTP (it accepts neither dumb HTTP nor file://).

python -m e2e.lab.git_server --root FOLDER --address 10.244.0.1 --port 9418
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from e2e.lab.errors import CommandFailed, LabError
from e2e.lab.ready import answers

ADDRESS = "10.244.0.1"
PORT = 9418
HEALTH_PATH = "/healthz"


class GitRepositories:
    """The lab's repositories, written to directly; the server shows them to Flux."""

    def __init__(self, root: Path) -> None:
        """Keep bare repositories and their work trees below `root`."""
        self.root = root
        self.bare = root / "bare"
        self.bare.mkdir(parents=True)

    def url(self, name: str) -> str:
        """The address that Flux and pods pull a repository from."""
        return f"http://{ADDRESS}:{PORT}/{name}.git"

    def create(self, name: str, files: Mapping[str, str], message: str = "Initial commit") -> str:
        """Make a repository whose branch `main` has one commit with these files; gives the commit's hash."""
        if (self.bare / f"{name}.git").exists():
            raise LabError(f"the lab has a Git repository {name!r} already")
        _git(self.root, "init", "--quiet", "--bare", "--initial-branch=main", f"bare/{name}.git")
        _git(self.root, "clone", "--quiet", f"bare/{name}.git", f"work/{name}")
        return self.commit(name, files, message)

    def commit(
        self, name: str, files: Mapping[str, str], message: str = "Change", *, delete: Sequence[str] = ()
    ) -> str:
        """Write and delete files by their paths in the repository, commit, push; gives the commit's hash."""
        work = self.work_tree(name)
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        for path in delete:
            (work / path).unlink()
        _git(work, "add", "--all")
        _git(work, "commit", "--quiet", "--allow-empty", "--message", message)
        _git(work, "push", "--quiet", "origin", "HEAD:main")
        return _git(work, "rev-parse", "HEAD").strip()

    def read(self, name: str, path: str) -> str:
        """The text of a file at the tip of the repository."""
        return (self.work_tree(name) / path).read_text()

    def work_tree(self, name: str) -> Path:
        """A checkout of the repository: what a developer has on their machine."""
        return self.root / "work" / name


def _git(folder: Path, *arguments: str) -> str:
    """Run git without the settings of whoever runs the lab."""
    argv = ["git", "-C", str(folder), *arguments]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, env=git_environment())
    if answer.returncode != 0:
        raise CommandFailed(argv, answer.returncode, answer.stderr)
    return answer.stdout


def git_environment() -> dict[str, str]:
    """An environment in which git behaves the same on every machine."""
    person = {"NAME": "Developer", "EMAIL": "developer@example.com"}
    identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **identity}


def ready() -> bool:
    """Whether the server answers."""
    return answers(f"http://{ADDRESS}:{PORT}{HEALTH_PATH}")


class GitServer(ThreadingHTTPServer):
    """An HTTP server that hands every request to `git http-backend`."""

    daemon_threads = True

    def __init__(self, root: Path, address: tuple[str, int]) -> None:
        """Serve the bare repositories in `root`."""
        self.root = root
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One request, as a CGI call (RFC 3875)."""

    server: GitServer

    def do_GET(self) -> None:
        """Answer health checks; else ask git."""
        if self.path == HEALTH_PATH:
            self.send_response(200)
            self.end_headers()
            return
        self._ask_git(b"")

    def do_POST(self) -> None:
        """Hand the body to git."""
        self._ask_git(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _ask_git(self, body: bytes) -> None:
        """Run git http-backend and send on what it says."""
        answer = subprocess.run(
            ["git", "http-backend"], input=body, env=self._cgi_environment(), capture_output=True, check=False
        )
        head, _, content = answer.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = headers.pop("Status", "200 OK" if answer.returncode == 0 else "500 Internal Server Error")
        self.send_response_only(int(status.split()[0]))
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cgi_environment(self) -> dict[str, str]:
        """What git http-backend reads of a request."""
        address = urlsplit(self.path)
        return {
            **git_environment(),
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": address.path,
            "QUERY_STRING": address.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Serve Git repositories over smart HTTP.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--address", default=ADDRESS)
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args()
    GitServer(options.root, (options.address, options.port)).serve_forever()


if __name__ == "__main__":
    main()
