"""The election, in virtual time against a store that refuses stale writes as the API server does."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.kube.lease import Action, Conflict, Elector, Lease, LeaseLost, Record, Timing, decide
from tests.virtual_time import clock, run

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Server:
    """Where the Lease lies: one object with a resourceVersion."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0
        self.requests: list[tuple[float, str]] = []

    def store(self, lease: Lease) -> Lease:
        self.version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"] = {**self.lease.get("metadata", {}), "resourceVersion": str(self.version)}
        return copy.deepcopy(self.lease)

    def delete(self) -> None:
        self.lease = None

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec


class Connection:
    """One elector's way to the server, which can be cut, slowed and made to lose answers."""

    def __init__(self, server: Server, latency_seconds: float = 0.01) -> None:
        self.server = server
        self.latency_seconds = latency_seconds
        self.refuses = False
        self.hangs = False
        self.loses_answers = False

    async def _travel(self) -> None:
        if self.refuses:
            raise ConnectionRefusedError("connection refused")
        await asyncio.sleep(3600 if self.hangs else self.latency_seconds)

    async def _answer(self, lease: Lease | None) -> Lease | None:
        await asyncio.sleep(3600 if self.loses_answers else self.latency_seconds)
        return copy.deepcopy(lease)

    async def get(self) -> Lease | None:
        await self._travel()
        self.server.requests.append((clock(), "get"))
        return await self._answer(self.server.lease)

    async def create(self, lease: Lease) -> Lease:
        await self._travel()
        self.server.requests.append((clock(), "create"))
        if self.server.lease is not None:
            raise Conflict("AlreadyExists")
        answer = await self._answer(self.server.store(lease))
        assert answer is not None
        return answer

    async def replace(self, lease: Lease) -> Lease:
        await self._travel()
        self.server.requests.append((clock(), "replace"))
        if self.server.lease is None:
            raise LookupError("NotFound")
        if lease["metadata"]["resourceVersion"] != self.server.lease["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        answer = await self._answer(self.server.store(lease))
        assert answer is not None
        return answer


def elector(connection: Connection, identity: str, wall_skew: timedelta = timedelta()) -> Elector:
    return Elector(
        connection,
        identity,
        clock=clock,
        wall_clock=lambda: START + wall_skew + timedelta(seconds=clock()),
        jitter=lambda: 0.5,
    )


async def serve(candidate: Elector) -> None:
    await candidate.acquire()
    await candidate.keep()


@asynccontextmanager
async def running(*work: Awaitable[None]) -> AsyncIterator[Sequence["asyncio.Future[None]"]]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], within_seconds: float) -> float:
    """Seconds until the condition held."""
    started = clock()
    while not condition():
        assert clock() - started < within_seconds, f"not within {within_seconds} s"
        await asyncio.sleep(0.05)
    return clock() - started


# ------------------------------------------------------------------------------------------------------------ the rule


def record(holder: str, duration_seconds: float = 15) -> Record:
    return Record(holder=holder, duration_seconds=duration_seconds, transitions=3, renewed="t")


@pytest.mark.parametrize(
    ("seen", "age_seconds", "action"),
    [
        (None, 0, Action.TAKE),
        (record(""), 0, Action.TAKE),
        (record("me"), 0, Action.RENEW),
        (record("me"), 99, Action.RENEW),
        (record("other"), 0, Action.WAIT),
        (record("other"), 14.9, Action.WAIT),
        (record("other"), 15, Action.TAKE),
        (record("other", duration_seconds=60), 59, Action.WAIT),
        (record("other", duration_seconds=60), 60, Action.TAKE),
    ],
)
def test_a_lease_is_taken_only_when_free_or_unchanged_for_its_whole_term(
    seen: Record | None, age_seconds: float, action: Action
) -> None:
    assert decide(seen, 100.0, 100.0 + age_seconds, "me") is action


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None, "leaseDurationSeconds": 0}])
def test_an_empty_lease_has_no_holder_and_the_default_term(spec: dict[str, Any] | None) -> None:
    assert Record.of({"spec": spec}, 15) == Record(holder="", duration_seconds=15, transitions=0, renewed="")


def test_timing_in_which_a_holder_would_stop_after_others_took_over_is_refused() -> None:
    with pytest.raises(ValueError, match="lease > renew deadline"):
        Timing(lease_seconds=10, renew_deadline_seconds=10)


# -------------------------------------------------------------------------------------------- one elector, one lease


def test_the_first_elector_creates_the_lease_as_the_kubernetes_api_wants_it() -> None:
    async def scenario() -> None:
        server = Server()
        mine = elector(Connection(server), "a")
        assert not mine.holds()
        await mine.acquire()
        assert mine.holds()
        assert mine.holder == "a"
        assert server.spec == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 0,
            "acquireTime": "2026-01-02T03:20:45.020000Z",
            "renewTime": "2026-01-02T03:20:45.020000Z",
        }

    run(scenario())


