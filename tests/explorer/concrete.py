"""Between the abstract cluster and the engine's own types: Worlds from states, abstract statuses from written ones.

Each distinct part is made once. What the engine computes from a template again and again is remembered, too, for
copying and hashing JSON is most of what a pass costs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from canary.engine import copies as engine_copies
from canary.engine import invariants
from canary.engine.snapshot import canary_deployment, canary_service, canary_template_hash
from canary.engine.world import Finding, Identity, Member, ObjectRef, Owner, World
from canary.model import reasons
from canary.model.autoscaler import Autoscaler
from canary.model.names import VERDICT_CONDITION, canary_name
from canary.model.pod import Container, Pod
from canary.model.share import Share
from canary.model.spec import CanarySpec
from canary.model.status import Check, Condition, Phase, Status
from canary.model.traffic import Backend, Route, Traffic, join
from canary.model.workload import ReplicaSet, Workload
from tests.explorer.settings import Setting
from tests.explorer.state import EDITED, INTACT, NONE, TAMPERED, TICK, App, Copy, Stable, State
from tests.manifests import APP, CANARY, NAMESPACE, START, canary_workload, deployment, service

LONG_AGO = START - timedelta(hours=1)
REPLICAS = 2
BY_HAND = Share(77)

_UNDER_WAY = (Phase.PROGRESSING, Phase.WAITING, Phase.SUSPENDED)


class Model:
    """One setting, with what was made of it so far."""

    def __init__(self, setting: Setting, *, words: bool = False) -> None:
        """`words`: what was said is kept; only for runs without choice, as nobody could count such states."""
        self.setting = setting
        self.words = words
        self.statuses: list[Status] = []
        self._numbers: dict[Status, int] = {}
        self._later: dict[int, int] = {}
        self._members: dict[tuple[int, App], Member] = {}
        self._stables: dict[tuple[int, Stable], Workload] = {}
        self._copies: dict[tuple[int, Copy], Workload] = {}
        self._suspended = {
            (index, suspend): replace(spec, suspend=suspend)
            for index, spec in enumerate(setting.specs)
            for suspend in (False, True)
        }
        self.traffics = [_traffic(app) for app in setting.apps]
        self._services = [
            canary_service(service(app, {"app": app}), CANARY, frozenset({"app"})) for app in setting.apps
        ]
        self._replica_sets = [[ReplicaSet(setting.pods(app, t), REPLICAS) for t in range(4)] for app in setting.apps]
        self.hashes = [[found.template for found in per_app] for per_app in self._replica_sets]
        steps = [step for spec in setting.specs for step in spec.steps]
        longest = max(step.max_hold for step in steps)
        self.most_progress = _ticks(max(spec.progress_deadline for spec in setting.specs) + longest) + 1
        self.most_erring = _ticks(max(spec.analysis.error_limit for spec in setting.specs))
        self.period = _ticks(setting.specs[0].analysis.interval)
        self.most_age = _ticks(longest) + 1 + self.period

    # ---------------------------------------------------------------------------------------------------- statuses

    def status(self, state: State) -> Status:
        """Of the Canary."""
        return self.statuses[state.status]

    def number_of(self, status: Status) -> int:
        """Of a status as it was written, without what decides nothing."""
        plain = self._plain(status)
        number = self._numbers.get(plain)
        if number is None:
            number = self._numbers[plain] = len(self.statuses)
            self.statuses.append(plain)
        return number

    def later(self, number: int) -> int:
        """A status, one tick later."""
        after = self._later.get(number)
        if after is None:
            status = self.statuses[number]
            moved = replace(
                status,
                progressed_at=_before(status.progressed_at),
                checked_at=_before(status.checked_at),
                erring_since=_before(status.erring_since),
            )
            after = self._later[number] = self.number_of(moved)
        return after

    def _plain(self, status: Status) -> Status:
        if self.words:
            status = replace(status, handled=())
            return replace(status, conditions=tuple(replace(c, since=LONG_AGO) for c in status.conditions))
        timed = status.phase is Phase.PROGRESSING
        asked = status.phase in _UNDER_WAY
        return replace(
            status,
            stable_revision="",
            revision_from="",
            revision_to="",
            failure=status.failure and "failed",
            started_at=status.started_at and LONG_AGO,
            progressed_at=_aged(status.progressed_at, self.most_progress if timed else 0),
            checked_at=_aged(status.checked_at, self.period) if asked else None,
            exposed_at=status.exposed_at and LONG_AGO,
            erring_since=_aged(status.erring_since, self.most_erring) if asked else None,
            checks=tuple(Check(c.name, c.verdict, None, "") for c in status.checks) if asked else (),
            evidence=(),
            hooks=tuple(replace(hook, message="", at=LONG_AGO) for hook in status.hooks),
            promoted=tuple(replace(release, revision="") for release in status.promoted),
            handled=(),
            conditions=tuple(Condition(c.type, c.status, c.reason, c.reason, LONG_AGO) for c in status.conditions),
        )

    def aged(self, share: int, age: int) -> int:
        """How old a share is, as far as that matters."""
        if not share:
            return min(age, 1)
        return age if age < self.most_age else age - self.period

    # ------------------------------------------------------------------------------------------------------ worlds

    def spec(self, state: State) -> CanarySpec:
        """Of the Canary, which is there."""
        assert state.wish is not None, "it is there"
        return self._suspended[state.wish.spec, state.wish.suspended]

    def targets(self, state: State) -> list[int]:
        """The numbers of the targets."""
        return [self.setting.apps.index(target.name) for target in self.spec(state).targets]

    def share(self, number: int) -> Share:
        """By its number."""
        return BY_HAND if number == TAMPERED else self.setting.shares[number]

    def number(self, share: Share) -> int:
        """Of a share that some step asks for."""
        return self.setting.shares.index(share)

    def world(self, state: State) -> World:
        """What the operator would see."""
        wish, status = state.wish, self.statuses[state.status]
        assert wish is not None, "there is nothing to look at without a Canary"
        indices = self.targets(state)
        members = tuple(self._member(index, state.apps[index]) for index in indices)
        commands = {wish.command.name: "new"} if wish.command else {}
        former = tuple(
            self._stable(index, app.stable)
            for index, app in enumerate(state.apps)
            if index not in indices and app.stable and app.stable.guarded
        )
        return World(
            now=START,
            canary=Identity(NAMESPACE, APP, CANARY.uid, 1, wish.deleting, wish.finalized, commands),
            spec=self.spec(state),
            status=status,
            guard=None,
            rival=None,
            members=members,
            former=former,
            route=self._route(state, members, status),
            copies=self._ours(state),
            owner=Owner("Kustomization", "flux-system", "apps", "main", state.waits) if self.setting.flux else None,
            queries={"queue-length": "queue_length"},
            floors=tuple(name for name, app in zip(self.setting.apps, state.apps, strict=True) if app.floor),
        )

    def with_replica_sets(self, world: World, state: State) -> World:
        """The same World, once the ReplicaSets were read."""
        return replace(world, members=tuple(self._counted(member, state) for member in world.members))

    def _counted(self, member: Member, state: State) -> Member:
        index = self.setting.apps.index(member.name)
        stable = state.apps[index].stable
        pods = stable.pods if stable else 0
        return replace(member, replica_sets=tuple(f for t, f in enumerate(self._replica_sets[index]) if pods >> t & 1))

    def _member(self, index: int, app: App) -> Member:
        app = app._replace(service=NONE, twin=None)
        if (index, app) not in self._members:
            self._members[index, app] = self._made_member(index, app)
        return self._members[index, app]

    def _made_member(self, index: int, app: App) -> Member:
        target = next(t for spec in self.setting.specs for t in spec.targets if t.name == self.setting.apps[index])
        floor = "Disabled" if app.floor else None
        scaler = Autoscaler(target.name, "uid", APP if app.floor else None, floor, "Deployment", target.name)
        return Member(
            target=target,
            stable=self._stable(index, app.stable) if app.stable else None,
            canary=self._copy(index, app.copy) if app.copy else None,
            traffic=self._found_traffic(index, app),
            pods=self._pods(index, app.copy) if app.copy and app.copy.failing else (),
            autoscaler=scaler if self.setting.autoscaled else None,
        )

    def _found_traffic(self, index: int, app: App) -> Traffic | Finding:
        if app.stable is None:
            return Finding(reasons.TARGET_NOT_FOUND, "there is no target")
        if not app.public or self.setting.apps[index] in self.setting.without_traffic:
            return Finding(reasons.NO_INGRESS, "no Ingress has a backend among the Services")
        return self.traffics[index]

    def _stable(self, index: int, stable: Stable) -> Workload:
        if (index, stable) not in self._stables:
            self._stables[index, stable] = self._made_stable(index, stable)
        return self._stables[index, stable]

    def _made_stable(self, index: int, stable: Stable) -> Workload:
        name = self.setting.apps[index]
        others = stable.pods & ~(1 << stable.template)
        updated = REPLICAS if stable.pods and not others else 1 if stable.pods >> stable.template & 1 else 0
        updated = updated if stable.pods >> stable.template & 1 else 0
        stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stuck"}
        mark = {"type": VERDICT_CONDITION, "status": "True", "reason": stable.mark, "message": stable.mark}
        return Workload(
            deployment(
                name,
                self.setting.pods(name, stable.template),
                replicas=REPLICAS,
                paused=stable.paused,
                guard=APP if stable.guarded else None,
                status={
                    "replicas": REPLICAS + (1 if others and updated else 0),
                    "updatedReplicas": updated,
                    "availableReplicas": REPLICAS if stable.ready and stable.pods else 0,
                    "conditions": [*([stuck] if stable.stuck else []), *([mark] if stable.mark else [])],
                },
                selector={"matchLabels": {"app": name}},
            )
        )

    def _copy(self, index: int, copy: Copy) -> Workload:
        if (index, copy) not in self._copies:
            held = self._stable(index, Stable(copy.template, 1, paused=True, guarded=True))
            traffic = _traffic(self.setting.apps[index])
            self._copies[index, copy] = canary_workload(
                held, replicas=copy.size, traffic=traffic, status={"availableReplicas": copy.ready}
            )
        return self._copies[index, copy]

    def _pods(self, index: int, copy: Copy) -> tuple[Pod, ...]:
        waits = Container("app", "image", ready=False, waiting="ImagePullBackOff", message="not found")
        template = self.hashes[index][copy.template]
        return (Pod("pod", {}, template, False, LONG_AGO, ready=False, containers=(waits,), unscheduled=None),)

    def _route(self, state: State, members: tuple[Member, ...], status: Status) -> Route:
        live = {name: app.twin for name, app in zip(self.setting.apps, state.apps, strict=True) if app.twin}
        shares = [self.share(twin.share) for twin in live.values()]
        there = [(i, app.service) for i, app in enumerate(state.apps) if app.service]
        return Route(
            share=Share(
                max((share.weight for share in shares), default=0), next((s.match for s in shares if s.match), None)
            ),
            since=max((START - twin.age * TICK for twin in live.values()), default=None),
            complete=self._complete(members, status, {name: self.share(twin.share) for name, twin in live.items()}),
            services=tuple(self._service(index, kind) for index, kind in there),
            endpoints=bool(there) and all(self._reached(state.apps[index]) for index, _ in there),
        )

    def _complete(self, members: tuple[Member, ...], status: Status, live: dict[str, Share]) -> bool:
        stable = self.stable_routes(members, status)
        return (
            bool(stable)
            and all(name in live for name in stable)
            and not any(share for name, share in live.items() if name not in stable)
            and len({live[name] for name in stable}) == 1
        )

    def stable_routes(self, members: tuple[Member, ...], status: Status) -> list[str]:
        """The targets whose Ingresses carry what is on trial; none where one of them has no way to."""
        names = {trial.name for trial in status.trial} or {member.name for member in members}
        found = [member.traffic for member in members if member.name in names and not member.rides_along]
        if any(isinstance(traffic, Finding) for traffic in found):
            return []
        return [b.ingress for b in join([traffic for traffic in found if isinstance(traffic, Traffic)]).backends]

    def _reached(self, app: App) -> bool:
        return app.service == INTACT and app.copy is not None and app.copy.ready > 0

    def _service(self, index: int, kind: int) -> dict[str, Any]:
        manifest = self._services[index]
        if kind == EDITED:
            return {**manifest, "spec": {**manifest["spec"], "selector": {"app": "another"}}}
        return manifest

    def _ours(self, state: State) -> tuple[ObjectRef, ...]:
        there: tuple[tuple[str, Callable[[App], object]], ...] = (
            ("Ingress", lambda app: app.twin),
            ("Service", lambda app: app.service),
            ("Deployment", lambda app: app.copy),
        )
        return tuple(
            ObjectRef(kind, canary_name(name))
            for kind, exists in there
            for name, app in zip(self.setting.apps, state.apps, strict=True)
            if exists(app)
        )


def _traffic(app: str) -> Traffic:
    return Traffic((Backend(app, app, "9898"),), (service(app, {"app": app}),), frozenset({"app"}))


def _ticks(time: timedelta) -> int:
    return -(-time // TICK)


def _aged(moment: datetime | None, most: int) -> datetime | None:
    return moment and max(moment, START - most * TICK)


def _before(moment: datetime | None) -> datetime | None:
    return moment and moment - TICK


@contextmanager
def remembered() -> Iterator[None]:
    """Let the engine make each copy and each hash of a template only once."""
    hashes: dict[tuple[str, str], str] = {}
    manifests: dict[tuple[str, str, int], Any] = {}
    services: dict[str, Any] = {}

    def hash_of(target: Workload, canary: Identity, keys: frozenset[str]) -> str:
        key = (target.name, target.template_hash)
        if key not in hashes:
            hashes[key] = canary_template_hash(target, canary, keys)
        return hashes[key]

    def manifest_of(target: Workload, canary: Identity, keys: frozenset[str], replicas: int) -> Any:  # noqa: ANN401
        key = (target.name, target.template_hash, replicas)
        if key not in manifests:
            manifests[key] = canary_deployment(target, canary, keys, replicas)
        return manifests[key]

    def service_of(found: dict[str, Any], canary: Identity, keys: frozenset[str]) -> Any:  # noqa: ANN401
        name = found["metadata"]["name"]
        if name not in services:
            services[name] = canary_service(found, canary, keys)
        return services[name]

    with (
        patch.object(engine_copies, "canary_template_hash", hash_of),
        patch.object(invariants, "canary_template_hash", hash_of),
        patch.object(engine_copies, "canary_deployment", manifest_of),
        patch.object(engine_copies, "canary_service", service_of),
    ):
        yield
