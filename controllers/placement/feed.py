"""Keeps the engine's tables as cache and fleet show them: told of every change, it looks again only at what changed.

Called by the scheduler: `sync` before a decision, so that a decision never sees less than the cache does. Assumed
reservations live here: what was decided counts until the cache, and for disks the pool, has counted it.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from controllers.engine.base import Key, Obj, Services
from controllers.fleet.base import Fleet
from controllers.placement import records
from controllers.placement.core.asks import Claim
from controllers.placement.core.planner import Planner

ASSUMED_FOR = 120.0
"""Seconds after which a reservation that never became visible is dropped: its writer died or was refused."""
POOL_COUNTS_AFTER = 10.0
"""Seconds after which a pool has surely counted a disk that was made: it does so at most once in 5 s."""
LOOK_AGAIN = 2.0
_ABOVE = frozenset({"HostCluster", "HostPod", "Zone", "Region"})
_FED = _ABOVE | {"Host", "StoragePool", "Volume", "Template", "Instance", "Namespace"}


@dataclass(frozen=True, slots=True)
class Assumed:
    """Decided and not counted by anybody else yet, for an Instance or (without hosts) a Volume by itself."""

    at: float
    until: float
    claim: Claim
    seen: bool = False
    """The cache has counted its room; what is left is for its disks."""


class Feed:
    """Times are seconds of the wall clock."""

    def __init__(self, services: Services, fleet: Fleet, planner: Planner, alarm: Callable[[], None]) -> None:
        """`alarm` is called whenever something changed."""
        self._services, self._fleet, self._planner, self._alarm = services, fleet, planner, alarm
        self._changed: dict[str, dict[Key, None]] = {kind: {} for kind in (*_FED, "pools")}
        self._looks: dict[Key, object] = {}
        """Of what is above hosts: whether anything but its sums changed."""
        self._hosts_of: dict[str, frozenset[str]] = {}
        self._pools_of: dict[str, set[str]] = {}
        self._copies: dict[Key, frozenset[str]] = {}
        self._templates_of: dict[str, set[str]] = {}
        self._to_make: dict[Key, str] = {}
        self._assumed: dict[str, Assumed] = {}
        self._due: list[tuple[float, str, float]] = []
        self.helped = True
        """Something changed that may let in who waits; the reader sets it back."""
        services.cache.subscribe(self._told)
        fleet.subscribe(lambda host: self._told(Key("Host", "", host)))
        for kind in _FED - {"Namespace"}:
            for obj in services.cache.all(kind):
                self._told(obj.key)
        for name in services.cache.namespaces():
            self._told(Key("Namespace", "", name))

    # ------------------------------------------------------------ what the scheduler asks

    def sync(self) -> None:
        """Everything that cache and fleet show now is in the tables. Cost: by what changed since the last call."""
        for kind, look in (
            ("Namespace", self._namespace), ("Region", self._above), ("Zone", self._above), ("HostPod", self._above),
            ("HostCluster", self._above), ("Template", self._template), ("Volume", self._volume),
            ("StoragePool", self._pool), ("Host", self._host), ("Instance", self._instance), ("pools", self._refill),
        ):  # fmt: skip
            while self._changed[kind]:
                keys, self._changed[kind] = list(self._changed[kind]), {}
                for key in keys:
                    look(key)
        self._expire()
        if self._changed["pools"]:
            for key in list(self._changed["pools"]):
                self._refill(key)
            self._changed["pools"].clear()

    def assume(self, uid: str, claim: Claim, *, lasting: float = ASSUMED_FOR) -> None:
        """Count this from now on, in place of what was assumed for the uid before."""
        now = self._now
        self._assumed[uid] = Assumed(now, now + lasting, claim)
        heapq.heappush(self._due, (now + min(lasting, POOL_COUNTS_AFTER), uid, now))
        self._planner.claim(uid, claim)
        self._refill_soon(claim.volumes)

    def forget(self, uid: str) -> None:
        """What the cache shows counts again."""
        old = self._assumed.pop(uid, None)
        if old is not None:
            self._refill_soon(old.claim.volumes)
            self._settle(uid)

    # ------------------------------------------------------------ told

    def _told(self, key: Key) -> None:
        if key.kind in _FED:
            self._changed[key.kind][key] = None
            self._alarm()

    @property
    def _now(self) -> float:
        return self._services.now().timestamp()

    def _namespace(self, key: Key) -> None:
        labels = self._services.cache.namespace_labels(key.name)
        self.helped |= self._planner.put_namespace(key.name, dict(labels) if labels is not None else None)

    def _above(self, key: Key) -> None:
        """Its sums change all the time; hosts are looked at again only when what they inherit may have changed."""
        obj = self._services.cache.get(key.kind, "", key.name)
        look = (obj.uid, obj.generation, obj.deleting, obj.problem) if obj else None
        if self._looks.get(key) != look:
            self._looks[key] = look
            self._changed["Host"].update(dict.fromkeys(h.key for h in self._services.cache.all("Host")))

    def _template(self, key: Key) -> None:
        """Which pools have a copy."""
        obj = self._services.cache.get(key.kind, key.namespace, key.name)
        after = frozenset(c.pool for c in obj.status.pools if c.state == "Ready") if obj else frozenset[str]()
        before = self._copies.pop(key, frozenset())
        if after:
            self._copies[key] = after
        for pool in before ^ after:
            held = self._templates_of.setdefault(pool, set())
            (held.add if pool in after else held.discard)(f"{key.namespace}/{key.name}")
        self._refill_soon(before ^ after)

    def _volume(self, key: Key) -> None:
        """Disks that are to be made take room before they are there."""
        obj = self._services.cache.get(key.kind, key.namespace, key.name)
        before = self._to_make.pop(key, "")
        ref = obj.spec.storage_pool_ref if obj and not obj.problem else None
        pending = obj.status.pending if obj else None
        after = "" if obj is None or obj.status.disk else pending.pool if pending else ref.name if ref else ""
        if after:
            self._to_make[key] = after
        self._refill_soon({name for name in (before, after) if name})

    def _pool(self, key: Key) -> None:
        pool = self._services.cache.get(key.kind, "", key.name)
        usable = pool is not None and not pool.problem
        after = records.hosts_of_pool(self._services.cache, pool) if pool is not None and usable else frozenset[str]()
        before = self._hosts_of.pop(key.name, frozenset())
        if after:
            self._hosts_of[key.name] = after
        for host in before ^ after:
            held = self._pools_of.setdefault(host, set())
            (held.add if host in after else held.discard)(key.name)
            self._changed["Host"][Key("Host", "", host)] = None
        self._refill_soon([key.name])

    def _refill_soon(self, pools: Iterable[str]) -> None:
        self._changed["pools"].update(dict.fromkeys(Key("StoragePool", "", pool) for pool in pools))

    def _refill(self, key: Key) -> None:
        pool = self._services.cache.get("StoragePool", "", key.name)
        if pool is None or pool.problem:
            self._planner.remove_pool(key.name)
            return
        promised = sum(self._promised(volume) for volume in self._services.cache.indexed("to-make-on", key.name))
        templates = frozenset(self._templates_of.get(key.name, ()))
        self.helped |= self._planner.put_pool(records.pool_record(pool, promised, templates))

    def _promised(self, volume: Obj[Any, Any]) -> int:
        made_by = volume.spec.made_by
        if self._holds_disks(volume.uid) or (made_by is not None and self._holds_disks(made_by.uid)):
            return 0
        return int(volume.spec.size or 0)

    def _holds_disks(self, uid: str) -> bool:
        held = self._assumed.get(uid)
        return held is not None and bool(held.claim.volumes)

    def _host(self, key: Key) -> None:
        host = self._services.cache.get("Host", "", key.name)
        if host is None or host.problem:
            self._planner.remove_host(key.name)
            return
        view = self._fleet.view(key.name)
        pools = frozenset(self._pools_of.get(key.name, ()))
        down = records.why_down(host, view)
        record = records.host_record(self._services.cache, host, view.facts if view else None, down, pools)
        self.helped |= self._planner.put_host(record)

    # ------------------------------------------------------------ what instances take

    def _instance(self, key: Key) -> None:
        instance = self._services.cache.get(key.kind, key.namespace, key.name)
        if instance is not None:
            self._settle(instance.uid)
        uid = self._looks.get(key)
        if isinstance(uid, str) and (instance is None or instance.uid != uid):
            self._assumed.pop(uid, None)
            self._settle(uid)
        if instance is None:
            self._looks.pop(key, None)
        else:
            self._looks[key] = instance.uid

    def _settle(self, uid: str) -> None:
        """What is counted for this uid: what was assumed, until the cache shows it; then what the cache shows."""
        instance = self._services.cache.by_uid(uid)
        shown = instance if instance is not None and instance.key.kind == "Instance" else None
        assumed = self._assumed.get(uid)
        if assumed is not None and not assumed.seen and shown is not None and _counted(shown, assumed):
            assumed = self._assumed[uid] = replace(assumed, seen=True)
        if assumed is not None and assumed.seen and not assumed.claim.volumes:
            del self._assumed[uid]
            assumed = None
        claim = records.claim_of(shown) if shown is not None else None
        if assumed is not None:
            if not assumed.seen:
                claim = assumed.claim
            elif claim is None:
                claim = replace(assumed.claim, hosts=(), cpus=0, memory=0, starting=False, carried=())
            else:
                claim = replace(claim, volumes=assumed.claim.volumes)
        before = self._planner.claims.get(uid)
        if claim is None:
            self._planner.release(uid)
        else:
            self._planner.claim(uid, claim)
        self.helped |= before is not None and before != claim

    def _expire(self) -> None:
        """Ends what nobody counted in time, and holds of disks that the pools have counted meanwhile."""
        now = self._now
        while self._due and self._due[0][0] <= now:
            _, uid, at = heapq.heappop(self._due)
            held = self._assumed.get(uid)
            if held is None or held.at != at:
                continue
            if now >= held.until or self._services.cache.by_uid(uid) is None:
                self.forget(uid)
                continue
            if held.claim.volumes and now >= at + POOL_COUNTS_AFTER and self._disks_are_there(uid):
                self._refill_soon(held.claim.volumes)
                self._assumed[uid] = replace(held, claim=replace(held.claim, volumes={}))
                self._settle(uid)
            heapq.heappush(self._due, (min(now + LOOK_AGAIN, held.until), uid, at))

    def _disks_are_there(self, uid: str) -> bool:
        obj = self._services.cache.by_uid(uid)
        if obj is None or obj.key.kind != "Instance":
            return obj is not None
        names = (f"{obj.name}-{entry.name}" for entry in obj.spec.volumes if entry.type == "Managed")
        return all(self._services.cache.get("Volume", obj.namespace, name) for name in names)


def _counted(instance: Obj[Any, Any], assumed: Assumed) -> bool:
    """Whether the cache shows that the instance takes its room on that host, or has taken it and has ended since."""
    placed = instance.status.placement
    if placed is None or placed.host not in assumed.claim.hosts:
        return False
    run = instance.status.last_run
    ended = run is not None and run.ended_at is not None and run.ended_at.timestamp() >= assumed.at
    if ended:
        return True
    claim = records.claim_of(instance)
    return claim is not None and claim.counts
