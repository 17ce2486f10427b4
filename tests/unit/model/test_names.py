"""Names of copies, and marks that a copy must not carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.model import names
from canary.model.names import canary_name, is_foreign_mark

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True)


def test_it_is_the_name_with_a_suffix() -> None:
    assert canary_name("podinfo") == "podinfo-canary"


@pytest.mark.parametrize("length", [55, 56, 57, 58, 63, 64, 253])
def test_it_fits_a_label_and_a_service(length: int) -> None:
    assert len(canary_name("a" * length)) <= 63
    assert canary_name("a" * length).endswith("-canary")


def test_a_name_that_fits_is_kept_whole() -> None:
    assert canary_name("a" * 56) == "a" * 56 + "-canary"


def test_long_names_that_differ_only_at_their_end_stay_apart() -> None:
    assert canary_name("a" * 60 + "1") != canary_name("a" * 60 + "2")


def test_a_cut_name_does_not_end_in_two_separators() -> None:
    assert "--" not in canary_name("a" * 46 + "-" + "b" * 30)
    assert ".-" not in canary_name("a" * 46 + "." + "b" * 30)


def test_an_empty_label_value_gets_one_too() -> None:
    assert canary_name("") == "canary"


@given(NAME, NAME)
def test_no_two_names_share_one(one: str, other: str) -> None:
    assert (canary_name(one) == canary_name(other)) == (one == other)


@given(NAME)
def test_it_is_a_valid_name_and_never_the_name_itself(name: str) -> None:
    twin = canary_name(name)
    assert twin != name
    assert twin[0].isalnum()
    assert twin[-1].isalnum()
    assert len(twin) <= 63


def test_of_a_twin_it_is_yet_another() -> None:
    assert canary_name("podinfo-canary") not in ("podinfo", "podinfo-canary")


@pytest.mark.parametrize(
    "key",
    [
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/namespace",
        "kustomize.toolkit.fluxcd.io/prune",
        "meta.helm.sh/release-name",
        "kubectl.kubernetes.io/last-applied-configuration",
    ],
)
def test_marks_of_flux_helm_and_kubectl_are_foreign(key: str) -> None:
    assert is_foreign_mark(key)


@pytest.mark.parametrize(
    "key",
    ["app", "app.kubernetes.io/name", "kubectl.kubernetes.io/restartedAt", "example.com/toolkit", "helm.sh/chart"],
)
def test_other_labels_and_annotations_are_not(key: str) -> None:
    assert not is_foreign_mark(key)


def test_flux_does_not_take_over_the_fields_of_our_manager() -> None:
    assert not names.FIELD_MANAGER.startswith(("kubectl", "before-first-apply", "kustomize-controller"))
