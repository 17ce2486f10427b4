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
from canary.model.share import NOTHING, Header, Match, Share
from canary.model.spec import parse_spec
from canary.model.status import Phase, Status, Trial
from canary.model.template import Json
from tests.manifests import APP, START

if TYPE_CHECKING:
    from tests.controllers import App
    from tests.simulation import Cluster

TWIN = f"{APP}-canary"

INGRESS_SETTLES = timedelta(seconds=3.5)
"""As measured on ingress-nginx: until then a worker may still send requests by the old weight."""

TOO_MANY_PASSES_AT_ONCE = 40


class Spinning(AssertionError):
    """The operator is called again and again, and time does not pass."""


class BrokenPromise(AssertionError):
    """What the design promises did not hold."""


def share_of(route: Json) -> Share:
    """The share of an Ingress of ours, as ingress-nginx understands it."""
    marks = route["metadata"]["annotations"]
    weight = 100 * int(marks[names.NGINX_CANARY_WEIGHT]) / int(marks.get(names.NGINX_CANARY_WEIGHT_TOTAL) or 100)
    name, cookie = marks.get(names.NGINX_CANARY_BY_HEADER), marks.get(names.NGINX_CANARY_BY_COOKIE)
    exact, regex = (
        marks.get(key) or None for key in (names.NGINX_CANARY_BY_HEADER_VALUE, names.NGINX_CANARY_BY_HEADER_PATTERN)
    )
    header = Header(name, exact, regex) if name else None
    return Share(weight, Match(header, cookie or None) if header or cookie else None)


