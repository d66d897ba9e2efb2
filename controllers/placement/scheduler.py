"""The one place where a host and pools are decided: the engine fed by cache and fleet, with assumed reservations.

Called by the Instance and Volume kinds, in the engine's loop: decisions are serial because nothing here awaits. As a
component it also looks after those who wait.
"""

import asyncio
from dataclasses import replace
from typing import Any

import structlog

from controllers import metrics
from controllers.engine.base import Cache, Obj, Refused, Services
from controllers.fleet.base import Fleet
from controllers.logic.rollup import places_of_pool
from controllers.placement import requests
from controllers.placement.base import Decision, Refusal
from controllers.placement.core.asks import Claim, VolumeWant
from controllers.placement.core.filters import PINNED
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import score, why_not
from controllers.placement.core.story import Placed, Unplaced, alone
from controllers.placement.explain import explain, message
from controllers.placement.feed import Feed
from controllers.placement.room import Rooms
from controllers.placement.waiting import FIRST, Place, Waiter, Waiting, reasons_of

RETRY_PAUSE = 0.3
"""Seconds in which changes are gathered before those who wait are asked again."""
RETRY_AT_LEAST = 15.0
"""Seconds after which they are asked again though nothing was heard of: back-offs and kept room go by the clock."""
GRANTED_FOR = 20.0
"""Seconds for which room is held for one that was let in, until it asks for itself."""
log = structlog.get_logger(__name__)


