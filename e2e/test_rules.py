"""The witness's rules, on stories told here: what it must object to, and what it must let pass."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.rules import Case
from e2e.sights import Manifest, Share, Sights, share

NGINX = "nginx.ingress.kubernetes.io/canary"
OLD, NEW, NEWER = ({"spec": {"image": image}} for image in ("old", "new", "newer"))


class Story:
    """Sights of one namespace, each some seconds after the one before."""

    def __init__(self, *targets: str) -> None:
        self.sights = Sights()
        self.targets = targets or ("podinfo",)
        self._now = 0.0

    def later(self, seconds: float = 10) -> None:
        """Let time pass."""
        self._now += seconds

    def see(
        self, kind: str, name: str, *, gone: bool = False, annotations: dict[str, str] | None = None, **body: Any
    ) -> None:
        """See an object."""
        metadata = {"name": name, "annotations": annotations or {}, "labels": {"fluxcanary.dev/guard": "podinfo"}}
        self.sights.see(self._now, {"kind": kind, "metadata": metadata, **body}, gone=gone)

    def deployment(
        self, name: str = "podinfo", template: Manifest = OLD, *, paused: bool = False, replicas: int = 2, pods: int = 2
    ) -> None:
        """See a Deployment, a target's or a canary's."""
        spec = {"template": template, "paused": paused, "replicas": replicas}
        self.see("Deployment", name, spec=spec, status={"availableReplicas": pods})

    def canary(self, phase: str, *, weight: float = 0, retry: str = "", **status: Any) -> None:
        """See the Canary."""
        annotations = {"fluxcanary.dev/retry": retry} if retry else {}
        self.see(
            "Canary", "podinfo", annotations=annotations, status={"phase": phase, "canaryWeight": weight, **status}
        )

    def route(self, **annotations: str) -> None:
        """The canary Ingress; `weight="20"` is the annotation canary-weight."""
        own = {f"{NGINX}-{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.see("Ingress", "podinfo-canary", annotations={NGINX: "true", **own})

    def served(self, **status: Any) -> None:
        """A trial of NEW that has just got its pods."""
        for target in self.targets:
            self.deployment(target)
        self.later()
        for target in self.targets:
            self.deployment(target, NEW, paused=True)
            self.deployment(f"{target}-canary", NEW)
        self.canary("Progressing", template="h1", step=1, weight=20, **status)

    def broken(self) -> list[str]:
        """What the rules object to."""
        return list(Case(self.sights, "podinfo", self.targets).broken())


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def both() -> Story:
    """Of a Canary with two targets."""
    return Story("podinfo", "backend")


def test_promotion_breaks_no_rule(story: Story) -> None:
    story.served()
    for weight in ("0", "20"):
        story.route(weight=weight)
        story.later()
    story.canary("Promoting", template="h1", step=1, weight=20)
    story.deployment(template=NEW)
    story.later()
    story.route(weight="0")
    story.later()
    story.see("Deployment", "podinfo-canary", gone=True)
    story.canary("Succeeded", template="h1")
    assert story.broken() == []


def test_share_for_a_canary_without_pods_breaks_s1(story: Story) -> None:
    story.served()
    story.deployment("podinfo-canary", NEW, pods=0)
    story.route(weight="20")
    assert story.broken() == ["S1: Ingress podinfo-canary got 20 % while podinfo-canary had no available pod"]


@pytest.mark.parametrize("match", [{"by_header": "X-Canary"}, {"by_cookie": "canary"}])
def test_requests_matched_for_a_canary_without_pods_break_s1(story: Story, match: dict[str, str]) -> None:
    story.served()
    story.deployment("podinfo-canary", NEW, pods=0)
    story.route(weight="0", **match)
    (sentence,) = story.broken()
    assert sentence.startswith("S1: Ingress podinfo-canary got what a header or cookie asks for while")


def test_share_breaks_s1_while_another_target_on_trial_has_no_pods(both: Story) -> None:
    both.served(targets=[{"name": "podinfo", "template": "p1"}, {"name": "backend", "template": "b1"}])
    both.deployment("backend-canary", NEW, pods=0)
    both.route(weight="20")
    assert [sentence[:2] for sentence in both.broken()] == ["S1"]


def test_target_that_is_not_on_trial_needs_no_canary(both: Story) -> None:
    both.served(targets=[{"name": "podinfo", "template": "p1"}])
    both.deployment("backend-canary", NEW, pods=0)
    both.route(weight="20")
    assert both.broken() == []


def test_share_that_falls_but_not_to_zero_breaks_s2(story: Story) -> None:
    story.served()
    for weight in ("20", "10"):
        story.route(weight=weight)
        story.later()
    assert story.broken() == ["S2: Ingress podinfo-canary went from 20 % to 10 %"]


@pytest.mark.parametrize(("weight", "total", "percent"), [("20", "100", 20), ("5", "1000", 0.5), ("1", "8", 12.5)])
def test_share_is_the_weight_of_its_total(weight: str, total: str, percent: float) -> None:
    annotations = {NGINX: "true", f"{NGINX}-weight": weight, f"{NGINX}-weight-total": total}
    assert share({"metadata": {"annotations": annotations}}) == Share(percent)


def test_fraction_above_what_was_decided_breaks_s3(story: Story) -> None:
    story.served()
    story.route(weight="200", weight_total="1000")
    story.later()
    assert story.broken() == []
    story.route(weight="201", weight_total="1000")
    assert story.broken() == ["S3: Ingress podinfo-canary carries 20.1 %, decided was 20 %"]


def test_share_that_was_decided_for_a_rollout_before_breaks_s3(story: Story) -> None:
    story.served()
    for weight in ("20", "0"):
        story.route(weight=weight)
        story.later()
    story.canary("Progressing", template="h2", step=1, weight=5)
    story.later()
    story.route(weight="20")
    assert story.broken() == ["S3: Ingress podinfo-canary carries 20 %, decided was 5 %"]


def test_requests_matched_before_any_step_break_s3(story: Story) -> None:
    story.served()
    story.canary("Progressing", template="h1", step=0)
    story.later()
    story.route(by_header="X-Canary")
    (sentence,) = story.broken()
    assert sentence == "S3: Ingress podinfo-canary carries what a header or cookie asks for before any step was decided"


def test_template_that_rolls_out_on_trial_breaks_s4(story: Story) -> None:
    story.served()
    story.deployment(template=NEW)
    assert story.broken() == ["S4: Deployment podinfo rolls out a template that nobody promoted"]


def test_template_that_came_after_the_judged_one_breaks_s4(story: Story) -> None:
    story.served()
    story.later()
    story.canary("Promoting", template="h1", weight=20)
    story.deployment(template=NEWER)
    assert story.broken() == ["S4: Deployment podinfo rolls out a template that nobody promoted"]


def test_template_of_a_target_that_was_not_on_trial_breaks_s4(both: Story) -> None:
    on_trial = [{"name": "podinfo", "template": "p1"}]
    both.served(targets=on_trial)
    both.later()
    both.canary("Promoting", weight=20, targets=on_trial)
    both.deployment("podinfo", NEW)
    both.deployment("backend", NEW)
    assert both.broken() == ["S4: Deployment backend rolls out a template that nobody promoted"]


def test_each_target_rolls_out_its_own_template(both: Story) -> None:
    both.deployment("podinfo")
    both.deployment("backend")
    both.later()
    both.deployment("podinfo", NEW, paused=True)
    both.deployment("backend", NEWER, paused=True)
    on_trial = [{"name": "podinfo", "template": "p1"}, {"name": "backend", "template": "b1"}]
    both.canary("Progressing", targets=on_trial)
    both.later()
    both.canary("Promoting", targets=on_trial)
    both.deployment("podinfo", NEW)
    assert both.broken() == []
    both.deployment("backend", NEW)
    assert both.broken() == ["S4: Deployment backend rolls out a template that nobody promoted"]


def test_template_may_go_straight_through_when_the_canary_says_why(story: Story) -> None:
    story.deployment()
    story.later()
    story.canary("Initialized", straightThrough="it served before")
    story.deployment(template=NEW)
    assert story.broken() == []


def test_template_that_rolled_out_before_may_come_back(story: Story) -> None:
    story.deployment()
    story.deployment(template=NEW, paused=True)
    story.later()
    story.deployment()
    assert story.broken() == []


def test_fewer_replicas_break_s5(both: Story) -> None:
    both.deployment("backend", replicas=3)
    both.deployment("backend", replicas=2)
    assert both.broken() == ["S5: Deployment backend went from 3 to 2 replicas"]


def fail(story: Story) -> None:
    story.deployment()
    story.deployment(template=NEW, paused=True)
    for phase in ("Progressing", "Failed"):
        story.canary(phase, template="h1")
        story.later()


def test_failed_template_that_is_tried_again_by_itself_breaks_s6(story: Story) -> None:
    fail(story)
    story.canary("Initialized", template="h1")
    story.later()
    story.canary("Progressing", template="h1")
    assert story.broken() == ["S6: Canary podinfo tries h1 again, which failed"]


def test_failed_template_may_be_tried_once_for_each_retry_asked_for(story: Story) -> None:
    fail(story)
    for phase in ("Failed", "Progressing", "Failed"):
        story.canary(phase, template="h1", retry="1")
        story.later()
    assert story.broken() == []
    story.canary("Waiting", template="h1", retry="1")
    assert story.broken() == ["S6: Canary podinfo tries h1 again, which failed"]


def test_failed_template_may_be_tried_after_another(story: Story) -> None:
    fail(story)
    story.deployment()
    story.later()
    story.deployment(template=NEW, paused=True)
    story.canary("Progressing", template="h1")
    assert story.broken() == []


def test_another_template_may_be_tried_after_a_failure(story: Story) -> None:
    fail(story)
    story.canary("Progressing", template="h2")
    assert story.broken() == []


@pytest.mark.parametrize("traffic", [{"weight": "20"}, {"weight": "0", "by_cookie": "canary"}])
def test_canary_that_goes_while_requests_may_come_breaks_s7(story: Story, traffic: dict[str, str]) -> None:
    story.served()
    story.route(**traffic)
    story.later()
    story.route(weight="0")
    story.later(2)
    story.see("Deployment", "podinfo-canary", gone=True)
    (sentence,) = story.broken()
    assert sentence.startswith("S7: podinfo-canary went 3 s after Ingress podinfo-canary carried")


def test_what_went_while_nobody_looked_is_gone(story: Story) -> None:
    story.route(weight="20")
    story.deployment("podinfo-canary")
    story.sights.see_only(10, "Ingress", ["podinfo"])
    assert story.sights.at("Ingress", "podinfo-canary", 10) is None
    assert story.sights.at("Deployment", "podinfo-canary", 10) is not None
