"""Keeps the engine's tables as cache and fleet show them: told of every change, it looks again only at what changed.

Called by the scheduler: `sync` before a decision, so that a decision never sees less than the cache does. Assumed
reservations live here: what was decided counts until the objects in the cache show it.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controllers.engine.base import Key, Obj, Services
from controllers.fleet.base import Fleet
from controllers.placement import records
from controllers.placement.core.asks import Claim
from controllers.placement.core.planner import Planner

ASSUMED_FOR = 180.0
"""Seconds after which a reservation that never became visible is dropped: its writer died or was refused. Longer than
the longest back-off, after which one whose start waits for something asks again."""
LOOK_AGAIN = 10.0
"""Seconds between looks at what is assumed still."""
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
        self._disks: dict[Key, dict[str, int]] = {}
        """Volume → pool → bytes; summed up by pool in `_given`."""
        self._given: dict[str, int] = {}
        self._declared: dict[str, datetime | None] = {}
        """Hosts that are out of service, and since when (H1)."""
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

    def assume(self, uid: str, claim: Claim, *, lasting: float = ASSUMED_FOR) -> None:
        """Count this from now on, in place of what was assumed for the uid before."""
        now = self._now
        self._assumed[uid] = Assumed(now, now + lasting, claim)
        heapq.heappush(self._due, (now + min(lasting, LOOK_AGAIN), uid, now))
        self._planner.claim(uid, claim)

    def forget(self, uid: str) -> None:
        """What the cache shows counts again."""
        if self._assumed.pop(uid, None) is not None:
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
        cpu = getattr(obj.status, "cpu", None) if obj else None
        look = (obj.uid, obj.generation, obj.deleting, obj.problem, cpu) if obj else None
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
        """Disks count from the moment that an object names their pool; what was assumed for them ends then."""
        obj = self._services.cache.get(key.kind, key.namespace, key.name)
        before, after = self._disks.pop(key, {}), records.disks_of(obj) if obj is not None else {}
        if after:
            self._disks[key] = after
        if before != after:
            for sign, disks in ((-1, before), (1, after)):
                for pool, size in disks.items():
                    self._given[pool] = self._given.get(pool, 0) + sign * size
            self._refill_soon({*before, *after})
        if obj is not None and after:
            made_by = obj.spec.made_by
            for uid in (obj.uid, made_by.uid if made_by else ""):
                self._disks_seen(uid)

    def _disks_seen(self, uid: str) -> None:
        held = self._assumed.get(uid)
        if held is None or not held.claim.volumes or not self._disks_are_there(uid):
            return
        if not held.claim.hosts:
            self.forget(uid)
        else:
            self._assumed[uid] = replace(held, claim=replace(held.claim, volumes={}))
            self._settle(uid)
        self.helped = True

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
        templates = frozenset(self._templates_of.get(key.name, ()))
        self.helped |= self._planner.put_pool(records.pool_record(pool, self._given.get(key.name, 0), templates))

    def _host(self, key: Key) -> None:
        host = self._services.cache.get("Host", "", key.name)
        if host is None or host.problem:
            self._planner.remove_host(key.name)
            return
        view = self._fleet.view(key.name)
        pools = frozenset(self._pools_of.get(key.name, ()))
        if (declared := self._fleet.out_of_service(key.name)) != self._declared.get(key.name):
            self._declared[key.name] = declared
            placed = self._services.cache.indexed("host", key.name)
            self._changed["Instance"].update(dict.fromkeys(instance.key for instance in placed))
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
        claim = records.claim_of(shown, self._declared.get) if shown is not None else None
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
            self._disks_seen(uid)
            heapq.heappush(self._due, (min(now + LOOK_AGAIN, held.until), uid, at))

    def _disks_are_there(self, uid: str) -> bool:
        """Whether an object names the pool of each disk that was assumed for the uid."""
        obj = self._services.cache.by_uid(uid)
        if obj is None or obj.problem:
            return obj is not None
        if obj.key.kind == "Volume":
            return obj.key in self._disks
        names = (f"{obj.name}-{entry.name}" for entry in obj.spec.volumes if entry.type == "Managed")
        return all(Key("Volume", obj.namespace, name) in self._disks for name in names)


def _counted(instance: Obj[Any, Any], assumed: Assumed) -> bool:
    """Whether the cache shows that the instance takes its room on that host, or has taken it and has ended since."""
    placed = instance.status.placement
    if placed is None or placed.host not in assumed.claim.hosts:
        return False
    run = instance.status.last_run
    ended = run is not None and run.ended_at is not None and run.ended_at.timestamp() >= assumed.at
    if ended:
        return True
    claim = records.claim_of(instance, lambda host: None)
    return claim is not None and claim.counts
