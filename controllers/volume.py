"""The Volume kind: it makes the disk, says who may have it, grows it and deletes it. Called by the engine.

It is the only writer of `Volume.status`: an Instance that names a Volume attaches it only once it stands in
`status.attachments` with its host (safety.md D1).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from controllers.disks import DiskWork
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.fleet.base import Fleet
from controllers.logic.attachments import Claimant, grant
from controllers.logic.identity import object_uuid
from controllers.placement.base import Scheduler
from crds.base import format_quantity
from crds.volume import VolumeSpec, VolumeStatus
from drivers.base import DiskFacts, GrowDisk
from drivers.marks import DiskState

VolumeObj = Obj[VolumeSpec, VolumeStatus]
VERIFY_EVERY = 300.0
"""Seconds after which a reconcile looks at the disk again (D2)."""


def _uuid(obj: VolumeObj) -> Iterable[str]:
    yield object_uuid(obj.spec.uuid, obj.uid)


class VolumeReconciler(Reconciler[VolumeSpec, VolumeStatus]):
    """One disk, from nothing to gone."""

    kind = "Volume"
    roll_up = True
    """Who may have it goes by the placement and the status of the instances that name it."""
    indexes: Mapping[str, Callable[[VolumeObj], Iterable[str]]] = {"volume-uuid": _uuid}

    def __init__(self, services: Services, fleet: Fleet, scheduler: Scheduler) -> None:
        self._services, self._fleet, self._scheduler = services, fleet, scheduler
        self._disks = DiskWork(services, fleet)
        self._verified: dict[str, float] = {}
        """uid → when the disk was last seen."""
        self._made_here: set[str] = set()
        """uids whose disk this process made: nobody can have had it attached before (D1)."""

    def references(self, obj: VolumeObj) -> Iterable[Key]:
        yield Key("Zone", "", obj.spec.zone_ref.name)
        if obj.spec.volume_type_ref:
            yield Key("VolumeType", "", obj.spec.volume_type_ref.name)
        pool = obj.status.disk.pool if obj.status.disk else obj.spec.storage_pool_ref and obj.spec.storage_pool_ref.name
        if pool:
            yield Key("StoragePool", "", pool)
        if obj.spec.source.template:
            ref = obj.spec.source.template.template_ref
            yield Key("Template", ref.namespace or obj.namespace, ref.name)
        if obj.spec.made_by:
            yield Key("Instance", obj.namespace, obj.spec.made_by.name)

    def signal(self, obj: VolumeObj) -> object:
        ready = obj.condition("Ready") or {}
        disk, status = obj.status.disk, obj.status
        return (
            obj.generation,
            obj.deleting,
            ready.get("status"),
            ready.get("reason"),
            disk,
            status.attachments,
            status.size,
        )

    async def reconcile(self, turn: Turn[VolumeSpec, VolumeStatus]) -> Again | None:
        obj = turn.obj
        if obj.deleting:
            return await self._delete(turn)
        uuid = object_uuid(obj.spec.uuid, obj.uid)
        self._check(obj, uuid)
        turn.status = turn.status.model_copy(update={"uuid": uuid})
        if turn.status.disk is None:
            await self._make(turn, uuid)
        else:
            await self._verify(turn)
        await self._grow(turn)
        waiting = self._attach(turn)
        turn.status = turn.status.model_copy(update={"state": "InUse" if turn.status.attachments else "Available"})
        message = f"Disk {uuid}-{turn.status.disk.n} on {turn.status.disk.pool}." if turn.status.disk else ""
        if waiting:
            holders = ", ".join(a.instance for a in turn.status.attachments)
            message += f" Instance {', '.join(waiting)} waits until {holders} has let go of it."
        turn.conditions.set("Ready", "True", "Available", message)
        turn.conditions.set("Synced", "True", "Reconciled")
        return None

    # ------------------------------------------------------------ checks

    def _check(self, obj: VolumeObj, uuid: str) -> None:
        cache, spec = self._services.cache, obj.spec
        if cache.get("Zone", "", spec.zone_ref.name) is None:
            raise Refused("ZoneNotFound", f"spec.zoneRef: Zone {spec.zone_ref.name} does not exist.")
        if spec.volume_type_ref and cache.get("VolumeType", "", spec.volume_type_ref.name) is None:
            raise Refused(
                "VolumeTypeNotFound", f"spec.volumeTypeRef: VolumeType {spec.volume_type_ref.name} does not exist."
            )
        twins = [o for o in cache.indexed("volume-uuid", uuid) if o.uid != obj.uid]
        older = [o for o in twins if (o.created_at, o.uid) < (obj.created_at, obj.uid)]
        if older:
            raise Refused(
                "UUIDTaken",
                f"spec.uuid: {uuid} belongs to Volume {older[0].namespace}/{older[0].name}; leave it unset or use "
                "another.",
            )

    # ------------------------------------------------------------ the disk

    async def _make(self, turn: Turn[VolumeSpec, VolumeStatus], uuid: str) -> None:
        """Pick the pool, write it down (W1), then make or take the disk."""
        obj = turn.obj
        pool = self._pool_of(turn)
        if obj.spec.storage_pool_ref is None and turn.status.pending is None:
            turn.status = turn.status.model_copy(update={"pending": self._disks.first_copy(pool)})
            turn.conditions.set("Ready", "False", "Provisioning", f"The disk is being made on {pool.name}.")
            await turn.save()
        await turn.ensure_finalizer()
        made = await self._disks.make(turn.obj, pool, uuid)
        if made.fresh:
            self._made_here.add(obj.uid)
        self._verified[obj.uid] = time.monotonic()
        now = self._services.now()
        turn.status = turn.status.model_copy(
            update={
                "disk": made.disk, "pending": None, "size": made.facts.size, "used": _rounded(made.facts),
                "format": made.format, "made_from": made.origin, "ready_at": turn.status.ready_at or now,
            }
        )  # fmt: skip
        turn.event(
            "DiskReady", f"Disk {uuid}-{made.disk.n} of {format_quantity(made.facts.size)} is ready on {pool.name}."
        )

    def _pool_of(self, turn: Turn[VolumeSpec, VolumeStatus]) -> Obj[Any, Any]:
        spec = turn.obj.spec
        name = spec.storage_pool_ref.name if spec.storage_pool_ref else ""
        if not name and turn.status.pending:
            name = turn.status.pending.pool
        if not name:
            return self._disks.choose_pool(turn.obj, self._scheduler)
        pool = self._services.cache.get("StoragePool", "", name)
        if pool is None:
            raise Refused("StoragePoolNotFound", f"spec.storagePoolRef: StoragePool {name} does not exist.")
        return pool

    async def _verify(self, turn: Turn[VolumeSpec, VolumeStatus]) -> None:
        """D2: a disk that was ready and is not there is Lost; it is never made again."""
        obj, disk = turn.obj, turn.status.disk
        assert disk is not None
        spec_pool = obj.spec.storage_pool_ref
        if spec_pool and spec_pool.name != disk.pool:
            raise Refused(
                "Unsupported",
                f"spec.storagePoolRef: moving a volume from {disk.pool} to {spec_pool.name} is not done by this "
                "version; "
                f"set it back to {disk.pool}.",
                stalled=True,
            )
        ready = obj.condition("Ready") or {}
        fresh = time.monotonic() - self._verified.get(obj.uid, -VERIFY_EVERY) < VERIFY_EVERY
        if fresh and ready.get("status") == "True":
            return
        pool = self._services.cache.get("StoragePool", "", disk.pool)
        if pool is None:
            raise Refused("StoragePoolNotFound", f"StoragePool {disk.pool}, where the disk lies, does not exist.")
        facts = await self._disks.look(pool, f"{turn.status.uuid}-{disk.n}")
        if facts is None or not facts.exists:
            raise Refused(
                "Lost",
                f"Disk {turn.status.uuid}-{disk.n}, ready since {turn.status.ready_at}, is not on StoragePool "
                f"{disk.pool} any "
                "more. It is not made again empty: bring it back there, or delete this Volume.",
            )
        if facts.unreadable or facts.mark is None or facts.mark.uid != obj.uid:
            raise Refused(
                "MarkUnreadable" if facts.unreadable else "NotOurs",
                f"The mark beside disk {facts.disk} on {disk.pool} is not this Volume's: nothing is done with it until "
                "it is.",
            )
        self._verified[obj.uid] = time.monotonic()
        turn.status = turn.status.model_copy(update={"size": facts.size or turn.status.size, "used": _rounded(facts)})

    async def _grow(self, turn: Turn[VolumeSpec, VolumeStatus]) -> None:
        wanted, has, disk = turn.obj.spec.size, turn.status.size or 0, turn.status.disk
        if wanted is None or wanted <= has or disk is None:
            return
        pool = self._services.cache.get("StoragePool", "", disk.pool)
        if pool is None:
            raise Refused("StoragePoolNotFound", f"StoragePool {disk.pool}, where the disk lies, does not exist.")
        running = self._running_holder(turn)
        if running:
            instance, entry = running
            placed = instance.status.placement
            await self._fleet.act(
                placed.host, instance.status.uuid, GrowDisk(entry, wanted), uid=instance.uid, sequence=placed.sequence
            )
            size = wanted
        else:
            size = (await self._disks.resize(pool, f"{turn.status.uuid}-{disk.n}", wanted)).size
        turn.status = turn.status.model_copy(update={"size": size})
        turn.event("Resized", f"The disk has {format_quantity(size)} now.")

    def _running_holder(self, turn: Turn[VolumeSpec, VolumeStatus]) -> tuple[Obj[Any, Any], str] | None:
        for instance in self._holders(turn.obj):
            placed = instance.status.placement
            entry = next((v.name for v in instance.status.volumes if _names(v, turn.obj.name) and v.attached), None)
            view = self._fleet.view(placed.host) if placed and placed.host else None
            facts = (view.instances or {}).get(instance.status.uuid or "") if view else None
            if entry and facts and facts.power in ("Running", "Paused"):
                return instance, entry
        return None

    # ------------------------------------------------------------ who has it

    def _attach(self, turn: Turn[VolumeSpec, VolumeStatus]) -> tuple[str, ...]:
        obj = turn.obj
        claimants = [self._claimant(i, obj) for i in self._holders(obj)]
        known = bool(obj.status.disk) or obj.uid in self._made_here or self._disks.nobody_uses(turn.status, claimants)
        decision = grant(turn.status.attachments, claimants, shareable=obj.spec.shareable, known=known)
        turn.status = turn.status.model_copy(update={"attachments": decision.attachments})
        return decision.waiting if decision.attachments else ()

    def _holders(self, obj: VolumeObj) -> list[Obj[Any, Any]]:
        """Instances that name it, made it, or stand in its attachments."""
        found = {i.uid: i for i in self._services.cache.referrers(obj.key, "Instance")}
        names = {a.instance for a in obj.status.attachments} | ({obj.spec.made_by.name} if obj.spec.made_by else set())
        for name in names:
            instance = self._services.cache.get("Instance", obj.namespace, name)
            if instance is not None:
                found[instance.uid] = instance
        return list(found.values())

    def _claimant(self, instance: Obj[Any, Any], obj: VolumeObj) -> Claimant:
        placed = instance.status.placement
        made = obj.spec.made_by
        mine = made is not None and made.uid == instance.uid
        entries = {f"{instance.name}-{v.name}": v for v in instance.spec.volumes if v.type == "Managed"}
        declared = (mine and obj.name in entries) or any(
            v.volume and v.volume.volume_ref.name == obj.name for v in instance.spec.volumes
        )
        attached = any(_names(v, obj.name) and v.attached for v in instance.status.volumes)
        decided: datetime | None = placed.decided_at if placed else None
        return Claimant(
            name=instance.name,
            uid=instance.uid,
            host=(placed.host or "") if placed else "",
            declared=declared and not instance.deleting,
            attached=attached,
            order=(decided.isoformat() if decided else "", instance.uid),
        )

    # ------------------------------------------------------------ the end

    async def _delete(self, turn: Turn[VolumeSpec, VolumeStatus]) -> Again | None:
        obj = turn.obj
        self._attach(turn)
        turn.status = turn.status.model_copy(update={"state": "Deleting"})
        turn.conditions.set("Ready", "False", "Deleting", "The volume is being deleted.")
        turn.conditions.set("Synced", "True", "Reconciled")
        if turn.status.attachments:
            names = ", ".join(a.instance for a in turn.status.attachments)
            turn.conditions.set(
                "Deleting", "True", "InUse",
                f"{len(turn.status.attachments)} Instance still has it: {names}. Remove it from spec.volumes there, or "
                "delete "
                "the Instance; it goes by itself then.",
            )  # fmt: skip
            return None
        await turn.may_destroy()
        disk = turn.status.disk or turn.status.pending
        pool_name = disk.pool if disk else obj.spec.storage_pool_ref.name if obj.spec.storage_pool_ref else ""
        pool = self._services.cache.get("StoragePool", "", pool_name) if pool_name else None
        if pool is not None:
            name = f"{object_uuid(obj.spec.uuid, obj.uid)}-{disk.n if disk else 1}"
            state = DiskState.RETAINED if obj.spec.deletion_policy == "Retain" else None
            await self._disks.dispose(obj, pool, name, retain=state is DiskState.RETAINED)
        await turn.release()
        self._verified.pop(obj.uid, None)
        self._made_here.discard(obj.uid)
        return None


def _names(entry: Any, volume: str) -> bool:
    return entry.volume_ref is not None and entry.volume_ref.name == volume


def _rounded(facts: DiskFacts) -> int:
    """Used bytes to 1 % of the size: volatile text makes write storms."""
    step = max(facts.size // 100, 1)
    return -(-facts.allocated // step) * step