@dataclass
class Promises:
    """S1 to S7 of the design, as a user would state them; each write is looked at as it arrives."""

    cluster: "Cluster"
    _weight_since: datetime = START
    """When the canary's routes were written last."""
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Ready pods of each app's canary and of its stable when the pass began."""
    _seen_shares: tuple[Share, ...] = ()
    """The steps of the spec when the pass began."""
    _written: dict[str, Share] = field(default_factory=dict)
    """What the operator wrote last to each route; what humans do to a route is theirs."""
    _highest: Share = NOTHING
    """Of what it wrote."""
    _intended: tuple[Share, int] = (NOTHING, 0)
    """The share in the status, and the pass that wrote it."""
    policy_is_advance: bool = False
    """Whether the user wants a step passed that decides nothing."""
    _failed: str | None = None
    """The template that failed last, until somebody pushes another."""
    _at_once: int = 0
    unheld: set[tuple[str, str]] = field(default_factory=set)
    """Deployments, each with a template that was applied while nothing held it."""
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
        self._seen = {app.name: (app.canary_available, app.available) for app in self.cluster.apps.values()}
        self._seen_shares = self._shares()

    def pushed(self) -> None:
        """A new template may be tried, even one that failed before."""
        self._failed = None

    def released(self, app: "App") -> None:
        """The Canary gives a target back: what is held rolls out unjudged, as the user asked for."""
        theirs = any(app.twin in place for place in (self.cluster.deployments, self.cluster.ingresses))
        self._require(not theirs, f"{app.name} is given back before its canary is gone")

    def floor_held(self, app: "App", *, held: bool) -> None:
        """Stable may shrink only when users are back with it."""
        self._require(held or self._nothing_arrives(), f"the floor of {app.name} is given back too early")
        self._require(not held or self.cluster.status.under_way, f"{app.name} is kept large without need")
        self.order.append(f"floor {'on' if held else 'off'}")

    def evidence_used(self, scrapes: tuple[Scrape, ...]) -> None:
        """S3: no scrape is older than the weight that it speaks for, settled."""
        since = (self._weight_since + INGRESS_SETTLES).timestamp()
        self._require(all(scrape.start >= since for scrape in scrapes), "a scrape from before the weight was in effect")

    def _has_grounds(self) -> bool:
        """Whether users' requests to this canary, at this weight, were counted and good."""
        since = (self._weight_since + INGRESS_SETTLES).timestamp()
        versions = [app.canary_version for app in self.cluster.on_trial]
        counted = [scrape.canary for scrape in self.cluster.scrapes if scrape.start >= since]
        good = any(counts.requests and not counts.failed for counts in counted)
        return good and bool(versions) and all(found and found.verdict is Verdict.PASS for found in versions)

    def status_written(self, old: Status, new: Status) -> None:
        """S3 and S6: what is decided has grounds."""
        going_on = old.under_way and new.template == old.template
        by_human = old.approved == old.step or old.straight is not None
        self._require(new.step <= old.step + 1, "a step is left out")
        begins = new.under_way and new.template != old.template
        self._require(not begins or not (new.step or new.share), "a newer template begins at once")
        if going_on and old.step and (new.step > old.step or new.phase is Phase.PROMOTING):
            spec = parse_spec((self.cluster.canary or {})["spec"])
            self._require(
                self._has_grounds() or self.policy_is_advance or by_human, "goes on without good measurements"
            )
            held = self.cluster.now - self._weight_since
            in_time = held >= spec.steps[min(old.step, len(spec.steps)) - 1].hold
            self._require(in_time or by_human, "goes on before its time")
            carried = set(self.cluster.shares.values())
            in_effect = carried == {old.share} or old.straight is not None
            self._require(in_effect, "goes on before its weight was in effect")
        if new.phase is Phase.PROMOTING and old.under_way:
            last = old.step == old.steps or old.straight is not None
            self._require(last and new.template == old.template, "is promoted before its last step")
        if old.phase is Phase.FAILED and dict(old.handled).get("retry") != dict(new.handled).get("retry"):
            self._failed = None
        if new.phase is Phase.FAILED and (old.under_way or old.phase is Phase.FAILED):
            self._failed = new.template
        elif new.under_way or new.phase is Phase.PROMOTING:
            self._require(new.template != self._failed, "a failed template is tried again")
        self._require(new.share in (NOTHING, old.share, *self._shares()), "a share that is nobody's step")
        if new.share != self._intended[0]:
            self._intended = (new.share, self.cluster.passes)
        self.order.append(f"phase {new.phase} step {new.step}")

    def applied(self, kind: str, manifest: Json, old: Json | None) -> None:
        """S5 and S10: only our own objects. S2: a new template comes in at no weight."""
        name = manifest["metadata"]["name"]
        ours = old is None or names.CANARY_LABEL in old["metadata"]["labels"]
        self._require(name in self.cluster.twins and ours, f"{kind} {name} is not ours")
        if kind == "Ingress":
            self._share_written(name, old, manifest)
        if kind == "Deployment" and old and old["spec"]["template"] != manifest["spec"]["template"]:
            self._require(self._nothing_arrives(), "a template that was not judged gets requests")

    def deleted(self, kind: str, obj: Json) -> None:
        """S7: nothing that may still get requests goes, and nothing of others."""
        self._require(names.CANARY_LABEL in obj["metadata"]["labels"], f"{kind} {obj['metadata']['name']} is not ours")
        self._require(self._nothing_arrives(), f"the canary's {kind} is deleted while requests may arrive")
        self.order.append(f"delete {kind}")

    def templates_applied(self, app: str, name: str, *, held: bool) -> None:
        """A Deployment made anew is not held before it is labelled: what comes until then was never promised."""
        (self.unheld.discard if held else self.unheld.add)((app, name))

    def rolls_out(self, app: "App", name: str) -> None:
        """S4: stable gets a template only for cause, and never a bad one."""
        cluster = self.cluster
        guarded = names.GUARD_LABEL in cluster.deployments[app.name]["metadata"]["labels"]
        if not guarded or not app.ever_served or (app.name, name) in self.unheld:
            return
        judged = Trial(app.name, name) in cluster.status.trial
        decided = Phase.PROMOTING in (cluster.phase, cluster.status.suspended_phase)
        version = cluster.version_of(name)
        self._require(decided and judged, f"version {version.name} of {app.name} reaches stable unjudged")
        ordered = cluster.status.straight is not None or dict(cluster.status.handled).get("advance") is not None
        self._require(version.verdict is not Verdict.FAIL or ordered, "a bad version reaches stable")

    def marked(self, app: "App", *, failed: bool) -> None:
        """Flux hears of a failure only while it waits for the template that failed."""
        cluster = self.cluster
        this = cluster.phase is Phase.FAILED and Trial(app.name, app.target.template_hash) in cluster.status.trial
        self._require(not failed or (this and cluster.flux_waits), "Flux is told of a failure that is not its own")

    def finalizer_set(self, *, present: bool) -> None:
        """S12: the Canary goes last."""
        if not present:
            cluster = self.cluster
            self._require(not cluster.copies, "the Canary goes before its objects")
            left = [app.name for app in cluster.apps.values() if app.exists and app.target.guard == APP]
            self._require(not left, f"the guard label of {left} is left")
        self.order.append(f"finalizer {'on' if present else 'off'}")

    def _share_written(self, name: str, old: Json | None, new: Json) -> None:
        before, share = self._written.get(name, NOTHING), share_of(new)
        carried = share_of(old) if old else NOTHING
        grows = bool(share) and share != carried and share.weight >= carried.weight
        if grows:
            self._share_grows(name, share)
        self._require(share in (NOTHING, before) or grows, "a share falls to something else than nothing")
        self._written[name] = share
        highest = max(self._written.values(), key=lambda each: (each.weight, each.match is not None))
        if highest != self._highest or (old is None and len(self._written) == 1):
            self.order.append(f"weight {highest.weight:g}" if not highest.match else str(highest))
        self._highest = highest
        self._weight_since = self.cluster.now

    def _share_grows(self, name: str, share: Share) -> None:
        """S1, S2, S3: to the step that was written down before, and both sides of all on trial can answer."""
        status = self.cluster.status
        intended, when = self._intended
        trial = {one.name for one in status.trial}
        for app in self.cluster.on_trial:
            canary, stable = self._seen[app.name]
            self._require(app.name in trial, f"requests go to a canary of {app.name}, which is not on trial")
            self._require(canary > 0, f"requests go to a canary of {app.name} that is not ready")
            self._require(stable > 0, f"stable {app.name} cannot answer")
        shared = name == f"{self.cluster.shared}-canary" and self.cluster.on_trial
        ready = shared or any(app.twin == name for app in self.cluster.on_trial)
        self._require(bool(ready), f"requests go to {name}, and there is no canary")
        self._require(status.under_way, f"the share grows in phase {status.phase}")
        self._require(intended == share and when < self.cluster.passes, "the share was not written down before")
        self._require(share in self._seen_shares, "a share that is nobody's step")

    def _shares(self) -> tuple[Share, ...]:
        canary = self.cluster.canary
        return tuple(step.share for step in parse_spec(canary["spec"]).steps) if canary else ()

    def _nothing_arrives(self) -> bool:
        shares = self.cluster.shares
        settled = not shares or self.cluster.now >= self._weight_since + INGRESS_SETTLES
        return not any(shares.values()) and settled

    def _require(self, kept: bool, broken: str) -> None:
        if not kept:
            raise BrokenPromise(f"{broken}: {self.cluster}")