def test_a_renewal_costs_one_request_every_two_seconds_and_keeps_what_others_wrote() -> None:
    async def scenario() -> None:
        server = Server()
        server.store({"metadata": {"name": "fluxcanary", "labels": {"team": "x"}}, "spec": {"strategy": "S"}})
        mine = elector(Connection(server), "a")
        await mine.acquire()
        acquired = dict(server.spec)
        server.requests.clear()
        async with running(mine.keep()):
            await asyncio.sleep(60.5)
            assert mine.holds()
        assert [what for _, what in server.requests] == ["replace"] * 30
        assert server.lease is not None
        assert server.lease["metadata"]["labels"] == {"team": "x"}
        assert server.spec["strategy"] == "S"
        assert server.spec["acquireTime"] == acquired["acquireTime"]
        assert server.spec["renewTime"] > acquired["renewTime"]
        assert server.spec["leaseTransitions"] == acquired["leaseTransitions"]

    run(scenario())


def test_a_write_in_between_by_someone_else_costs_a_try_and_not_the_lease() -> None:
    async def scenario() -> None:
        server = Server()
        mine = elector(Connection(server), "a")
        await mine.acquire()
        async with running(mine.keep()) as (keeping,):
            for _ in range(5):
                await asyncio.sleep(7)
                assert server.lease is not None
                server.store({**server.lease, "metadata": {"labels": {"at": str(clock())}}})
            assert mine.holds()
            assert not keeping.done()

    run(scenario())


@pytest.mark.parametrize("fault", ["refuses", "hangs", "loses_answers"])
def test_a_holder_that_cannot_renew_stops_at_the_renew_deadline(fault: str) -> None:
    async def scenario() -> None:
        connection = Connection(Server())
        mine = elector(connection, "a")
        await mine.acquire()
        lost_at = clock() + mine.remaining_seconds()
        setattr(connection, fault, True)
        with pytest.raises(LeaseLost, match="not renewed for 10 s, last failure: "):
            await mine.keep()
        assert clock() == pytest.approx(lost_at)
        assert not mine.holds()
        # lost is final: an API server that comes back does not make a writer of it
        setattr(connection, fault, False)
        await asyncio.sleep(5)
        assert not mine.holds()

    run(scenario())


@pytest.mark.parametrize("fault", ["refuses", "hangs", "loses_answers"])
def test_an_outage_shorter_than_the_renew_deadline_is_survived(fault: str) -> None:
    async def scenario() -> None:
        connection = Connection(Server())
        mine = elector(connection, "a")
        await mine.acquire()
        async with running(mine.keep()) as (keeping,):
            await asyncio.sleep(1)
            setattr(connection, fault, True)
            await asyncio.sleep(7)
            setattr(connection, fault, False)
            await asyncio.sleep(30)
            assert mine.holds()
            assert not keeping.done()

    run(scenario())


def test_no_request_outlives_the_retry_period() -> None:
    async def scenario() -> None:
        connection = Connection(Server())
        mine = elector(connection, "a")
        await mine.acquire()
        connection.hangs = True
        tries: list[float] = []
        travel = connection._travel

        async def counted() -> None:
            started = clock()
            try:
                await travel()
            finally:
                tries.append(clock() - started)

        connection._travel = counted  # type: ignore[method-assign]
        with pytest.raises(LeaseLost):
            await mine.keep()
        assert len(tries) == 4
        assert max(tries) <= 2.0 + 1e-6

    run(scenario())


def test_a_frozen_process_knows_at_its_next_write_that_it_may_not() -> None:
    async def scenario() -> None:
        frozen_seconds = 0.0
        mine = Elector(Connection(Server()), "a", clock=lambda: clock() + frozen_seconds)
        await mine.acquire()
        assert mine.holds()
        frozen_seconds = 10.0
        # no code of the election has run since
        assert not mine.holds()

    run(scenario())


def test_a_lease_deleted_by_someone_is_made_again_by_its_holder() -> None:
    async def scenario() -> None:
        server = Server()
        mine = elector(Connection(server), "a")
        other = elector(Connection(server), "b")
        await mine.acquire()
        async with running(mine.keep(), serve(other)):
            await asyncio.sleep(5)
            server.delete()
            await asyncio.sleep(5)
            assert server.spec["holderIdentity"] == "a"
            assert mine.holds()
            assert not other.holds()

    run(scenario())


def test_a_holder_that_sees_another_name_in_its_lease_stops_at_once() -> None:
    async def scenario() -> None:
        server = Server()
        mine = elector(Connection(server), "a")
        await mine.acquire()
        assert server.lease is not None
        server.store(server.lease | {"spec": server.spec | {"holderIdentity": "thief"}})
        started = clock()
        with pytest.raises(LeaseLost, match="thief holds it now"):
            await mine.keep()
        assert clock() - started < 4.5
        assert not mine.holds()

    run(scenario())


