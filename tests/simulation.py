"""A cluster in pure Python: it drives the real observer, router and `plan`, and holds them to the design.

What is played here is what others do: the Deployment controller, the guard's rule, kubelets that make pods ready
after a while, Prometheus, and an API server that refuses stale writes. The clock jumps to whatever comes next.

Every request is numbered, so that a test can let something happen just before the n-th one, or lose it. Losing one
ends the pass as the death of the process would, for nothing is remembered between two passes but what the API server
has.

`tests.promises` states the invariants of the design in terms of this cluster, not of the engine's World, and looks at
each write as it arrives.
"""

import hashlib
import heapq
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

from analysis.verdict import Verdict
from canary.engine import invariants
from canary.engine.decision import (
    Action,
    Apply,
    AskEvidence,
    AskReplicaSets,
    AskSamples,
    Decision,
    Delete,
    Event,
    Guard,
    LiftPause,
    MarkVerdict,
    Question,
    SetFinalizer,
    SetWeight,
    Unguard,
)
from canary.engine.judging import Memory, expose, learn, remember
from canary.engine.plan import plan
from canary.engine.world import Finding, World
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, Resource
from canary.model import names, reasons
from canary.model.duration import format_time
from canary.model.evidence import Evidence, Exposure
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.scrape import Counts, Scrape
from canary.model.status import Phase, Status, dump_status, parse_status
from canary.model.template import Json, template_hash
from canary.model.workload import ReplicaSet, Workload
from canary.operator.observe import Observer
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from tests.manifests import APP, START, canary_object, deployment, endpoint_slice, ingress, service, template
from tests.promises import TWIN, Promises

FLUX = {names.FLUX_KUSTOMIZE_NAME: "apps", names.FLUX_KUSTOMIZE_NAMESPACE: "flux-system"}
OPERATOR = "system:serviceaccount:fluxcanary-system:fluxcanary"

LIMITS = [
    {"name": "request-success-rate", "interval": "10s", "thresholdRange": {"min": 99}},
    {"name": "queue-length", "query": "queue_length", "thresholdRange": {"max": 5}},
]
SPEC: Mapping[str, Any] = {
    "steps": [{"weight": 10, "for": "25s"}, {"weight": 50, "for": "35s"}],
    "analysis": {"interval": "10s", "metrics": LIMITS},
}
"""Fixed limits, built in and asked for; without `metrics` canary is compared with stable."""

RETRY = timedelta(seconds=1)
SCRAPED_EVERY = timedelta(seconds=5)
USERS_PER_SCRAPE = 2000
BOUNDS = (0.1, 0.5)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Version:
    """A template that may be pushed, and how its pods would do."""

    name: str
    verdict: Verdict = Verdict.PASS
    """What is measured of its canary."""
    starts: bool = True
    """Whether the pods of its canary become ready."""
    rolls_out: bool = True
    """Whether its pods become ready in stable."""

    @property
    def template(self) -> Json:
        """The pod template."""
        return template(f"{APP}:{self.name}")

    @property
    def hash(self) -> str:
        """Its name to the engine."""
        return template_hash(self.template)

    @property
    def revision(self) -> str:
        """The commit that brings it, as Flux says it."""
        return f"main@sha1:{hashlib.sha1(self.name.encode(), usedforsecurity=False).hexdigest()}"


V1 = Version("1")
V2 = Version("2")
V3 = Version("3")
BAD = Version("bad", Verdict.FAIL)
UNKNOWN = Version("unknown", Verdict.INCONCLUSIVE)
BROKEN = Version("broken", starts=False)


class Loss(Enum):
    """How a request can fail."""

    NEVER_ARRIVED = "never arrived"
    UNANSWERED = "done, but the answer was lost"


class Lost(Exception):
    """The pass ends here."""


class Conflicting(Lost):
    """409: what the write was conditioned on has changed."""


@dataclass
class _Pods:
    template: Json
    count: int


