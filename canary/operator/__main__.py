"""The operator process: be elected, fill the cache, watch, reconcile; give the lease back at the end."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import kopf
import structlog
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from canary.gates.webhooks import Webhooks
from canary.kube.cache import Cache
from canary.kube.client import ApiError, Client
from canary.kube.execute import Executor
from canary.kube.lease import Elector, LeaseLost
from canary.kube.lease_api import KubeLease
from canary.kube.resources import SELF_SUBJECT_REVIEWS
from canary.metrics.prometheus import Prometheus
from canary.metrics.scrapes import Scrapes
from canary.operator import health, watches
from canary.operator.analyst import Analyst
from canary.operator.caller import Caller
from canary.operator.log import configure
from canary.operator.observe import Observer, Surroundings
from canary.operator.queue import KeyedQueue
from canary.operator.reconcile import Key, Reconciler
from canary.operator.settings import Settings, parse_settings
from canary.routing.ingress_nginx import IngressNginx

log = structlog.get_logger()

STOP_SECONDS = 20
"""What the work under way may take after a signal; the pod's grace period is longer."""

SWEEP_SECONDS = 600
"""Between two listings of everything that is watched."""

TOKEN_LIFE = timedelta(minutes=10)
"""How long kopf may use a service account's token before it reads the file again: the kubelet renews it."""


def main() -> None:
    """Entry point of `fluxcanary-operator`."""
    settings = parse_settings()
    configure(settings.log_format)
    try:
        asyncio.run(_run(settings))
    except* LeaseLost as group:
        log.error("lease lost", error=str(group.exceptions[0]))
        sys.exit(1)


async def _run(settings: Settings) -> None:
    async with ApiClient(await _configuration()) as api:
        elector = Elector(KubeLease(Client(api), settings.namespace), f"{settings.instance}_{uuid.uuid4().hex[:8]}")
        client = Client(api, may_write=elector.holds)
        operator = _Operator(settings, client)
        runner = await health.serve(settings.port, lambda: operator.queue.oldest_age_seconds)
        stop = _stop_on_signals()
        try:
            await _until(stop, elector.acquire(), patience_seconds=0)
            if not stop.is_set():
                await operator.start()
                await _until(stop, _lead(operator, elector, stop), patience_seconds=STOP_SECONDS)
        finally:
            await operator.close()
            await elector.release()
            await runner.cleanup()


class _Operator:
    """The parts of an operator that leads, put together."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.cache = Cache()
        self.client = client
        self.settings = settings
        self.watched = watches.watched(secrets=settings.watch_secrets)
        self.prometheus = Prometheus(settings.metrics_server)
        self.queue: KeyedQueue[Key] = KeyedQueue(self._reconcile, report=_report)
        self.analyst = Analyst(Scrapes[Key](self.prometheus, settings.metrics_labels), told=self.queue.add)
        self.webhooks = Webhooks(settings.webhook_hosts, clock=lambda: datetime.now(UTC))
        self.caller = Caller[Key](self.webhooks, told=self.queue.add)
        self._reconciler: Reconciler | None = None

    async def start(self) -> None:
        """Fill the cache and queue every Canary."""
        review = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": "SelfSubjectReview"}
        answer = await self.client.create(SELF_SUBJECT_REVIEWS, None, review)
        username = answer["status"]["userInfo"]["username"]
        await watches.sweep(self.client, self.cache, self.watched)
        router = IngressNginx(self.settings.ingress_class)
        self._reconciler = Reconciler(
            self.client,
            self.cache,
            Observer(self.client, self.cache, router, Surroundings(username, self.settings.webhook_hosts)),
            router,
            Executor(self.client, self.cache, self.settings.instance),
            self.prometheus,
            self.analyst,
            self.caller,
            clock=lambda: datetime.now(UTC),
        )
        log.info("leading", username=username, canaries=self._look_at_all())

    async def sweep(self) -> None:
        """Now and then, look for what the watches missed. Ends by being cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await watches.sweep(self.client, self.cache, self.watched)
            except ApiError as error:
                log.warning("sweep failed", error=str(error))
            self._look_at_all()

    def _look_at_all(self) -> int:
        canaries = list(self.cache.everywhere("Canary"))
        for canary in canaries:
            self.queue.add(watches.key_of(canary))
        return len(canaries)

    async def watch(self, stop: asyncio.Event) -> None:
        """Let kopf watch until `stop`."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        watches.register(registry, self.cache, self.queue.add, self.watched)
        # without an identity kopf asks the DNS for our name, in the event loop: a slow answer would cost the lease
        identity = cast("Any", self.settings.instance)
        await kopf.operator(
            registry=registry,
            settings=watches.settings(self.watched),
            clusterwide=True,
            stop_flag=stop,
            identity=identity,
        )

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        return _connection(await _configuration())

    async def close(self) -> None:
        """End the threads and the connections."""
        self.prometheus.close()
        await self.webhooks.aclose()

    async def _reconcile(self, key: Key) -> float | None:
        assert self._reconciler is not None, "the queue runs after start"
        return await self._reconciler(key)


def _report(key: Key, error: Exception) -> None:
    """A reconciliation failed and is tried again: one line for what is expected of an API server, all of a fault."""
    canary = "/".join(key)
    if isinstance(error, ApiError):
        log.warning("tried again soon", canary=canary, error=str(error))
    else:
        log.error("reconciliation failed", canary=canary, exc_info=error)


async def _lead(operator: _Operator, elector: Elector, stop: asyncio.Event) -> None:
    """Work as long as the lease is kept. The queue is started before kopf, which cancels what is started after it."""
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(elector.keep())
        working = group.create_task(operator.queue.run())
        sweeping = group.create_task(operator.sweep())
        polling = group.create_task(operator.analyst.run())
        calling = group.create_task(operator.caller.run())
        await asyncio.sleep(0)
        await operator.watch(stop)
        operator.queue.stop()
        await working
        sweeping.cancel()
        polling.cancel()
        calling.cancel()
        keeping.cancel()


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None], *, patience_seconds: float) -> None:
    """Wait for the work; after `stop` no longer than `patience_seconds`."""
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        await task
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(task, timeout=patience_seconds)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _configuration() -> Configuration:
    """In a pod its service account, elsewhere the kubeconfig."""
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    return configuration


def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same credentials for kopf as for our own client; read anew when they may have been rotated."""
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        expiration=datetime.now(UTC) + TOKEN_LIFE,
    )


if __name__ == "__main__":
    main()
