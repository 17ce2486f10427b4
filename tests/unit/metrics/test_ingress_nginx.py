"""The query of the counters of ingress-nginx, and answers as a Prometheus 2.42 gave them."""

import re
from math import inf

import pytest

from canary.metrics.answers import Labels, Matrix, Vector
from canary.metrics.ingress_nginx import Counters, LabelNames, Pod, parse_labels, promql, reading, readings
from canary.metrics.session import AnswerRefused

NAMES = LabelNames()
NOW, SCRAPED = 1795248315.401, 1795248313.055
DIRECT = {"controller_pod": "ctl-one", "instance": "127.0.0.1:19811", "job": "b-direct"}
APP = DIRECT | {"ingress": "podinfo", "namespace": "test", "service": "podinfo"}
# without honorLabels: the labels of the target win, those of the app are renamed
OPERATOR = DIRECT | {"job": "a-operator"}
RENAMED = OPERATOR | {
    "exported_namespace": "test",
    "exported_service": "podinfo",
    "ingress": "podinfo",
    "namespace": "ingress-nginx",
    "service": "ctl-metrics",
}
CANARY = {"canary": "test-podinfo-canary-80"}
PODINFO = ("test", "podinfo")
ANSWER: list[tuple[Labels, float]] = [
    (APP | CANARY | {"status": "500"}, 3.0),
    (APP | {"status": "200"}, 10.0),
    (APP | {"le": "+Inf"}, 10.0),
    (APP | {"le": "0.1"}, 8.0),
    (APP | {"le": "1"}, 10.0),
    (DIRECT, SCRAPED),
]
READ = Pod(
    SCRAPED,
    {
        PODINFO: {
            ("podinfo", "test-podinfo-canary-80"): Counters({"500": 3.0}),
            ("podinfo", ""): Counters({"200": 10.0}, {0.1: 8.0, 1.0: 10.0, inf: 10.0}),
        }
    },
)


def pods(*series: tuple[Labels, float], names: LabelNames = NAMES) -> dict[str, Pod]:
    return dict(reading(Vector(NOW, series), names).pods)


# ------------------------------------------------------------------------------------------------------------ the query


def test_one_query_asks_for_requests_buckets_and_times_of_scrapes() -> None:
    source = "controller_pod, job, instance"
    arm = "namespace, ingress, service, canary, exported_namespace, exported_service"
    assert promql(["podinfo"], NAMES) == (
        f'sum by ({source}, {arm}, status) (nginx_ingress_controller_requests{{ingress=~"podinfo"}})'
        f" or sum by ({source}, {arm}, le)"
        ' (nginx_ingress_controller_request_duration_seconds_bucket{ingress=~"podinfo"})'
        f" or max by ({source}) (timestamp(nginx_ingress_controller_config_last_reload_successful))"
        f' or max by ({source}) (timestamp(nginx_ingress_controller_requests{{ingress=~"podinfo"}}))'
    )


def test_it_asks_by_the_labels_of_the_installation() -> None:
    query = promql(["podinfo"], LabelNames(pod="pod", namespace="k8s_ns", ingress="ing", le="bound"))
    assert (
        "sum by (pod, job, instance, k8s_ns, ing, service, canary, exported_k8s_ns, exported_service, bound)" in query
    )
    assert '{ing=~"podinfo"}' in query
    assert "controller_pod" not in query


def test_each_name_is_asked_for_once_in_the_same_order() -> None:
    assert promql(["b", "a", "b"], NAMES) == promql({"a", "b"}, NAMES)
    assert 'ingress=~"a|b"' in promql(["b", "a"], NAMES)


@pytest.mark.parametrize("name", ["pod.info", 'a"} or vector(1) #\\', "a|b", "a\nb", "a-b"])
def test_a_name_matches_itself_and_does_not_get_out_of_its_quotes(name: str) -> None:
    query = promql([name], NAMES)
    quoted = re.search(r'ingress=~"((?:[^"\\\n]|\\.)*)"\}\)', query)
    assert quoted
    pattern = re.compile(re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), quoted[1]))
    assert pattern.fullmatch(name)
    assert not pattern.fullmatch(name.replace(".", "x").replace("|", "x") + "x")
    assert not pattern.fullmatch("podxinfo")


# ----------------------------------------------------------------------------------------------------------- the answer


def test_counters_are_told_by_pod_ingress_service_and_canary() -> None:
    read = reading(Vector(NOW, ANSWER), NAMES)
    assert (read.at, read.pods) == (NOW, {"ctl-one": READ})


def test_renamed_labels_are_the_ones_meant() -> None:
    own = ("canary", "status", "le")
    renamed = [(RENAMED | {key: labels[key] for key in own if key in labels}, count) for labels, count in ANSWER[:-1]]
    assert pods(*renamed, (OPERATOR, SCRAPED)) == {"ctl-one": READ}