class Cluster:
    """One app, one Canary."""

    def __init__(self, spec: Mapping[str, Any] | None = None, *, first: Version = V1, replicas: int = 4) -> None:
        self.now = START
        self.ready_after = timedelta(seconds=3)
        self.roll_takes = timedelta(seconds=10)
        self.stuck_after = timedelta(seconds=60)
        self.deletion_takes = timedelta()
        self.flux_waits_for = timedelta(minutes=3)
        """The timeout of a Kustomization with `wait: true`."""
        self.scrapes_fail: Verdict | None = None
        """What every measurement gives, instead of what the version on trial deserves."""
        self.stable_is_down = False
        self.canary_is_down = False
        self.canary_is_passed_over = False
        """The ingress controller sends every request to stable."""

        self.requests: list[str] = []
        self.events: list[Event] = []
        self.passes = 0
        self.promises = Promises(self)

        self._numbers = count(100)
        self._versions: dict[str, Version] = {}
        self._later: list[tuple[datetime, int, Callable[[], None]]] = []
        self._before: dict[int, list[Callable[[], None]]] = {}
        self._losses: dict[int, Loss] = {}
        self._due: datetime | None = None
        self._changed = True
        self._canary_ready: tuple[int, datetime, int] = (0, START, 0)
        self._memory: Memory | None = None
        self.scrapes: list[Scrape] = []
        self._scraped: list[Scrape] = []
        self._next_scrape = START
        self._rolling: tuple[str, datetime] | None = None
        self._flux: tuple[str, datetime | None] = (first.revision, None)

        wanted = {key: value for key, value in {**SPEC, **(spec or {})}.items() if value is not None}
        self.canary: Json | None = canary_object(**wanted)
        self.deployments: dict[str, Json] = {}
        self.replica_sets: dict[str, _Pods] = {}
        self.services: dict[str, Json] = {APP: service()}
        self.ingresses: dict[str, Json] = {APP: ingress()}
        self.create_target(first, replicas)

    # ------------------------------------------------------------------------------------------- what others do

    def create_target(self, version: Version, replicas: int = 4) -> None:
        """A Deployment made anew: no guard, no pause; its pods serve at once if they can."""
        self._versions[version.hash] = version
        self.replica_sets = {version.hash: _Pods(version.template, replicas)}
        self._rolling = None
        number = next(self._numbers)
        made = deployment(pods=version.template, replicas=replicas, guard=None, labels=FLUX)
        self._flux = (version.revision, None)
        self.deployments[APP] = {**made, "metadata": {**made["metadata"], "uid": f"uid-{number}"}}
        self._bump(self.deployments, APP)

    def push(self, version: Version) -> None:
        """Flux applies a template and waits for it: the guard holds it if it is new."""
        self._versions[version.hash] = version
        self._flux = (version.revision, self.now)
        self._changed = True
        if (target := self.deployments.get(APP)) is None or target["spec"]["template"] == version.template:
            return
        self.promises.pushed()
        held = {"paused": True} if names.GUARD_LABEL in target["metadata"]["labels"] else {}
        self._edit_spec(APP, template=version.template, **held)

    def scale(self, replicas: int) -> None:
        """An HPA, or a human."""
        self._edit_spec(APP, replicas=replicas)

    def set_spec(self, **fields: Any) -> None:
        """The user edits the Canary; None takes a field away."""
        if self.canary is None:
            return
        kept = {key: value for key, value in {**self.canary["spec"], **fields}.items() if value is not None}
        generation = self.canary["metadata"]["generation"] + 1
        self.canary = {
            **self.canary,
            "spec": kept,
            "metadata": {**self.canary["metadata"], "generation": generation, "resourceVersion": self._next()},
        }
        self._changed = True

    def touch_canary(self) -> None:
        """Somebody annotates the Canary: a status written on what was read before is stale."""
        if self.canary is not None:
            self.canary = {
                **self.canary,
                "metadata": {**self.canary["metadata"], "resourceVersion": self._next()},
            }
            self._changed = True

    def delete_canary(self) -> None:
        """`kubectl delete canary`: gone at once, or when the finalizer is."""
        if self.canary is None:
            return
        metadata = {**self.canary["metadata"], "deletionTimestamp": format_time(self.now)}
        self.canary = {**self.canary, "metadata": metadata} if metadata.get("finalizers") else None
        self._changed = True

    def set_ingress(self, *, present: bool) -> None:
        """Stable's Ingress is deleted, or made again."""
        if present:
            self.ingresses[APP] = ingress()
        else:
            self.ingresses.pop(APP, None)
        self._changed = True

    def set_readiness(self, *, canary: bool | None = None, stable: bool | None = None) -> None:
        """Readiness probes fail, or pass again."""
        if canary is not None:
            self.canary_is_down = not canary
        if stable is not None:
            self.stable_is_down = not stable
        self._changed = True

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen by the clock."""
        heapq.heappush(self._later, (self.now + timedelta(seconds=seconds), next(self._numbers), what))

    def before_request(self, number: int, what: Callable[[], None]) -> None:
        """Let something happen just before the n-th request from the beginning (0) arrives."""
        self._before.setdefault(number, []).append(what)

    def lose_request(self, number: int, how: Loss) -> None:
        """Let the n-th request from the beginning fail."""
        self._losses[number] = how

    def lose_next(self, how: Loss) -> None:
        """Let the next request fail."""
        self._losses[len(self.requests)] = how

    def forget(self) -> None:
        """The operator is started anew: what it knew beyond the API server is gone."""
        self._memory = None
        self._changed = True

    def calm(self) -> None:
        """Nothing that was to happen later happens any more."""
        self._before.clear()
        self._losses.clear()
        self._later.clear()

    # -------------------------------------------------------------------------------------------- what can be seen

    @property
    def status(self) -> Status:
        """Of the Canary."""
        return parse_status((self.canary or {}).get("status") or {})

    @property
    def phase(self) -> Phase | None:
        """Of the Canary."""
        return self.status.phase

    @property
    def target(self) -> Workload:
        """Stable's Deployment."""
        return Workload(self.deployments[APP])

    @property
    def serving(self) -> set[str]:
        """The names of the versions whose pods are in stable."""
        return {self._versions[name].name for name, pods in self.replica_sets.items() if pods.count}

    @property
    def weight(self) -> int:
        """The share that the canary's routes carry."""
        route = self.ingresses.get(TWIN)
        return 0 if route is None else int(route["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT])

    @property
    def copies(self) -> set[str]:
        """The canary's objects that exist."""
        places = {"Deployment": self.deployments, "Service": self.services, "Ingress": self.ingresses}
        return {kind for kind, place in places.items() if TWIN in place}

    @property
    def canary_version(self) -> Version | None:
        """What the canary's pods run."""
        if (twin := self.deployments.get(TWIN)) is None:
            return None
        image = twin["spec"]["template"]["spec"]["containers"][0]["image"]
        return next(version for version in self._versions.values() if image == f"{APP}:{version.name}")

    @property
    def canary_available(self) -> int:
        """How many of the canary's pods are ready."""
        twin = self.deployments.get(TWIN)
        return 0 if twin is None else int(twin["status"]["availableReplicas"])

    @property
    def flux_waits(self) -> bool:
        """Whether Flux's health check runs."""
        return self._flux[1] is not None

    @property
    def stable_available(self) -> int:
        """How many of stable's pods are ready."""
        return self.target.available if APP in self.deployments else 0

    def ever_served(self) -> bool:
        """Whether stable has any pod that can serve."""
        return any(pods.count and self._versions[name].rolls_out for name, pods in self.replica_sets.items())

    def version_of(self, name: str) -> Version:
        """By the hash of its template."""
        return self._versions[name]

    def reason(self, type_: str) -> str | None:
        """Of a condition of the Canary."""
        condition = self.status.condition(type_)
        return condition.reason if condition else None

    # --------------------------------------------------------------------------------------------------- the clock

    def run(self, seconds: float = 7200) -> "Cluster":
        """Let time pass, until nothing will ever happen or the time is over."""
        end = self.now + timedelta(seconds=seconds)
        while self._step(end):
            pass
        return self

    def run_until(self, reached: Callable[["Cluster"], bool], seconds: float = 7200) -> "Cluster":
        """Let time pass until something is true; it must become true."""
        end = self.now + timedelta(seconds=seconds)
        while not reached(self):
            assert self._step(end), f"never reached; {self}"
        return self

    def assert_quiet(self) -> None:
        """Nothing is planned, and looking once more asks for nothing."""
        assert not self._changed
        assert self._due is None, f"looks again at {self._due}: {self}"
        before, status = len(self.requests), self.canary
        self._reconcile()
        assert self.requests[before:] == []
        assert self.canary is status
        assert self._due is None

    def assert_nothing_left(self) -> None:
        """No object of a rollout, no traffic, no mark on the target."""
        assert (self.weight, self.status.weight) == (0, 0)
        assert self.copies == set()
        assert APP not in self.deployments or self.target.verdict is None

    def __str__(self) -> str:
        said = "; ".join(f"{c.type}={c.status} {c.reason}: {c.message}" for c in self.status.conditions)
        return (
            f"{self.now - START} {self.phase} step {self.status.step} weight {self.weight} "
            f"serving {sorted(self.serving)} copies {sorted(self.copies)}: {said}; requests {self.requests[-8:]}"
        )

    def _step(self, end: datetime) -> bool:
        """One pass of the operator if there is cause for one, else on to whatever comes next; False at the end."""
        self._play_controllers()
        if self._changed or (self._due is not None and self._due <= self.now):
            self._changed = False
            self._reconcile()
            return True
        times = [time for time in (self._due, *self._turns()) if time is not None and time > self.now]
        if not times or min(times) > end:
            self.now = end
            return False
        self.now = min(times)
        if self.now >= self._next_scrape:
            self._scrape()
            self._next_scrape = self.now + SCRAPED_EVERY
        self.promises.time_passes()
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()
        return True

    def _turns(self) -> list[datetime]:
        """When the cluster changes by itself."""
        times = [self._later[0][0]] if self._later else []
        times.append(self._canary_ready[1])
        if self.phase is Phase.PROGRESSING:
            times.append(self._next_scrape if self._next_scrape > self.now else self.now + SCRAPED_EVERY)
        if self._rolling:
            times += [self._rolling[1] + self.roll_takes, self._rolling[1] + self.stuck_after]
        if since := self._flux[1]:
            times.append(since + self.flux_waits_for)
        for place in (self.deployments, self.services, self.ingresses):
            times += [self._gone_at(obj) for obj in place.values() if "deletionTimestamp" in obj["metadata"]]
        return times

    # ------------------------------------------------------------------------------------------------ the operator

    def _reconcile(self) -> None:
        """One pass, as `canary.operator.reconcile` does it."""
        self.passes += 1
        self.promises.pass_begins()
        self._due = None
        if (canary := self.canary) is None:
            return
        try:
            world, decision = self._decide(self._observe(canary))
            self._write_status(canary, world, decision)
            decision = self._act_all(canary, world, decision)
        except Lost:
            self._due = self.now + RETRY
            return
        for event in decision.events:
            self._tell(event)
        if decision.after is not None:
            self._due = self.now + max(decision.after, timedelta())

    def _observe(self, canary: Json) -> World:
        cache = Cache()
        cache.put("Canary", canary)
        for name in (APP, TWIN):
            found = self.deployments.get(name)
            if found and names.GUARD_LABEL in found["metadata"]["labels"]:
                cache.put("Deployment", found)
        for kind, place in (("Service", self.services), ("Ingress", self.ingresses)):
            for obj in place.values():
                cache.put(kind, obj)
        if TWIN in self.services and TWIN in self.deployments:
            cache.put("EndpointSlice", endpoint_slice(TWIN, ready=self.canary_available > 0))
        cache.put("Kustomization", self._kustomization())
        for kind in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
            cache.put(kind, _guard(kind))
        client = cast("Client", _Reads(self))
        observer = Observer(client, cache, IngressNginx(), OPERATOR)
        return at_once(observer.world(canary, self.now))

    def _decide(self, world: World) -> tuple[World, Decision]:
        answer = plan(world)
        while isinstance(answer, Question):
            world = self._answer(world, answer)
            answer = plan(world)
        invariants.check(world, answer)
        return world, answer

    def _answer(self, world: World, question: Question) -> World:
        match question:
            case AskReplicaSets():
                self._request("read ReplicaSets", lambda: None)
                found = (ReplicaSet(template_hash(pods.template), pods.count) for pods in self.replica_sets.values())
                return replace(world, replica_sets=tuple(found))
            case AskEvidence(exposure):
                return replace(world, evidence=self._evidence(exposure))
            case AskSamples(metrics):
                return replace(world, samples={metric.name: self._sample() for metric in metrics})

    def _evidence(self, exposure: Exposure) -> Evidence:
        """What the operator would know: the scrapes since the memory that it has, or that the status has kept."""
        memory = self._memory
        if memory is None or memory.exposure.attempt != exposure.attempt:
            memory = remember(exposure)
            self._scraped = [scrape for scrape in self.scrapes if scrape.end > _end(exposure)]
        memory = expose(memory, exposure)
        (memory,) = learn([memory], [self._scraped])
        self._memory, self._scraped = memory, []
        self.promises.evidence_used(memory.recent)
        problem = ProviderError("Prometheus does not answer") if self.scrapes_fail is Verdict.ERROR else None
        cursor = {"controller": self.scrapes[-1].end} if self.scrapes else {}
        return Evidence(memory.state, cursor, memory.recent, problem=problem)

    def _scrape(self) -> None:
        """What users did since the last scrape, by the share and the version that they met."""
        version = self.canary_version
        verdict = self.scrapes_fail or (version.verdict if version else Verdict.PASS)
        users = 0 if verdict is Verdict.INCONCLUSIVE else USERS_PER_SCRAPE
        serves = version is not None and self.canary_available > 0 and not self.canary_is_passed_over
        canary = users * self.weight / 100 if serves else 0.0
        failed = canary / 2 if verdict is Verdict.FAIL else 0.0
        stable = users - canary
        end = self.now.timestamp()
        scrape = Scrape(
            start=end - SCRAPED_EVERY.total_seconds(),
            end=end,
            canary=Counts(canary, failed, 0.0, (canary * 0.2, canary * 0.01)),
            stable=Counts(stable, 0.0, 0.0, (stable * 0.2, stable * 0.01)),
            bounds=BOUNDS,
        )
        self.scrapes = [*self.scrapes[-200:], scrape]
        self._scraped.append(scrape)
        # nobody is told while the provider fails, or nothing is followed
        self._changed |= self._memory is not None and verdict is not Verdict.ERROR and self.phase is Phase.PROGRESSING

    def _sample(self) -> Sample:
        version = self.canary_version
        match self.scrapes_fail or (version.verdict if version else Verdict.INCONCLUSIVE):
            case Verdict.PASS:
                return Measured(5.0, self.now.timestamp())
            case Verdict.FAIL:
                return Measured(6.0, self.now.timestamp())
            case Verdict.INCONCLUSIVE:
                return NoData("no requests")
            case _:
                return ProviderError("Prometheus does not answer")

    def _write_status(self, seen: Json, world: World, decision: Decision) -> None:
        wanted = dump_status(decision.status)
        if wanted == dump_status(world.status):
            return

        def write() -> None:
            canary = self.canary
            if canary is None or canary["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
                raise Conflicting("the Canary has changed")
            self.promises.status_written(self.status, decision.status)
            self.canary = {
                **canary,
                "status": wanted,
                "metadata": {**canary["metadata"], "resourceVersion": self._next()},
            }
            self._changed = True

        self._request("status", write)

    def _act_all(self, canary: Json, world: World, decision: Decision) -> Decision:
        try:
            for action in decision.actions:
                self._act(world, action)
        except _Refused as error:
            again = self._observe(self.canary or canary)
            again, decision = self._decide(replace(again, refused=error.why))
            self._write_status(self.canary or canary, again, decision)
        return decision

    def _act(self, world: World, action: Action) -> None:
        match action:
            case SetWeight(weight):
                network = Network(list(self.services.values()), list(self.ingresses.values()), ())
                ours = {ref.name for ref in world.copies if ref.kind == "Ingress"}
                for route in IngressNginx().routes(network, world.canary, world.traffic, weight, world.now):
                    force = route["metadata"]["name"] in ours
                    self._request(f"weight {weight}", partial(self._apply, route, force=force))
            case Apply(manifest, force):
                self._request(f"apply {manifest['kind']}", partial(self._apply, manifest, force=force))
            case Delete(ref):
                self._request(f"delete {ref.kind}", partial(self._delete, ref.kind, ref.name))
            case SetFinalizer(present):
                self._request(f"finalizer {'on' if present else 'off'}", partial(self._set_finalizer, present=present))
            case Guard() | Unguard() | LiftPause() | MarkVerdict():
                self._request(type(action).__name__, partial(self._touch, world, action))

    def _tell(self, event: Event) -> None:
        """Nobody waits for an event."""
        try:
            self._request("event", lambda: self.events.append(event))
        except Lost:
            return

    def _request(self, what: str, do: Callable[[], None]) -> None:
        number = len(self.requests)
        self.requests.append(what)
        for happens in self._before.pop(number, ()):
            happens()
        loss = self._losses.pop(number, None)
        if loss is Loss.NEVER_ARRIVED:
            raise Lost(f"{what} never arrived")
        do()
        if loss is Loss.UNANSWERED:
            raise Lost(f"{what} was not answered")

    # ---------------------------------------------------------------------------------------------- the API server

    def _apply(self, manifest: Json, *, force: bool) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        place = {"Deployment": self.deployments, "Service": self.services, "Ingress": self.ingresses}[kind]
        old = place.get(name)
        ours = old is None or names.CANARY_LABEL in old["metadata"]["labels"]
        if not ours and not force:
            raise _Refused(Finding(reasons.NAME_TAKEN, f"there is a {kind} {name} already that is not ours"))
        self.promises.applied(kind, manifest, old)
        if old and old["spec"] == manifest["spec"] and manifest["metadata"].items() <= old["metadata"].items():
            return
        metadata = {
            "uid": old["metadata"]["uid"] if old else f"uid-{next(self._numbers)}",
            "creationTimestamp": format_time(self.now),
            **manifest["metadata"],
        }
        place[name] = {**(old or {}), **manifest, "metadata": {**metadata, "generation": 1}}
        if kind == "Deployment":
            self._grow_canary(old)
        self._bump(place, name)

    def _grow_canary(self, old: Json | None) -> None:
        """Pods of a new template replace all others; more pods of the same one come beside them."""
        twin = self.deployments[TWIN]
        same = old is not None and old["spec"]["template"] == twin["spec"]["template"]
        ready_now, ready_at, wanted = self._canary_ready
        kept = (wanted if self.now >= ready_at else ready_now) if same else 0
        self._canary_ready = (kept, self.now + self.ready_after, twin["spec"]["replicas"])
        self.deployments[TWIN] = {**twin, "status": {"observedGeneration": 1, "availableReplicas": 0}}

    def _delete(self, kind: str, name: str) -> None:
        place = {"Deployment": self.deployments, "Service": self.services, "Ingress": self.ingresses}[kind]
        if name not in place:
            return
        self.promises.deleted(kind, place[name])
        if self.deletion_takes:
            place[name] = {
                **place[name],
                "metadata": {**place[name]["metadata"], "deletionTimestamp": format_time(self.now)},
            }
            self._bump(place, name)
        else:
            del place[name]
            self._changed = True

    def _set_finalizer(self, *, present: bool) -> None:
        if self.canary is None:
            raise Lost("the Canary is gone")
        self.promises.finalizer_set(present=present)
        metadata = {**self.canary["metadata"], "finalizers": [names.FINALIZER] if present else []}
        gone = not present and "deletionTimestamp" in metadata
        self.canary = None if gone else {**self.canary, "metadata": {**metadata, "resourceVersion": self._next()}}
        self._changed = True

    def _touch(self, world: World, action: Guard | Unguard | LiftPause | MarkVerdict) -> None:
        seen, now = world.target, self.deployments.get(APP)
        if seen is None or now is None or now["metadata"]["uid"] != seen.uid:
            raise Conflicting("the Deployment is gone, or another one")
        if isinstance(action, Unguard | LiftPause) and action.resource_version != now["metadata"]["resourceVersion"]:
            raise Conflicting("the Deployment has changed")
        metadata = now["metadata"]
        match action:
            case Guard():
                labels = {**metadata["labels"], names.GUARD_LABEL: world.canary.name}
                self.deployments[APP] = {**now, "metadata": {**metadata, "labels": labels}}
                self._bump(self.deployments, APP)
            case Unguard():
                labels = {key: value for key, value in metadata["labels"].items() if key != names.GUARD_LABEL}
                self.deployments[APP] = {**now, "metadata": {**metadata, "labels": labels}}
                self.promises.released()
                self._edit_spec(APP, paused=None)
            case LiftPause():
                self._edit_spec(APP, paused=None)
            case MarkVerdict(failure):
                if seen.resource_version != metadata["resourceVersion"]:
                    raise Conflicting("the Deployment has changed")
                self.promises.marked(failed=failure is not None)
                others = [c for c in now["status"].get("conditions", ()) if c["type"] != names.VERDICT_CONDITION]
                ours = {"type": names.VERDICT_CONDITION, "status": "True"}
                marks = [{**ours, "reason": failure.reason, "message": failure.message}] if failure else []
                self.deployments[APP] = {**now, "status": {**now["status"], "conditions": [*others, *marks]}}
                self._bump(self.deployments, APP)

    def _edit_spec(self, name: str, **fields: Any) -> None:
        old = self.deployments[name]
        spec = {key: value for key, value in {**old["spec"], **fields}.items() if value is not None}
        metadata = {**old["metadata"], "generation": old["metadata"]["generation"] + 1}
        self.deployments[name] = {**old, "spec": spec, "metadata": metadata}
        self._bump(self.deployments, name)

    def _bump(self, place: dict[str, Json], name: str) -> None:
        place[name] = {**place[name], "metadata": {**place[name]["metadata"], "resourceVersion": self._next()}}
        self._changed = True

    def _next(self) -> str:
        return str(next(self._numbers))

    # ------------------------------------------------------------------------------------------- other controllers

    def _play_controllers(self) -> None:
        for place in (self.deployments, self.services, self.ingresses):
            for name, obj in list(place.items()):
                if "deletionTimestamp" in obj["metadata"] and self._gone_at(obj) <= self.now:
                    del place[name]
                    self._changed = True
        if APP in self.deployments:
            self._play_stable()
            self._play_flux()
        if TWIN in self.deployments:
            self._play_canary()

    def _gone_at(self, obj: Json) -> datetime:
        since = obj["metadata"]["deletionTimestamp"]
        return datetime.fromisoformat(since.replace("Z", "+00:00")) + self.deletion_takes

    def _play_stable(self) -> None:
        target = self.deployments[APP]
        name, replicas = template_hash(target["spec"]["template"]), target["spec"]["replicas"]
        others = [pods for key, pods in self.replica_sets.items() if key != name and pods.count]
        if target["spec"].get("paused"):
            self._rolling = None
            if len(others) == 1 and name not in self.replica_sets:
                others[0].count = replicas
        elif others:
            self._roll(name, target["spec"]["template"], replicas)
        else:
            self._rolling = None
            self.replica_sets[name] = _Pods(target["spec"]["template"], replicas)
        self._report_stable(target, name, replicas)

    def _roll(self, name: str, pod_template: Json, replicas: int) -> None:
        if self._rolling is None or self._rolling[0] != name:
            self._rolling = (name, self.now)
        if name not in self.replica_sets or not self.replica_sets[name].count:
            self.promises.rolls_out(name)
            self.replica_sets[name] = _Pods(pod_template, 1)
        if self.now >= self._rolling[1] + self.roll_takes and self._versions[name].rolls_out:
            for pods in self.replica_sets.values():
                pods.count = 0
            self.replica_sets[name] = _Pods(pod_template, replicas)
            self._rolling = None

    def _report_stable(self, target: Json, name: str, replicas: int) -> None:
        """The status of stable's Deployment. A condition that others put there stays."""
        able = [pods for key, pods in self.replica_sets.items() if self._versions[key].rolls_out]
        stuck = self._rolling is not None and self.now >= self._rolling[1] + self.stuck_after
        others = [c for c in target["status"].get("conditions", ()) if c["type"] != "Progressing"]
        said = {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "no progress",
        }
        status = {
            "observedGeneration": target["metadata"]["generation"],
            "replicas": sum(pods.count for pods in self.replica_sets.values()),
            "updatedReplicas": self.replica_sets[name].count if name in self.replica_sets else 0,
            "availableReplicas": 0 if self.stable_is_down else min(replicas, sum(pods.count for pods in able)),
            "conditions": [*others, *([said] if stuck else [])],
        }
        self._set_status(APP, status)

    def _play_flux(self) -> None:
        """Its health check ends when the Deployment is healthy, says that it failed, or after the timeout."""
        revision, since = self._flux
        over = since and (self.target.rolled_out or self.target.verdict or self.now >= since + self.flux_waits_for)
        if over:
            self._flux = (revision, None)
            self._changed = True

    def _kustomization(self) -> Json:
        revision, since = self._flux
        message = f"Running health checks for revision {revision} with a timeout of 3m0s"
        waiting = {"type": "Reconciling", "status": "True", "reason": "Progressing", "message": message}
        return {
            "metadata": {"name": "apps", "namespace": "flux-system", "uid": "apps-uid", "resourceVersion": "7"},
            "status": {"lastAttemptedRevision": revision, "conditions": [waiting] if since else []},
        }

    def _play_canary(self) -> None:
        ready_now, ready_at, wanted = self._canary_ready
        version = self.canary_version
        count = wanted if self.now >= ready_at else ready_now
        count = count if version and version.starts and not self.canary_is_down else 0
        counts = {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": count}
        self._set_status(TWIN, {"observedGeneration": 1, **counts})

    def _set_status(self, name: str, status: Json) -> None:
        if self.deployments[name]["status"] != status:
            self.deployments[name] = {**self.deployments[name], "status": status}
            self._bump(self.deployments, name)


class _Refused(Exception):
    def __init__(self, why: Finding) -> None:
        super().__init__(why.message)
        self.why = why


@dataclass
class _Reads:
    """The one verb that an observation needs."""

    cluster: Cluster

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        assert resource == DEPLOYMENTS
        if name not in self.cluster.deployments:
            raise NotFound(404, f"no Deployment {name}")
        return self.cluster.deployments[name]


def _end(exposure: Exposure) -> float:
    return max(exposure.saved.cursor.values(), default=0.0) if exposure.saved else 0.0


def at_once(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    coroutine.close()
    raise AssertionError("it waits for something")


def _guard(kind: str) -> Json:
    metadata = {"name": names.GUARD_POLICY, "uid": kind, "resourceVersion": "7"}
    exempt = {"name": "not-the-operator", "expression": f"request.userInfo.username != '{OPERATOR}'"}
    return {"metadata": metadata, "spec": {"policyName": names.GUARD_POLICY, "matchConditions": [exempt]}}
