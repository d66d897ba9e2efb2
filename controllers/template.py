"""The Template kind: a verified copy on every image store of its zones, and a cached one on each pool that needs it.

Called by the engine. What is here says which copies shall be there, starts the long work, and shows how far it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controllers.deletion import held_by_referrers
from controllers.diskcalls import DiskCalls, PoolObj
from controllers.disposal import Disposal
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.fleet.base import Fleet
from controllers.images import ImageWork, LongWork, TemplateObj, image_disk, reason, words
from controllers.jobs import GaveUp, Job, Jobs
from controllers.logic.identity import object_uuid
from controllers.logic.inheritance import hosts_in_scope, own_allocation, zone_of
from controllers.logic.visibility import came_late
from crds.base import shorten_quantity
from crds.template import PoolCopy, StoreCopy, TemplateSpec, TemplateStatus
from drivers.base import DiskFacts
from drivers.errors import BadImage, DriverError

TemplateTurn = Turn[TemplateSpec, TemplateStatus]
PROGRESS_EVERY = 5.0
"""Seconds between two writes of progress (design.md §3)."""
RETRY_AFTER = 10.0
LOOK_FOR_STORES = 60.0


@dataclass(frozen=True, slots=True)
class OnStore:
    """The copy as it is now. `start` is the work that brings it there, not begun yet."""

    copy: StoreCopy
    reason: str = ""
    start: LongWork | None = None


class TemplateReconciler(Reconciler[TemplateSpec, TemplateStatus]):
    """Never deployable when it failed; one copy a pool, not one an instance."""

    kind = "Template"
    roll_up = True
    indexes: Mapping[str, Callable[[TemplateObj], Iterable[str]]] = {
        "template-uuid": lambda obj: [object_uuid(None, obj.uid)]
    }

    def __init__(self, services: Services, fleet: Fleet, disposal: Disposal, cluster_cidrs: tuple[str, ...]) -> None:
        self._services, self._disposal = services, disposal
        self._disks = DiskCalls(services, fleet)
        self._images = ImageWork(services, fleet, self._disks, cluster_cidrs)
        self._jobs = Jobs(services)

    def references(self, obj: TemplateObj) -> Iterable[Key]:
        for copy in obj.status.stores:
            yield Key("ImageStore", "", copy.image_store)
        for zone in obj.spec.zones:
            yield Key("Zone", "", zone)

    def signal(self, obj: TemplateObj) -> object:
        """Volumes wait for the copy on their pool."""
        ready = obj.condition("Ready") or {}
        copies = tuple((p.pool, p.state, (p.percent or 0) // 10, p.message) for p in obj.status.pools)
        return (
            obj.generation, obj.deleting, ready.get("status"), ready.get("reason"), obj.status.virtual_size, copies,
        )  # fmt: skip

    async def reconcile(self, turn: TemplateTurn) -> Again | None:
        if turn.obj.deleting:
            return await self._delete(turn)
        await turn.ensure_finalizer()
        stores = await self._stores(turn)
        pools = await self._pools(turn)
        states = {s.state for s in stores} | {p.state for p in pools}
        if states & {"Fetching", "Copying"}:
            return Again(PROGRESS_EVERY)
        leaving = any(store.deleting for store in self._services.cache.all("ImageStore"))
        waiting = not stores or leaving or "Pending" in states
        pending = [("ImageStore", s.image_store) for s in stores if s.state == "Pending"]
        pending += [("StoragePool", p.pool) for p in pools if p.state == "Pending"]
        places = [place for kind, name in pending if (place := self._services.cache.get(kind, "", name)) is not None]
        soon = min(map(self._disks.patience, places), default=RETRY_AFTER)
        return Again(min(soon, RETRY_AFTER) if waiting else LOOK_FOR_STORES)

    # ------------------------------------------------------------ on image stores

    async def _stores(self, turn: TemplateTurn) -> tuple[StoreCopy, ...]:
        wanted = self._wanted_stores(turn.obj)
        seen = [await self._on_store(turn, store) for store in wanted]
        left = await self._leave(turn, {s.name for s in wanted}, any(s.copy.state == "Ready" for s in seen))
        copies = tuple(sorted((*(s.copy for s in seen), *left), key=lambda c: c.image_store))
        percent = min((c.percent or 0 for c in copies), default=None)
        turn.status = turn.status.model_copy(update={"stores": copies, "percent": percent, "state": _worst(copies)})
        self._judge(turn, seen, left)
        work = [(store, s.start) for store, s in zip(wanted, seen, strict=True) if s.start is not None]
        if work:
            await turn.save()  # W1: where a copy may lie is known before it is begun.
        for store, start in work:
            self._jobs.start(_job(turn.obj, store), turn.obj.key, start)
        return copies

    def _wanted_stores(self, obj: TemplateObj) -> list[PoolObj]:
        """ImageStores that shall hold it: those of its zones, or all; a Disabled one takes no new copy."""
        zones, cache = set(obj.spec.zones), self._services.cache
        had = {c.image_store for c in obj.status.stores}
        found = []
        for store in cache.all("ImageStore"):
            if store.deleting or store.problem or (store.name not in had and not own_allocation(store).enabled):
                continue
            scope = store.spec.scope
            served = {zone_of(cache, host) for host in hosts_in_scope(cache, scope)}
            served |= {scope.zone_ref.name} if scope.zone_ref else set()
            if not zones or zones & served:
                found.append(store)
        return sorted(found, key=lambda s: s.name)

    async def _on_store(self, turn: TemplateTurn, store: PoolObj) -> OnStore:
        had = next((c for c in turn.status.stores if c.image_store == store.name), None)
        if had is not None and had.state in ("Ready", "Failed"):
            return OnStore(had, "ImageRefused" if had.state == "Failed" else "")
        job = self._jobs.get(_job(turn.obj, store))
        try:
            if job is not None and job.running:
                if job.progress is None and had is not None and had.state == "Pending":
                    return OnStore(had, _why(turn))
                return OnStore(_fetching(store.name, job), "Fetching")
            facts = _whole(self._jobs.collect(_job(turn.obj, store)) if job is not None else None)
            facts = facts or await self._images.ready_on(store, turn.obj)
            if facts is not None:
                return OnStore(self._verified(turn, store.name, facts))
            start = None if turn.paused else self._images.fetch(turn.obj, store)
            if had is not None and had.state == "Pending" and had.message:
                # Why the last try failed is told until bytes come: else each of the next would be two writes.
                return OnStore(had, _why(turn), start)
            return OnStore(StoreCopy(image_store=store.name, state="Fetching", percent=0), "Fetching", start)
        except BadImage as error:
            turn.event("ImageRefused", str(error), warning=True)
            return OnStore(StoreCopy(image_store=store.name, state="Failed", message=words(error)), "ImageRefused")
        except (Refused, DriverError) as error:
            return OnStore(StoreCopy(image_store=store.name, state="Pending", message=words(error)), reason(error))
        except GaveUp:
            return OnStore(StoreCopy(image_store=store.name, state="Pending"), "Pending")

    def _verified(self, turn: TemplateTurn, store: str, facts: DiskFacts) -> StoreCopy:
        http = turn.obj.spec.source.http
        turn.status = turn.status.model_copy(
            update={
                "virtual_size": facts.size, "size": facts.allocated, "checksum": http.checksum if http else None,
                "format": turn.obj.spec.format or "Raw",
            }
        )  # fmt: skip
        turn.event("Verified", f"{shorten_quantity(facts.allocated)} on {store}, checksum and format as declared.")
        now = self._services.now()
        return StoreCopy(image_store=store, state="Ready", percent=100, bytes=facts.allocated, finished_at=now)

    async def _leave(self, turn: TemplateTurn, wanted: set[str], elsewhere: bool) -> list[StoreCopy]:
        """Copies on stores that are going, or that no zone of spec.zones has any more. The last one stays."""
        left = []
        for copy in turn.status.stores:
            store = self._services.cache.get("ImageStore", "", copy.image_store)
            if copy.image_store in wanted or store is None:
                continue
            try:
                gone = self._jobs.give_up(_job(turn.obj, store)) and (elsewhere or copy.state != "Ready")
                if gone and not turn.paused:
                    await self._images.drop(store, turn.obj)
                    continue
                left.append(copy)
            except (Refused, DriverError) as error:
                left.append(copy.model_copy(update={"message": words(error)}))
        return left

    def _judge(self, turn: TemplateTurn, seen: list[OnStore], left: list[StoreCopy]) -> None:
        copies = [*(s.copy for s in seen), *left]
        ready = sorted(c.image_store for c in copies if c.state == "Ready")
        lacking = [s for s in seen if s.copy.state != "Ready"]
        failed = next((s for s in lacking if s.copy.state == "Failed"), None)
        told = "; ".join(_told(s.copy) for s in lacking)
        if ready:
            message = f"Verified on {', '.join(ready)}." + (f" Not yet on {told}." if told else "")
            turn.conditions.set("Ready", "True", "Verified", message)
        elif failed is not None:
            turn.conditions.set("Ready", "False", "ImageRefused", f"On {_told(failed.copy)}")
            turn.conditions.set(
                "Stalled", "True", "ImageRefused",
                "spec.source is immutable and its bytes are not what it declares: make another Template.",
            )  # fmt: skip
        elif lacking:
            turn.conditions.set("Ready", "False", lacking[0].reason, f"On {told}.")
        else:
            zones = f"zone {', '.join(turn.obj.spec.zones)}" if turn.obj.spec.zones else "any zone"
            text = f"No enabled ImageStore is there for {zones}: make one whose spec.scope is that Zone or its Region."
            turn.conditions.set("Ready", "False", "NoImageStore", text)

    # ------------------------------------------------------------ on pools

    async def _pools(self, turn: TemplateTurn) -> tuple[PoolCopy, ...]:
        asked = self._asked_pools(turn.obj)
        known = {c.pool: c for c in turn.status.pools}
        copies: list[PoolCopy] = []
        work: list[tuple[PoolObj, LongWork]] = []
        for name in sorted(asked | set(known)):
            pool = self._services.cache.get("StoragePool", "", name)
            if pool is None or (pool.deleting and name not in asked):
                continue
            if name not in asked and known[name].state != "Ready":
                copies += await self._not_asked(turn, pool, known[name])
                continue
            copy, start = await self._on_pool(turn, pool, looked_at=name in asked)
            copies.append(copy)
            if start is not None:
                work.append((pool, start))
        turn.status = turn.status.model_copy(update={"pools": tuple(copies)})
        if work:
            await turn.save()
        for pool, start in work:
            self._jobs.start(_job(turn.obj, pool), turn.obj.key, start)
        return tuple(copies)

    def _asked_pools(self, obj: TemplateObj) -> set[str]:
        """Pools where a Volume is to be made from it, or the disc is in a drive of an instance that lies there."""
        cache, names = self._services.cache, set[str]()
        for volume in cache.referrers(obj.key, "Volume"):
            if volume.status.disk is None and not volume.deleting and not volume.problem:
                ref, pending = volume.spec.storage_pool_ref, volume.status.pending
                names |= {pending.pool} if pending else {ref.name} if ref else set()
        for instance in cache.referrers(obj.key, "Instance"):
            placed = instance.status.placement
            if placed and placed.host and not instance.problem and _in_drive(instance, obj):
                names |= self._pools_for_drive(instance, placed.host)
        return names

    def _pools_for_drive(self, instance: Obj[Any, Any], host: str) -> set[str]:
        """Where the instance's disks lie; of one without disks, the first pool that its host reaches."""
        cache = self._services.cache
        reached = sorted(
            p.name for p in cache.all("StoragePool")
            if any(h.name == host and h.state == "Ready" for h in p.status.hosts) and not p.deleting
        )  # fmt: skip
        volumes = (
            cache.get("Volume", instance.namespace, v.volume_ref.name) for v in instance.status.volumes if v.volume_ref
        )
        mine = {v.status.disk.pool for v in volumes if v is not None and v.status.disk} & set(reached)
        if any(v.type != "CDROM" for v in instance.spec.volumes):
            return {min(mine)} if mine else set()
        return set(reached[:1])

    async def _on_pool(self, turn: TemplateTurn, pool: PoolObj, *, looked_at: bool) -> tuple[PoolCopy, LongWork | None]:
        had = next((c for c in turn.status.pools if c.pool == pool.name), None)
        if had is not None and had.state == "Ready" and not looked_at:
            return had, None
        job = self._jobs.get(_job(turn.obj, pool))
        try:
            if job is not None and job.running:
                return PoolCopy(pool=pool.name, state="Copying", percent=job.percent), None
            facts = _whole(self._jobs.collect(_job(turn.obj, pool)) if job is not None else None)
            facts = facts or await self._images.ready_on(pool, turn.obj)
            if facts is not None:
                at = had.finished_at if had and had.finished_at else self._services.now()
                ready = PoolCopy(pool=pool.name, state="Ready", percent=100, bytes=facts.allocated, finished_at=at)
                return ready, None
            store = await self._source_for(turn, pool)
            if store is None or turn.paused:
                text = f"waits for a host that reaches both {pool.key} and an image store with a verified copy"
                return PoolCopy(pool=pool.name, state="Pending", message=text), None
            return PoolCopy(pool=pool.name, state="Copying"), self._images.copy(turn.obj, store, pool)
        except (Refused, DriverError) as error:
            if had is not None and had.state == "Ready":
                return had, None  # It could not be looked at, and lies there until somebody has.
            return PoolCopy(pool=pool.name, state="Pending", message=words(error)), None

    async def _not_asked(self, turn: TemplateTurn, pool: PoolObj, had: PoolCopy) -> list[PoolCopy]:
        """A copy that was begun and that nobody waits for any more: whole, it is a cached one; half, it goes. It is
        forgotten only when nothing of it lies there."""
        job = self._jobs.get(_job(turn.obj, pool))
        if turn.paused or (job is not None and job.running):
            return [had]
        try:
            facts = _whole(self._jobs.collect(_job(turn.obj, pool)) if job is not None else None)
            facts = facts or await self._images.ready_on(pool, turn.obj)
            if facts is None:
                await self._images.drop(pool, turn.obj)
                return []
        except (Refused, DriverError) as error:
            return [had.model_copy(update={"message": words(error)})]
        now = self._services.now()
        return [PoolCopy(pool=pool.name, state="Ready", percent=100, bytes=facts.allocated, finished_at=now)]

    async def _source_for(self, turn: TemplateTurn, pool: PoolObj) -> PoolObj | None:
        """A store near the pool whose copy is really there. One that has lost it is taken off the status, and fetches
        again."""
        for copy in turn.status.stores:
            store = self._services.cache.get("ImageStore", "", copy.image_store)
            if copy.state != "Ready" or store is None or not self._disks.reachable(pool, store):
                continue
            if await self._images.ready_on(store, turn.obj) is not None:
                return store
            others = tuple(c for c in turn.status.stores if c.image_store != copy.image_store)
            turn.status = turn.status.model_copy(update={"stores": others})
            turn.event("CopyLost", f"The copy on {store.key} is gone and is fetched again.", warning=True)
            self._services.enqueue(turn.obj.key, after=1.0)
        return None

    # ------------------------------------------------------------ the end

    async def _delete(self, turn: TemplateTurn) -> Again | None:
        """D4: waits only for what is being made from it; then its copies go, but a cached one that clones need."""
        obj = turn.obj
        turn.status = turn.status.model_copy(update={"state": "Deleting"})
        turn.conditions.set("Ready", "False", "Deleting", "The template is being deleted.")
        if held_by_referrers(turn, self._services, but=lambda other: not _needs(other, obj), ready=False):
            await self._pools(turn)  # What is in the making is made: the copies it waits for are still brought.
            return Again(RETRY_AFTER)
        await turn.may_destroy()
        if not self._jobs.give_up(obj.uid):
            turn.conditions.set("Deleting", "True", "CopyRunning", "A copy that is under way is being ended.")
            return Again(2.0)
        try:
            await self._drop_everywhere(obj)
        except Refused as error:
            waits = f"Its copies cannot be deleted yet: {error.message}"
            raise Refused(error.reason, waits, type_="Deleting", status="True", after=error.after) from None
        await turn.release()
        return None

    async def _drop_everywhere(self, obj: TemplateObj) -> None:
        """Where the status names a copy, it must be reached; where it may have been lost, what can be reached."""
        cache = self._services.cache
        for copy in obj.status.pools:
            pool = cache.get("StoragePool", "", copy.pool)
            if pool is not None and not self._disks.lost_with(pool):
                await self._disposal.drop_unused_base(pool, image_disk(obj), obj)
        named = {c.image_store for c in obj.status.stores if c.state != "Failed"}
        for store in cache.all("ImageStore"):
            if store.name in named or self._disks.reachable(store):
                await self._images.drop(store, obj)


