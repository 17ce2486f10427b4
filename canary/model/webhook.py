"""Webhooks: what a user writes, what is sent, what the answer means, and which hosts may be called.

The wire is Flagger's, so that its gates and its load tester serve here unchanged: POST of a JSON object, and the
status alone is the answer. https://docs.flagger.app/usage/webhooks
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from analysis.verdict import Verdict
from canary.model.duration import format_duration
from canary.model.fields import SpecError, choice, duration, get, integer, required, texts
from canary.model.template import Json

DEFAULT_TIMEOUT = timedelta(seconds=10)
SHORTEST_TIMEOUT = timedelta(seconds=1)
LONGEST_TIMEOUT = timedelta(hours=1)
MOST_RETRIES = 10
LONGEST_NAME = 63

HOSTS_FLAG = "--webhook-hosts"
"""The operator's flag that allows more hosts than the Services of a Canary's own namespace."""

_PORTS = 2**16
_LONGEST_HOST = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]", re.IGNORECASE | re.ASCII)
_URL = re.compile(r"(?P<scheme>https?://)(?P<authority>[^/?#\s]*)(?P<rest>[!-~]*)")
_AUTHORITY = re.compile(r"(?P<host>[^:\[\]]*|\[[^\]]*\])(?P<port>:[0-9]{1,5})?")
_PATTERN = re.compile(r"[a-z0-9.*?-]+")
_SERVICE = re.compile(rf"{_LABEL}\.(?P<namespace>{_LABEL})(?P<domain>|\.svc|\.svc\.cluster\.local)")


class HookType(StrEnum):
    """When a webhook is asked, and what its answer decides."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    """Before the canary is made: it waits for a yes."""
    PRE_ROLLOUT = "pre-rollout"
    """Before the canary's first traffic: a no is a failed check."""
    ROLLOUT = "rollout"
    """Once an interval while the canary has traffic: a no is a failed check."""
    CONFIRM_PROMOTION = "confirm-promotion"
    """After the last step passed: promotion waits for a yes."""
    ROLLBACK = "rollback"
    """Once an interval while a rollout is under way: a yes rolls back."""
    POST_ROLLOUT = "post-rollout"
    """Once after the end of a rollout: reported only."""
    EVENT = "event"
    """Told every event; nothing waits for its answer."""


