"""Who may write: one operator at a time, by a Lease of coordination.k8s.io/v1.

The algorithm is client-go's (`tools/leaderelection`), with two things made stricter:

- `Elector.holds()` is computed from the local monotonic clock at the moment of asking. An operator that could not
  renew, was frozen, or lost its event loop for a while knows at its very next write that it must not write, before
  any code of the election has run again.
- A term counts from when the successful request was *sent*, and others count it from when they *saw* it. The
  former is never the later of the two, and a holder gives up `lease - renew deadline` before others may take over:
  no clocks of two machines are compared, they need only run at about the same rate.

`decide` is the rule and is pure; `Elector` is the loop around it. The API port is `LeaseApi`.

    elector = Elector(api, identity=f"{pod_name}_{uuid4()}")
    await elector.acquire()  # standby waits here
    await elector.keep()     # renews; raises LeaseLost
    await elector.release()  # on SIGTERM, after the last write and after `keep` was cancelled

Used by `canary.operator`, which exits when the lease is lost, and by the API client, which asks `holds()` before
every write.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from math import ceil
from typing import Any, Protocol, TypeVar

import structlog

Lease = dict[str, Any]
"""A Lease object as JSON; everything in it that is not ours is written back as it was read."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Conflict(Exception):
    """The API server refused a create or a replace: the object exists already, or is no longer the one we read."""


class LeaseLost(Exception):
    """Another operator holds the lease, or we could not renew it in time. No more writes; end the process."""


class LeaseApi(Protocol):
    """One Lease object on the API server.

    `create` and `replace` raise `Conflict` on 409. Whatever else is raised counts as a failure that may pass.
    Calls may be cancelled at any time, for each is given `Timing.retry_seconds` at most.
    """

    async def get(self) -> Lease | None:
        """Read the Lease; None when there is none."""

    async def create(self, lease: Lease) -> Lease:
        """POST; the stored object with its resourceVersion."""

    async def replace(self, lease: Lease) -> Lease:
        """PUT with the resourceVersion that the object was read with; the stored object."""


@dataclass(frozen=True)
class Timing:
    """How long each part of an election takes. The defaults are those of the Kubernetes controllers."""

    lease_seconds: float = 15.0
    """Others take over when the record has not changed for this long."""
    renew_deadline_seconds: float = 10.0
    """A holder that has not renewed for this long stops writing."""
    retry_seconds: float = 2.0
    """Between two tries, and the time that one request may take."""

    def __post_init__(self) -> None:
        if not self.lease_seconds > self.renew_deadline_seconds > self.retry_seconds > 0:
            raise ValueError(f"lease > renew deadline > retry > 0 must hold: {self}")


@dataclass(frozen=True)
class Record:
    """What a Lease says about its holder."""

    holder: str
    """Identity of the holder, empty when nobody holds it."""
    duration_seconds: float
    transitions: int
    renewed: str
    """renewTime as written by the holder: compared for change only, never with a clock."""

    @classmethod
    def of(cls, lease: Lease, default_duration_seconds: float) -> "Record":
        """Read a Lease; a missing or senseless duration becomes the default."""
        spec = lease.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            duration_seconds=spec.get("leaseDurationSeconds") or default_duration_seconds,
            transitions=spec.get("leaseTransitions") or 0,
            renewed=spec.get("renewTime") or "",
        )


