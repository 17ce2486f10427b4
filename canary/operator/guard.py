"""Whether the guard holds templates: the policy is there, is bound, and lets this operator through."""

from canary.engine.world import Finding
from canary.kube.cache import Cache
from canary.model import names, reasons

POLICY = "MutatingAdmissionPolicy"
BINDING = "MutatingAdmissionPolicyBinding"


def guard_problem(cache: Cache, username: str) -> Finding | None:
    """Why new templates would not be held, or None. `username` is what the API server knows this operator by."""
    policy = cache.get(POLICY, "", names.GUARD_POLICY)
    binding = cache.get(BINDING, "", names.GUARD_POLICY)
    if policy is None:
        text = f"there is no {POLICY} {names.GUARD_POLICY}: new templates are not held and roll out unjudged"
        return Finding(reasons.GUARD_MISSING, text)
    if binding is None or binding["spec"].get("policyName") != names.GUARD_POLICY:
        text = f"there is no {BINDING} {names.GUARD_POLICY}: new templates are not held and roll out unjudged"
        return Finding(reasons.GUARD_UNBOUND, text)
    conditions = [condition["expression"] for condition in policy["spec"].get("matchConditions") or ()]
    if not any(f"{quote}{username}{quote}" in condition for condition in conditions for quote in "'\""):
        text = f"{POLICY} {names.GUARD_POLICY} does not exempt {username}, as which this operator runs"
        return Finding(reasons.GUARD_USER, text)
    return None