# ------------------------------------------------------------------------------------------------------- two electors


def test_the_second_waits_and_takes_over_when_the_first_is_gone() -> None:
    async def scenario() -> None:
        server = Server()
        first = elector(Connection(server), "a")
        second = elector(Connection(server), "b", wall_skew=timedelta(hours=5))
        await first.acquire()
        async with running(serve(second)):
            async with running(first.keep()):
                await asyncio.sleep(120)
                assert first.holds()
                assert not second.holds()
                assert second.holder == "a"
            # killed: neither renewed nor released
            took = await until(second.holds, within_seconds=20)
        assert took > 10
        assert not first.holds()
        assert server.spec["leaseTransitions"] == 1

    run(scenario())


@pytest.mark.parametrize("skew_hours", [-5, 5])
def test_clocks_that_differ_by_hours_change_nothing(skew_hours: int) -> None:
    async def scenario() -> None:
        server = Server()
        first = elector(Connection(server), "a", wall_skew=timedelta(hours=skew_hours))
        second = elector(Connection(server), "b")
        await first.acquire()
        async with running(first.keep(), serve(second)):
            await asyncio.sleep(60)
            assert first.holds()
            assert not second.holds()

    run(scenario())


def test_a_released_lease_is_taken_within_one_try() -> None:
    async def scenario() -> None:
        server = Server()
        first = elector(Connection(server), "a")
        second = elector(Connection(server), "b")
        await first.acquire()
        async with running(serve(second)):
            async with running(first.keep()):
                await asyncio.sleep(30)
            await first.release()
            assert not first.holds()
            assert server.spec["holderIdentity"] == ""
            assert server.spec["leaseTransitions"] == 0
            assert await until(second.holds, within_seconds=3) <= 2.5
            assert server.spec["leaseTransitions"] == 1
            assert second.transitions == 1

    run(scenario())


def test_release_leaves_the_lease_of_another_alone() -> None:
    async def scenario() -> None:
        server = Server()
        first = elector(Connection(server), "a")
        second = elector(Connection(server), "b")
        await first.acquire()
        await second.release()
        assert server.spec["holderIdentity"] == "a"

    run(scenario())


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
def test_release_without_an_api_server_ends_soon_and_quietly(fault: str) -> None:
    async def scenario() -> None:
        connection = Connection(Server())
        mine = elector(connection, "a")
        await mine.acquire()
        setattr(connection, fault, True)
        started = clock()
        await mine.release()
        assert clock() - started <= 2.0 + 1e-6
        assert not mine.holds()

    run(scenario())


def test_an_outage_for_one_makes_it_drop_before_the_other_takes_over() -> None:
    async def scenario() -> None:
        server = Server()
        cut_off = Connection(server)
        first = elector(cut_off, "a")
        second = elector(Connection(server), "b")
        await first.acquire()
        async with running(first.keep(), serve(second)) as (keeping, _):
            await asyncio.sleep(20)
            cut_off.hangs = True
            dropped = await until(lambda: not first.holds(), within_seconds=20)
            taken = dropped + await until(second.holds, within_seconds=20)
            assert dropped <= 10.1
            assert taken - dropped >= 3
            assert isinstance(keeping.exception() if keeping.done() else None, LeaseLost)

    run(scenario())


@settings(max_examples=40, deadline=None)
@given(
    faults=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["refuses", "hangs", "loses_answers"]),
            st.floats(0, 120),
            st.floats(0, 60),
        ),
        max_size=12,
    ),
    latencies=st.tuples(*[st.floats(0, 0.9)] * 3),
)
def test_never_two_at_once_whatever_fails(
    faults: list[tuple[int, str, float, float]], latencies: tuple[float, float, float]
) -> None:
    async def break_for_a_while(connection: Connection, fault: str, after: float, seconds: float) -> None:
        await asyncio.sleep(after)
        setattr(connection, fault, True)
        await asyncio.sleep(seconds)
        setattr(connection, fault, False)

    async def scenario() -> None:
        server = Server()
        connections = [Connection(server, latency) for latency in latencies]
        electors: list[Elector] = [elector(connection, "") for connection in connections]
        terms = 0

        async def operator(place: int) -> None:
            """A process that is started again each time it has lost the lease."""
            nonlocal terms
            while True:
                terms += 1
                electors[place] = elector(connections[place], f"{place}-{terms}")
                try:
                    await serve(electors[place])
                except LeaseLost:
                    continue

        broken = [break_for_a_while(connections[which], *fault) for which, *fault in faults]  # type: ignore[arg-type]
        async with running(*(operator(place) for place in range(3)), *broken):
            ends_at = clock() + 240
            while clock() < ends_at:
                await asyncio.sleep(0.25)
                assert sum(one.holds() for one in electors) <= 1
            assert sum(one.holds() for one in electors) == 1, "the faults are over: somebody must hold it"

    run(scenario())
