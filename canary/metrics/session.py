"""The HTTP below Prometheus: a session that returns only whole answers of a bounded size, in bounded time.

Used by `canary.metrics.prometheus`; what the answers say is checked in `canary.metrics.answers`.
"""

import time
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests

_CHUNK_BYTES = 64 * 1024


class AnswerRefused(Exception):
    """An answer that must not be used; the text is ours and may be shown."""


class GuardedSession(requests.Session):
    """Raises AnswerRefused for an answer that is redirected, compressed or too large, and TimeoutError for a late one.

    The `timeout` of a request bounds all of it: to connect, to wait and to read the body.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes
        # no proxy and no password that happen to lie in the environment
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # a compressed megabyte may be a gigabyte
        self.headers["Accept-Encoding"] = "identity"

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, and read the body under guard."""
        ends_at = time.monotonic() + kwargs["timeout"]
        response = super().send(request, **(kwargs | {"stream": True, "allow_redirects": False}))
        try:
            _refuse_redirect_and_encoding(response)
            # where requests itself keeps a body that it has read
            response._content = self._read(response, ends_at)  # noqa: SLF001
        finally:
            response.close()
        return response

    def _read(self, response: requests.Response, ends_at: float) -> bytes:
        """Read the body as it arrives, so that neither a flood nor a trickle is read to its end."""
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise AnswerRefused(f"the answer of Prometheus is larger than {self._max_bytes // 1024} KiB")
            if time.monotonic() > ends_at:
                raise TimeoutError
        return bytes(body)


def _refuse_redirect_and_encoding(response: requests.Response) -> None:
    if response.is_redirect or HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        raise AnswerRefused(f"Prometheus answered with a redirect (HTTP {response.status_code}); none is followed")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise AnswerRefused("Prometheus answered with a compressed body, which was not asked for")
