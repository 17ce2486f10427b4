"""The API server, as few verbs as are needed.

Objects are the JSON that the server sends: no client struct comes between, so nothing is lost on the way through and
template hashes stay true. Authentication, TLS and connections are those of `kubernetes.aio`.

    ApiError                 the server answered no, or did not answer
    ├── Conflict       409   the object has changed, or a field has another owner: look again
    ├── NotFound       404
    ├── Refused        4xx   the request will never be accepted as it is
    └── Unavailable    5xx, 429, no answer: try again later
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from canary.kube.resources import Resource
from canary.model import names
from canary.model.template import Json

REQUEST_TIMEOUT_SECONDS = 10.0

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"


class ApiError(Exception):
    """The API server answered no, or did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message


class Conflict(ApiError):
    """The object has changed since it was read, or one of the fields has another owner."""


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Refused(ApiError):
    """The server will not do this, however often it is asked."""


class Unavailable(ApiError):
    """The server cannot answer now."""


class NotLeading(ApiError):
    """This process must not write any more."""


class Client:
    """Requests to the API server. `may_write` is asked before each write, so that a lost lease stops them at once."""

    def __init__(self, api: ApiClient, may_write: Callable[[], bool] = lambda: True) -> None:
        self._api = api
        self._may_write = may_write

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        """One object. Raises NotFound."""
        return await self._request("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[Json]:
        """The objects of a namespace that match a label selector."""
        query = {"labelSelector": selector} if selector else {}
        answer = await self._request("GET", resource.path(namespace), query)
        return list(answer["items"])

    async def create(self, resource: Resource, namespace: str | None, body: Json) -> Json:
        """Create an object. Raises Conflict where one of that name exists."""
        return await self._write("POST", resource.path(namespace), body, _JSON)

    async def apply(self, resource: Resource, namespace: str, body: Json, *, force: bool) -> Json:
        """Server-side apply of the fields in `body`. Without `force` the fields of others raise Conflict."""
        path = resource.path(namespace, body["metadata"]["name"])
        return await self._write("PATCH", path, body, _APPLY, {"force": str(force).lower()})

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Json, subresource: str | None = None
    ) -> Json:
        """Merge patch. Put metadata.resourceVersion in it: a stale one raises Conflict."""
        return await self._write("PATCH", resource.path(namespace, name, subresource), body, _MERGE)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """PUT of a whole object; a stale resourceVersion in it raises Conflict."""
        return await self._request("PUT", resource.path(namespace, name), {}, body, _JSON)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object and, in the background, what it owns. Nothing happens where there is none."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            await self._write("DELETE", resource.path(namespace, name), body, _JSON)
        except NotFound:
            return

    async def _write(
        self, method: str, path: str, body: Json, content_type: str, query: Mapping[str, str] | None = None
    ) -> Json:
        if not self._may_write():
            raise NotLeading(0, "the lease is not held: nothing is written")
        manager = {"fieldManager": names.FIELD_MANAGER} if method != "DELETE" else {}
        return await self._request(method, path, {**manager, **(query or {})}, body, content_type)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = _JSON,
    ) -> Json:
        headers: dict[str, str] = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": names.FIELD_MANAGER}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=REQUEST_TIMEOUT_SECONDS
            )
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, f"{method} {path}: {type(error).__name__}: {error}") from error
        if 200 <= response.status < 300:
            answer: Json = json.loads(data)
            return answer
        raise _error(response.status, _message(data))


def _error(status: int, message: str) -> ApiError:
    if status == 409:
        return Conflict(status, message)
    if status == 404:
        return NotFound(status, message)
    if status == 429 or status >= 500 or status == 401:
        return Unavailable(status, message)
    return Refused(status, message)


def _message(data: bytes) -> str:
    """The text of a Status object; what is no Status object is no answer of an API server."""
    try:
        answer: Any = json.loads(data)
        return str(answer["message"])
    except (ValueError, KeyError, TypeError):
        return "the answer is no Kubernetes Status"
