"""A cluster in pure Python: it drives the real observer, router and `plan`, and holds them to the design.

What is played here is what others do: the guard's rule, Prometheus, users, webhooks, and an API server that refuses
stale writes; `tests.controllers` plays what becomes of Deployments. The clock jumps to whatever comes next.

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

from analysis.verdict import Verdict, worst
from canary.engine import invariants
from canary.engine.decision import (
    Action,
    Apply,
    AskAlerts,
    AskEvidence,
    AskReplicaSets,
    AskSamples,
    AskWebhooks,
    Decision,
    Delete,
    Event,
    Guard,
    HoldFloor,
    LiftPause,
    MarkVerdict,
    Question,
    SetFinalizer,
    SetShare,
    Unguard,
)
from canary.engine.judging import Memory, expose, learn, remember
from canary.engine.plan import plan
from canary.engine.world import Finding, Member, World, traffic_on_trial
from canary.kube.cache import Cache
from canary.kube.client import Client, NotFound
from canary.kube.resources import DEPLOYMENTS, Resource
from canary.model import names, reasons
from canary.model.duration import format_time
from canary.model.evidence import Evidence, Exposure
from canary.model.measurement import Measured, NoData, ProviderError, Sample
from canary.model.scrape import Counts, Scrape
from canary.model.share import NOTHING, Share
from canary.model.status import Phase, Status, dump_status, parse_status
from canary.model.template import Json, template_hash
from canary.model.webhook import Call, HookAnswer
from canary.model.workload import ReplicaSet, Workload
from canary.operator.observe import Observer, Surroundings
from canary.routing import Network
from canary.routing.ingress_nginx import IngressNginx
from tests.controllers import App, Flux
from tests.manifests import (
    APP,
    NAMESPACE,
    START,
    canary_object,
    deployment,
    endpoint_slice,
    ingress,
    path,
    service,
    template,
)
from tests.promises import TWIN, Promises, share_of

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
TESTERS_PER_SCRAPE = 100
"""Requests that match, where a share has a match."""
BACKEND = "backend"
HOOKS_HOST = "hooks.example"
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
    problem: str = ""
    """The reason that the containers of its canary wait for."""
    config_map: str = ""
    """What its pods are configured by."""
    restarted: str = ""
    """When somebody restarted its Deployment."""

    def template_of(self, app: str, shared: str | None = None) -> Json:
        """The pod template of an app, and of a Service that it shares with others."""
        made = template(f"{app}:{self.name}", {"app": app, **({shared: "yes"} if shared else {})})
        if self.config_map:
            made["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": self.config_map}}]
        if self.restarted:
            made["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": self.restarted}
        return made

    @property
    def template(self) -> Json:
        """The pod template of podinfo."""
        return self.template_of(APP)

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


class Cluster:
    """One Canary, of podinfo alone or of podinfo and its backend."""

    def __init__(
        self, spec: Mapping[str, Any] | None = None, *, first: Version = V1, replicas: int = 4, targets: int = 1
    ) -> None:
        self.now = START
        self.ready_after = timedelta(seconds=3)
        self.roll_takes = timedelta(seconds=10)
        self.stuck_after = timedelta(seconds=60)
        self.deletion_takes = timedelta()
        self.scrapes_fail: Verdict | None = None
        """What every measurement gives, instead of what the version on trial deserves."""
        self.stable_is_down = False
        self.canary_is_down = False
        self.shared: str | None = None
        """A Service that selects both apps."""
        self.hooks: dict[str, Verdict | None] = {}
        """What each webhook answers; None: nothing yet. Yes, where it is not here."""
        self.called: list[tuple[str, str]] = []
        """The webhooks that were called, each with the phase that it was told."""
        self.firing = 0.0
        """How many alerts fire."""
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
        self._answers: dict[tuple[str, str], HookAnswer] = {}
        self._memory: Memory | None = None
        self.scrapes: list[Scrape] = []
        self._scraped: list[Scrape] = []
        self._next_scrape = START
        self.flux = Flux(first.revision)

        names_of_apps = (APP, BACKEND)[:targets]
        asked = {**SPEC, "targets": [{"name": name} for name in names_of_apps], **(spec or {})}
        self.canary: Json | None = canary_object(**{key: value for key, value in asked.items() if value is not None})
        self.apps = {name: App(self, name) for name in names_of_apps}
        self.deployments: dict[str, Json] = {}
        self.services: dict[str, Json] = {name: service(name, {"app": name}) for name in self.apps}
        self.ingresses: dict[str, Json] = {name: _ingress(name) for name in self.apps}
        self.config_maps: dict[str, str] = {}
        """The version of each, by its name."""
        self.autoscalers: dict[str, Json] = {}
        for name in self.apps:
            self.create_target(first, replicas, name)

    # ------------------------------------------------------------------------------------------- what others do

    def create_target(self, version: Version, replicas: int = 4, app: str = APP) -> None:
        """A Deployment made anew: no guard, no pause; its pods serve at once if they can."""
        template = self._known(version, app)
        self.apps[app].created(version, replicas)
        number = next(self._numbers)
        selector = {"matchLabels": {"app": app}}
        made = deployment(app, template, replicas=replicas, guard=None, labels=FLUX, selector=selector)
        self.flux.revision, self.flux.since = version.revision, None
        self.deployments[app] = {**made, "metadata": {**made["metadata"], "uid": f"uid-{number}"}}
        self.bump(self.deployments, app)

    def delete_target(self, app: str = APP) -> None:
        """`kubectl delete deployment`."""
        del self.deployments[app]
        self.touch_canary()

    def push(self, version: Version, *, backend: Version | None = None, apart: float = 0) -> None:
        """Flux applies the templates of a commit, so many seconds apart, and waits: the guard holds what is new."""
        self.flux.applies(version.revision, self.now)
        self._apply_template(APP, version)
        if backend and apart:
            self.after(apart, partial(self._apply_template, BACKEND, backend))
        elif backend:
            self._apply_template(BACKEND, backend)

    def push_backend(self, version: Version) -> None:
        """A commit that changes only the backend."""
        self.flux.applies(version.revision, self.now)
        self._apply_template(BACKEND, version)

    def _apply_template(self, app: str, version: Version) -> None:
        template = self._known(version, app)
        self._changed = True
        if (target := self.deployments.get(app)) is None or target["spec"]["template"] == template:
            return
        self.promises.pushed()
        held = {"paused": True} if names.GUARD_LABEL in target["metadata"]["labels"] else {}
        self.promises.templates_applied(app, template_hash(template), held=bool(held))
        self._edit_spec(app, template=template, **held)

    def _known(self, version: Version, app: str) -> Json:
        template = version.template_of(app, self.shared)
        self._versions[template_hash(template)] = version
        return template

    def scale(self, replicas: int, app: str = APP) -> None:
        """A human, or an HPA that may."""
        self._edit_spec(app, replicas=replicas)

    def add_autoscaler(self, app: str = APP, **scale_down: str) -> None:
        """An HPA of stable's Deployment."""
        self.autoscalers[app] = {
            "metadata": {"name": app, "namespace": NAMESPACE, "uid": f"{app}-hpa", "resourceVersion": "7"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": app},
                **({"behavior": {"scaleDown": scale_down}} if scale_down else {}),
            },
        }
        self.bump(self.autoscalers, app)

    def autoscale(self, replicas: int, app: str = APP) -> None:
        """What the HPA would have by the load: it does not shrink what it is told to keep."""
        if not self.floor_is_held(app) or replicas > self.apps[app].target.replicas:
            self.scale(replicas, app)

    def change_config_map(self, name: str) -> None:
        """Somebody edits it in place, or makes it."""
        self.config_maps[name] = self._next()
        self._changed = True

    def remove_traffic(self, app: str) -> None:
        """Neither Service nor Ingress: a worker."""
        del self.services[app], self.ingresses[app]
        self._changed = True

    def answer(self, hook: str, verdict: Verdict | None) -> None:
        """From now on a webhook answers so."""
        self.hooks[hook] = verdict
        self._changed = True

    def fire(self, count: float) -> None:
        """So many alerts fire from now on."""
        self.firing = count

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

    def command(self, command: str, token: str = "") -> None:
        """`kubectl annotate canary podinfo fluxcanary.dev/<command>=<token>`."""
        if self.canary is None:
            return
        metadata = self.canary["metadata"]
        marks = {**metadata.get("annotations", {}), f"{names.GROUP}/{command}": token or self._next()}
        self.canary = {**self.canary, "metadata": {**metadata, "annotations": marks}}
        self.touch_canary()

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
            self.ingresses[APP] = _ingress(APP)
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
        """podinfo's Deployment."""
        return self.apps[APP].target

    @property
    def serving(self) -> set[str]:
        """The names of podinfo's versions whose pods are in stable."""
        return self.apps[APP].serving

    @property
    def twins(self) -> tuple[str, ...]:
        """The names that the canary's objects have."""
        shared = (f"{self.shared}-canary",) if self.shared else ()
        return (*(app.twin for app in self.apps.values()), *shared)

    @property
    def weight(self) -> float:
        """The share that the canary's routes carry, the highest of them."""
        return max((share.weight for share in self.shares.values()), default=0)

    @property
    def shares(self) -> dict[str, Share]:
        """What each of the canary's routes carries."""
        return {name: share_of(self.ingresses[name]) for name in self.twins if name in self.ingresses}

    @property
    def copies(self) -> set[str]:
        """The canary's objects that exist: the kind, and for others than podinfo's the name."""
        places = {"Deployment": self.deployments, "Service": self.services, "Ingress": self.ingresses}
        return {
            kind if twin == TWIN else f"{kind} {twin}"
            for kind, place in places.items()
            for twin in self.twins
            if twin in place and names.CANARY_LABEL in place[twin]["metadata"]["labels"]
        }

    @property
    def canary_version(self) -> Version | None:
        """What the pods of podinfo's canary run."""
        return self.apps[APP].canary_version

    @property
    def canary_available(self) -> int:
        """How many of podinfo's canary's pods are ready."""
        return self.apps[APP].canary_available

    @property
    def on_trial(self) -> list[App]:
        """The apps that have a canary."""
        return [app for app in self.apps.values() if app.twin in self.deployments and app.canary_version]

    @property
    def flux_waits(self) -> bool:
        """Whether Flux's health check runs."""
        return self.flux.since is not None

    def floor_is_held(self, app: str = APP) -> bool:
        """Whether the HPA may not shrink stable."""
        found = self.autoscalers.get(app)
        policy = found and found["spec"].get("behavior", {}).get("scaleDown", {}).get("selectPolicy")
        return policy == "Disabled"

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
        assert (self.weight, self.status.share) == (0, NOTHING)
        assert self.copies == set()
        assert not any(app.target.verdict for app in self.apps.values() if app.exists)
        assert not any(names.FLOOR_LABEL in found["metadata"].get("labels", {}) for found in self.autoscalers.values())

    def __str__(self) -> str:
        said = "; ".join(f"{c.type}={c.status} {c.reason}: {c.message}" for c in self.status.conditions)
        serving = [sorted(app.serving) for app in self.apps.values()]
        return (
            f"{self.now - START} {self.phase} step {self.status.step} weight {self.weight} "
            f"serving {serving} copies {sorted(self.copies)}: {said}; requests {self.requests[-8:]}"
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
        times += [time for app in self.apps.values() for time in app.turns()]
        if self.status.under_way:
            times.append(self._next_scrape if self._next_scrape > self.now else self.now + SCRAPED_EVERY)
        if self.flux.since:
            times.append(self.flux.since + self.flux.waits_for)
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
        cache = self._watched(canary)
        client = cast("Client", _Reads(self))
        observer = Observer(client, cache, IngressNginx(), Surroundings(OPERATOR, (HOOKS_HOST,)))
        return at_once(observer.world(canary, self.now))

    def _watched(self, canary: Json) -> Cache:
        cache = Cache()
        cache.put("Canary", canary)
        for obj in self.deployments.values():
            if names.GUARD_LABEL in obj["metadata"]["labels"]:
                cache.put("Deployment", obj)
        places = {"Service": self.services, "Ingress": self.ingresses, "HorizontalPodAutoscaler": self.autoscalers}
        for kind, place in places.items():
            for obj in place.values():
                cache.put(kind, obj)
        for app in self.apps.values():
            self._watch_canary(cache, app)
        if self.shared and f"{self.shared}-canary" in self.services and self.on_trial:
            ready = any(app.canary_available for app in self.on_trial)
            cache.put("EndpointSlice", endpoint_slice(f"{self.shared}-canary", ready=ready))
        for name, version in self.config_maps.items():
            metadata = {"name": name, "namespace": NAMESPACE, "uid": name, "resourceVersion": version}
            cache.put("ConfigMap", {"metadata": metadata, "digest": version})
        cache.put("Kustomization", self.flux.kustomization)
        for kind in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
            cache.put(kind, _guard(kind))
        return cache

    def _watch_canary(self, cache: Cache, app: App) -> None:
        if app.twin in self.services and app.twin in self.deployments:
            cache.put("EndpointSlice", endpoint_slice(app.twin, ready=app.canary_available > 0))
        for pod in app.pods():
            cache.put("Pod", pod)

    def _decide(self, world: World) -> tuple[World, Decision]:
        answer = plan(world)
        while isinstance(answer, Question):
            world = self._answer(world, answer)
            answer = plan(world)
        invariants.check(world, answer)
        return world, answer

    def _answer(self, world: World, question: Question) -> World:
        match question:
            case AskReplicaSets(targets):
                self._request("read ReplicaSets", lambda: None)
                return replace(world, members=tuple(self._with_replica_sets(m, targets) for m in world.members))
            case AskEvidence(exposure):
                return replace(world, evidence=self._evidence(exposure))
            case AskSamples(metrics):
                return replace(world, samples={metric.name: self._sample() for metric in metrics})
            case AskAlerts(alerts):
                return replace(world, alerts={alert: Measured(self.firing, 0.0) for alert in alerts})
            case AskWebhooks(calls):
                answers = {call.webhook.name: self._answer_of(world.status, call) for call in calls}
                return replace(world, answers={**world.answers, **answers})

    def _with_replica_sets(self, member: Member, targets: tuple[str, ...]) -> Member:
        if member.name not in targets:
            return member
        found = self.apps[member.name].replica_sets.values()
        return replace(member, replica_sets=tuple(ReplicaSet(pods.template, pods.count) for pods in found))

    def _answer_of(self, status: Status, call: Call) -> HookAnswer | None:
        """What the operator knows of it by now: an answer is kept for the rollout, and one that is no yes renewed."""
        name = call.webhook.name
        key = (name, f"{status.template} {status.started_at}")
        known = self._answers.get(key)
        if known and known.at >= call.since and (known.verdict is Verdict.PASS or known.at >= call.renew_before):
            return known
        self.called.append((name, call.phase))
        verdict = self.hooks.get(name, Verdict.PASS)
        if verdict is None:
            return None
        self._answers[key] = HookAnswer(verdict, f"webhook {name} says {verdict}", self.now)
        return self._answers[key]

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
        """What users did since the last scrape, by the share and the versions that they met."""
        verdict = self._met()
        users = 0 if verdict is Verdict.INCONCLUSIVE else USERS_PER_SCRAPE
        trial = self.on_trial
        serves = trial and all(app.canary_available for app in trial) and not self.canary_is_passed_over
        testers = TESTERS_PER_SCRAPE if any(share.match for share in self.shares.values()) else 0
        canary = min(users, users * self.weight / 100 + testers) if serves else 0.0
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
        self._changed |= self._memory is not None and verdict is not Verdict.ERROR and self.status.under_way

    def _met(self) -> Verdict:
        """What is measured: the worst of the canaries decides."""
        verdicts = [app.canary_version.verdict for app in self.on_trial if app.canary_version]
        return self.scrapes_fail or (worst(verdicts) if verdicts else Verdict.PASS)

    def _sample(self) -> Sample:
        match self._met() if self.on_trial else self.scrapes_fail or Verdict.INCONCLUSIVE:
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
            case SetShare(share):
                network = Network(list(self.services.values()), list(self.ingresses.values()), ())
                ours = {ref.name for ref in world.copies if ref.kind == "Ingress"}
                said = str(share) if share.match else f"weight {share.weight:g}"
                for route in IngressNginx().routes(network, world.canary, traffic_on_trial(world), share, world.now):
                    force = route["metadata"]["name"] in ours
                    self._request(said, partial(self._apply, route, force=force))
            case Apply(manifest, force):
                self._request(f"apply {manifest['kind']}", partial(self._apply, manifest, force=force))
            case Delete(ref):
                self._request(f"delete {ref.kind}", partial(self._delete, ref.kind, ref.name))
            case SetFinalizer(present):
                self._request(f"finalizer {'on' if present else 'off'}", partial(self._set_finalizer, present=present))
            case HoldFloor(autoscaler, held):
                self._request(f"floor {'on' if held else 'off'}", partial(self._hold_floor, autoscaler, held=held))
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
            next(app for app in self.apps.values() if app.twin == name).grow_canary(old)
        self.bump(place, name)

    def _hold_floor(self, name: str, *, held: bool) -> None:
        found = self.autoscalers.get(name)
        if found is None:
            return
        metadata, spec = found["metadata"], found["spec"]
        labels = {names.FLOOR_LABEL: APP} if held else {}
        behavior = {"scaleDown": {"selectPolicy": "Disabled" if held else "Max"}}
        self.promises.floor_held(self.apps[name], held=held)
        self.autoscalers[name] = {
            **found,
            "metadata": {**metadata, "labels": labels},
            "spec": {**spec, "behavior": behavior},
        }
        self.bump(self.autoscalers, name)

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
            self.bump(place, name)
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
        name = action.target
        targets = [*(member.stable for member in world.members if member.stable), *world.former]
        seen = next(target for target in targets if target.name == name)
        now = self.deployments.get(name)
        if now is None or now["metadata"]["uid"] != seen.uid:
            raise Conflicting("the Deployment is gone, or another one")
        if not isinstance(action, Guard) and seen.resource_version != now["metadata"]["resourceVersion"]:
            raise Conflicting("the Deployment has changed")
        match action:
            case Guard():
                self._set_label(name, world.canary.name)
            case Unguard():
                self.promises.released(self.apps[name])
                self._set_label(name, None)
                self._edit_spec(name, paused=None)
            case LiftPause():
                self._edit_spec(name, paused=None)
            case MarkVerdict(_, failure):
                self.promises.marked(self.apps[name], failed=failure is not None)
                others = [c for c in now["status"].get("conditions", ()) if c["type"] != names.VERDICT_CONDITION]
                ours = {"type": names.VERDICT_CONDITION, "status": "True"}
                marks = [{**ours, "reason": failure.reason, "message": failure.message}] if failure else []
                self.deployments[name] = {**now, "status": {**now["status"], "conditions": [*others, *marks]}}
                self.bump(self.deployments, name)

    def _set_label(self, name: str, guard: str | None) -> None:
        now = self.deployments[name]
        others = {key: value for key, value in now["metadata"]["labels"].items() if key != names.GUARD_LABEL}
        labels = {**others, **({names.GUARD_LABEL: guard} if guard else {})}
        self.deployments[name] = {**now, "metadata": {**now["metadata"], "labels": labels}}
        self.bump(self.deployments, name)

    def _edit_spec(self, name: str, **fields: Any) -> None:
        old = self.deployments[name]
        spec = {key: value for key, value in {**old["spec"], **fields}.items() if value is not None}
        metadata = {**old["metadata"], "generation": old["metadata"]["generation"] + 1}
        self.deployments[name] = {**old, "spec": spec, "metadata": metadata}
        self.bump(self.deployments, name)

    def bump(self, place: dict[str, Json], name: str) -> None:
        """An object has changed."""
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
        for app in self.apps.values():
            app.play()
        self._changed |= self.flux.healthy_or_over(list(self.apps.values()), self.now)

    def _gone_at(self, obj: Json) -> datetime:
        since = obj["metadata"]["deletionTimestamp"]
        return datetime.fromisoformat(since.replace("Z", "+00:00")) + self.deletion_takes


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


def _ingress(name: str) -> Json:
    return ingress(name, path(name), host=f"{name}.example")


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
