"""Every name, label, annotation and literal that leaves this process, once."""

import hashlib

GROUP = "fluxcanary.dev"
VERSION = "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "Canary"
PLURAL = "canaries"

# Must not begin with `kubectl`, `before-first-apply` or `kustomize-controller`: Flux takes over fields of those.
FIELD_MANAGER = "fluxcanary"
FINALIZER = f"{GROUP}/finalizer"

GUARD_LABEL = f"{GROUP}/guard"
"""On a Deployment: its templates are held for the Canary of this name. The guard policy and our watch select by it."""

CANARY_LABEL = f"{GROUP}/canary"
"""On the Service, Ingress and pods that exist for a rollout: the Canary they belong to. EndpointSlices inherit it."""

TEMPLATE_ANNOTATION = f"{GROUP}/template"
"""On the pods of a canary: hash of the held template that they were made from."""

FLOOR_LABEL = f"{GROUP}/floor"
"""On an HPA: it must not shrink its Deployment during the rollout of the Canary of this name."""

WEIGHT_SINCE = f"{GROUP}/weight-since"
"""On a canary route: when its present weight was written, RFC 3339. Observed, so that no restart forgets it."""

VERDICT_CONDITION = "Stalled"
"""On the status of a target whose held template failed: kstatus reads it as Failed, so Flux stops waiting."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "fluxcanary"
PART_OF_LABEL = "app.kubernetes.io/part-of"

GUARD_POLICY = "fluxcanary-guard"
"""Name of the MutatingAdmissionPolicy and of its binding."""

GUARD_SELECTOR = f"{PART_OF_LABEL}={MANAGED_BY}"
"""By this the policy and its binding are watched."""

NO_HELM_RELEASE = "owner!=helm"
"""Where Helm keeps its releases, up to a megabyte in each: no pod reads those, and no watch of ours has to."""

FLUX_KUSTOMIZE_NAME = "kustomize.toolkit.fluxcd.io/name"
FLUX_KUSTOMIZE_NAMESPACE = "kustomize.toolkit.fluxcd.io/namespace"
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"

_FOREIGN_OWNERS = (".toolkit.fluxcd.io/", "meta.helm.sh/")
"""Marks by which Flux and Helm know their own objects: a copy that kept one could be pruned by them."""

NGINX_ANNOTATION = "nginx.ingress.kubernetes.io/"
NGINX_CANARY = f"{NGINX_ANNOTATION}canary"
NGINX_CANARY_WEIGHT = f"{NGINX_ANNOTATION}canary-weight"
NGINX_CANARY_WEIGHT_TOTAL = f"{NGINX_ANNOTATION}canary-weight-total"
NGINX_CANARY_BY_HEADER = f"{NGINX_ANNOTATION}canary-by-header"
NGINX_CANARY_BY_HEADER_VALUE = f"{NGINX_ANNOTATION}canary-by-header-value"
NGINX_CANARY_BY_HEADER_PATTERN = f"{NGINX_ANNOTATION}canary-by-header-pattern"
NGINX_CANARY_BY_COOKIE = f"{NGINX_ANNOTATION}canary-by-cookie"
LEGACY_INGRESS_CLASS = "kubernetes.io/ingress.class"

POD_TEMPLATE_HASH = "pod-template-hash"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_SUFFIX = "-canary"
_LABEL_LIMIT = 63


def canary_name(name: str) -> str:
    """Name of the temporary twin of `name`; at most 63 characters, so that it also fits a label or a Service."""
    if not name:
        return _SUFFIX.lstrip("-")
    if len(name) + len(_SUFFIX) <= _LABEL_LIMIT:
        return name + _SUFFIX
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LABEL_LIMIT - len(_SUFFIX) - 9].rstrip('-._')}-{digest}{_SUFFIX}"


def is_foreign_mark(key: str) -> bool:
    """Whether a label or annotation says that Flux, Helm or kubectl owns the object, and so must not be copied."""
    return key == LAST_APPLIED or any(owner in key for owner in _FOREIGN_OWNERS)
