"""The invariants of the design, as a user of the simulated cluster would state them.

They look at each write as it arrives, and know what was promised rather than how it is kept: nothing here is asked of
the engine, of its World, or of its own invariants.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from analysis.verdict import Verdict
from canary.model import names
from canary.model.scrape import Scrape
from canary.model.spec import parse_spec
from canary.model.status import Phase, Status
from canary.model.template import Json
from tests.manifests import APP, START

if TYPE_CHECKING:
    from tests.simulation import Cluster

TWIN = f"{APP}-canary"

INGRESS_SETTLES = timedelta(seconds=3.5)
"""As measured on ingress-nginx: until then a worker may still send requests by the old weight."""

TOO_MANY_PASSES_AT_ONCE = 40


class Spinning(AssertionError):
    """The operator is called again and again, and time does not pass."""


class BrokenPromise(AssertionError):
    """What the design promises did not hold."""


@dataclass
class Promises:
    """S1 to S7 of the design, as a user would state them; each write is looked at as it arrives."""

    cluster: "Cluster"
    _weight_since: datetime = START
    """When the canary's routes were written last."""
    _seen: tuple[int, int] = (0, 0)
    """Ready pods of the canary and of stable when the pass began."""
    _seen_weights: tuple[int, ...] = ()
    """The steps of the spec when the pass began."""
    _written: int = 0
    """The weight that the operator wrote last; what humans do to a route is theirs."""
    _intended: tuple[int, int] = (0, 0)
    """The weight in the status, and the pass that wrote it."""
    policy_is_advance: bool = False
    """Whether the user wants a step passed that decides nothing."""
    _failed: str | None = None
    """The template that failed last, until somebody pushes another."""
    _at_once: int = 0
    order: list[str] = field(default_factory=list)
    """What was written, in order."""

    def time_passes(self) -> None:
        """The clock moved."""
        self._at_once = 0

    def pass_begins(self) -> None:
        """L1: it must not spin."""
        self._at_once += 1
        if self._at_once > TOO_MANY_PASSES_AT_ONCE:
            raise Spinning(str(self.cluster))
        self._seen = (self.cluster.canary_available, self.cluster.stable_available)
        self._seen_weights = self._weights()

    def pushed(self) -> None:
        """A new template may be tried, even one that failed before."""
        self._failed = None

    def released(self) -> None:
        """The Canary gives the target back: what is held rolls out unjudged, as the user asked for."""
        self._require(self.cluster.weight == 0 and not self.cluster.copies, "the target is given back before the end")

    def evidence_used(self, scrapes: tuple[Scrape, ...]) -> None:
        """S3: no scrape is older than the weight that it speaks for, settled."""
        since = (self._weight_since + INGRESS_SETTLES).timestamp()
        self._require(all(scrape.start >= since for scrape in scrapes), "a scrape from before the weight was in effect")

    def _has_grounds(self) -> bool:
        """Whether users' requests to this canary, at this weight, were counted and good."""
        since = (self._weight_since + INGRESS_SETTLES).timestamp()
        version = self.cluster.canary_version
        counted = [scrape.canary for scrape in self.cluster.scrapes if scrape.start >= since]
        good = any(counts.requests and not counts.failed for counts in counted)
        return good and version is not None and version.verdict is Verdict.PASS

    def status_written(self, old: Status, new: Status) -> None:
        """S3 and S6: what is decided has grounds."""
        going_on = old.phase is Phase.PROGRESSING and new.template == old.template
        self._require(new.step <= old.step + 1, "a step is left out")
        self._require(new.template == old.template or not (new.step or new.weight), "a newer template begins at once")
        if going_on and old.step and (new.step > old.step or new.phase is Phase.PROMOTING):
            spec = parse_spec((self.cluster.canary or {})["spec"])
            self._require(self._has_grounds() or self.policy_is_advance, "goes on without good measurements")
            held = self.cluster.now - self._weight_since
            self._require(held >= spec.steps[min(old.step, len(spec.steps)) - 1].hold, "goes on before its time")
            self._require(self.cluster.weight == old.weight, "goes on before its weight was in effect")
        if new.phase is Phase.PROMOTING and old.phase is Phase.PROGRESSING:
            self._require(old.step == old.steps and new.template == old.template, "is promoted before its last step")
        if new.phase is Phase.FAILED and old.phase is Phase.PROGRESSING:
            self._failed = new.template
        elif new.phase in (Phase.PROGRESSING, Phase.PROMOTING):
            self._require(new.template != self._failed, "a failed template is tried again")
        self._require(new.weight in (0, old.weight, *self._weights()), "a weight that is nobody's step")
        if new.weight != self._intended[0]:
            self._intended = (new.weight, self.cluster.passes)
        self.order.append(f"phase {new.phase} step {new.step}")

    def applied(self, kind: str, manifest: Json, old: Json | None) -> None:
        """S5 and S10: only our own objects. S2: a new template comes in at no weight."""
        name = manifest["metadata"]["name"]
        ours = old is None or names.CANARY_LABEL in old["metadata"]["labels"]
        self._require(name == TWIN and ours, f"{kind} {name} is not ours")
        if kind == "Ingress":
            self._weight_written(old, manifest)
        if kind == "Deployment" and old and old["spec"]["template"] != manifest["spec"]["template"]:
            self._require(self._nothing_arrives(), "a template that was not judged gets requests")

    def deleted(self, kind: str, obj: Json) -> None:
        """S7: nothing that may still get requests goes, and nothing of others."""
        self._require(names.CANARY_LABEL in obj["metadata"]["labels"], f"{kind} {obj['metadata']['name']} is not ours")
        self._require(self._nothing_arrives(), f"the canary's {kind} is deleted while requests may arrive")
        self.order.append(f"delete {kind}")

    def rolls_out(self, name: str) -> None:
        """S4: stable gets a template only for cause, and never a bad one."""
        cluster = self.cluster
        guarded = names.GUARD_LABEL in cluster.deployments[APP]["metadata"]["labels"]
        if not guarded or not cluster.ever_served():
            return
        decided = cluster.phase is Phase.PROMOTING and cluster.status.template == name
        suspended = cluster.status.suspended_phase is Phase.PROMOTING and cluster.status.template == name
        self._require(decided or suspended, f"version {cluster.version_of(name).name} reaches stable unjudged")
        self._require(cluster.version_of(name).verdict is not Verdict.FAIL, "a bad version reaches stable")

    def marked(self, *, failed: bool) -> None:
        """Flux hears of a failure only while it waits for the template that failed."""
        cluster = self.cluster
        this = cluster.phase is Phase.FAILED and cluster.status.template == cluster.target.template_hash
        self._require(not failed or (this and cluster.flux_waits), "Flux is told of a failure that is not its own")

    def finalizer_set(self, *, present: bool) -> None:
        """S12: the Canary goes last."""
        if not present:
            cluster = self.cluster
            target = cluster.deployments.get(APP)
            self._require(not cluster.copies, "the Canary goes before its objects")
            self._require(
                target is None or target["metadata"]["labels"].get(names.GUARD_LABEL) != APP, "the guard label is left"
            )
        self.order.append(f"finalizer {'on' if present else 'off'}")

    def _weight_written(self, old: Json | None, new: Json) -> None:
        before, weight = self._written, int(new["metadata"]["annotations"][names.NGINX_CANARY_WEIGHT])
        if weight > self.cluster.weight:
            self._weight_rises(weight)
        self._require(weight in (0, before) or weight > self.cluster.weight, "a weight falls to something else than 0")
        if weight != before or old is None:
            self.order.append(f"weight {weight}")
        self._written = weight
        self._weight_since = self.cluster.now

    def _weight_rises(self, weight: int) -> None:
        """S1, S2, S3: to the step that was written down before, and both sides can answer."""
        canary, stable = self._seen
        status = self.cluster.status
        intended, when = self._intended
        self._require(canary > 0, "requests go to a canary that is not ready")
        self._require(stable > 0, "stable cannot answer")
        self._require(status.phase is Phase.PROGRESSING, f"the weight rises in phase {status.phase}")
        self._require(intended == weight and when < self.cluster.passes, "the weight was not written down before")
        self._require(weight in self._seen_weights, "a weight that is nobody's step")

    def _weights(self) -> tuple[int, ...]:
        canary = self.cluster.canary
        return tuple(step.weight for step in parse_spec(canary["spec"]).steps) if canary else ()

    def _nothing_arrives(self) -> bool:
        settled = TWIN not in self.cluster.ingresses or self.cluster.now >= self._weight_since + INGRESS_SETTLES
        return self.cluster.weight == 0 and settled

    def _require(self, kept: bool, broken: str) -> None:
        if not kept:
            raise BrokenPromise(f"{broken}: {self.cluster}")
