"""What StoragePool and ImageStore have in common: one pool, one object; reached from every host in scope; let go again.

Called by the two kinds.
"""

import asyncio
import contextvars
import time
from functools import partial
from typing import Any

import structlog

from controllers.engine.base import Again, Key, Obj, Refused, Services, Turn
from controllers.fleet.base import Fleet, Link
from controllers.fleet.pools import PoolLinks
from controllers.logic.pool import address, hosts_in_scope, pool_definition, pool_uuid, seniority, twins
from controllers.logic.reach import Reach, Verdict, counted, guests_disks, judge, listed, needed_bases, orphans, owners
from crds.base import Orphan
from crds.storagepool import PoolClaim
from drivers.base import DiskFacts, PoolFacts
from drivers.errors import DriverError

log = structlog.get_logger(__name__)

PoolTurn = Turn[Any, Any]
SCOPES = {"Zone": "zone_ref", "Region": "region_ref", "HostCluster": "host_cluster_ref", "Host": "host_ref"}
LISTING = 30.0
PER_DISK = 0.2
"""A pool's disks and marks are read whole at most once in LISTING seconds and PER_DISK more for each."""
SILENT = 10.0
"""Seconds without an answer to a listing after which the pool's storage is suspected to be dead."""
AGAIN = 30.0


