"""What was counted between two scrapes."""

from collections.abc import Mapping
from math import inf

import pytest

from canary.metrics.increments import FORGET_SECONDS, brought_forward, scrape_between
from canary.metrics.ingress_nginx import Counters, Pod
from canary.model.scrape import Arms, Counts, Scrape
from canary.model.traffic import Backend

ARMS = Arms("test", (Backend("web", "web", "80"),))
STABLE = ("web", "")
CANARY = ("web", "test-web-canary-80")
Groups = Mapping[tuple[str, str], Mapping[str | float, float]]


def pod(at: float, groups: Groups, ingress: tuple[str, str] = ("test", "web"), **others: Groups) -> Pod:
    """Counters by arm: of a status where the key is a text, of a bound where it is a number."""
    by_ingress = {ingress: groups} | {("test", name): group for name, group in others.items()}
    return Pod(
        at,
        {
            where: {
                arm: Counters(
                    {key: value for key, value in series.items() if isinstance(key, str)},
                    {key: value for key, value in series.items() if not isinstance(key, str)},
                )
                for arm, series in arms.items()
            }
            for where, arms in by_ingress.items()
        },
    )


def between(old: Pod, new: Pod, arms: Arms = ARMS) -> Scrape:
    scrape = scrape_between({"a": old}, {"a": new}, arms)
    assert scrape is not None
    return scrape


def test_both_arms_grow_apart() -> None:
    old = pod(100, {STABLE: {"200": 10, "503": 1, "499": 4}, CANARY: {"200": 5}})
    new = pod(115, {STABLE: {"200": 110, "503": 3, "499": 4}, CANARY: {"200": 9, "499": 2}})
    assert between(old, new) == Scrape(100, 115, canary=Counts(6, 0, 2), stable=Counts(102, 2, 0))


@pytest.mark.parametrize(
    ("status", "failed"), [("500", 1), ("504", 1), ("599", 1), ("499", 0), ("404", 0), ("5", 0), ("", 0)]
)
def test_an_answer_of_the_5xx_kind_is_a_failure(status: str, failed: float) -> None:
    assert between(pod(0, {}), pod(1, {STABLE: {status: 1}})).stable.failed == failed


def test_the_slower_ones_are_those_not_within_the_bound() -> None:
    old = pod(0, {STABLE: {"200": 10, 0.1: 8, 1.0: 9, inf: 10}})
    new = pod(1, {STABLE: {"200": 20, 0.1: 10, 1.0: 18, inf: 20}, CANARY: {"200": 3, inf: 3, 1.0: 2, 0.1: 0}})
    scrape = between(old, new)
    assert scrape.bounds == (0.1, 1.0)
    assert scrape.stable == Counts(10, slower=(8, 1))
    assert scrape.canary == Counts(3, slower=(3, 1))


def test_a_canary_that_was_not_asked_yet_has_as_many_bounds_as_stable() -> None:
    scrape = between(pod(0, {STABLE: {"200": 1}}), pod(1, {STABLE: {"200": 2, 0.1: 1, inf: 2}}))
    assert scrape.canary == Counts(slower=(0,))


def test_buckets_without_their_total_are_left_out() -> None:
    assert between(pod(0, {}), pod(1, {STABLE: {"200": 2, 0.1: 1}})).bounds == ()


def test_a_newborn_series_counts_from_zero_when_its_pod_was_there() -> None:
    """The canary's first failures: PromQL's increase would not see them."""
    old = pod(0, {STABLE: {"200": 10}})
    new = pod(15, {STABLE: {"200": 10}, CANARY: {"500": 37}})
    assert between(old, new).canary == Counts(37, failed=37)


def test_a_pod_seen_for_the_first_time_contributes_nothing_yet() -> None:
    old, new = {"a": pod(0, {STABLE: {"200": 10}})}, pod(15, {STABLE: {"200": 11}})
    newcomer = pod(14, {STABLE: {"200": 99999}, CANARY: {"500": 7}})
    assert scrape_between(old, {"a": new, "b": newcomer}, ARMS) == Scrape(0, 15, Counts(), Counts(1))
    assert scrape_between({}, {"b": newcomer}, ARMS) is None


def test_pods_are_compared_with_themselves_and_summed() -> None:
    old = {"a": pod(100, {STABLE: {"200": 1000}}), "b": pod(107, {STABLE: {"200": 10, "500": 3}})}
    new = {"a": pod(115, {STABLE: {"200": 1001}}), "b": pod(122, {STABLE: {"200": 12, "500": 4}})}
    assert scrape_between(old, new, ARMS) == Scrape(100, 122, Counts(), Counts(4, failed=1))


def test_only_pods_with_a_newer_scrape_contribute() -> None:
    old = {"a": pod(100, {STABLE: {"200": 1}}), "b": pod(107, {STABLE: {"200": 1}})}
    new = {"a": pod(115, {STABLE: {"200": 6}}), "b": pod(107, {STABLE: {"200": 1}})}
    assert scrape_between(old, new, ARMS) == Scrape(100, 115, Counts(), Counts(5))
    assert scrape_between(new, new, ARMS) is None
    assert scrape_between(new, old, ARMS) is None, "time does not run backwards"


def test_all_counters_of_an_ingress_began_again_when_one_is_below_what_it_was() -> None:
    old = pod(0, {STABLE: {"200": 1000}, CANARY: {"200": 3, 0.1: 3, inf: 3}})
    new = pod(15, {STABLE: {"200": 40}, CANARY: {"200": 5, 0.1: 4, inf: 5}})
    scrape = between(old, new)
    assert scrape.stable == Counts(40, slower=(0,))
    assert scrape.canary == Counts(5, slower=(1,)), "five since the restart, not two"


