"""What is done with disks on pools for the Volume kind: choose a pool, make, take again, look, grow, retain, delete.

Every call goes through a host that reaches the pool. Raises Refused with the words of a condition, and DriverError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Key, Obj, Refused, Services
from controllers.fleet.base import Fleet
from controllers.logic.attachments import Claimant
from controllers.logic.identity import object_uuid
from controllers.logic.pool import hosts_in_scope, pool_definition
from controllers.logic.visibility import visible
from controllers.placement.base import Scheduler
from crds.base import ADOPT, IGNORE_ORPHAN, format_quantity
from crds.volume import Disk, Origin, VolumeSpec, VolumeStatus
from drivers.base import DiskDefinition, DiskFacts, PoolDefinition
from drivers.marks import DiskMark, DiskState

VolumeObj = Obj[VolumeSpec, VolumeStatus]
PoolObj = Obj[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A disk that is ready now. `fresh`: it was not there before."""

    disk: Disk
    facts: DiskFacts
    format: str
    origin: Origin
    fresh: bool


class DiskWork:
    """Shared by all volumes; keeps nothing."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet

    def first_copy(self, pool: PoolObj) -> Disk:
        return Disk(pool=pool.name, n=1)

    def choose_pool(self, obj: VolumeObj, scheduler: Scheduler) -> PoolObj:
        """For a volume that nobody gave a pool: the scheduler's choice among the zone's shared pools."""
        picked = scheduler.choose_pool(obj)
        if isinstance(picked, str):
            raise Refused("NoStoragePool", picked)
        return picked

    def host_for(self, pool: PoolObj, prefer: Iterable[str] = ()) -> str:
        """A host on which the pool is connected and whose connection is up. Raises Refused PoolNotReachable."""
        connected = [h.name for h in pool.status.hosts if h.state == "Ready"]
        for host in sorted(connected, key=lambda h: (h not in set(prefer), h)):
            view = self._fleet.view(host)
            if view is not None and view.instances is not None:
                return host
        ready = pool.condition("Ready") or {}
        why = f": {ready.get('message')}" if ready.get("status") == "False" else "."
        raise Refused("PoolNotReachable", f"No host reaches {pool.key} now{why}", after=10.0)

    def definition(self, pool: PoolObj) -> PoolDefinition:
        return pool_definition(pool, self._services.installation)

    async def look(self, pool: PoolObj, disk: str) -> DiskFacts | None:
        definition = self.definition(pool)
        return await self._fleet.call(
            self.host_for(pool), "observe_disk", lambda e: e.storage.observe_disk(definition, disk), changes=False
        )

    async def resize(self, pool: PoolObj, disk: str, size: int) -> DiskFacts:
        definition = self.definition(pool)
        return await self._fleet.call(
            self.host_for(pool), "resize_disk", lambda e: e.storage.resize_disk(definition, disk, size), changes=True
        )

    # ------------------------------------------------------------ making

    async def make(self, obj: VolumeObj, pool: PoolObj, uuid: str) -> Made:
        """The disk of a Volume that has none in its status: found again, taken, or made."""
        if obj.spec.source.type == "Existing":
            return await self._take_retained(obj, pool, uuid)
        name = f"{uuid}-1"
        found = await self.look(pool, name)
        if found is not None and found.unreadable:
            raise Refused(
                "MarkUnreadable", f"The mark of disk {name} on {pool.name} cannot be read: nothing is done with it."
            )
        if found is not None and found.mark is not None and found.mark.state is not DiskState.CREATING:
            return await self._take_found(obj, pool, found)
        if found is not None and found.mark is None and found.exists:
            raise Refused(
                "NotOurs", f"Disk {name} on {pool.name} has no mark: it is somebody else's and is left alone."
            )
        self._check_orphans(obj, pool)
        return await self._create(obj, pool, uuid)

    async def _create(self, obj: VolumeObj, pool: PoolObj, uuid: str) -> Made:
        template = self._template(obj)
        size = self._size(obj, template)
        base, format_, origin = "", "qcow2", Origin(type="Blank")
        if template is not None:
            base = self._base_on(template, pool)
            checksum = template.status.checksum
            origin = Origin(
                type="Template", namespace=template.namespace, name=template.name, uid=template.uid, checksum=checksum
            )
        mark = self._mark(obj, uuid, DiskState.CREATING, size, base)
        vtype = obj.spec.volume_type_ref and self._services.cache.get("VolumeType", "", obj.spec.volume_type_ref.name)
        definition = DiskDefinition(
            mark=mark, size=size, format=format_, provisioning=vtype.spec.provisioning if vtype else "Thin"
        )
        where = self.definition(pool)
        host = self.host_for(pool, prefer=self._near(obj))
        if base:
            facts = await self._fleet.call(
                host, "clone_disk", lambda e: e.storage.clone_disk(where, definition, base), changes=True
            )
        else:
            facts = await self._fleet.call(
                host, "create_disk", lambda e: e.storage.create_disk(where, definition), changes=True
            )
        return Made(disk=self.first_copy(pool), facts=facts, format=format_, origin=origin, fresh=True)

    async def _take_found(self, obj: VolumeObj, pool: PoolObj, facts: DiskFacts) -> Made:
        """A disk that is there under our UUID: ours after a lost status, or our namesake's after a rebuild (N3)."""
        mark = facts.mark
        assert mark is not None
        if mark.uid != obj.uid:
            if (mark.namespace, mark.name) != (obj.namespace, obj.name):
                raise Refused(
                    "UUIDTaken",
                    f"spec.uuid: disk {facts.disk} on {pool.name} belongs to Volume {mark.namespace}/{mark.name}.",
                )
            if self._services.cache.by_uid(mark.uid) is not None:
                raise Refused("UUIDTaken", f"Disk {facts.disk} on {pool.name} is held by another Volume of this name.")
        if not facts.exists:
            raise Refused(
                "Lost", f"Disk {facts.disk} was ready on {pool.name} and is not there any more; it is not made again."
            )
        return await self._remark(obj, pool, facts, mark)

    async def _take_retained(self, obj: VolumeObj, pool: PoolObj, uuid: str) -> Made:
        """source Existing: a disk marked retained, of the same namespace (D3)."""
        existing = obj.spec.source.existing
        assert existing is not None
        if existing.storage_pool_ref.name != pool.name:
            raise Refused(
                "PoolMismatch", "spec.storagePoolRef and spec.source.existing.storagePoolRef name different pools."
            )
        definition = self.definition(pool)
        disks = await self._fleet.call(
            self.host_for(pool), "list_disks", lambda e: e.storage.list_disks(definition), changes=False
        )
        found = [d for d in disks if d.mark and d.mark.uuid == uuid and d.exists]
        if not found:
            raise Refused("DiskNotFound", f"spec.source.existing: no disk with UUID {uuid} lies on {pool.name}.")
        mark = found[0].mark
        assert mark is not None
        if mark.namespace != obj.namespace:
            raise Refused("NotOurs", f"spec.uuid: disk {found[0].disk} belongs to another namespace.", stalled=True)
        if mark.state is not DiskState.RETAINED and mark.uid != obj.uid:
            raise Refused("UUIDTaken", f"spec.uuid: disk {found[0].disk} is not retained: Volume {mark.name} has it.")
        return await self._remark(obj, pool, found[0], mark)

    async def _remark(self, obj: VolumeObj, pool: PoolObj, facts: DiskFacts, old: DiskMark) -> Made:
        mark = self._mark(obj, old.uuid, DiskState.READY, facts.size, old.base, n=old.n, format_=old.format)
        if mark != old:
            definition = self.definition(pool)
            await self._fleet.call(
                self.host_for(pool), "write_disk_mark",
                lambda e: e.storage.write_disk_mark(definition, facts.disk, mark), changes=True,
            )  # fmt: skip
        origin = Origin(type="Existing", namespace=old.namespace or None, name=old.name or None, uid=old.uid or None)
        return Made(disk=Disk(pool=pool.name, n=old.n), facts=facts, format=old.format, origin=origin, fresh=False)

    def _mark(
        self, obj: VolumeObj, uuid: str, state: DiskState, size: int, base: str, *, n: int = 1, format_: str = "qcow2"
    ) -> DiskMark:
        return DiskMark(
            installation=self._services.installation, kind="Volume", namespace=obj.namespace, name=obj.name, uid=obj.uid,
            uuid=uuid, n=n, state=state, size=size, format=format_, base=base,
            made_by=obj.spec.made_by.uid if obj.spec.made_by else "",
        )  # fmt: skip

    def _check_orphans(self, obj: VolumeObj, pool: PoolObj) -> None:
        """N2: a disk of this namespace and name that the API does not know holds the name until somebody decides."""
        said = {obj.annotations.get(ADOPT), obj.annotations.get(IGNORE_ORPHAN)}
        for orphan in pool.status.orphans:
            if (orphan.kind, orphan.namespace, orphan.name) == ("Volume", obj.namespace, obj.name):
                if orphan.state == "retained" or orphan.uuid in said or obj.spec.uuid == orphan.uuid:
                    continue
                raise Refused(
                    "OrphanExists",
                    f"Disk {orphan.disk or orphan.uuid} on {pool.name} bears this Volume's name and no object has it. "
                    "Annotate "
                    f"{IGNORE_ORPHAN}={orphan.uuid} to leave it where it is, or make this Volume anew with spec.uuid "
                    f"{orphan.uuid} to take it.",
                )

    # ------------------------------------------------------------ templates

    def _template(self, obj: VolumeObj) -> Obj[Any, Any] | None:
        source = obj.spec.source.template
        if source is None:
            return None
        ref = source.template_ref
        namespace = ref.namespace or obj.namespace
        template = self._services.cache.get("Template", namespace, ref.name)
        if template is None or template.deleting or not visible(self._services.cache, template, obj.namespace):
            raise Refused(
                "TemplateNotFound",
                f"spec.source.template.templateRef: Template {namespace}/{ref.name} does not exist or is not visible "
                "to "
                f"namespace {obj.namespace}.",
            )
        if template.spec.type != "Disk":
            raise Refused(
                "TemplateIsISO", f"spec.source.template: {template.key} is an ISO; a volume is made from a Disk."
            )
        ready = template.condition("Ready") or {}
        if ready.get("status") != "True":
            raise Refused(
                "TemplateNotReady",
                f"{template.key} is not Ready: {ready.get('reason', 'Pending')} {ready.get('message', '')}".rstrip(),
            )
        return template

    def _size(self, obj: VolumeObj, template: Obj[Any, Any] | None) -> int:
        asked = obj.spec.size
        if template is None:
            assert asked is not None, "the schema requires a size for a blank volume"
            return asked
        least = max(template.status.virtual_size or 0, template.spec.minimum_size or 0)
        if asked is not None and asked < least:
            raise Refused(
                "SizeTooSmall",
                f"spec.size: {format_quantity(asked)} is less than the {format_quantity(least)} that {template.key} "
                "needs.",
            )
        return asked or least

    def _base_on(self, template: Obj[Any, Any], pool: PoolObj) -> str:
        """The cached image on that pool; the Template kind copies it there because this Volume refers to it."""
        copy = next((p for p in template.status.pools if p.pool == pool.name), None)
        if copy is not None and copy.state == "Ready":
            return f"{object_uuid(None, template.uid)}-1"
        how = f"{copy.state}, {copy.percent or 0} %" if copy else "not begun"
        raise Refused("CopyingTemplate", f"{template.key} is being copied to {pool.name} ({how}).")

    def _near(self, obj: VolumeObj) -> list[str]:
        """The host that will want the disk first."""
        if not obj.spec.made_by:
            return []
        instance = self._services.cache.get("Instance", obj.namespace, obj.spec.made_by.name)
        placed = instance.status.placement if instance else None
        return [placed.host] if placed and placed.host else []

    # ------------------------------------------------------------ attached and gone

    def nobody_uses(self, status: VolumeStatus, claimants: Iterable[Claimant]) -> bool:
        """D1, for a Volume whose attachments may have been lost: every host in its pool's scope has answered, and no
        domain there names the disk but those of the claimants that say so themselves."""
        disk = status.disk
        pool = self._services.cache.get("StoragePool", "", disk.pool) if disk else None
        if pool is None or disk is None:
            return False
        holders = {c.uid for c in claimants if c.attached}
        for host in hosts_in_scope(self._services.cache, pool):
            view = self._fleet.view(host)
            if view is None or view.instances is None:
                return False
            for facts in view.instances.values():
                uses = any(d.disk == f"{status.uuid}-{disk.n}" for d in facts.disks)
                if uses and not (facts.mark and facts.mark.uid in holders):
                    return False
        return True

    async def dispose(self, obj: VolumeObj, pool: PoolObj, disk: str, *, retain: bool) -> None:
        """The disk goes, or stays with the mark `retained`; a base image that only it needed goes too (D4)."""
        facts = await self.look(pool, disk)
        if facts is None or (facts.mark is not None and facts.mark.uid != obj.uid):
            return
        definition, host = self.definition(pool), self.host_for(pool)
        if retain:
            old = facts.mark
            if old is None:
                raise Refused(
                    "MarkUnreadable", f"The mark of disk {disk} on {pool.name} cannot be read: it is kept as it is."
                )
            mark = self._mark(obj, old.uuid, DiskState.RETAINED, facts.size, old.base, n=old.n, format_=old.format)
            await self._fleet.call(
                host, "write_disk_mark", lambda e: e.storage.write_disk_mark(definition, disk, mark), changes=True
            )
            return
        await self._fleet.call(
            host, "delete_disk", lambda e: e.storage.delete_disk(definition, disk, obj.uid), changes=True
        )
        base = facts.mark.base if facts.mark else ""
        if base:
            await self.drop_unused_base(pool, base)

    async def drop_unused_base(self, pool: PoolObj, base: str) -> None:
        """D4: a cached image goes with its last clone, once its Template is gone."""
        definition, host = self.definition(pool), self.host_for(pool)
        facts = await self.look(pool, base)
        if facts is None or facts.mark is None:
            return
        uid = facts.mark.uid
        template = self._services.cache.by_uid(uid)
        if template is not None and not template.deleting:
            return
        disks = await self._fleet.call(host, "list_disks", lambda e: e.storage.list_disks(definition), changes=False)
        if any(d.mark is not None and d.mark.base == base for d in disks):
            return
        await self._fleet.call(
            host, "delete_disk", lambda e: e.storage.delete_disk(definition, base, uid), changes=True
        )


def template_keys(obj: VolumeObj) -> Iterable[Key]:
    """The Template that a Volume is made from, as a key."""
    if obj.spec.source.template:
        ref = obj.spec.source.template.template_ref
        yield Key("Template", ref.namespace or obj.namespace, ref.name)
