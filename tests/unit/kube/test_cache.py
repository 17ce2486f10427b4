"""What the watches said last."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.kube.cache import Cache


def obj(version: int, name: str = "a", uid: str = "first", namespace: str | None = "staging") -> dict[str, Any]:
    where = {} if namespace is None else {"namespace": namespace}
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": str(version), **where}}


def holding(*objects: dict[str, Any]) -> Cache:
    cache = Cache()
    for each in objects:
        cache.put("Service", each)
    return cache


def version(cache: Cache) -> str | None:
    found = cache.get("Service", "staging", "a")
    return None if found is None else str(found["metadata"]["resourceVersion"])


def test_the_last_version_is_known() -> None:
    assert version(holding(obj(9), obj(10))) == "10"


def test_a_watch_that_lags_behind_our_own_write_does_not_take_it_back() -> None:
    assert version(holding(obj(10), obj(9))) == "10"


def test_the_same_version_is_taken_again() -> None:
    again = {**obj(9), "spec": "trimmed"}
    assert holding(obj(9), again).get("Service", "staging", "a") == again


def test_an_object_made_anew_takes_the_place_of_the_old_one() -> None:
    assert version(holding(obj(9), obj(12, uid="second"))) == "12"


def test_old_news_of_an_object_do_not_take_the_place_of_the_one_made_anew() -> None:
    assert version(holding(obj(12, uid="second"), obj(9, uid="first"))) == "12"


def test_a_deletion_is_forgotten() -> None:
    cache = holding(obj(9))
    cache.drop("Service", obj(11))
    assert version(cache) is None
    assert cache.list("Service", "staging") == []


def test_the_deletion_of_an_object_that_was_made_anew_changes_nothing() -> None:
    cache = holding(obj(9), obj(12, uid="second"))
    cache.drop("Service", obj(11, uid="first"))
    assert version(cache) == "12"


def test_the_deletion_of_something_unknown_changes_nothing() -> None:
    cache = holding(obj(9))
    cache.drop("Service", obj(9, name="b"))
    cache.drop("Service", obj(9, namespace="elsewhere"))
    cache.drop("Ingress", obj(9))
    assert version(cache) == "9"


def test_kinds_and_namespaces_are_apart() -> None:
    cache = holding(obj(1), obj(2, name="b"), obj(3, namespace="production"))
    cache.put("Ingress", obj(4))
    assert [each["metadata"]["resourceVersion"] for each in cache.list("Service", "staging")] == ["1", "2"]
    assert [each["metadata"]["resourceVersion"] for each in cache.everywhere("Service")] == ["1", "2", "3"]
    assert cache.get("Service", "elsewhere", "a") is None
    assert cache.list("Canary", "staging") == []


def test_what_has_no_namespace_is_under_none() -> None:
    assert holding(obj(1, namespace=None)).get("Service", "", "a") == obj(1, namespace=None)


def test_a_list_is_a_copy() -> None:
    cache = holding(obj(1))
    cache.list("Service", "staging").clear()
    assert version(cache) == "1"


@given(st.permutations([obj(number) for number in range(1, 6)]))
def test_in_whatever_order_they_come_the_newest_stays(order: list[dict[str, Any]]) -> None:
    assert version(holding(*order)) == "5"


@pytest.mark.parametrize("versions", [(99, 100), (100, 99)])
def test_versions_are_numbers_not_text(versions: tuple[int, int]) -> None:
    assert version(holding(*(obj(each) for each in versions))) == "100"
