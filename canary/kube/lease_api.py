"""The Lease of this operator on the API server, for `canary.kube.lease`."""

from canary.kube import lease
from canary.kube.client import Client, Conflict, NotFound
from canary.kube.resources import LEASES
from canary.model.template import Json

NAME = "fluxcanary"


class KubeLease:
    """A LeaseApi. Its client must not ask the elector for leave: it is how leave is got."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def get(self) -> Json | None:
        """Read the Lease; None when there is none."""
        try:
            return await self._client.get(LEASES, self._namespace, NAME)
        except NotFound:
            return None

    async def create(self, body: Json) -> Json:
        """POST it."""
        metadata = {"name": NAME, "namespace": self._namespace}
        try:
            return await self._client.create(LEASES, self._namespace, {**body, "metadata": metadata})
        except Conflict as error:
            raise lease.Conflict(str(error)) from error

    async def replace(self, body: Json) -> Json:
        """PUT it as it was read."""
        try:
            return await self._client.replace(LEASES, self._namespace, NAME, body)
        except Conflict as error:
            raise lease.Conflict(str(error)) from error
