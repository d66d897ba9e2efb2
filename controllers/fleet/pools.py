"""Pools as the hosts reach them: connected on each host in scope, looked at again, taken to a new address host by host.

Shared by the StoragePool and ImageStore kinds. Work runs in the background on the host's lane for transfers, so that
storage that does not answer holds up neither a reconcile nor the host's other calls. Nothing here is kept over a
restart: connecting a pool that is connected is cheap and changes nothing.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from controllers.engine.base import Key, NotLeader, Services
from controllers.fleet.base import Fleet, HostView, Link
from controllers.logic.reach import Reach
from drivers.base import EndPoint, PoolDefinition, PoolFacts
from drivers.errors import DriverError

log = structlog.get_logger(__name__)

RETRY_FIRST = 2.0
RETRY_MOST = 30.0
PATIENCE = 15.0
"""Seconds after which a call that has not come back is told of."""


@dataclass(slots=True)
class _Entry:
    definition: PoolDefinition
    epoch: datetime
    """Of the host's connection."""
    reach: Reach
    looked: float = -1e9
    suspect: bool = False
    """The storage did not answer to somebody: look at it for real."""
    failures: int = 0
    task: asyncio.Task[None] | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class PoolLinks:
    """Called from the engine's loop only."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services = services
        self._fleet = fleet
        self._entries: dict[tuple[str, str], _Entry] = {}

    def reach(
        self, key: Key, wanted: PoolDefinition, host: str, *, in_use: Callable[[], bool], act: bool = True
    ) -> Reach:
        """How `host` reaches the pool now. Begins to connect it, or to look again, where that is due; `key` is enqueued
        when that ends. `in_use`: whether a running guest of the host uses the pool. `act` False only tells."""
        view = self._fleet.view(host)
        if view is None or view.link is Link.CONNECTING:
            return Reach(host=host, state="Pending", reason="Connecting", message=f"Host {host} is being connected")
        if view.link is not Link.UP:
            return Reach(
                host=host, state="Unreachable", reason="HostNotReady", message=_why_down(host, view), host_up=False
            )
        entry = self._entries.get((wanted.uuid, host))
        if entry is None or (entry.epoch != view.since and not entry.busy):
            pending = Reach(host=host, state="Pending", reason="Connecting", message="is being connected")
            entry = self._entries[wanted.uuid, host] = _Entry(wanted, view.since, pending)
        if entry.busy:
            return self._overdue(entry)
        moves = entry.definition != wanted
        if moves and entry.reach.state == "Ready" and in_use():
            wanted, moves = entry.definition, False
        # libvirt stops a pool that it could not list, and says so; then whatever needs it there waits for us.
        told = entry.reach.state == "Ready" and view.pool_signs.get(wanted.uuid, 0.0) > entry.since
        if act and (moves or told or time.monotonic() - entry.looked > self._due(entry)):
            self._start(key, entry, wanted, host)
        return entry.reach

    async def disconnect(self, definition: PoolDefinition, host: str) -> None:
        """From one host that answers. Raises DriverError (Busy while a domain uses it)."""
        entry = self._entries.get((definition.uuid, host))
        if entry is not None and entry.task is not None and not entry.task.done():
            entry.task.cancel()
        used = entry.definition if entry is not None else definition
        await self._fleet.long_call(host, "disconnect_pool", lambda end: end.storage.disconnect_pool(used))
        self._entries.pop((definition.uuid, host), None)

    def suspect(self, uuid: str) -> None:
        """Its storage did not answer somewhere: every host looks at it again, at the storage itself this time."""
        for (known, _), entry in self._entries.items():
            if known == uuid and entry.reach.state == "Ready":
                entry.suspect, entry.looked = True, -1e9

    def forget(self, uuid: str) -> None:
        """The object is gone."""
        for known in [k for k in self._entries if k[0] == uuid]:
            del self._entries[known]

    # ------------------------------------------------------------ inside

    def _start(self, key: Key, entry: _Entry, wanted: PoolDefinition, host: str) -> None:
        entry.since = time.monotonic()
        self._services.enqueue(key, after=PATIENCE + 0.5)
        entry.task = asyncio.get_running_loop().create_task(
            self._work(key, entry, wanted, host), name=f"pool {wanted.name} on {host}", context=contextvars.Context()
        )

    async def _work(self, key: Key, entry: _Entry, wanted: PoolDefinition, host: str) -> None:
        before = entry.reach
        try:
            facts = await self._fleet.long_call(host, "connect_pool", _connecting(entry, wanted))
            entry.definition, entry.failures, entry.suspect = wanted, 0, False
            entry.reach = Reach(host=host, state="Ready", facts=facts, definition=wanted)
        except (DriverError, NotLeader) as error:
            entry.failures += 1
            reason = error.reason if isinstance(error, DriverError) else "NotLeader"
            state = "Unreachable" if reason == "Unreachable" else "Failed"
            said = str(error).removeprefix(f"Host {host}: ")
            entry.reach = Reach(host=host, state=state, reason=reason, message=said)
        except Exception as error:
            entry.failures += 1
            log.exception("pool was not connected", pool=wanted.name, host=host)
            entry.reach = Reach(host=host, state="Failed", reason="InternalError", message=type(error).__name__)
        entry.looked = time.monotonic()
        if _told(before) != _told(entry.reach):
            self._services.enqueue(key)
        self._services.enqueue(key, after=self._due(entry) + 0.1)

    def _due(self, entry: _Entry) -> float:
        if entry.reach.state == "Ready":
            return self._fleet.pool_interval
        return float(min(RETRY_FIRST * 2.0 ** max(entry.failures - 1, 0), RETRY_MOST))

    def _overdue(self, entry: _Entry) -> Reach:
        """What was known, unless the present call stays out for long."""
        seconds = time.monotonic() - entry.since
        if seconds < PATIENCE:
            return entry.reach
        message = f"no answer for {seconds // PATIENCE * PATIENCE:.0f} s to connecting or looking at it"
        return replace(entry.reach, state="Unreachable", reason="Unreachable", message=message)


def _connecting(entry: _Entry, wanted: PoolDefinition) -> Callable[[EndPoint], PoolFacts]:
    """Ask the host where it is connected already (which does not touch the storage); else connect it, which does,
    leaving the address that it had before."""
    was_ready, old = entry.reach.state == "Ready", entry.definition
    trusted = was_ready and old == wanted and not entry.suspect

    def call(end: EndPoint) -> PoolFacts:
        if trusted:
            facts = end.storage.observe_pool(wanted)
            if facts is not None:
                return facts
        if was_ready and old != wanted:
            end.storage.disconnect_pool(old)
        return end.storage.connect_pool(wanted)

    return call


def _told(reach: Reach) -> object:
    """What of it a status shows at once; amounts follow at the pool's next turn."""
    return (reach.state, reach.reason, reach.message, reach.definition)


def _why_down(host: str, view: HostView) -> str:
    return f"Host {host} is {view.link.value}" + (f": {view.error}" if view.error else "")