class OnTimeout(StrEnum):
    """What follows when a webhook gave no answer."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    ADVANCE = "advance"


@dataclass(frozen=True)
class Webhook:
    """One webhook of a Canary. Names are unique within it."""

    name: str
    type: HookType
    url: str
    timeout: timedelta = DEFAULT_TIMEOUT
    """Of one try."""
    retries: int = 0
    """How often a call that got no answer is tried again."""
    on_timeout: OnTimeout = OnTimeout.HOLD
    metadata: tuple[tuple[str, str], ...] = ()
    """Sent with each call, by name."""


@dataclass(frozen=True)
class HookAnswer:
    """What became of one call, with its retries."""

    verdict: Verdict
    """PASS is yes, FAIL is no, ERROR is no answer at all."""
    message: str
    """Ours, and safe to show: nothing of the answer but its status, nothing of the URL but its host."""
    at: datetime
    """When it was known."""


@dataclass(frozen=True)
class Call:
    """A wish for an answer that was not given before `since`."""

    webhook: Webhook
    phase: str
    checksum: str
    since: datetime
    renew_before: datetime
    """An answer other than yes from before this is asked for again, and counts until there is another."""


@dataclass(frozen=True)
class HookEvent:
    """What a webhook of type `event` is told."""

    message: str
    warning: bool
    at: datetime


@dataclass(frozen=True)
class Payload:
    """What is sent. The fields are those that Flagger's load tester decodes."""

    name: str
    namespace: str
    phase: str
    checksum: str
    """Names what is on trial: calls of one rollout have the same."""
    metadata: tuple[tuple[str, str], ...] = ()

    def json(self) -> Json:
        """As it is written on the wire."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "phase": self.phase,
            "checksum": self.checksum,
            "metadata": dict(self.metadata),
        }


def event_payload(told: Payload, event: HookEvent) -> Payload:
    """The payload of a webhook of type `event`: what is told stands in the metadata, time in unix milliseconds."""
    milliseconds = round(event.at.timestamp() * 1000)
    metadata = dict(told.metadata) | {
        "eventMessage": event.message,
        "eventType": "Warning" if event.warning else "Normal",
        "timestamp": str(milliseconds),
    }
    return Payload(told.name, told.namespace, told.phase, told.checksum, tuple(sorted(metadata.items())))


def parse_webhook(path: str, item: Json) -> Webhook:
    """One entry of the list. Raises SpecError."""
    return Webhook(
        name=_name(path, item),
        type=choice(item, path, "type", HookType.ROLLOUT),
        url=_url(path, item),
        timeout=_timeout(path, item),
        retries=integer(item, path, "retries", 0, MOST_RETRIES, least=0),
        on_timeout=choice(item, path, "onTimeout", OnTimeout.HOLD),
        metadata=texts(item, path, "metadata"),
    )


def _name(path: str, item: Json) -> str:
    name = required(item, path, "name", str)
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise SpecError(f"{path}.name", f"must be 1 to {LONGEST_NAME} characters of one line, has {len(name)}")
    return name


def _timeout(path: str, item: Json) -> timedelta:
    timeout = duration(item, path, "timeout", DEFAULT_TIMEOUT)
    if not SHORTEST_TIMEOUT <= timeout <= LONGEST_TIMEOUT:
        shown = get(item, path, "timeout", str, "")
        raise SpecError(f"{path}.timeout", f"must be from 1s to {format_duration(LONGEST_TIMEOUT)}, is {shown}")
    return timeout


def _url(path: str, item: Json) -> str:
    """A URL that every reader splits alike. What is said of a wrong one shows none of it: it may have a password."""
    url = required(item, path, "url", str)
    match = _URL.fullmatch(url)
    if match is None:
        raise SpecError(f"{path}.url", "must begin with http:// or https:// and be ASCII without blanks")
    if "@" in match["authority"]:
        raise SpecError(f"{path}.url", "must hold no user name or password")
    parts = _AUTHORITY.fullmatch(match["authority"])
    if parts is None or not _is_host(parts["host"]):
        raise SpecError(f"{path}.url", "must name a host: letters, digits, dots and -, or an address")
    if not 0 < int((parts["port"] or ":80")[1:]) < _PORTS:
        raise SpecError(f"{path}.url", "must name a port from 1 to 65535, or none")
    return url


def _is_host(text: str) -> bool:
    return len(text) <= _LONGEST_HOST and bool(_DNS_NAME.fullmatch(text) or _IPV6.fullmatch(text))


# ---------------------------------------------------------------------------------------------------------------- hosts


def parse_hosts(text: str) -> tuple[str, ...]:
    """The value of the operator's flag: patterns of hosts between commas. ValueError for one that can match none."""
    patterns = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is no host such as gate.example.com or *.flagger-system: no port, no path")
    return patterns


def host(url: str) -> str:
    """The host of a parsed webhook's URL, in small letters, without a port."""
    return _split(url)[1].lower()


def refused_host(url: str, namespace: str, allowed: tuple[str, ...]) -> str | None:
    """Why a Canary of this namespace may not call this URL, or None where it may.

    Otherwise whoever may write a Canary could send requests from the operator's place in the network.
    """
    if _is_allowed(host(url), allowed) or _own_service(host(url), namespace):
        return None
    return (
        f"host {host(url)} is neither a Service of namespace {namespace} (<service>.{namespace}) "
        f"nor allowed by the operator's flag {HOSTS_FLAG}"
    )


def destination(url: str, namespace: str, allowed: tuple[str, ...]) -> str:
    """The URL to call for one that is not refused.

    `<service>.<namespace>` gets `.svc` behind it: in a namespace `dev`, a name that no Service has would otherwise be
    looked up in the internet's `.dev`.
    """
    scheme, name, rest = _split(url)
    service = _own_service(name.lower(), namespace)
    if service is None or service["domain"] or _is_allowed(name.lower(), allowed):
        return url
    return f"{scheme}{name}.svc{rest}"


def _split(url: str) -> tuple[str, str, str]:
    """Scheme with its slashes, host, and all behind it."""
    match = _URL.fullmatch(url)
    assert match, "the URL was parsed"
    parts = _AUTHORITY.fullmatch(match["authority"])
    assert parts, "the URL was parsed"
    return match["scheme"], parts["host"], (parts["port"] or "") + match["rest"]


def _is_allowed(name: str, allowed: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in allowed)


def _own_service(name: str, namespace: str) -> re.Match[str] | None:
    match = _SERVICE.fullmatch(name)
    return match if match and match["namespace"] == namespace else None
