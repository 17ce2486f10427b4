"""Whether the guard holds templates."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from canary.kube.cache import Cache
from canary.model import names, reasons
from canary.operator.guard import BINDING, POLICY, guard_problem

ME = "system:serviceaccount:fluxcanary-system:fluxcanary"
MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((Path(__file__).parents[3] / "deploy" / "guard.yaml").read_text(encoding="utf-8"))
)


def cache(*kinds: str, **binding: Any) -> Cache:
    filled = Cache()
    for manifest in MANIFESTS:
        if manifest["kind"] in kinds:
            metadata = {**manifest["metadata"], "uid": "u", "resourceVersion": "7"}
            spec = {**manifest["spec"], **binding} if manifest["kind"] == BINDING else manifest["spec"]
            filled.put(manifest["kind"], {**manifest, "metadata": metadata, "spec": spec})
    return filled


def reason(filled: Cache, username: str = ME) -> str | None:
    problem = guard_problem(filled, username)
    return problem.reason if problem else None


def test_the_policy_that_is_deployed_is_what_it_looks_for() -> None:
    assert guard_problem(cache(POLICY, BINDING), ME) is None


def test_without_the_policy_nothing_is_held() -> None:
    assert reason(cache()) == reasons.GUARD_MISSING
    assert reason(cache(BINDING)) == reasons.GUARD_MISSING


def test_a_policy_that_is_not_bound_holds_nothing() -> None:
    assert reason(cache(POLICY)) == reasons.GUARD_UNBOUND
    assert reason(cache(POLICY, BINDING, policyName="another")) == reasons.GUARD_UNBOUND


@pytest.mark.parametrize("username", ["system:serviceaccount:elsewhere:fluxcanary", "admin"])
def test_a_policy_that_would_hold_us_too_is_said_with_our_name(username: str) -> None:
    problem = guard_problem(cache(POLICY, BINDING), username)
    assert problem is not None
    assert problem.reason == reasons.GUARD_USER
    assert username in problem.message


def test_a_policy_without_conditions_holds_us_too() -> None:
    filled = cache(POLICY, BINDING)
    policy = filled.get(POLICY, "", names.GUARD_POLICY)
    assert policy is not None
    filled.put(POLICY, {**policy, "spec": {key: v for key, v in policy["spec"].items() if key != "matchConditions"}})
    assert reason(filled) == reasons.GUARD_USER


def test_a_user_whose_name_only_begins_like_ours_is_not_us() -> None:
    assert reason(cache(POLICY, BINDING), ME.removesuffix("canary")) == reasons.GUARD_USER
