"""observe → plan → execute, for one Canary at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from canary.engine import invariants
from canary.engine.decision import (
    Action,
    AskAlerts,
    AskEvidence,
    AskReplicaSets,
    AskSamples,
    AskWebhooks,
    Decision,
    Event,
    Question,
    SetShare,
)
from canary.engine.plan import plan
from canary.engine.world import Finding, Member, World, known_stable, traffic_on_trial
from canary.kube.cache import Cache
from canary.kube.client import ApiError, Client, NotFound, Refused
from canary.kube.execute import Executor, Taken
from canary.kube.resources import REPLICA_SETS
from canary.metrics import MetricProvider
from canary.metrics.alerts import alert_query
from canary.model import reasons
from canary.model.duration import format_time
from canary.model.share import Share
from canary.model.spec import CanarySpec
from canary.model.status import dump_status
from canary.model.template import Json
from canary.model.webhook import HookEvent, HookType, Payload, event_payload
from canary.model.workload import ReplicaSet, label_selector
from canary.operator.analyst import Analyst
from canary.operator.caller import Caller
from canary.operator.observe import Observer
from canary.routing import Router

log = structlog.get_logger()

Key = tuple[str, str]
"""Namespace and name of a Canary."""


class Reconciler:
    """Looks at a Canary and does what the engine decides. Level-triggered: it does not matter why it was called."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        observer: Observer,
        router: Router,
        executor: Executor,
        metrics: MetricProvider,
        analyst: Analyst[Key],
        caller: Caller[Key],
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._cache = cache
        self._observer = observer
        self._router = router
        self._executor = executor
        self._metrics = metrics
        self._analyst = analyst
        self._caller = caller
        self._clock = clock

    async def __call__(self, key: Key) -> float | None:
        """Seconds after which to look again; None: not before something changes."""
        canary = self._cache.get("Canary", *key)
        if canary is None:
            self._analyst.forget(key)
            self._caller.forget(key)
            return None
        world = await self._observer.world(canary, self._clock())
        world, decision = await self._decide(world)
        invariants.check(world, decision)
        await self._write_status(canary, world, decision)
        if not decision.status.under_way:
            self._analyst.forget(key)
        try:
            for action in decision.actions:
                await self._act(world, action, decision.why)
        except Taken as error:
            decision = await self._refused(canary, world, Finding(reasons.NAME_TAKEN, error.message))
        except Refused as error:
            decision = await self._refused(canary, world, Finding(reasons.ACTION_REFUSED, error.message))
        for event in decision.events:
            await self._tell(world, decision, event)
        return None if decision.after is None else max(0.0, decision.after.total_seconds())

    async def _decide(self, world: World) -> tuple[World, Decision]:
        """Plan, answering the questions that come back."""
        answer = plan(world)
        while isinstance(answer, Question):
            world = await self._answer(world, answer)
            answer = plan(world)
        return world, answer

    async def _answer(self, world: World, question: Question) -> World:
        match question:
            case AskReplicaSets(targets):
                return replace(world, members=await self._with_replica_sets(world, targets))
            case AskEvidence(exposure):
                key = (world.canary.namespace, world.canary.name)
                return replace(world, evidence=self._analyst.evidence(key, exposure))
            case AskSamples(metrics):
                assert not isinstance(world.queries, Finding), "nothing is asked for before the queries are known"
                queries = [world.queries[metric.name] for metric in metrics]
                samples = await asyncio.gather(*(self._metrics.query(query) for query in queries))
                return replace(world, samples={m.name: s for m, s in zip(metrics, samples, strict=True)})
            case AskAlerts(alerts):
                samples = await asyncio.gather(*(self._metrics.query(alert_query(alert)) for alert in alerts))
                return replace(world, alerts=dict(zip(alerts, samples, strict=True)))
            case AskWebhooks(calls):
                key, attempt = (world.canary.namespace, world.canary.name), _attempt(world)
                known = self._caller.answers(key, attempt, world.canary.namespace, world.canary.name, calls)
                answers = {call.webhook.name: known.get(call.webhook.name) for call in calls}
                return replace(world, answers={**world.answers, **answers})

    async def _with_replica_sets(self, world: World, targets: tuple[str, ...]) -> tuple[Member, ...]:
        return tuple(
            [
                replace(member, replica_sets=await self._replica_sets(world, member))
                if member.name in targets
                else member
                for member in world.members
            ]
        )

    async def _replica_sets(self, world: World, member: Member) -> tuple[ReplicaSet, ...]:
        stable = known_stable(member)
        objects = await self._client.list(REPLICA_SETS, world.canary.namespace, label_selector(stable.selector))
        return tuple(
            ReplicaSet(obj["spec"]["template"], (obj.get("status") or {}).get("replicas") or 0)
            for obj in objects
            if any(owner["uid"] == stable.uid for owner in obj["metadata"].get("ownerReferences") or ())
        )

    async def _write_status(self, canary: Json, world: World, decision: Decision) -> None:
        wanted = dump_status(decision.status)
        if wanted != dump_status(world.status):
            try:
                await self._executor.write_status(canary, wanted)
            except NotFound:
                self._cache.drop("Canary", canary)
                raise
            log.info(
                "status",
                canary=f"{world.canary.namespace}/{world.canary.name}",
                phase=decision.status.phase,
                step=decision.status.step,
                weight=decision.status.weight,
                message=next((c.message for c in decision.status.conditions if c.type == "Ready"), ""),
            )

    async def _act(self, world: World, action: Action, why: Finding) -> None:
        canary = f"{world.canary.namespace}/{world.canary.name}"
        log.info("action", canary=canary, action=type(action).__name__, reason=why.reason, message=why.message)
        if isinstance(action, SetShare):
            await self._set_share(world, action.share)
            return
        targets = [*(member.stable for member in world.members if member.stable), *world.former]
        await self._executor.do(action, world.canary, {target.name: target for target in targets})

    async def _refused(self, canary: Json, world: World, why: Finding) -> Decision:
        """What the API server will never accept is a finding like any other: it is said, and nothing else is tried."""
        known = self._cache.get("Canary", world.canary.namespace, world.canary.name) or canary
        world = replace(await self._observer.world(known, self._clock()), refused=why)
        world, decision = await self._decide(world)
        await self._write_status(known, world, decision)
        return decision

    async def _set_share(self, world: World, share: Share) -> None:
        network = self._observer.network(world.canary.namespace)
        ours = {ref.name for ref in world.copies if ref.kind == "Ingress"}
        for manifest in self._router.routes(network, world.canary, traffic_on_trial(world), share, world.now):
            force = manifest["metadata"]["name"] in ours
            await self._executor.apply(world.canary.namespace, manifest, force=force)

    async def _tell(self, world: World, decision: Decision, event: Event) -> None:
        """Nobody waits for an event: one that cannot be posted is a line in the log."""
        self._tell_webhooks(world, decision, event)
        try:
            await self._executor.tell(world.canary, event, self._clock())
        except ApiError as error:
            log.warning("event not posted", reason=event.reason, error=str(error))

    def _tell_webhooks(self, world: World, decision: Decision, event: Event) -> None:
        if not isinstance(world.spec, CanarySpec) or world.webhooks:
            return
        status, key = decision.status, (world.canary.namespace, world.canary.name)
        for hook in world.spec.hooks(HookType.EVENT):
            payload = Payload(key[1], key[0], str(status.phase), status.template, hook.metadata)
            told = HookEvent(event.message, event.warning, world.now)
            self._caller.tell(key, hook, event_payload(payload, told))


def _attempt(world: World) -> str:
    """Names the rollout: another one asks its webhooks anew."""
    started = world.status.started_at
    return f"{world.status.template} {format_time(started) if started else ''}"
