"""What others do with one app in the simulated cluster: the Deployment controller, kubelets and Flux."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from canary.model import names
from canary.model.duration import format_time
from canary.model.template import Json, template_hash
from canary.model.workload import Workload
from tests.manifests import NAMESPACE, START

if TYPE_CHECKING:
    from tests.simulation import Cluster, Version


@dataclass
class Pods:
    """The pods of one template."""

    template: Json
    count: int


@dataclass
class App:
    """A Deployment of the user with its pods, and those of its canary."""

    cluster: "Cluster"
    name: str
    replica_sets: dict[str, Pods] = field(default_factory=dict)
    """By the hash of their template."""
    rolling: tuple[str, datetime] | None = None
    """The template that a rolling update brings, and since when."""
    _growing: tuple[int, datetime, int] = (0, START, 0)
    """Ready pods of the canary, when all are, and how many that is."""
    _grown_at: datetime = START

    @property
    def twin(self) -> str:
        """The name of its canary."""
        return f"{self.name}-canary"

    @property
    def exists(self) -> bool:
        """Whether there is such a Deployment."""
        return self.name in self.cluster.deployments

    @property
    def target(self) -> Workload:
        """The Deployment."""
        return Workload(self.cluster.deployments[self.name])

    @property
    def available(self) -> int:
        """How many of stable's pods are ready."""
        return self.target.available if self.exists else 0

    @property
    def canary_available(self) -> int:
        """How many of the canary's pods are ready."""
        twin = self.cluster.deployments.get(self.twin)
        return 0 if twin is None else int(twin["status"]["availableReplicas"])

    @property
    def serving(self) -> set[str]:
        """The names of the versions whose pods are in stable."""
        return {self.cluster.version_of(name).name for name, pods in self.replica_sets.items() if pods.count}

    @property
    def canary_version(self) -> "Version | None":
        """What the canary's pods run."""
        if (twin := self.cluster.deployments.get(self.twin)) is None:
            return None
        marks = twin["spec"]["template"]["metadata"].get("annotations") or {}
        made_from = marks.get(names.TEMPLATE_ANNOTATION)
        return self.cluster.version_of(made_from) if made_from else None

    @property
    def ever_served(self) -> bool:
        """Whether stable has any pod that can serve."""
        found = self.replica_sets.items()
        return any(pods.count and self.cluster.version_of(name).rolls_out for name, pods in found)

    def created(self, version: "Version", replicas: int) -> None:
        """Its Deployment was made anew; its pods serve at once if they can."""
        template = version.template_of(self.name, self.cluster.shared)
        self.replica_sets = {template_hash(template): Pods(template, replicas)}
        self.rolling = None

    def grow_canary(self, old: Json | None) -> None:
        """Pods of a new template replace all others; more pods of the same one come beside them."""
        cluster = self.cluster
        twin = cluster.deployments[self.twin]
        same = old is not None and old["spec"]["template"] == twin["spec"]["template"]
        ready_now, ready_at, wanted = self._growing
        kept = (wanted if cluster.now >= ready_at else ready_now) if same else 0
        self._growing = (kept, cluster.now + cluster.ready_after, twin["spec"]["replicas"])
        if not same:
            self._grown_at = cluster.now
        cluster.deployments[self.twin] = {**twin, "status": {"observedGeneration": 1, "availableReplicas": 0}}

    def turns(self) -> list[datetime]:
        """When its pods change by themselves."""
        times = [self._growing[1]]
        if self.rolling:
            times += [self.rolling[1] + self.cluster.roll_takes, self.rolling[1] + self.cluster.stuck_after]
        return times

    def play(self) -> None:
        """Do what is due."""
        if self.exists:
            self._play_stable()
        if self.twin in self.cluster.deployments:
            self._play_canary()

    def pods(self) -> list[Json]:
        """Those of the canary, where there is something to see of them: all of one version have the same problem."""
        version = self.canary_version
        if version is None or not version.problem:
            return []
        template = self.cluster.deployments[self.twin]["spec"]["template"]
        container = template["spec"]["containers"][0]
        waiting = {"reason": version.problem, "message": "as the kubelet says it"}
        status = {"name": container["name"], "image": container["image"], "ready": False, "state": {"waiting": waiting}}
        metadata = {
            **template["metadata"],
            "name": f"{self.twin}-pod",
            "namespace": NAMESPACE,
            "uid": f"{self.twin}-pod",
            "resourceVersion": "7",
            "creationTimestamp": format_time(self._grown_at),
        }
        return [{"metadata": metadata, "spec": template["spec"], "status": {"containerStatuses": [status]}}]

    def _play_stable(self) -> None:
        target = self.cluster.deployments[self.name]
        name, replicas = template_hash(target["spec"]["template"]), target["spec"]["replicas"]
        others = [pods for key, pods in self.replica_sets.items() if key != name and pods.count]
        if target["spec"].get("paused"):
            self.rolling = None
            if len(others) == 1 and name not in self.replica_sets:
                others[0].count = replicas
        elif others:
            self._roll(name, target["spec"]["template"], replicas)
        else:
            self.rolling = None
            self.replica_sets[name] = Pods(target["spec"]["template"], replicas)
        self._report_stable(target, name, replicas)

    def _roll(self, name: str, pod_template: Json, replicas: int) -> None:
        cluster = self.cluster
        if self.rolling is None or self.rolling[0] != name:
            self.rolling = (name, cluster.now)
        if name not in self.replica_sets or not self.replica_sets[name].count:
            cluster.promises.rolls_out(self, name)
            self.replica_sets[name] = Pods(pod_template, 1)
        if cluster.now >= self.rolling[1] + cluster.roll_takes and cluster.version_of(name).rolls_out:
            for pods in self.replica_sets.values():
                pods.count = 0
            self.replica_sets[name] = Pods(pod_template, replicas)
            self.rolling = None

    def _report_stable(self, target: Json, name: str, replicas: int) -> None:
        """The status of stable's Deployment. A condition that others put there stays."""
        cluster = self.cluster
        able = [pods for key, pods in self.replica_sets.items() if cluster.version_of(key).rolls_out]
        stuck = self.rolling is not None and cluster.now >= self.rolling[1] + cluster.stuck_after
        others = [c for c in target["status"].get("conditions", ()) if c["type"] != "Progressing"]
        said = {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "no progress",
        }
        available = 0 if cluster.stable_is_down else min(replicas, sum(pods.count for pods in able))
        self._set_status(
            self.name,
            {
                "observedGeneration": target["metadata"]["generation"],
                "replicas": sum(pods.count for pods in self.replica_sets.values()),
                "updatedReplicas": self.replica_sets[name].count if name in self.replica_sets else 0,
                "availableReplicas": available,
                "conditions": [*others, *([said] if stuck else [])],
            },
        )

    def _play_canary(self) -> None:
        ready_now, ready_at, wanted = self._growing
        version = self.canary_version
        count = wanted if self.cluster.now >= ready_at else ready_now
        count = count if version and version.starts and not self.cluster.canary_is_down else 0
        counts = {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": count}
        self._set_status(self.twin, {"observedGeneration": 1, **counts})

    def _set_status(self, name: str, status: Json) -> None:
        found = self.cluster.deployments
        if found[name]["status"] != status:
            found[name] = {**found[name], "status": status}
            self.cluster.bump(found, name)


@dataclass
class Flux:
    """A Kustomization with `wait: true` that applies every app."""

    revision: str
    waits_for: timedelta = timedelta(minutes=3)
    """Its timeout."""
    since: datetime | None = None
    """When its health check began, while it runs."""

    def applies(self, revision: str, now: datetime) -> None:
        """A commit."""
        self.revision, self.since = revision, now

    def healthy_or_over(self, apps: list[App], now: datetime) -> bool:
        """End the health check when every Deployment is healthy, one says that it failed, or after the timeout."""
        if self.since is None:
            return False
        targets = [app.target for app in apps if app.exists]
        well = all(target.rolled_out for target in targets)
        if not (well or any(target.verdict for target in targets) or now >= self.since + self.waits_for):
            return False
        self.since = None
        return True

    @property
    def kustomization(self) -> Json:
        """The object, as its controller reports."""
        message = f"Running health checks for revision {self.revision} with a timeout of 3m0s"
        waiting = {"type": "Reconciling", "status": "True", "reason": "Progressing", "message": message}
        return {
            "metadata": {"name": "apps", "namespace": "flux-system", "uid": "apps-uid", "resourceVersion": "7"},
            "status": {"lastAttemptedRevision": self.revision, "conditions": [waiting] if self.since else []},
        }