def _why(turn: TemplateTurn) -> str:
    """Reason of what stands in status.stores already."""
    return str((turn.conditions.was("Ready") or {}).get("reason") or "Fetching")


def _job(obj: TemplateObj, place: PoolObj) -> str:
    return f"{obj.uid}/{place.uid}"


def _whole(facts: DiskFacts | None) -> DiskFacts | None:
    """What a piece of work brought; None when it found a mark whose image is gone."""
    return facts if facts is not None and facts.exists else None


def _needs(other: Obj[Any, Any], template: TemplateObj) -> bool:
    """Whether an object that names the template cannot do without it: a disk not made yet (one that is lost is not made
    again), a disc in a drive."""
    if other.problem:
        return False
    if other.key.kind == "Volume":
        lost = (other.condition("Ready") or {}).get("reason") == "Lost"
        return other.status.disk is None and not other.deleting and not lost and not came_late(other, template)
    return other.key.kind == "Instance" and _in_drive(other, template)


def _in_drive(instance: Obj[Any, Any], template: TemplateObj) -> bool:
    refs = (v.cdrom.template_ref for v in instance.spec.volumes if v.cdrom and v.cdrom.template_ref)
    return any((r.namespace or instance.namespace, r.name) == (template.namespace, template.name) for r in refs)


def _fetching(store: str, job: Job) -> StoreCopy:
    progress = job.progress
    if progress is None:
        return StoreCopy(image_store=store, state="Fetching", percent=0)
    of = f" of {shorten_quantity(progress.total)}" if progress.total else ""
    told = f"{shorten_quantity(progress.bytes)}{of} have come"
    return StoreCopy(image_store=store, state="Fetching", percent=job.percent, bytes=progress.bytes, message=told)


def _told(copy: StoreCopy) -> str:
    """`images-1: 12Mi of 300Mi have come`."""
    percent = f" ({copy.percent} %)" if copy.state == "Fetching" else ""
    return f"{copy.image_store}: {copy.message or copy.state}{percent}".rstrip(".")


def _worst(copies: Iterable[StoreCopy]) -> str:
    """In one word for people: the best of its copies makes it usable."""
    order = ("Ready", "Failed", "Fetching", "Pending")
    return min((c.state for c in copies), key=order.index, default="Pending")