class PoolWork:
    """One for each of the two kinds."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services = services
        self._fleet = fleet
        self._links = PoolLinks(services, fleet)
        self._disks: dict[str, tuple[float, tuple[DiskFacts, ...] | None]] = {}
        """By uid of the object: one that is applied again, with the UUID that it had, is listed anew."""
        self._strangers: dict[str, tuple[DiskFacts, ...]] = {}
        """uid → marked disks whose owner the API did not know when the pool's disks were last listed."""
        self._listing: dict[str, asyncio.Task[None]] = {}
        self._turns = 0

    def scope_of(self, pool: Obj[Any, Any]) -> Key:
        """The object whose hosts are to reach it."""
        scope = pool.spec.scope
        ref = getattr(scope, SCOPES[scope.type])
        return Key(scope.type, "", ref.name if ref else "")

    def check_alone(self, pool: Obj[Any, Any]) -> None:
        """H3: one export, one pool; one UUID, one pool. The older keeps it. Raises Refused PoolAddressTaken."""
        cache = self._services.cache
        others = twins(pool, [*cache.all("StoragePool"), *cache.all("ImageStore")])
        twin = min([*others, pool], key=seniority)
        if twin is pool:
            for other in others:
                if (other.condition("Ready") or {}).get("reason") not in ("PoolAddressTaken", "UUIDTaken"):
                    self._services.enqueue(other.key)
            return
        if pool_uuid(twin) == pool_uuid(pool):
            raise Refused("UUIDTaken", f"spec.uuid: {pool_uuid(pool)} is {twin.key} already, which is older.")
        raise Refused(
            "PoolAddressTaken",
            f"spec.{pool.spec.type.lower()}: {address(pool)} is the address of {twin.key} too, which is older and "
            "keeps it: one address serves one pool. Delete one of the two, or give this one an address of its own.",
            after=AGAIN,
        )

    def check_scope(self, pool: Obj[Any, Any]) -> None:
        """Raises Refused ZoneNotFound, HostClusterNotFound, …"""
        key = self.scope_of(pool)
        if self._services.cache.get(key.kind, "", key.name) is None:
            field = f"spec.scope.{key.kind[0].lower()}{key.kind[1:]}Ref"
            raise Refused(f"{key.kind}NotFound", f"{field}: {key.kind} {key.name} does not exist.")

    def reach(self, turn: PoolTurn, disks: frozenset[str]) -> list[Reach]:
        """From every host in scope, as it is now; what is due is begun. `disks`: those of the pool that guests use."""
        pool = turn.obj
        definition = pool_definition(pool, self._services.installation)

        def uses(host: str) -> bool:
            view = self._fleet.view(host)
            return view is None or view.instances is None or guests_disks(view.instances, disks)

        return [
            self._links.reach(pool.key, definition, host, in_use=partial(uses, host), act=not turn.paused)
            for host in hosts_in_scope(self._services.cache, pool)
        ]

    def told(self, turn: PoolTurn, reaches: list[Reach]) -> tuple[Verdict, dict[str, Any]]:
        """What the hosts say together, and the fields of the status that come of it."""
        pool = turn.obj
        verdict = judge(reaches, str(self.scope_of(pool)))
        changes: dict[str, Any] = {
            "uuid": pool_uuid(pool),
            "state": _state(turn, verdict),
            "hosts": listed(pool, reaches),
            "host_count": counted(pool, reaches),
        }
        if any(r.state == "Ready" for r in reaches) and pool.status.claim is None:
            changes["claim"] = PoolClaim(installation=self._services.installation, uuid=pool_uuid(pool))
        return verdict, changes

    def conclude(self, turn: PoolTurn, verdict: Verdict) -> Again | None:
        """Ready and Degraded."""
        if verdict.degraded:
            turn.conditions.set("Degraded", "True", "HostsUnreachable", verdict.degraded)
        if (verdict.ready is None or not verdict.settled) and turn.obj.is_true("Ready"):
            return Again(AGAIN)  # A new leader says nothing else before it has looked everywhere.
        turn.conditions.set("Ready", "True" if verdict.ready else "False", verdict.reason, verdict.message)
        return Again(AGAIN)

    @staticmethod
    def facts(reaches: list[Reach]) -> PoolFacts | None:
        return next((r.facts for r in reaches if r.facts is not None), None)

    def disks(self, turn: PoolTurn, reaches: list[Reach]) -> tuple[DiskFacts, ...] | None:
        """Every disk of the pool as last listed by one host; None before the first time. Lists again when due."""
        uid, key = turn.obj.uid, turn.obj.key
        read_at, known = self._disks.get(uid, (-1e9, None))
        ready = [r.host for r in reaches if r.state == "Ready"]
        self._turns += 1
        host = ready[self._turns % len(ready)] if ready else None
        due = read_at + LISTING + PER_DISK * len(known or ())
        running = uid in self._listing and not self._listing[uid].done()
        if host is not None and not running and time.monotonic() > due:
            self._listing[uid] = asyncio.get_running_loop().create_task(
                self._list(key, turn.obj, host), name=f"disks of {key}", context=contextvars.Context()
            )
        return known

    def orphans(self, turn: PoolTurn, disks: tuple[DiskFacts, ...]) -> tuple[tuple[Orphan, ...], int]:
        """Of a listing. A disk whose owner was there then and is not now went with it, or is shown by the next one."""
        needed = needed_bases(disks)
        listed = (d for d in self._strangers.get(turn.obj.uid, ()) if d.disk not in needed)
        return orphans(listed, self._services.installations, self._services.cache)

    def strangers(self, pool: Obj[Any, Any]) -> tuple[DiskFacts, ...] | None:
        """Marked disks whose owner the API did not know when the pool was last listed, all of them; None before this
        process has listed it."""
        return self._strangers.get(pool.uid)

    async def disconnect(self, turn: PoolTurn) -> Again | None:
        """Everywhere it was reached; a host that does not answer is left as it is: mounts are called by UUID (H3)."""
        pool = turn.obj
        definition = pool_definition(pool, self._services.installation)
        hosts = {*hosts_in_scope(self._services.cache, pool), *(h.name for h in pool.status.hosts)}
        left: list[str] = []
        for host in sorted(hosts):
            view = self._fleet.view(host)
            if view is None or view.link is not Link.UP:
                continue
            try:
                await asyncio.wait_for(self._links.disconnect(definition, host), AGAIN)
            except DriverError as error:
                left.append(f"{host}: {error}")
            except TimeoutError:
                left.append(f"{host}: no answer in {AGAIN:.0f} s")
        if left:
            turn.conditions.set("Deleting", "True", "Disconnecting", f"still connected on {'; '.join(left)[:1000]}")
            return Again(5.0)
        self._links.forget(definition.uuid)
        self._disks.pop(pool.uid, None)
        self._strangers.pop(pool.uid, None)
        self._listing.pop(pool.uid, None)
        return None

    async def _list(self, key: Key, pool: Obj[Any, Any], host: str) -> None:
        definition = pool_definition(pool, self._services.installation)
        known = self._disks.get(pool.uid, (0.0, None))[1]
        known_now = owners(pool, self._services.cache)
        alarm = asyncio.get_running_loop().call_later(
            SILENT + PER_DISK / 10 * len(known or ()), self._suspect, key, definition.uuid
        )
        try:
            disks = await self._fleet.long_call(host, "list_disks", lambda end: end.storage.list_disks(definition))
        except DriverError as error:
            self._suspect(key, definition.uuid)
            log.warning("disks of a pool were not listed", pool=str(key), host=host, error=str(error))
            self._disks[pool.uid] = (time.monotonic(), known)
            return
        finally:
            alarm.cancel()
        self._disks[pool.uid] = (time.monotonic(), disks)
        self._strangers[pool.uid] = tuple(d for d in disks if d.mark is not None and d.mark.uid not in known_now)
        self._services.enqueue(key)

    def _suspect(self, key: Key, uuid: str) -> None:
        self._links.suspect(uuid)
        self._services.enqueue(key)


def _state(turn: PoolTurn, verdict: Verdict) -> str:
    if turn.obj.deleting:
        return "Deleting"
    if verdict.ready is None:
        return str(turn.obj.status.state or "Connecting")
    return "Ready" if verdict.ready else verdict.reason
