"""Single calls about the disks of a pool, each through a host that reaches it.

Used by `controllers.disks` and `controllers.images`.

Raises Refused PoolNotReachable when there is no such host, and DriverError.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from controllers.engine.base import Obj, Refused, Services
from controllers.fleet.base import Fleet, Link
from controllers.logic.pool import pool_definition
from drivers.base import DiskFacts, PoolDefinition
from drivers.marks import DiskMark

PoolObj = Obj[Any, Any]
"""A StoragePool or an ImageStore."""
POOL_AGAIN = 10.0
"""Seconds until a pool that no host reaches is asked for again."""
SHOWN = timedelta(seconds=60)
"""After so long each client of NFS shows what another one made or deleted (acdirmax)."""
SOON = 1.0
"""And while a host that reaches it is being connected, as all are after the operator's start."""


class DiskCalls:
    """Keeps nothing. Every call is idempotent, as the drivers' are."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet

    def host_for(self, pool: PoolObj, prefer: Iterable[str] = (), only: Iterable[str] | None = None) -> str:
        """A host on which the pool is connected and whose connection is up. Raises Refused PoolNotReachable."""
        first, among = set(prefer), None if only is None else set(only)
        for host in self._hosts(pool, first):
            if among is None or host in among:
                return host
        ready = pool.condition("Ready") or {}
        why = f": {ready.get('message')}" if ready.get("status") == "False" and ready.get("message") else "."
        raise Refused("PoolNotReachable", f"No host reaches {pool.key} now{why}", after=self.patience(pool))

    def _hosts(self, pool: PoolObj, first: Collection[str] = ()) -> Iterator[str]:
        """All of them, `first` those."""
        connected = [str(h.name) for h in pool.status.hosts if h.state == "Ready"]
        for host in sorted(connected, key=lambda h: (h not in first, h)):
            view = self._fleet.view(host)
            if view is not None and view.instances is not None:
                yield host

    def patience(self, pool: PoolObj) -> float:
        """Seconds until asking again for a pool that no host reaches can help."""
        views = [self._fleet.view(h.name) for h in pool.status.hosts if h.state == "Ready"]
        coming = any(v is None or (v.link in (Link.CONNECTING, Link.UP) and v.instances is None) for v in views)
        return SOON if coming else POOL_AGAIN

    def reachable(self, pool: PoolObj, beside: PoolObj | None = None) -> bool:
        """Whether `host_for` would find one; `beside`: that reaches that pool or store too."""
        both = None if beside is None else [h.name for h in beside.status.hosts if h.state == "Ready"]
        try:
            self.host_for(pool, only=both)
        except Refused:
            return False
        return True

    def lost_with(self, pool: PoolObj) -> str:
        """H1: the Host, validly out of service, that the pool is local to: what lies there is gone. "" for no such."""
        ref = pool.spec.scope.host_ref if pool.spec.scope.type == "Host" else None
        return ref.name if ref is not None and self._fleet.out_of_service(ref.name) is not None else ""

    def definition(self, pool: PoolObj) -> PoolDefinition:
        return pool_definition(pool, self._services.installation)

    async def look(self, pool: PoolObj, disk: str, *, by: str = "") -> DiskFacts | None:
        """`by`, here and below: a certain host."""
        definition = self.definition(pool)
        return await self._fleet.call(
            by or self.host_for(pool), "observe_disk", lambda e: e.storage.observe_disk(definition, disk), changes=False
        )

    async def find(self, pool: PoolObj, disk: str, made_at: datetime | None) -> tuple[str, DiskFacts | None]:
        """As `look`, with the host that shows it. Of what was made just now, or nobody knows when, the others are asked
        too: what one host made, another one may not show yet (NFS)."""
        host = self.host_for(pool)
        facts = await self.look(pool, disk, by=host)
        if facts is not None or (made_at is not None and self._services.now() >= made_at + SHOWN):
            return host, facts
        for other in self._hosts(pool):
            if other != host and (facts := await self.look(pool, disk, by=other)) is not None:
                return other, facts
        return host, None

    async def disks_on(self, pool: PoolObj) -> tuple[DiskFacts, ...]:
        definition = self.definition(pool)
        return await self._fleet.call(
            self.host_for(pool), "list_disks", lambda e: e.storage.list_disks(definition), changes=False
        )

    async def resize(self, pool: PoolObj, disk: str, size: int) -> DiskFacts:
        definition = self.definition(pool)
        return await self._fleet.call(
            self.host_for(pool), "resize_disk", lambda e: e.storage.resize_disk(definition, disk, size), changes=True
        )

    async def write_mark(self, pool: PoolObj, disk: str, mark: DiskMark, *, by: str = "") -> None:
        definition = self.definition(pool)
        await self._fleet.call(
            by or self.host_for(pool), "write_disk_mark", lambda e: e.storage.write_disk_mark(definition, disk, mark),
            changes=True,
        )  # fmt: skip

    async def delete(self, pool: PoolObj, disk: str, uid: str, *, by: str = "") -> None:
        definition = self.definition(pool)
        await self._fleet.call(
            by or self.host_for(pool), "delete_disk", lambda e: e.storage.delete_disk(definition, disk, uid),
            changes=True,
        )  # fmt: skip
