"""Several targets carry the requests of a release together."""

from canary.model.template import Json
from canary.model.traffic import Backend, Traffic, join
from tests.manifests import service

API, JOBS, SHOP = Backend("shop", "api", "80"), Backend("shop", "jobs", "80"), Backend("shop", "shop", "80")


def traffic(*backends: Backend, keys: frozenset[str] = frozenset({"app"})) -> Traffic:
    services: tuple[Json, ...] = tuple(service(backend.service) for backend in backends)
    return Traffic(backends, services, keys)


def test_each_backend_and_service_is_there_once_in_the_order_given() -> None:
    joined = join([traffic(SHOP, API), traffic(JOBS, SHOP)])
    assert joined.backends == (SHOP, API, JOBS)
    assert [each["metadata"]["name"] for each in joined.services] == ["shop", "api", "jobs"]


def test_one_service_by_two_ports_is_one_service() -> None:
    other = Backend("internal", "api", "http")
    joined = join([traffic(API), traffic(other)])
    assert joined.backends == (API, other)
    assert len(joined.services) == 1


def test_a_pod_differs_in_what_any_service_selects_by() -> None:
    joined = join([traffic(API, keys=frozenset({"app"})), traffic(JOBS, keys=frozenset({"app", "part"}))])
    assert joined.selector_keys == {"app", "part"}


def test_one_is_itself_and_none_is_nothing() -> None:
    assert join([traffic(API)]) == traffic(API)
    assert join([]) == Traffic((), (), frozenset())