class PlacementScheduler:
    """See `controllers.placement.base.Scheduler`."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services = services
        self._planner = Planner()
        self._wake = asyncio.Event()
        self._feed = Feed(services, fleet, self._planner, self._wake.set)
        self._waiting = Waiting(self._planner)
        self.rooms = Rooms(services, fleet, self._planner, self._feed.sync)
        self._task: asyncio.Task[None] | None = None

    @property
    def _cache(self) -> Cache:
        return self._services.cache

    @property
    def _now(self) -> float:
        return self._services.now().timestamp()

    # ------------------------------------------------------------ decisions

    def decide(self, instance: Obj[Any, Any], *, avoid: frozenset[str] = frozenset()) -> Decision | Refusal:
        """Raises Refused when something that the instance names is not there."""
        self._feed.forget(instance.uid)
        try:
            ask = requests.build(self._cache, instance, avoid)
        except Refused:
            self._waits_no_more(instance.uid)
            raise
        self._feed.sync()
        place = _place_of(instance)
        if self._feed.helped and self._waiting.ahead_of(place):
            self._let_in(but=instance.uid)
        with self._waiting.giving_way(place):
            result = self._planner.decide(ask)
        if isinstance(result, Unplaced):
            reasons = reasons_of(result)
            self._waiting.put(Waiter(key=instance.key, ask=ask, place=place, asked=self._now, reasons=reasons))
            return _refusal(result)
        self._waits_no_more(instance.uid)
        self._feed.assume(instance.uid, self._planner.claim_of(ask, result))
        metrics.PLACEMENTS.labels("placed").inc()
        return Decision(host=result.host, pools=result.pools, explanation=explain(result))

    def decide_on(self, instance: Obj[Any, Any], host: str) -> Decision | Refusal:
        """As `decide`, on that host alone; an allocation state that was Disabled meanwhile does not hold it, nor, when
        its room there is counted already, what is kept there for whomever."""
        held = self._planner.claims.get(instance.uid)
        has_room = held is not None and held.counts and host in held.hosts
        self._feed.forget(instance.uid)
        ask = requests.build(self._cache, instance, frozenset())
        self._feed.sync()
        if ask.pinned not in ("", host):
            return _refusal(alone(host, PINNED, f"is not the pinned host {ask.pinned}"))
        ask = replace(ask, shape=replace(ask.shape, ignore_disabled=True), pinned=host)
        with self._waiting.giving_way(FIRST if has_room else _place_of(instance)):
            result = self._planner.decide(ask)
        if isinstance(result, Unplaced):
            return _refusal(self._planner.about(ask, host, result))
        self._waits_no_more(instance.uid)
        self._feed.assume(instance.uid, self._planner.claim_of(ask, result))
        return Decision(host=result.host, pools=result.pools, explanation=explain(result))

    def fits(self, instance: Obj[Any, Any], host: str) -> Refusal | None:
        """Whether a stopped instance may start again where it was; its host is asked alone."""
        result = self.decide_on(instance, host)
        return result if isinstance(result, Refusal) else None

    def forget(self, uid: str) -> None:
        self._feed.forget(uid)
        self._waits_no_more(uid)

    def choose_pool(self, volume: Obj[Any, Any], size: int) -> Obj[Any, Any] | str:
        """The best shared pool of the zone for a volume that nobody placed; else why there is none."""
        self._feed.forget(volume.uid)
        self._feed.sync()
        zone, ref = volume.spec.zone_ref.name, volume.spec.volume_type_ref
        vtype = self._cache.get("VolumeType", "", ref.name) if ref else None
        tags = frozenset(vtype.spec.storage_tags) if vtype else frozenset[str]()
        provisioning = vtype.spec.provisioning or "" if vtype else ""
        want = VolumeWant(entry=volume.name, size=size, tags=tags, provisioning=provisioning)
        misses: list[str] = []
        best: tuple[float, str] | None = None
        for pool in sorted(self._planner.pools.all(), key=lambda p: p.name):
            obj = self._cache.get("StoragePool", "", pool.name)
            if obj is None or zone != _zone_of(self._cache, obj):
                continue
            free = self._planner.pools.free(pool.name)
            if obj.spec.scope.type == "Host":
                misses.append(f"{pool.name} is local to one host: name it in spec.storagePoolRef to use it")
            elif why := why_not(want, pool, free):
                misses.append(why)
            elif best is None or score(want, pool, free) > best[0]:
                best = (score(want, pool, free), pool.name)
        chosen = self._cache.get("StoragePool", "", best[1]) if best else None
        if chosen is None:
            told = "; ".join(misses[:5]) or f"zone {zone} has none yet"
            return f"No storage pool takes this volume: {told}."
        self._feed.assume(volume.uid, Claim(namespace=volume.namespace, volumes={chosen.name: size}))
        return chosen

    # ------------------------------------------------------------ those who wait

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._look_after(), name="placement")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_after(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RETRY_AT_LEAST):
                    await self._wake.wait()
            except TimeoutError:
                self._feed.helped = True
            await asyncio.sleep(RETRY_PAUSE)
            self._wake.clear()
            metrics.PLACEMENT_WAITING.set(len(self._waiting))
            try:
                self.retry()
            except Exception:
                log.exception("those who wait could not be asked again")

    def retry(self) -> None:
        """Ask again for those who wait, if anything changed that may let one in."""
        self._feed.sync()
        if self._waiting.frees(self._wants_no_host) or self._feed.helped:
            self._let_in()

    def _waits_no_more(self, uid: str) -> None:
        self._feed.helped |= self._waiting.drop(uid)

    def _let_in(self, but: str = "") -> None:
        self._feed.helped = False
        self._waiting.drop_those(self._wants_no_host)
        if not len(self._waiting):
            return

        def grant(waiter: Waiter, placed: Placed) -> None:
            self._feed.assume(waiter.ask.uid, self._planner.claim_of(waiter.ask, placed), lasting=GRANTED_FOR)
            if waiter.ask.uid != but:
                self._services.enqueue(waiter.key, urgent=True)

        self._waiting.settle(self._now, grant, lambda waiter: self._services.enqueue(waiter.key))

    def _wants_no_host(self, uid: str) -> bool:
        """One that never had a host goes without a reconcile."""
        instance = self._cache.by_uid(uid)
        return instance is None or instance.deleting or instance.spec.run_strategy == "Halted"


def _place_of(instance: Obj[Any, Any]) -> Place:
    placement = instance.spec.placement
    return Place(-placement.priority if placement else 0, instance.created_at.timestamp(), instance.uid)


def _refusal(result: Unplaced) -> Refusal:
    for lost in result.story.lost:
        metrics.PLACEMENT_REJECTIONS.labels(lost.reason).inc()
    metrics.PLACEMENTS.labels("refused").inc()
    return Refusal(reason="NoHostFits", message=message(result.story), explanation=explain(result))


def _zone_of(cache: Cache, pool: Obj[Any, Any]) -> str:
    named = pool.spec.scope.zone_ref
    found = places_of_pool(cache, pool)
    if named is not None:
        return str(named.name)
    return str(found.pod.spec.zone_ref.name) if found.pod is not None and not found.pod.problem else ""
