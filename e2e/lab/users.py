"""Who talks to the API server: every program of the lab under its own name, so that the audit log tells them apart.

Programs that run as service accounts on a real cluster have their service account's name here too: rules that look at
the requester (RBAC, admission policies) see what they would see there.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

API_SERVER = "https://10.244.0.1:6443"
"""The lab's end of the bridge: the same address from the lab's programs, the tests and the pods."""


@dataclass(frozen=True)
class User:
    """A name that the API server knows, and its groups."""

    name: str
    groups: tuple[str, ...] = ()


def service_account(namespace: str, name: str) -> User:
    """The user that requests of a service account come from."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


ADMIN = User("admin", ("system:masters",))
CONTROLLER_MANAGER = User("system:kube-controller-manager")
SCHEDULER = User("system:kube-scheduler")
NODE = User("node")
SOURCE_CONTROLLER = service_account("flux-system", "source-controller")
KUSTOMIZE_CONTROLLER = service_account("flux-system", "kustomize-controller")
INGRESS_NGINX = service_account("ingress-nginx", "ingress-nginx")
USERS: tuple[User, ...] = (
    ADMIN,
    CONTROLLER_MANAGER,
    SCHEDULER,
    NODE,
    SOURCE_CONTROLLER,
    KUSTOMIZE_CONTROLLER,
    INGRESS_NGINX,
)


class Credentials:
    """The tokens of one lab's users and their kubeconfig files."""

    def __init__(self, folder: Path, users: tuple[User, ...] = USERS) -> None:
        """Make a token for each user; the folder is for this user alone to read."""
        self.folder = folder
        self._users = {user.name: user for user in users}
        self._tokens = {user.name: secrets.token_urlsafe(24) for user in users}
        self.certificate = folder / "certificates" / "apiserver.crt"
        (folder / "certificates").mkdir(parents=True)
        folder.chmod(0o700)

    def write_token_file(self) -> Path:
        """Write what the API server reads with --token-auth-file: token, name, uid, groups."""
        rows = (
            f'{self._tokens[user.name]},{user.name},{user.name},"{",".join(user.groups)}"'
            for user in self._users.values()
        )
        file = self.folder / "tokens.csv"
        file.write_text("\n".join(rows) + "\n")
        return file

    def knows(self, name: str) -> bool:
        """Whether the user has a token of the lab's own."""
        return name in self._users

    def kubeconfig(self, user: User | str, token: str | None = None) -> Path:
        """The kubeconfig file of a user: one of the lab's own, or any with the token given."""
        name = user if isinstance(user, str) else user.name
        file = self.folder / f"{name.replace(':', '.')}.kubeconfig"
        if token is not None or not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps(self._kubeconfig_of(name, token or self._tokens[name]), indent=1))
        return file

    def _kubeconfig_of(self, name: str, token: str) -> Mapping[str, object]:
        """A kubeconfig with one context; JSON is YAML."""
        cluster = {"server": API_SERVER, "certificate-authority": str(self.certificate)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
            "current-context": "lab",
        }
