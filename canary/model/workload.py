"""Deployments and ReplicaSets as they were observed."""

from dataclasses import dataclass
from functools import cached_property

from canary.model import names
from canary.model.template import Json, template_hash


@dataclass(frozen=True)
class ReplicaSet:
    """A ReplicaSet of the target: a template that some pods run."""

    pod_template: Json
    pods: int

    @cached_property
    def template(self) -> str:
        """Hash of its template."""
        return template_hash(self.pod_template)


@dataclass(frozen=True)
class Workload:
    """A Deployment. `manifest` is the object as the API server holds it, for copying."""

    manifest: Json

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Its uid: tells it from a later one of the same name."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def resource_version(self) -> str:
        """What a write is conditioned on."""
        return str(self.manifest["metadata"]["resourceVersion"])

    @property
    def guard(self) -> str | None:
        """The Canary that its templates are held for."""
        return _labels(self.manifest).get(names.GUARD_LABEL)

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return bool(self.manifest["metadata"].get("deletionTimestamp"))

    @property
    def paused(self) -> bool:
        """Whether the Deployment controller makes no ReplicaSet for its template."""
        return bool(self.manifest["spec"].get("paused"))

    @property
    def replicas(self) -> int:
        """How many pods it should have."""
        return int(self.manifest["spec"].get("replicas", 1))

    @property
    def template(self) -> Json:
        """Its pod template."""
        template: Json = self.manifest["spec"]["template"]
        return template

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of its pods."""
        return _labels(self.template)

    @property
    def selector(self) -> Json:
        """Its label selector, which never changes."""
        selector: Json = self.manifest["spec"]["selector"]
        return selector

    @cached_property
    def template_hash(self) -> str:
        """Name of its pod template."""
        return template_hash(self.template)

    @property
    def observed(self) -> bool:
        """Whether its status speaks of its present spec."""
        return self._count("observedGeneration") >= int(self.manifest["metadata"]["generation"])

    @property
    def available(self) -> int:
        """How many of its pods have been ready for `minReadySeconds`."""
        return self._count("availableReplicas")

    @property
    def updated(self) -> int:
        """How many of its pods run the present template."""
        return self._count("updatedReplicas")

    @property
    def rolled_out(self) -> bool:
        """Whether all its pods run its template and are available, and no other pod of it is left."""
        return (
            self.observed
            and self.updated == self.replicas == self._count("replicas")
            and self.available >= self.replicas
            and not self.paused
        )

    @property
    def stuck(self) -> str | None:
        """Why the Deployment controller says that its rolling update makes no progress."""
        progressing = self._condition("Progressing")
        if progressing.get("reason") != "ProgressDeadlineExceeded":
            return None
        return str(progressing.get("message") or progressing["reason"])

    @property
    def replica_failure(self) -> str | None:
        """Why no pod of it could be created or deleted, in the words of the API server."""
        failure = self._condition("ReplicaFailure")
        return str(failure.get("message") or failure["reason"]) if failure.get("status") == "True" else None

    @property
    def verdict(self) -> str | None:
        """The message of the condition by which a rollback tells Flux that this Deployment failed."""
        stalled = self._condition(names.VERDICT_CONDITION)
        return str(stalled["message"]) if stalled.get("status") == "True" else None

    def _condition(self, type_: str) -> Json:
        conditions = (self.manifest.get("status") or {}).get("conditions") or ()
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def _count(self, field: str) -> int:
        return int((self.manifest.get("status") or {}).get(field) or 0)


def _labels(manifest: Json) -> dict[str, str]:
    return dict((manifest.get("metadata") or {}).get("labels") or {})


def label_selector(selector: Json) -> str:
    """A LabelSelector as the text that the API takes: `app=podinfo,tier in (web,api)`."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(expression.get("values") or ())
        match expression["operator"]:
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(key)
            case _:
                terms.append(f"!{key}")
    return ",".join(terms)
