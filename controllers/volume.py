"""The Volume kind: it makes the disk, says who may have it, grows it and deletes it. Called by the engine.

It is the only writer of `Volume.status`: an Instance that names a Volume attaches it only once it stands in
`status.attachments` with its host (safety.md D1).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.disks import Made, no_room
from controllers.disposal import Disposal
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.fleet.base import Fleet
from controllers.holding import Held, Holding
from controllers.logic.ownership import Claim, holder
from controllers.logic.references import in_use
from controllers.logic.visibility import came_late
from controllers.logic.volumes import VolumeObj, volume_uuid
from controllers.namesakes import Namesakes
from controllers.placement.base import Scheduler
from controllers.poolwork import PoolWork
from crds.base import FINALIZER, format_quantity
from crds.volume import Disk, VolumeSpec, VolumeStatus
from drivers.base import DiskFacts, GrowDisk
from drivers.errors import DriverError, NoSpace

VolumeTurn = Turn[VolumeSpec, VolumeStatus]
VERIFY_EVERY = 300.0
"""Seconds after which a reconcile looks at the disk again (D2)."""
GOING_ON = frozenset({"Pending", "Provisioning", "CopyingTemplate", "Available", "InUse"})
LOOK_AGAIN = 5.0
"""Seconds until the next look for what wakes nobody: a host that answers, a foreign domain that goes."""
RIVALS = 30.0
MI = 2**20


class VolumeReconciler(Reconciler[VolumeSpec, VolumeStatus]):
    """One disk, from nothing to gone."""

    kind = "Volume"
    roll_up = True
    """Who may have it goes by the placement and the status of the instances that name it."""
    indexes: Mapping[str, Callable[[VolumeObj], Iterable[str]]] = {
        "volume-uuid": lambda obj: [volume_uuid(obj)],
        "to-make-on": lambda obj: [] if obj.status.disk else [p for p in (_pool_name(obj.spec, obj.status),) if p],
    }

    def __init__(
        self, services: Services, fleet: Fleet, pools: PoolWork, disposal: Disposal, scheduler: Scheduler
    ) -> None:
        self._services, self._fleet, self._disposal, self._scheduler = services, fleet, disposal, scheduler
        self._disks = disposal.disks
        self._namesakes = Namesakes(services, self._disks, pools)
        self._holding = Holding(services, fleet)
        self._verified: dict[str, float] = {}
        """uid → when the disk was last seen."""

    def references(self, obj: VolumeObj) -> Iterable[Key]:
        """D4: the Template stays named when the disk is made, so that it is woken; it does not wait then."""
        yield Key("Zone", "", obj.spec.zone_ref.name)
        yield Key("Namespace", "", obj.namespace)
        if obj.spec.volume_type_ref:
            yield Key("VolumeType", "", obj.spec.volume_type_ref.name)
        pool = _pool_name(obj.spec, obj.status)
        if pool:
            yield Key("StoragePool", "", pool)
        if obj.spec.source.template:
            ref = obj.spec.source.template.template_ref
            yield Key("Template", ref.namespace or obj.namespace, ref.name)
        if obj.spec.made_by:
            yield Key("Instance", obj.namespace, obj.spec.made_by.name)
        for attachment in obj.status.attachments:
            yield Key("Instance", obj.namespace, attachment.instance)

    def signal(self, obj: VolumeObj) -> object:
        ready, status = obj.condition("Ready") or {}, obj.status
        # What hinders it stands in the words of its instances; how far it has come does not.
        hindered = ready.get("message") if ready.get("reason") not in GOING_ON else None
        return (
            obj.generation, obj.deleting, ready.get("status"), ready.get("reason"), hindered, status.disk,
            status.pending, status.attachments, status.size,
        )  # fmt: skip

    async def reconcile(self, turn: VolumeTurn) -> Again | None:
        if turn.obj.deleting:
            return await self._delete(turn)
        self._check(turn.obj)
        hindered: DriverError | None = None
        try:
            looked = await self._provide(turn)
            hindered = await self._grow(turn) if looked else None
        except (Refused, DriverError):
            # Whatever is wrong with the disk, who has let go of it is seen; nobody new gets it.
            self._hold(turn, grants=False)
            raise
        held = self._hold(turn)
        if not looked:
            return Again(LOOK_AGAIN)
        self._show(turn, held)
        if hindered is not None:
            raise hindered  # After Ready: the disk is as usable as before.
        return Again(LOOK_AGAIN) if held.unsettled else None

    def _hold(self, turn: VolumeTurn, *, grants: bool = True) -> Held:
        held = self._holding.decide(turn.obj, turn.status, grants=grants)
        turn.status = turn.status.model_copy(update={"attachments": held.attachments})
        turn.unless_written(held.undo)
        return held

    def _show(self, turn: VolumeTurn, held: Held) -> None:
        disk = turn.status.disk
        assert disk is not None
        turn.status = turn.status.model_copy(update={"state": "InUse" if held.attachments else "Available"})
        message = f"Disk {turn.status.uuid}-{disk.n} is on StoragePool {disk.pool}."
        if held.waiting and held.attachments:
            holders = ", ".join(a.instance for a in held.attachments)
            message += f" Instance {', '.join(held.waiting)} waits until {holders} has let go of it."
        elif held.waiting:
            message += f" Instance {', '.join(held.waiting)} does not get it: {held.hindrance}."
        turn.conditions.set("Ready", "True", turn.status.state or "Available", message)
        vtype = turn.obj.spec.volume_type_ref
        if vtype and self._services.cache.get("VolumeType", "", vtype.name) is None:
            gone = f"spec.volumeTypeRef: VolumeType {vtype.name} does not exist; its limits are not applied."
            turn.conditions.set("Synced", "False", "VolumeTypeNotFound", gone)

    # ------------------------------------------------------------ checks

    def _check(self, obj: VolumeObj) -> None:
        """N3, and for a disk that is still to be made what it needs; what is going takes no new referrer."""
        self._check_uuid(obj)
        if obj.status.disk is not None:
            return
        needed = [("Zone", obj.spec.zone_ref.name, "spec.zoneRef")]
        if obj.spec.volume_type_ref:
            needed.append(("VolumeType", obj.spec.volume_type_ref.name, "spec.volumeTypeRef"))
        for kind, name, field in needed:
            found = self._services.cache.get(kind, "", name)
            if found is None or found.deleting:
                how = "does not exist" if found is None else "is being deleted"
                raise Refused(f"{kind}NotFound", f"{field}: {kind} {name} {how}.")

    def _check_uuid(self, obj: VolumeObj) -> None:
        rivals = [o for o in self._services.cache.indexed("volume-uuid", volume_uuid(obj)) if o.uid != obj.uid]
        keeper = holder([_claim(obj), *map(_claim, rivals)]) if rivals else None
        if keeper is not None and keeper.uid != obj.uid:
            raise Refused(
                "UUIDTaken",
                f"spec.uuid: {volume_uuid(obj)} is held by Volume {keeper.name}; leave it unset, or use another.",
                after=RIVALS,
            )

    # ------------------------------------------------------------ the disk

    async def _provide(self, turn: VolumeTurn) -> bool:
        """The disk is made, or still there. False: it could not be looked at yet, and
        nothing else is known either (the operator has just started)."""
        if turn.status.disk is None:
            await self._make(turn)
        elif not await self._verify(turn):
            return False
        return True

    async def _make(self, turn: VolumeTurn) -> None:
        """Pick the pool and write it down, then the finalizer (W1), then make or take the disk."""
        obj, uuid = turn.obj, volume_uuid(turn.obj)
        turn.status = turn.status.model_copy(update={"uuid": uuid})
        made = await self._disks.recover(obj) if self._lost_status(obj) else None
        if made is None:
            pool = await self._pool(turn)
            if FINALIZER not in obj.finalizers:
                self._disks.plan(obj)
            if _pool_name(obj.spec, turn.status) != pool.name:
                turn.status = turn.status.model_copy(update={"pending": Disk(pool=pool.name, n=1)})
                turn.conditions.set("Ready", "False", "Provisioning", f"The disk is being made on {pool.name}.")
                await turn.save()
            await turn.ensure_finalizer()
            made = await self._disks.make(turn.obj, pool, uuid, self._namesakes)
        self._record(turn, made)

    def _lost_status(self, obj: VolumeObj) -> bool:
        """D2: a finalizer, and nothing that says where the disk was begun. Only the pool that spec names can hold it
        if that was never changed."""
        unknown = FINALIZER in obj.finalizers and obj.status.pending is None
        return unknown and not (_pool_name(obj.spec, obj.status) and obj.generation == 1)

    def _record(self, turn: VolumeTurn, made: Made) -> None:
        if made.fresh:
            self._holding.made(turn.obj.uid)
        self._verified[turn.obj.uid] = time.monotonic()
        turn.status = turn.status.model_copy(
            update={
                "uuid": made.uuid, "disk": made.disk, "pending": None, "percent": None, "size": made.facts.size,
                "used": _rounded(made.facts), "format": made.format, "made_from": made.origin,
                "ready_at": turn.status.ready_at or self._services.now(),
            }
        )  # fmt: skip
        how = "made" if made.fresh else "taken"
        size = format_quantity(made.facts.size)
        turn.event("DiskReady", f"Disk {made.uuid}-{made.disk.n} of {size} was {how} on {made.disk.pool}.")

    async def _pool(self, turn: VolumeTurn) -> Obj[Any, Any]:
        name = _pool_name(turn.obj.spec, turn.status)
        if not name:
            plan = self._disks.plan(turn.obj)
            picked = self._scheduler.choose_pool(turn.obj, plan.size)
            if isinstance(picked, str):
                raise Refused("NoStoragePool", picked, after=10.0)
            return picked
        pool = self._services.cache.get("StoragePool", "", name)
        if pool is None or came_late(turn.obj, pool):
            how = "does not exist" if pool is None else "is being deleted"
            raise Refused("StoragePoolNotFound", f"{_pool_field(turn.obj.spec)}: StoragePool {name} {how}.")
        return pool

    async def _verify(self, turn: VolumeTurn) -> bool:
        """D2: a disk that was ready and is not there is Lost; it is never made again."""
        obj, disk = turn.obj, turn.status.disk
        assert disk is not None
        self._disks.forget(obj.uid)
        pool = self._disk_pool(disk)
        self._check_host(pool, f"{turn.status.uuid}-{disk.n}")
        fresh = time.monotonic() - self._verified.get(obj.uid, -VERIFY_EVERY) < VERIFY_EVERY
        if fresh and obj.is_true("Ready"):
            return True
        if obj.is_true("Ready") and pool.is_true("Ready") and not self._disks.reachable(pool):
            return False
        name = f"{turn.status.uuid}-{disk.n}"
        facts = await self._disks.look(pool, name)
        if facts is None or not facts.exists:
            raise Refused(
                "Lost",
                f"Disk {name}, ready since {turn.status.ready_at:%Y-%m-%d %H:%M} UTC, is not on StoragePool "
                f"{disk.pool} "
                "any more. It is not made again empty: bring it back there, or delete this Volume.",
                after=60.0,
            )
        if facts.unreadable or facts.mark is None or facts.mark.uid != obj.uid:
            raise Refused(
                "MarkUnreadable" if facts.unreadable else "NotOurs",
                f"The mark beside disk {name} on StoragePool {disk.pool} is not this Volume's: nothing is done with "
                "the "
                "disk until it is.",
                after=60.0,
            )
        self._verified[obj.uid] = time.monotonic()
        turn.status = turn.status.model_copy(update={"size": facts.size or turn.status.size, "used": _rounded(facts)})
        return True

    def _check_host(self, pool: Obj[Any, Any], name: str) -> None:
        """H1: Lost with the host that had it."""
        host = self._disks.lost_with(pool)
        if host:
            raise Refused(
                "Lost",
                f"Disk {name} lies on {pool.key}, which is local to Host {host}, and that is declared out of service: "
                "the disk is gone with it. Delete this Volume, or bring the host back with its disks.",
                after=RIVALS,
            )

    async def _grow(self, turn: VolumeTurn) -> DriverError | None:
        """Through the guests that run on it, else on the pool. Answers why it cannot."""
        wanted, has, disk = turn.obj.spec.size, turn.status.size or 0, turn.status.disk
        if wanted is None or wanted <= has or disk is None:
            return None
        pool = self._disk_pool(disk)
        try:
            running = self._holding.running(turn.obj, turn.status)
            for instance, entry in running:
                at, action = instance.status.placement, GrowDisk(entry, wanted)
                await self._fleet.act(at.host, instance.status.uuid, action, uid=instance.uid, sequence=at.sequence)
            if not running:
                await self._disks.resize(pool, f"{turn.status.uuid}-{disk.n}", wanted)
        except NoSpace as error:
            return no_room(pool, wanted, error)
        except DriverError as error:
            return error
        turn.status = turn.status.model_copy(update={"size": wanted})
        turn.event("Resized", f"The disk has {format_quantity(wanted)} now.")
        return None

    def _disk_pool(self, disk: Disk) -> Obj[Any, Any]:
        pool = self._services.cache.get("StoragePool", "", disk.pool)
        if pool is None:
            raise Refused("StoragePoolNotFound", f"StoragePool {disk.pool}, where the disk lies, does not exist.")
        return pool

    # ------------------------------------------------------------ the end

    async def _delete(self, turn: VolumeTurn) -> Again | None:
        obj = turn.obj
        held = self._hold(turn, grants=False)
        turn.status = turn.status.model_copy(update={"state": "Deleting"})
        turn.conditions.set("Ready", "False", "Deleting", "The volume is being deleted.")
        if self._held_back(turn, held):
            return Again(LOOK_AGAIN) if held.unsettled else None
        await turn.may_destroy()
        try:
            if FINALIZER in obj.finalizers:
                await self._dispose(turn)
        except Refused as error:
            waits = f"The disk cannot be deleted yet: {error.message}"
            raise Refused(error.reason, waits, type_="Deleting", status="True", after=error.after) from None
        await turn.release()
        self._verified.pop(obj.uid, None)
        self._disks.forget(obj.uid)
        self._holding.forget(obj.uid)
        for twin in self._services.cache.indexed("volume-uuid", volume_uuid(obj)):
            self._services.enqueue(twin.key)
        return None

    def _held_back(self, turn: VolumeTurn, held: Held) -> bool:
        """It waits for its detach, and for everybody who names it; each with its name."""
        named = {i.key for i in self._holding.declaring(turn.obj)}
        if named:
            text = f"{in_use(turn.obj.key, named)} Remove it from spec.volumes there to detach it."
        else:
            text = self._holding.left_behind(turn.obj, turn.status) or "It is being detached."
        if named or held.attachments:
            turn.conditions.set("Deleting", "True", "InUse", text)
        return bool(named or held.attachments)

    async def _dispose(self, turn: VolumeTurn) -> None:
        """Raises Refused while somebody may use the disk, or the pool cannot be reached."""
        obj, status = turn.obj, turn.status
        copy = status.disk or status.pending
        if copy is not None:
            pool = self._services.cache.get("StoragePool", "", copy.pool)
            if pool is not None:
                await self._dispose_copy(turn, pool, status.uuid or volume_uuid(obj), copy)
            elif status.disk is not None:
                text = f"StoragePool {copy.pool}, where it lies, does not exist."
                raise Refused("StoragePoolNotFound", text, after=60.0)
            return
        for where, facts in await self._disks.unrecorded(obj):
            assert facts.mark is not None
            await self._dispose_copy(turn, where, facts.mark.uuid, Disk(pool=where.name, n=facts.mark.n))

    async def _dispose_copy(self, turn: VolumeTurn, pool: Obj[Any, Any], uuid: str, copy: Disk) -> None:
        """D1: not before it is known that nobody has it. Of what is lost with its host nothing is left to wait for."""
        if self._disks.lost_with(pool):
            return
        status = turn.status.model_copy(update={"disk": copy, "uuid": uuid})
        hindrance = self._holding.hindrance(turn.obj, status)
        if hindrance:
            raise Refused("InUse", f"{hindrance}.", after=LOOK_AGAIN)
        retain = turn.obj.spec.deletion_policy == "Retain"
        await self._disposal.dispose(turn.obj, pool, f"{uuid}-{copy.n}", retain=retain)


def _claim(obj: VolumeObj) -> Claim:
    ready = obj.condition("Ready") or {}
    return Claim(
        refused=ready.get("reason") == "UUIDTaken", held=obj.status.disk is not None,
        created_at=obj.created_at.isoformat(), uid=obj.uid, name=f"{obj.namespace}/{obj.name}",
    )  # fmt: skip


def _pool_name(spec: VolumeSpec, status: VolumeStatus) -> str:
    """Where the disk lies, is being made, or shall be made; "" while nobody said."""
    copy = status.disk or status.pending
    if copy is not None:
        return copy.pool
    if spec.source.existing is not None:
        return spec.source.existing.storage_pool_ref.name
    return spec.storage_pool_ref.name if spec.storage_pool_ref else ""


def _pool_field(spec: VolumeSpec) -> str:
    return "spec.source.existing.storagePoolRef" if spec.source.existing else "spec.storagePoolRef"


def _rounded(facts: DiskFacts) -> int:
    """Used bytes to 1 % of the size and whole MiB: volatile text makes write storms."""
    step = max(facts.size // 100 // MI, 1) * MI
    return -(-facts.allocated // step) * step
