"""The kinds that this operator touches, and where the API server has them."""

from dataclasses import dataclass

from canary.model import names


@dataclass(frozen=True)
class Resource:
    """A kind by its place in the API: group ("" for core), version, plural."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of a collection, an object, or a subresource of it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


CANARIES = Resource(names.GROUP, names.VERSION, names.PLURAL)
METRIC_TEMPLATES = Resource(names.GROUP, names.VERSION, "metrictemplates")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
PODS = Resource("", "v1", "pods")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SERVICES = Resource("", "v1", "services")
CONFIG_MAPS = Resource("", "v1", "configmaps")
SECRETS = Resource("", "v1", "secrets")
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
KUSTOMIZATIONS = Resource("kustomize.toolkit.fluxcd.io", "v1", "kustomizations")
GUARD_POLICIES = Resource("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies")
GUARD_BINDINGS = Resource("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings")
EVENTS = Resource("events.k8s.io", "v1", "events")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
SELF_SUBJECT_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews")

OURS = {"Deployment": DEPLOYMENTS, "Service": SERVICES, "Ingress": INGRESSES}
"""The kinds of the objects that we make."""
