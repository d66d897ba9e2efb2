"""One host's connection: opened, identified, listed, watched, and opened again when it breaks. Owned by the fleet.

A session is one task in the engine's loop. Every call goes through the host's own lane and has a time-out, so that a
frozen host holds up nobody else. A connection is used for one life: after it broke, the host is listed whole over a
new one before anything is believed or sent (safety.md W6).
"""

import asyncio
import contextlib
import contextvars
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from controllers.engine.base import ApiError, Hung, NotLeader, Services
from controllers.fleet.base import HostView, Link
from controllers.fleet.listings import AwaitedListings, Looks
from controllers.fleet.opening import OPEN_TIMEOUT, MachineTaken, Opening, Stranger, threadsafe, words
from controllers.logic.sightings import Sightings
from drivers.base import Connection, EndPoint, Event, EventKind, HostFacts, InstanceFacts
from drivers.errors import Busy, DriverError, Unreachable

R = TypeVar("R")
log = structlog.get_logger(__name__)

CALL_TIMEOUT = 8.0
"""Seconds for an answer to a listing or an observation: with the listing interval below the 15 s in which a host that
is gone must be reported."""
FACTS_INTERVAL = 60.0
MANY = 8
"""More changed domains than this are read by one listing instead of one by one."""
BACKOFF_MOST = 15.0
MOST_HUNG = 8
"""Calls that never come back keep a thread each: with so many of one host, it is not asked any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What the Host kind asks of a session. Compared as a whole: handing in the same again changes nothing."""

    uid: str
    created_at: datetime
    connection: Connection
    backend: str
    address: str
    """For messages."""
    zone: str | None
    pinned: str | None
    """status.machineID: the machine that must answer (H2). None: whichever answers first."""


class Seat(Protocol):
    """What a session needs of the fleet."""

    services: Services
    book: Sightings
    listing_interval: float
    open_endpoint: Callable[[Connection, float], EndPoint]
    turns: asyncio.Semaphore
    """For opening a connection."""

    def home(self, uuid: str) -> str | None: ...

    def link_changed(self, session: "HostSession") -> None: ...

    def instances_changed(self, host: str, uuids: set[str]) -> None: ...

    def facts_changed(self, host: str) -> None: ...

    def pool_changed(self, uuid: str) -> None: ...

    def contact(self, host: str) -> None: ...

    async def before_listing(self, host: str) -> None:
        """Record that the host answers, where that voids a declaration (H1). Raises ApiError, NotLeader."""

    def machine_holder(self, session: "HostSession", machine_id: str) -> str | None:
        """Name of another Host, older or connected, that is this very machine."""