def test_an_empty_renamed_label_is_not_meant() -> None:
    labels = APP | {"exported_namespace": "", "exported_service": "", "status": "200"}
    assert pods((labels, 1.0), (DIRECT, SCRAPED))["ctl-one"].ingresses.keys() == {PODINFO}


def test_labels_of_the_installation_are_understood() -> None:
    labels = {"pod": "p", "exported_ns": "test", "ns": "ingress", "ing": "podinfo", "svc": "podinfo", "s": "200"}
    names = LabelNames(pod="pod", namespace="ns", ingress="ing", service="svc", status="s")
    assert pods((labels, 1.0), ({"pod": "p"}, SCRAPED), names=names) == {
        "p": Pod(SCRAPED, {PODINFO: {("podinfo", ""): Counters({"200": 1.0})}})
    }


@pytest.mark.parametrize("later", [0.0, 7.0, -7.0])
def test_a_pod_that_two_jobs_scrape_counts_once_by_always_the_same_job(later: float) -> None:
    twice = [
        (RENAMED | {"status": "200"}, 12.0),
        (OPERATOR, SCRAPED + later),
        (APP | {"status": "200"}, 10.0),
        (DIRECT, SCRAPED),
    ]
    once = {"ctl-one": Pod(SCRAPED + later, {PODINFO: {("podinfo", ""): Counters({"200": 12.0})}})}
    assert pods(*twice) == pods(*reversed(twice)) == once


def test_a_job_that_drops_the_counters_does_not_hide_one_that_keeps_them() -> None:
    assert pods((OPERATOR, SCRAPED + 7), *ANSWER) == {"ctl-one": READ}


def test_a_pod_that_served_nothing_is_known() -> None:
    assert pods((DIRECT, SCRAPED)) == {"ctl-one": Pod(SCRAPED)}


def test_a_pod_whose_scrape_has_no_time_is_not_known() -> None:
    assert pods(*ANSWER[:-1]) == {}


def test_pods_without_a_label_of_their_own_are_told_by_their_address() -> None:
    one, two = {"job": "x", "instance": "one"}, {"job": "x", "instance": "two"}
    assert pods((one, 1.0), (two, 2.0)) == {"one": Pod(1.0), "two": Pod(2.0)}


def test_a_counter_under_its_old_and_its_new_labels_counts_once() -> None:
    """For five minutes after an update to Prometheus 3 there is le="1" beside le="1.0"."""
    read = pods((APP | {"le": "1"}, 9.0), (APP | {"le": "1.0"}, 10.0), (DIRECT, SCRAPED))
    assert read["ctl-one"].ingresses[PODINFO]["podinfo", ""].by_bound == {1.0: 10.0}
    read = pods((APP | {"status": "200"}, 10.0), ((RENAMED | DIRECT) | {"status": "200"}, 9.0), (DIRECT, SCRAPED))
    assert read["ctl-one"].ingresses[PODINFO]["podinfo", ""].by_status == {"200": 10.0}


@pytest.mark.parametrize("le", ["wide", "NaN"])
def test_a_bound_that_is_no_number_is_refused(le: str) -> None:
    with pytest.raises(AnswerRefused, match=r"^the bound of a latency bucket is no number$"):
        pods((APP | {"le": le}, 1.0))


def test_nothing_is_no_pods() -> None:
    assert pods() == {}


def test_a_range_is_a_reading_for_each_instant_in_order_of_time() -> None:
    matrix = Matrix(
        [
            (APP | {"status": "200"}, [(130.0, 4.0), (145.0, 6.0)]),
            (DIRECT, [(115.0, 112.5), (130.0, 127.5), (145.0, 127.5)]),
        ]
    )
    read = [(at.at, at.pods["ctl-one"].at, list(at.pods["ctl-one"].ingresses)) for at in readings(matrix, NAMES)]
    assert read == [(115.0, 112.5, []), (130.0, 127.5, [PODINFO]), (145.0, 127.5, [PODINFO])]


# ------------------------------------------------------------------------------------------------------- the label flag


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", LabelNames()),
        ("namespace=k8s_ns,pod=pod", LabelNames(namespace="k8s_ns", pod="pod")),
        (" le = bound , ", LabelNames(le="bound")),
        ("namespace=service,service=namespace", LabelNames(namespace="service", service="namespace")),
    ],
)
def test_labels_can_be_named(text: str, names: LabelNames) -> None:
    assert parse_labels(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "namspace=x",
            "'namspace' is none of the labels of ingress-nginx that can be named: " + ", ".join(vars(NAMES)),
        ),
        ("pod=a,pod=b", "the label 'pod' is named twice"),
        ("pod", "'pod' must be pod=LABEL; '' is no name of a Prometheus label"),
        ("pod=a-b", "'pod=a-b' must be pod=LABEL; 'a-b' is no name of a Prometheus label"),
        ("pod=1a", "'pod=1a' must be pod=LABEL; '1a' is no name of a Prometheus label"),
        ("pod=service", "the label 'service' cannot mean two things"),
    ],
)
def test_a_wrong_naming_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_labels(text)