class Action(Enum):
    """What an elector may do with the lease it sees."""

    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def decide(record: Record | None, observed_at: float, now: float, identity: str) -> Action:
    """Apply the rule of the election.

    `observed_at` is when this process saw the record change last, `now` is the same monotonic clock, in seconds.
    """
    if record is None or not record.holder:
        return Action.TAKE
    if record.holder == identity:
        return Action.RENEW
    return Action.TAKE if now >= observed_at + record.duration_seconds else Action.WAIT


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Elector:
    """Takes, keeps and gives back one lease for one process.

    `identity` must be unique to this process: with a pod's name alone, a restarted container would go on with a term
    in which requests of its predecessor may still be on their way. `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        api: LeaseApi,
        identity: str,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = _utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._identity = identity
        self._timing = timing or Timing()
        self._clock = clock
        self._wall_clock = wall_clock
        self._jitter = jitter
        # what the API server had when it was last asked, and when its record last changed
        self._lease: Lease | None = None
        self._record: Record | None = None
        self._observed_at = clock()
        # whether `_lease` can be replaced without reading it again
        self._current = False
        # when the last successful renewal was sent; None when this process does not hold the lease
        self._renewed_at: float | None = None
        self._last_failure = ""

    def holds(self) -> bool:
        """Whether this process may write now. Cheap, and never stale: ask before every write."""
        return self.remaining_seconds() > 0

    def remaining_seconds(self) -> float:
        """How long `holds` stays true without a renewal; 0 when it is not."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._timing.renew_deadline_seconds - self._clock())

    @property
    def holder(self) -> str:
        """Identity of the holder as last seen; empty when there is none."""
        return self._record.holder if self._record else ""

    @property
    def transitions(self) -> int:
        """How often the lease has changed hands, as last seen: the epoch of a term."""
        return self._record.transitions if self._record else 0

    async def acquire(self) -> None:
        """Return once the lease is held. Failures of the API are logged and tried again, without end."""
        while True:
            due = self._clock() + self._timing.retry_seconds * (1 + 0.2 * self._jitter())
            await self._try_once()
            if self.holds():
                log.info("lease acquired", identity=self._identity, transitions=self.transitions)
                return
            await self._sleep_until(due)

    async def keep(self) -> None:
        """Renew a lease that is held, until cancelled.

        Raises LeaseLost when another one holds it or the renew deadline has passed. `holds()` is false by then, and
        has been since the moment it became so.
        """
        due = self._clock() + self._timing.retry_seconds
        while True:
            await self._sleep_until(min(due, self._clock() + self.remaining_seconds()))
            due = self._clock() + self._timing.retry_seconds
            if self.holds():
                await self._try_once()
            if not self.holds():
                self._renewed_at = None
                raise LeaseLost(self._why_lost())

    async def release(self) -> None:
        """Give the lease up, so that another one takes it at its next try and not after the whole term.

        `holds()` is false at once. Nothing is raised: a lease that cannot be released just runs out.
        """
        self._renewed_at = None
        try:
            self._observe(await self._in_time(self._api.get()))
            if self._lease is not None and self.holder == self._identity:
                self._observe(await self._in_time(self._api.replace(self._released(self._lease))))
                log.info("lease released", identity=self._identity)
        except Exception as error:  # noqa: BLE001 - whatever the API raises, the process is on its way out
            log.warning("lease not released, it runs out by itself", error=repr(error))

    async def _in_time(self, request: Awaitable[T]) -> T:
        """One request, cut off at the retry period and, while the lease is held, at the end of the term."""
        limit_seconds = self._timing.retry_seconds
        async with asyncio.timeout(min(limit_seconds, self.remaining_seconds() or limit_seconds)):
            return await request

    async def _try_once(self) -> None:
        """One try to take or renew the lease. A failure is logged, and changes nothing but what is known of it."""
        try:
            await self._take_or_renew()
        except Conflict:
            self._current = False
            self._last_failure = "the lease was changed by someone else meanwhile"
        except Exception as error:  # noqa: BLE001 - whatever the API raises may pass; the deadline decides
            self._current = False
            self._last_failure = repr(error)
            log.warning("lease request failed", error=self._last_failure)

    async def _take_or_renew(self) -> None:
        if not (self._current and self.holds()):
            self._observe(await self._in_time(self._api.get()))
        action = decide(self._record, self._observed_at, self._clock(), self._identity)
        if action is Action.WAIT:
            self._renewed_at = None
            return
        sent_at = self._clock()
        claim = self._claimed(taking=action is Action.TAKE)
        request = self._api.create(claim) if self._lease is None else self._api.replace(claim)
        stored = await self._in_time(request)
        self._renewed_at = sent_at
        self._observe(stored)

    def _observe(self, lease: Lease | None) -> None:
        """Remember what the API server has. A Lease that someone deleted does not shorten the term of its holder."""
        self._lease = lease
        self._current = lease is not None
        record = self._record if lease is None else Record.of(lease, self._timing.lease_seconds)
        if record != self._record:
            self._record = record
            self._observed_at = self._clock()

    def _claimed(self, *, taking: bool) -> Lease:
        """Return the lease with this process as its holder."""
        now = self._wall_clock().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        lease = self._lease or {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        spec = lease.get("spec") or {}
        return lease | {
            "spec": spec
            | {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": ceil(self._timing.lease_seconds),
                "leaseTransitions": self.transitions + (1 if taking and self._record else 0),
                "acquireTime": now if taking else spec.get("acquireTime") or now,
                "renewTime": now,
            }
        }

    @staticmethod
    def _released(lease: Lease) -> Lease:
        """Return the lease without a holder; its transitions stay, so that the next epoch is a new one."""
        return lease | {"spec": lease["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}}

    def _why_lost(self) -> str:
        if self.holder != self._identity:
            return f"lease lost: {self.holder or 'nobody'} holds it now"
        limit = self._timing.renew_deadline_seconds
        return f"lease lost: not renewed for {limit:g} s, last failure: {self._last_failure or 'none'}"

    async def _sleep_until(self, due: float) -> None:
        await asyncio.sleep(max(0.0, due - self._clock()))