class HostSession:
    """All methods but the driver's event callback belong to the engine's loop."""

    def __init__(self, host: str, plan: HostPlan, seat: Seat) -> None:
        self.host = host
        self.plan = plan
        self._seat = seat
        self._lanes = seat.services.lanes
        self._endpoint: EndPoint | None = None
        self._wake = asyncio.Event()
        self._looks = Looks()
        self._awaited = AwaitedListings()
        self._facts_at = 0.0
        self._broken_by = ""
        """Why we gave the present connection up ourselves."""
        self.busy_cpus: float | None = None
        """CPUs busy on the average between the last two observations of the host; None before the second."""
        self._view = HostView(host=host, link=Link.CONNECTING, since=seat.services.now(), last_contact=None, facts=None)
        self._task = asyncio.get_running_loop().create_task(
            self._live(), name=f"host {host}", context=contextvars.Context()
        )

    # ------------------------------------------------------------ what the fleet asks

    @property
    def lane(self) -> str:
        """libvirt and simulated hosts are end-points of their own; a vCenter's or Xen pool's hosts will share one."""
        return self.host

    @property
    def call_lane(self) -> str:
        """For storage: a call that hangs with its server holds up no listing and no start of a guest."""
        return f"{self.host}/calls"

    @property
    def long_lane(self) -> str:
        return f"{self.host}/transfers"

    @property
    def up(self) -> bool:
        return self._view.link is Link.UP

    @property
    def link(self) -> Link:
        return self._view.link

    def view(self) -> HostView:
        return replace(self._view, instances=self._seat.book.instances(self.host) if self.up else None)

    def replan(self, plan: HostPlan) -> None:
        """Take up a changed plan. A changed connection replaces the present one; anything new ends a back-off."""
        if plan == self.plan:
            return
        old, self.plan = self.plan, plan
        if self._endpoint is not None and (plan.connection != old.connection or self._another_machine(plan)):
            self._broken_by = "its address or credentials changed, so it is connected anew"
            self._endpoint.close()
        self._wake.set()

    def endpoint(self) -> EndPoint:
        """The connection by which the host was last listed. Raises Unreachable in a person's words."""
        if self.up and self._endpoint is not None and self._endpoint.alive:
            return self._endpoint
        raise Unreachable(f"Host {self.host} is not connected: {self._view.error or 'connecting'}")

    def broken(self, endpoint: EndPoint, why: Exception) -> None:
        """A call over `endpoint` got no answer: it is given up, so that nothing late can follow over it."""
        if endpoint is self._endpoint and endpoint.alive:
            self._broken_by = str(why)
        endpoint.close()
        if endpoint is self._endpoint:
            self._wake.set()

    async def run(self, name: str, call: Callable[[EndPoint], R], *, changes: bool, lane: str = "") -> R:
        """A driver call over the listed connection, on the main lane unless told otherwise; on the one for transfers
        it may take for ever. Raises DriverError, NotLeader, Paused."""
        endpoint, lane = self.endpoint(), lane or self.lane
        if changes:
            self._wait_for_late_change(lane)
        hang = float("inf") if lane == self.long_lane else None
        answer = await self._lanes.run(
            lane, lambda: call(endpoint), changes=changes, backend=self.plan.backend, name=name, hang=hang
        )
        self._answered()
        return answer

    def hung(self) -> list[Hung]:
        """Calls about the host and its machines that were given up and have not come back, the longest first. Storage
        that hangs is its pool's trouble."""
        return [h for h in self._lanes.hung() if h.lane == self.lane]

    def _wait_for_late_change(self, lane: str) -> None:
        """One may still land although its connection was closed, so the next one waits for it. Raises Busy."""
        late = [h for h in self._lanes.hung() if h.change and h.lane == lane]
        if late:
            raise Busy(
                f"Host {self.host}: {late[0].call} has not come back since {late[0].since:%H:%M:%S} UTC, and nothing "
                "else is changed there before it does"
            )

    def look_again(self, uuid: str) -> None:
        """Observe one domain now."""
        self._looks.put(uuid, time.monotonic())
        self._wake.set()

    async def listing_after(self, moment: float) -> bool:
        """Whether a listing that began after `moment` (monotonic) was answered; False as soon as an attempt fails."""
        future = self._awaited.after(moment)
        self._wake.set()
        return await future

    async def stop(self) -> None:
        """End the session and close its connection. Idempotent."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._awaited.failed()
        self._seat.book.lost(self.host, time.monotonic())

    # ------------------------------------------------------------ the life of it

    async def _live(self) -> None:
        backoff = 1.0
        while True:
            begun = time.monotonic()
            lost: Exception
            try:
                endpoint = await self._open()
                try:
                    await self._enter(endpoint)
                    backoff = 1.0
                    await self._watch(endpoint)
                finally:
                    self._leave(endpoint)
            except (DriverError, Stranger, MachineTaken, ApiError, NotLeader) as error:
                lost = error
            except Exception as error:
                log.exception("session of a host failed", host=self.host)
                lost = error
            self._down(lost, begun)
            await self._pause(backoff * random.uniform(0.8, 1.2))
            backoff = min(backoff * 2, BACKOFF_MOST)

    async def _open(self) -> EndPoint:
        self._lanes.reset(self.lane)
        hung = self.hung()
        if len(hung) >= MOST_HUNG:
            raise Unreachable(
                f"{len(hung)} calls to it never came back, the first of them {hung[0].call} of "
                f"{hung[0].since:%H:%M:%S} UTC: no new connection is made before one does"
            )
        opening = Opening(self.plan.connection, self._seat.open_endpoint)
        opened = False
        try:
            async with self._seat.turns:
                endpoint = await self._call("open", opening, hang=OPEN_TIMEOUT + 1.0)
            opened = True
            return endpoint
        finally:
            if not opened and (late := opening.give_up()) is not None:
                late.close()

    async def _enter(self, endpoint: EndPoint) -> None:
        """Everything between a new connection and a host that is Up."""
        facts = await self._call("observe_host", lambda: endpoint.observe_host(self.host))
        self._identify(facts)
        self._note_facts(facts)
        deliver = threadsafe(lambda event: self._on_event(endpoint, event))
        self._endpoint = endpoint
        self._answered()
        self._lanes.reset(self.call_lane)
        self._lanes.reset(self.long_lane)
        self._looks.clear()
        self._broken_by = ""
        await self._call("subscribe", lambda: endpoint.subscribe(deliver))
        await self._list(endpoint)
        self._change(Link.UP)

    def _identify(self, facts: HostFacts) -> None:
        """H2, and one machine, one Host."""
        holder = self._seat.machine_holder(self, facts.machine_id)
        who, where = f"{facts.machine_id} ({facts.hostname})", self.plan.address or self.host
        if self.plan.pinned and facts.machine_id != self.plan.pinned:
            advice = (
                f"which is Host {holder} already. Nothing is done there: correct spec.connection, or what gives two "
                "machines one UUID (a copied /etc/machine-id or host_uuid)"
                if holder
                else "so what it shows counts for nothing, and this host's instances wait. If the machine was "
                "replaced: set spec.outOfService, then annotate this Host: "
                f"stratiform.dev/accept-machine={facts.machine_id}"
            )
            raise Stranger(
                facts.machine_id, f"at {where} answers machine {who} instead of {self.plan.pinned}, {advice}"
            )
        if holder:
            raise MachineTaken(
                f"the machine at {where} is {who}, which is Host {holder} already. Delete one of the two, or give one "
                "the address of another machine."
            )

    async def _watch(self, endpoint: EndPoint) -> None:
        """Until the connection breaks (raises): its event says so, or the next listing."""
        due = time.monotonic() + self._interval()
        while True:
            now = time.monotonic()
            await self._pause(max(min(due, self._looks.first()) - now, 0.0))
            if not endpoint.alive:
                raise Unreachable(self._broken_by or "the connection broke")
            uuids = self._looks.take(now := time.monotonic())
            if self._awaited or len(uuids) > MANY or now >= due:
                await self._list(endpoint)
                due = time.monotonic() + self._interval()
            else:
                for uuid in uuids:
                    if self._seat.book.acting(self.host, uuid):
                        self._looks.put_off(uuid, now)  # The call looks by itself.
                    else:
                        await self._observe(endpoint, uuid)
            if time.monotonic() - self._facts_at > FACTS_INTERVAL:
                self._note_facts(await self._call("observe_host", lambda: endpoint.observe_host(self.host)))
                self._seat.facts_changed(self.host)

    async def _list(self, endpoint: EndPoint) -> None:
        listing = await self._call("list_instances", lambda: endpoint.list_instances(self.host))
        await self._seat.before_listing(self.host)
        changed = self._seat.book.listed(self.host, listing, self._seat.services.now(), self._seat.home)
        self._awaited.answered(listing.begun)
        if changed:
            self._seat.instances_changed(self.host, changed)

    async def _observe(self, endpoint: EndPoint, uuid: str) -> None:
        begun = time.monotonic()
        facts = await self._call("observe_instance", lambda: endpoint.observe_instance(self.host, uuid))
        if self.note(uuid, facts, begun):
            self._seat.instances_changed(self.host, {uuid})

    def note(self, uuid: str, facts: InstanceFacts | None, begun: float, *, ours: bool = False) -> bool:
        """Remember a single observation that began at `begun`; True if anything differs."""
        now, wall = time.monotonic(), self._seat.services.now()
        return self._seat.book.observed(self.host, uuid, facts, begun, now, wall, self._seat.home, ours=ours)

    async def _call(self, name: str, call: Callable[[], R], *, hang: float = CALL_TIMEOUT) -> R:
        answer = await self._lanes.run(self.lane, call, changes=False, backend=self.plan.backend, name=name, hang=hang)
        if self._endpoint is not None:  # Else it may be a stranger that answered.
            self._answered()
        return answer

    def _leave(self, endpoint: EndPoint) -> None:
        endpoint.close()
        self._endpoint = None
        self._seat.book.lost(self.host, time.monotonic())
        self._lanes.reset(self.lane)

    def _down(self, error: Exception, begun: float) -> None:
        if isinstance(error, Unreachable):
            self._seat.book.attempt_failed(self.host, begun)
        link, reason, text = words(error, self.host, self.plan.address or self.host)
        self._awaited.failed()
        self._change(link, reason, text, error.machine_id if isinstance(error, Stranger) else "")

    def _change(self, link: Link, reason: str = "", error: str = "", stranger: str = "") -> None:
        old = self._view
        if (old.link, old.reason, old.error) == (link, reason, error):
            return
        since = old.since if old.link is link else self._seat.services.now()
        self._view = replace(old, link=link, since=since, reason=reason, error=error, stranger=stranger)
        log.info("host", host=self.host, link=link.value, reason=reason, error=error)
        self._seat.link_changed(self)

    # ------------------------------------------------------------ small parts

    def _on_event(self, endpoint: EndPoint, event: Event) -> None:
        if endpoint is not self._endpoint:
            return
        if event.kind is EventKind.CHANGED and event.uuid:
            now = time.monotonic()
            sign = self._seat.book.event(self.host, event.uuid, now)
            (self._looks.put if sign else self._looks.put_off)(event.uuid, now)
        elif event.kind is EventKind.POOL:
            signs = {**self._view.pool_signs, event.uuid: time.monotonic()}
            self._view = replace(self._view, pool_signs=signs)
            self._seat.pool_changed(event.uuid)
        self._wake.set()

    def _answered(self) -> None:
        self._view = replace(self._view, last_contact=self._seat.services.now())
        self._seat.contact(self.host)

    def _note_facts(self, facts: HostFacts) -> None:
        now, before = time.monotonic(), self._view.facts
        if before is not None and facts.cpu_seconds >= before.cpu_seconds and now > self._facts_at:
            self.busy_cpus = (facts.cpu_seconds - before.cpu_seconds) / (now - self._facts_at)
        self._facts_at = now
        self._view = replace(self._view, facts=facts)

    def _another_machine(self, plan: HostPlan) -> bool:
        facts = self._view.facts
        return bool(plan.pinned and facts is not None and facts.machine_id != plan.pinned)

    def _interval(self) -> float:
        return self._seat.listing_interval * random.uniform(0.9, 1.1)

    async def _pause(self, seconds: float) -> None:
        """Until somebody wakes the session, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
