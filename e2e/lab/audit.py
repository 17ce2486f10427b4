"""The API server's audit log, read as it grows: who asked for what, and when. This is how requests are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AuditEntry:
    """One request to the API server."""

    received_at: datetime
    user: str
    """Who was answered: the impersonated user where one user acts as another."""
    impersonator: str
    """Who acted as `user`; empty for a user's own request."""
    user_agent: str
    verb: str
    api_group: str
    resource: str
    """Plural, as in the path; empty for requests such as /version."""
    subresource: str
    namespace: str
    name: str
    uri: str
    code: int
    """HTTP status of the answer; a watch has it as soon as it has begun."""


class AuditLog:
    """The entries of one lab, each request once."""

    def __init__(self, file: Path) -> None:
        """Read from this file, which need not exist yet."""
        self._file = file
        self._position = 0
        self._entries: dict[str, AuditEntry] = {}

    def entries(self, since: datetime | None = None, user: str | None = None) -> list[AuditEntry]:
        """The requests received at or after `since` (with a timezone), of one user or of all, in the log's order."""
        self._read_on()
        return [
            entry
            for entry in self._entries.values()
            if (since is None or entry.received_at >= since) and (user is None or entry.user == user)
        ]

    def _read_on(self) -> None:
        """Take in the complete lines that were written since the last time."""
        if not self._file.exists():
            return
        with self._file.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                event = json.loads(line)
                # A watch has two events, when it begins and when it ends: the first is the request.
                self._entries.setdefault(event["auditID"], _parse(event))


def _parse(event: Mapping[str, Any]) -> AuditEntry:
    """Read one line of the log (audit.k8s.io/v1 Event)."""
    reference = event.get("objectRef", {})
    own_name = event["user"]["username"]
    acted_as = event.get("impersonatedUser", {}).get("username", "")
    return AuditEntry(
        received_at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        user=acted_as or own_name,
        impersonator=own_name if acted_as else "",
        user_agent=event.get("userAgent", ""),
        verb=event["verb"],
        api_group=reference.get("apiGroup", ""),
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        uri=event["requestURI"],
        code=event.get("responseStatus", {}).get("code", 0),
    )
