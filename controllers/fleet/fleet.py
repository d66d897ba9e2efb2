"""The fleet: a session per Host, what was seen where, and who is woken when that changes.

`controllers.fleet.base.Fleet` for real, with what the Host kind needs beside it. Made by `controllers.__main__`; lives
as long as our term as leader.

An end-point that serves a whole HostCluster (vCenter, a Xen pool) will be one session for several hosts: nobody above
this module knows how many connections there are.
"""

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from controllers import metrics
from controllers.engine.base import Hung, Key, NotLeader, Obj, Paused, Services
from controllers.fleet.base import Clearance, HostView, Link
from controllers.fleet.contacts import Contacts
from controllers.fleet.members import Members
from controllers.fleet.opening import OPENED_AT_ONCE
from controllers.fleet.rounds import Rounds
from controllers.fleet.session import CALL_TIMEOUT, HostPlan, HostSession
from controllers.fleet.unasked import Unasked
from controllers.logic import inheritance
from controllers.logic.sightings import HostWord, Sightings
from drivers import registry
from drivers.base import Action, Connection, EndPoint, Expected, InstanceFacts, Resume
from drivers.errors import Busy, Rejected, StorageUnreachable, Unreachable

R = TypeVar("R")

SOON = 0.5
"""Seconds for which wakes of a Host for its instances' sake are gathered."""
SILENT_LISTINGS = 2
KEEPING = 10.0
REMEMBERED = 3600.0
"""Seconds for which the signs of an instance that is in no cache and on no host are kept."""