def test_a_bucket_below_what_it_was_is_a_reset_too() -> None:
    old, new = pod(0, {STABLE: {"200": 5, 0.1: 5, inf: 5}}), pod(15, {STABLE: {"200": 6, 0.1: 1, inf: 6}})
    assert between(old, new).stable == Counts(6, slower=(5,))


def test_an_ingress_that_was_made_anew_does_not_count_all_requests_ever_of_another() -> None:
    old = pod(0, {STABLE: {"200": 1_000_000}}, other={("other", ""): {"200": 50}})
    new = pod(15, {STABLE: {"200": 1_000_001}}, other={("other", ""): {"200": 2}})
    assert between(old, new).stable == Counts(1)
    other = Arms("test", (Backend("other", "other", "80"),))
    assert between(old, new, other).stable == Counts(2)


def test_a_series_that_vanished_contributes_nothing_and_is_no_reset() -> None:
    old = pod(0, {STABLE: {"200": 1000, "404": 7}, CANARY: {"200": 50}})
    assert between(old, pod(15, {STABLE: {"200": 1004}})) == Scrape(0, 15, Counts(), Counts(4))
    assert between(old, pod(15, {})) == Scrape(0, 15, Counts(), Counts())


def test_what_vanished_and_is_back_counts_from_zero() -> None:
    seen = [pod(0, {STABLE: {"200": 1000}}), pod(15, {}), pod(30, {STABLE: {"200": 3}})]
    assert between(seen[1], seen[2]).stable == Counts(3)


def test_other_namespaces_ingresses_services_and_canaries_are_not_ours() -> None:
    others: Groups = {("web", "test-web-canary-81"): {"200": 1}, ("api", ""): {"200": 1}}
    assert between(pod(0, {}), pod(1, others)).canary == Counts()
    assert between(pod(0, {}), pod(1, others)).stable == Counts()
    ours: Groups = {STABLE: {"200": 1}, CANARY: {"200": 1}}
    for where in (("prod", "web"), ("test", "web2")):
        assert between(pod(0, {}), pod(1, ours, where)) == Scrape(0, 1, Counts(), Counts())


def test_each_backend_counts_once_and_a_port_may_be_a_name() -> None:
    arms = Arms("test", (Backend("web", "web", "80"), Backend("web", "web", "http"), Backend("api", "api", "http")))
    groups: Groups = {STABLE: {"200": 1}, CANARY: {"200": 2}, ("web", "test-web-canary-http"): {"200": 4}}
    api: Groups = {("api", "test-api-canary-http"): {"200": 8}, ("api", ""): {"200": 16}}
    assert between(pod(0, {}), pod(1, groups, api=api), arms) == Scrape(0, 1, Counts(14), Counts(17))


def test_the_buckets_of_most_pods_count_and_requests_of_all() -> None:
    coarse: Groups = {STABLE: {"200": 4, 1.0: 1, inf: 4}}
    fine: Groups = {STABLE: {"200": 4, 0.1: 2, 1.0: 3, inf: 4}}
    none: Groups = {STABLE: {"200": 4}}
    before = dict.fromkeys("abcd", pod(0, {}))
    after = {"a": pod(1, fine), "b": pod(1, coarse), "c": pod(1, coarse), "d": pod(1, none)}
    scrape = scrape_between(before, after, ARMS)
    assert scrape is not None
    assert (scrape.bounds, scrape.stable) == ((1.0,), Counts(16, slower=(6,)))


@pytest.mark.parametrize("swapped", [False, True])
def test_of_as_many_pods_those_with_more_buckets_count(swapped: bool) -> None:
    coarse, fine = pod(1, {STABLE: {1.0: 1, inf: 4}}), pod(1, {STABLE: {0.1: 2, 1.0: 3, inf: 4}})
    after = {"a": fine, "b": coarse} if swapped else {"a": coarse, "b": fine}
    scrape = scrape_between(dict.fromkeys("ab", pod(0, {})), after, ARMS)
    assert scrape is not None
    assert (scrape.bounds, scrape.stable.slower) == ((0.1, 1.0), (2, 1))


# ------------------------------------------------------------------------------------------------------ brought forward


def test_a_pod_without_a_newer_scrape_stays_as_it_was() -> None:
    a, b, newer = pod(100, {}), pod(101, {}), pod(115, {})
    assert brought_forward({"a": a, "b": b}, {"a": newer}) == {"a": newer, "b": b}
    assert brought_forward({"a": newer}, {"a": a}) == {"a": newer}
    assert brought_forward({"a": a}, {}) == {"a": a}


def test_a_pod_that_is_gone_is_forgotten_after_a_while() -> None:
    gone, long = pod(100, {}), pod(101 + FORGET_SECONDS, {})
    assert brought_forward({"gone": gone, "a": gone}, {"a": pod(100 + FORGET_SECONDS, {})}).keys() == {"gone", "a"}
    assert brought_forward({"gone": gone, "a": gone}, {"a": long}) == {"a": long}


def test_a_pod_that_was_not_scraped_yet_after_a_long_gap_is_not_forgotten() -> None:
    slow, back = pod(100, {}), pod(101 + FORGET_SECONDS, {})
    assert brought_forward({"slow": slow, "a": slow}, {"a": back, "slow": slow}) == {"a": back, "slow": slow}
