"""The Flux object that applies a target, and what it says of the revision."""

from typing import Any

import pytest

from canary.engine.world import Owner
from canary.flux.owner import attempted_revision, awaits_health, owned_by, owner_of
from canary.kube.cache import Cache
from canary.model import names
from canary.model.template import Json
from canary.model.workload import Workload
from tests.manifests import deployment

OLD = "main@sha1:0000000000000000000000000000000000000000"
NEW = "main@sha1:4c1ca09d2e1f4c1ca09d2e1f4c1ca09d2e1f4c1c"
LABELS = {names.FLUX_KUSTOMIZE_NAME: "podinfo-staging", names.FLUX_KUSTOMIZE_NAMESPACE: "flux-system"}


def kustomization(*conditions: Json, **status: Any) -> Json:
    return {
        "metadata": {"name": "podinfo-staging", "namespace": "flux-system", "uid": "u", "resourceVersion": "7"},
        "status": {**status, "conditions": list(conditions)},
    }


def reconciling(message: str, status: str = "True", reason: str = "Progressing") -> Json:
    return {"type": "Reconciling", "status": status, "reason": reason, "message": message}


def owner(labels: dict[str, str], *known: Json) -> Owner | None:
    cache = Cache()
    for each in known:
        cache.put("Kustomization", each)
    return owner_of(Workload(deployment(labels=labels)), cache)


class TestOwner:
    def test_is_the_kustomization_of_the_labels_though_it_is_in_another_namespace(self) -> None:
        known = kustomization(lastAttemptedRevision=NEW)
        assert owner(LABELS, known) == Owner("Kustomization", "flux-system", "podinfo-staging", NEW)

    def test_waits_while_its_health_checks_run(self) -> None:
        known = kustomization(reconciling(f"Running health checks for revision {NEW} with a timeout of 3m0s"))
        found = owner(LABELS, known)
        assert found == Owner("Kustomization", "flux-system", "podinfo-staging", NEW, awaits_health=True)

    def test_that_is_not_known_yet_has_no_revision(self) -> None:
        assert owner(LABELS) == Owner("Kustomization", "flux-system", "podinfo-staging", "")

    @pytest.mark.parametrize("lost", list(LABELS))
    def test_needs_both_labels(self, lost: str) -> None:
        assert owner({key: value for key, value in LABELS.items() if key != lost}, kustomization()) is None

    def test_there_may_be_none(self) -> None:
        assert owner({}, kustomization()) is None


class TestRevision:
    def test_a_reconciliation_under_way_names_it_before_anything_is_applied(self) -> None:
        message = f"Detecting drift for revision {NEW} with a timeout of 2m30s"
        assert attempted_revision(kustomization(reconciling(message), lastAttemptedRevision=OLD)) == NEW

    @pytest.mark.parametrize(
        "condition",
        [
            reconciling(f"Running health checks for revision {NEW}", status="False"),
            {"type": "Ready", "status": "True", "message": f"Applied for revision {NEW}"},
            reconciling("Fetching manifests with a timeout of 3m0s"),
            {"type": "Reconciling", "status": "True"},
        ],
        ids=["over", "another-condition", "no-revision-yet", "no-message"],
    )
    def test_otherwise_it_is_the_last_attempted(self, condition: Json) -> None:
        assert attempted_revision(kustomization(condition, lastAttemptedRevision=OLD)) == OLD

    def test_the_last_applied_is_never_looked_at_for_it_may_wait_for_us(self) -> None:
        assert attempted_revision(kustomization(lastAppliedRevision=NEW)) == ""

    def test_an_object_without_a_status_has_none(self) -> None:
        assert attempted_revision({"metadata": {"name": "a", "namespace": "b"}}) == ""


class TestAwaitsHealth:
    def test_when_everything_is_applied_and_the_checks_run(self) -> None:
        assert awaits_health(kustomization(reconciling(f"Running health checks for revision {NEW}")))

    @pytest.mark.parametrize(
        "condition",
        [
            reconciling(f"Detecting drift for revision {NEW}"),
            reconciling(f"Running health checks for revision {NEW}", status="False"),
            {"type": "Ready", "status": "Unknown", "reason": "Progressing", "message": "Running health checks"},
            reconciling(f"Running health checks for revision {NEW}", reason="ProgressingWithRetry"),
        ],
        ids=["not-applied-yet", "over", "another-condition", "failed-and-waiting-to-try-again"],
    )
    def test_at_no_other_time(self, condition: Json) -> None:
        assert not awaits_health(kustomization(condition))


def test_an_object_is_owned_by_the_kustomization_that_its_labels_name() -> None:
    assert owned_by(kustomization(), LABELS)
    assert not owned_by(kustomization(), {**LABELS, names.FLUX_KUSTOMIZE_NAMESPACE: "elsewhere"})
    assert not owned_by(kustomization(), {**LABELS, names.FLUX_KUSTOMIZE_NAME: "another"})
    assert not owned_by(kustomization(), {})