class LiveFleet:
    """Called from the engine's loop only."""

    def __init__(
        self,
        services: Services,
        *,
        simulated_state: str,
        listing_interval: float,
        pool_interval: float,
        open_endpoint: Callable[[Connection, float], EndPoint] = registry.open_endpoint,
    ) -> None:
        """`open_endpoint`: tests wrap what it opens (`drivers.recording`)."""
        self.services = services
        self.simulated_state = simulated_state
        self.listing_interval, self.patience = listing_interval, SILENT_LISTINGS * listing_interval
        self.pool_interval = pool_interval
        self.open_endpoint, self.turns = open_endpoint, asyncio.Semaphore(OPENED_AT_ONCE)
        self.book = Sightings(time.monotonic())
        self.contacts = Contacts(services)
        self._rounds = Rounds(self)
        self._sessions: dict[str, HostSession] = {}
        self._refused: dict[str, HostView] = {}
        self._declared: dict[str, datetime] = {}
        self._waiting: dict[str, set[str]] = {}
        self._asked: dict[str, float] = {}
        """uuid → its last sign when it was last found not clear: whoever asks about a newer one asks anew."""
        self._fresh: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._members = Members(services.cache, self._wake_pools)
        self._unasked = Unasked(services.cache, self.link)
        self._told: list[Callable[[str], None]] = [self._unasked.told]

    # ------------------------------------------------------------ what the Host kind asks

    def ensure(self, host: str, plan: HostPlan) -> HostView:
        """Have a session of this plan. Idempotent."""
        self._refused.pop(host, None)
        session = self._sessions.get(host)
        if session is not None and (session.plan.uid, session.plan.backend) != (plan.uid, plan.backend):
            self.forget(host)
            session = None
        if session is None:
            session = self._sessions[host] = HostSession(host, plan, self)
            self._tell(host)
            self._measure()
        session.replan(plan)
        return session.view()

    def refuse(self, host: str, reason: str, message: str) -> None:
        """No session, because the object makes no sense as it stands."""
        self._drop(host)
        old = self._refused.get(host)
        if old is None or (old.reason, old.error) != (reason, message):
            self._refused[host] = HostView(
                host=host, link=Link.REFUSED, since=self.services.now(), last_contact=None, facts=None,
                reason=reason, error=message,
            )  # fmt: skip
            self._tell(host)

    def forget(self, host: str) -> None:
        """The Host object is gone."""
        self._drop(host)
        self._refused.pop(host, None)
        self._declared.pop(host, None)
        self.contacts.forget(host)

    def declare(self, host: str, declared_at: datetime | None) -> None:
        """Take note of a declaration that is valid as far as its own text and the recorded contacts tell (H1)."""
        if declared_at is None:
            self._declared.pop(host, None)
        elif (session := self._sessions.get(host)) is not None and session.up:
            self.contacts.owe(host, max(declared_at, self.services.now()))
        else:
            self._declared[host] = declared_at

    def out_of_service(self, host: str) -> datetime | None:
        """The moment at which the host was validly declared off; None if it was not, or has answered since."""
        return self._declared.get(host)

    def hung(self, host: str) -> list[Hung]:
        """Calls about the host and its machines that were given up and have not come back, the longest first."""
        session = self._sessions.get(host)
        return session.hung() if session else []

    def busy_cpus(self, host: str) -> float | None:
        """None until the host was observed twice by this process."""
        session = self._sessions.get(host)
        return session.busy_cpus if session else None

    async def start(self) -> None:
        """Keep the records of contacts. Sessions begin as the Host kind asks for them."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep_contacts(), name="contacts")

    async def stop(self) -> None:
        """End all sessions."""
        if self._keeper is not None:
            self._keeper.cancel()
        await self._rounds.stop()
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.stop() for session in sessions), return_exceptions=True)

    # ------------------------------------------------------------ Fleet

    def view(self, host: str) -> HostView | None:
        session = self._sessions.get(host)
        return session.view() if session else self._refused.get(host)

    def link(self, host: str) -> Link | None:
        known = self._sessions.get(host) or self._refused.get(host)
        return known.link if known else None

    def sightings(self, uuid: str) -> Mapping[str, InstanceFacts]:
        return self.book.of(uuid)

    def marked(self, namespace: str, name: str) -> list[InstanceFacts]:
        return self.book.marked(namespace, name)

    def owned(self, uid: str) -> list[InstanceFacts]:
        return self.book.owned(uid)

    def unheard(self, uuid: str) -> Mapping[str, InstanceFacts]:
        last = self.book.unheard(uuid).items()
        return {host: facts for host, facts in last if host in self._sessions and host not in self._declared}

    def unknown(self, host: str, uuid: str) -> bool:
        return self.book.unknown(host, uuid)

    async def observe(self, host: str, uuid: str) -> InstanceFacts | None:
        return await self._observe(self._session(host), uuid, ours=False)

    async def act(self, host: str, uuid: str, action: Action, *, uid: str, sequence: int) -> InstanceFacts | None:
        session = self._session(host)
        endpoint = session.endpoint()
        expected = Expected(installations=self.services.installations, uid=uid, sequence=sequence)
        known = seen = False
        self.book.begin(host, uuid)
        if isinstance(action, Resume):
            self.book.resumed(uuid, time.monotonic(), self.services.now(), answered=False)
        try:
            await session.run(type(action).__name__, lambda end: end.apply(host, uuid, action, expected), changes=True)
            if isinstance(action, Resume):
                self.book.resumed(uuid, time.monotonic(), self.services.now(), answered=True)
            # The call is out until its effect was seen: whoever looks in between must not take it for a sign.
            facts = await self._observe(session, uuid, ours=True)
            known = seen = True
            return facts
        except (Rejected, Busy, StorageUnreachable, NotLeader, Paused):
            known = True
            raise
        except Unreachable as error:
            session.broken(endpoint, error)
            raise
        finally:
            self.book.end(host, uuid, time.monotonic(), known=known)
            if not seen:
                session.look_again(uuid)

    async def call(self, host: str, name: str, call: Callable[[EndPoint], R], *, changes: bool) -> R:
        session = self._session(host)
        return await session.run(name, call, changes=changes, lane=session.call_lane)

    async def long_call(self, host: str, name: str, call: Callable[[EndPoint], R]) -> R:
        session = self._session(host)
        return await session.run(name, call, changes=True, lane=session.long_lane)

    def clearance(self, uuid: str, hosts: Iterable[str]) -> Clearance:
        home = self.home(uuid)
        by_zone: dict[str, list[str]] = {}
        for host in hosts:
            by_zone.setdefault(self._zone(host), []).append(host)
        waiting: list[str] = []
        for zone, members in by_zone.items():
            found = self.book.not_clear(
                uuid, zone, members, self._word, time.monotonic(), home=home, contact=self._recorded(home)
            )
            waiting.extend(found)
            if found:
                self._waiting.setdefault(zone, set()).add(uuid)
            if found and self.book.last_sign(uuid) != self._asked.get(uuid):
                self._asked[uuid] = self.book.last_sign(uuid)
                self._fresh.add(zone)
            elif not found:
                self._asked.pop(uuid, None)
        return Clearance(not waiting, tuple(sorted(waiting)))

    def request_rounds(self, zone: str) -> None:
        self._rounds.request(zone, fresh=zone in self._fresh)
        self._fresh.discard(zone)

    def note_first_decision(self, uuid: str) -> None:
        self.book.note_first(uuid)

    def decided_first(self, uuid: str) -> bool:
        return self.book.decided_first(uuid)

    def hosts_in_zone(self, zone: str) -> Iterable[str]:
        return self._members.of(zone)

    def unasked(self, zone: str) -> bool:
        return self._unasked.any_in(zone)

    # ------------------------------------------------------------ what sessions and rounds tell

    def session(self, host: str) -> HostSession | None:
        return self._sessions.get(host)

    def home(self, uuid: str) -> str | None:
        placement = next((i.status.placement for i in self._instances(uuid) if i.status.placement is not None), None)
        return str(placement.host) if placement is not None and placement.host else None

    def subscribe(self, told: Callable[[str], None]) -> None:
        self._told.append(told)

    def _tell(self, host: str) -> None:
        for told in self._told:
            told(host)

    def link_changed(self, session: HostSession) -> None:
        self._measure()
        self._tell(session.host)
        host = Key("Host", "", session.host)
        self.services.enqueue(host)
        for instance in self.services.cache.referrers(host, "Instance"):
            self.services.enqueue(instance.key)
        self._wake_pools(session.host)
        self._wake_waiting(session.plan.zone or "")

    def instances_changed(self, host: str, uuids: set[str]) -> None:
        strangers = False
        for uuid in uuids:
            instances = self._instances(uuid)
            strangers = strangers or not instances
            for instance in instances:
                self.services.enqueue(instance.key)
        if strangers:
            self.services.enqueue(Key("Host", "", host), after=SOON)

    def facts_changed(self, host: str) -> None:
        self._tell(host)
        self.services.enqueue(Key("Host", "", host))

    def pool_changed(self, uuid: str) -> None:
        """A pool of that UUID changed on some host."""
        for kind in ("StoragePool", "ImageStore"):
            for pool in self.services.cache.all(kind):
                if pool.status.uuid == uuid:
                    self.services.enqueue(pool.key)

    def contact(self, host: str) -> None:
        now = self.services.now()
        self.contacts.note(host, now)
        declared = self._declared.pop(host, None)
        if declared is not None:
            self.contacts.owe(host, max(declared, now))
            self.services.enqueue(Key("Host", "", host))

    async def before_listing(self, host: str) -> None:
        await self.contacts.settle(host)

    def machine_holder(self, session: HostSession, machine_id: str) -> str | None:
        for other in self._sessions.values():
            there = other is not session and other.up and self.services.cache.get("Host", "", other.host) is not None
            if there and (facts := other.view().facts) is not None and facts.machine_id == machine_id:
                return other.host
        for host in self.services.cache.all("Host"):
            older = (host.created_at, host.name) < (session.plan.created_at, session.host)
            if older and host.status.machine_id == machine_id:
                return host.name
        return None

    def round_ended(self, zone: str) -> None:
        self._wake_waiting(zone)

    # ------------------------------------------------------------ inside

    async def _observe(self, session: HostSession, uuid: str, *, ours: bool) -> InstanceFacts | None:
        endpoint, begun = session.endpoint(), time.monotonic()
        try:
            facts = await self.services.lanes.run(
                session.lane, lambda: endpoint.observe_instance(session.host, uuid),
                changes=False, backend=session.plan.backend, name="observe_instance", hang=CALL_TIMEOUT,
            )  # fmt: skip
        except Unreachable as error:
            session.broken(endpoint, error)
            raise
        session.note(uuid, facts, begun, ours=ours)
        return facts

    def _session(self, host: str) -> HostSession:
        session = self._sessions.get(host)
        if session is None:
            refused = self._refused.get(host)
            raise Unreachable(f"Host {host} is not connected: {refused.error if refused else 'there is no such Host'}")
        return session

    def _drop(self, host: str) -> None:
        session = self._sessions.pop(host, None)
        if session is not None:
            task = asyncio.get_running_loop().create_task(session.stop(), context=contextvars.Context())
            task.add_done_callback(lambda _: self._measure())

    def _instances(self, uuid: str) -> list[Obj[Any, Any]]:
        return [o for o in self.services.cache.indexed("uuid", uuid) if o.key.kind == "Instance"]

    def _zone(self, host: str) -> str:
        obj = self.services.cache.get("Host", "", host)
        zone = inheritance.zone_of(self.services.cache, obj) if obj else None
        session = self._sessions.get(host)
        return zone or (session.plan.zone if session else None) or ""

    def _word(self, host: str) -> HostWord:
        obj = self.services.cache.get("Host", "", host)
        ready = obj.condition("Ready") if obj else None
        since = None
        if ready is not None and ready.get("status") == "False":
            since = datetime.fromisoformat(ready["lastTransitionTime"])
        return HostWord(out_of_service=host in self._declared, not_ready_since=since)

    def _recorded(self, host: str | None) -> datetime | None:
        """The last contact that a leader before us recorded."""
        if host is None:
            return None
        obj = self.services.cache.get("Host", "", host)
        known = [at for at in (self.contacts.recorded(host), obj.status.last_contact if obj else None) if at]
        return max(known) if known else None

    def _wake_pools(self, host: str = "") -> None:
        """Those that are to be reached from the host; all, when other hosts may be in their scope than before."""
        obj = self.services.cache.get("Host", "", host)
        if obj is None and host:
            return
        for kind in ("StoragePool", "ImageStore"):
            for pool in self.services.cache.all(kind):
                if obj is None or (
                    not pool.problem and inheritance.in_scope(self.services.cache, pool.spec.scope, obj)
                ):
                    self.services.enqueue(pool.key)

    def _wake_waiting(self, zone: str) -> None:
        for uuid in self._waiting.pop(zone, ()):
            for instance in self._instances(uuid):
                self.services.enqueue(instance.key)

    async def _keep_contacts(self) -> None:
        while True:
            await asyncio.sleep(KEEPING)
            await self.contacts.renew()
            for uuid in self.book.old(time.monotonic() - REMEMBERED):
                if not self._instances(uuid) and not self.book.of(uuid):
                    self.book.forget(uuid)

    def _measure(self) -> None:
        counts = Counter((s.plan.backend, s.view().link) for s in self._sessions.values())
        for backend in {s.plan.backend for s in self._sessions.values()}:
            for link in Link:
                metrics.HOSTS.labels(backend, link.value).set(counts[backend, link])
