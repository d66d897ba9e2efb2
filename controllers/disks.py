"""What is done with disks on pools for the Volume kind: make, take again, look, grow, retain, delete.

Every call goes through a host that reaches the pool. Raises Refused with the words of a condition, and DriverError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controllers.diskcalls import POOL_AGAIN, DiskCalls, PoolObj
from controllers.engine.base import Obj, Refused, Services
from controllers.fleet.base import Fleet
from controllers.logic.identity import object_uuid
from controllers.logic.inheritance import hosts_in_scope, zone_of
from controllers.logic.pool import SUPPORTED
from controllers.logic.visibility import came_late, visible
from controllers.logic.volumes import VolumeObj, adoption, may_take, volume_uuid
from controllers.namesakes import Namesakes
from crds.base import ADOPT, format_quantity
from crds.volume import Disk, Origin
from drivers.base import DiskDefinition, DiskFacts, PoolDefinition
from drivers.errors import Invalid, NoSpace
from drivers.marks import DiskMark, DiskState

STILL_THERE = 2.0
"""Seconds until a call is made again whose effect the storage affirms and does not show."""


def no_room(pool: PoolObj, size: int, error: NoSpace) -> NoSpace:
    """The same in words that say where, how much and what to do."""
    return NoSpace(
        f"{pool.key} has no room for a disk of {format_quantity(size)}: {error}. It is tried again every half minute: "
        "make room there, or use another StoragePool."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a disk that is still to be made shall be."""

    template: Obj[Any, Any] | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A disk that is ready now. `fresh`: it was not there before."""

    uuid: str
    disk: Disk
    facts: DiskFacts
    format: str
    origin: Origin
    fresh: bool


class DiskWork(DiskCalls):
    """Shared by all volumes."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        super().__init__(services, fleet)
        self._started = services.now()
        self._tried: dict[str, datetime] = {}
        """uid of a Volume → when this process last asked for its disk."""

    def made_at(self, obj: VolumeObj) -> datetime:
        """When its disk was made at the latest: by its status, by this process, or by the one before."""
        return obj.status.ready_at or self._tried.get(obj.uid, self._started)

    def forget(self, uid: str) -> None:
        """Its status tells by now, or it is gone."""
        self._tried.pop(uid, None)

    # ------------------------------------------------------------ what shall be made

    def plan(self, obj: VolumeObj) -> Plan:
        """Raises Refused for a template that is not there, not ready or no disk, and for a size that is too small."""
        template = self._template(obj)
        asked = obj.spec.size
        if template is None:
            return Plan(template=None, size=asked or 0)
        least = max(template.status.virtual_size or 0, template.spec.minimum_size or 0)
        if asked is not None and asked < least:
            raise Refused(
                "SizeTooSmall",
                f"spec.size: {format_quantity(asked)} is less than the {format_quantity(least)} that {template.key} "
                "needs: raise it, or leave it unset.",
            )
        return Plan(template=template, size=asked or least)

    def _template(self, obj: VolumeObj) -> Obj[Any, Any] | None:
        source = obj.spec.source.template
        if source is None:
            return None
        ref, field = source.template_ref, "spec.source.template.templateRef"
        namespace = ref.namespace or obj.namespace
        template = self._services.cache.get("Template", namespace, ref.name)
        seen = template is not None and not template.problem and visible(self._services.cache, template, obj.namespace)
        if template is None or not seen or came_late(obj, template):
            raise Refused(
                "TemplateNotFound",
                f"{field}: Template {namespace}/{ref.name} does not exist or is not visible to namespace "
                f"{obj.namespace}.",
            )
        if template.spec.type != "Disk":
            raise Refused("TemplateIsISO", f"{field}: {template.key} is an ISO; a volume is made from a Disk.")
        ready = template.condition("Ready") or {}
        if ready.get("status") != "True" and template.status.virtual_size is None:
            why = f"{ready.get('reason', 'Pending')}: {ready.get('message') or 'not looked at yet'}"
            raise Refused("TemplateNotReady", f"{field}: {template.key} is not Ready: {why}")
        return template

    # ------------------------------------------------------------ making

    async def make(self, obj: VolumeObj, pool: PoolObj, uuid: str, namesakes: Namesakes) -> Made:
        """The disk of a Volume that has none in its status: found again, taken, or, where no namesake's is in the way,
        made."""
        if obj.spec.source.existing is not None:
            return await self._take_retained(obj, pool, uuid)
        name = f"{uuid}-1"
        found = await self.look(pool, name)
        if found is not None and found.unreadable:
            unreadable = f"The mark of disk {name} on {pool.key} cannot be read: nothing is done with the disk."
            raise Refused("MarkUnreadable", unreadable, after=60.0)
        if found is not None and found.mark is None and found.exists:
            raise Refused("NotOurs", f"Disk {name} on {pool.key} bears no mark: it is somebody else's and left alone.")
        if found is not None and found.mark is not None:
            if found.mark.uid != obj.uid or found.mark.state is not DiskState.CREATING:
                return await self._take_found(obj, pool, found, found.mark)
        elif adoption(obj) is not None and not obj.spec.uuid:
            raise Refused(
                "OrphanNotFound",
                f"metadata.annotations[{ADOPT}]: no disk {name} lies on {pool.key}: name the StoragePool that has it "
                "in "
                "spec.storagePoolRef, or remove the annotation.",
            )
        await namesakes.check(obj, self._pools_of_zone(obj.spec.zone_ref.name))
        return await self._create(obj, pool, uuid)

    async def _create(self, obj: VolumeObj, pool: PoolObj, uuid: str) -> Made:
        plan = self.plan(obj)
        base, origin = "", Origin(type="Blank")
        if plan.template is not None:
            base = self._base_on(plan.template, pool)
            origin = Origin(
                type="Template", namespace=plan.template.namespace, name=plan.template.name, uid=plan.template.uid,
                checksum=plan.template.status.checksum,
            )  # fmt: skip
        ref = obj.spec.volume_type_ref
        vtype = self._services.cache.get("VolumeType", "", ref.name) if ref else None
        mark = self._mark(obj, uuid, DiskState.CREATING, plan.size, base)
        definition = DiskDefinition(
            mark=mark, size=plan.size, provisioning=vtype.spec.provisioning if vtype else "Thin"
        )
        where, host = self.definition(pool), self.host_for(pool, prefer=self._near(obj))
        self._tried[obj.uid] = self._services.now()
        try:
            if base:
                facts = await self._clone(host, where, definition, base)
            else:
                facts = await self._fleet.call(
                    host, "create_disk", lambda e: e.storage.create_disk(where, definition), changes=True
                )
        except NoSpace as error:
            raise no_room(pool, plan.size, error) from error
        # On the same host: another one may know for a while that there is none (NFS).
        seen = await self._fleet.call(
            host, "observe_disk", lambda e: e.storage.observe_disk(where, facts.disk), changes=False
        )
        if seen is None or not seen.exists:
            text = f"{pool.key} says that disk {facts.disk} was made, and does not show it: it is made again."
            raise Refused("NotSeen", text, after=STILL_THERE)
        disk = Disk(pool=pool.name, n=1)
        return Made(uuid=uuid, disk=disk, facts=facts, format=definition.format, origin=origin, fresh=True)

    async def _clone(self, host: str, where: PoolDefinition, definition: DiskDefinition, base: str) -> DiskFacts:
        """A cached image that somebody took away is copied again by the Template kind, which is told to look."""
        try:
            return await self._fleet.call(
                host, "clone_disk", lambda e: e.storage.clone_disk(where, definition, base), changes=True
            )
        except Invalid as error:
            for template in self._services.cache.indexed("template-uuid", base.rsplit("-", 1)[0]):
                self._services.enqueue(template.key)
            raise Refused("CloneRefused", f"{error}", after=5.0, synced=False) from None

    def _base_on(self, template: Obj[Any, Any], pool: PoolObj) -> str:
        """The cached image on that pool; the Template kind copies it there because this Volume refers to it."""
        copy = next((p for p in template.status.pools if p.pool == pool.name), None)
        if copy is not None and copy.state == "Ready":
            return f"{object_uuid(None, template.uid)}-1"
        if copy is None:
            self._services.enqueue(template.key)
        how = f"{copy.state}, {copy.message or f'{copy.percent or 0} %'}" if copy else "not begun"
        raise Refused("CopyingTemplate", f"{template.key} is being copied to {pool.key} ({how}).", after=POOL_AGAIN)

    def _near(self, obj: VolumeObj) -> Iterable[str]:
        """The host that will want the disk first."""
        made_by = obj.spec.made_by
        instance = self._services.cache.by_uid(made_by.uid) if made_by else None
        placed = instance.status.placement if instance else None
        return [placed.host] if placed and placed.host else []

    # ------------------------------------------------------------ taking

    async def recover(self, obj: VolumeObj) -> Made | None:
        """D2: its disk by uid or UUID on any pool of its zone, after a lost status; None when there is none on any.
        Raises Refused PoolsNotSearched."""
        found, silent = await self._search(obj)
        if silent and not found:
            raise Refused(
                "PoolsNotSearched",
                f"It had a disk, perhaps, and where is not known any more. Nothing is made before StoragePool "
                f"{', '.join(silent)} was searched for it.",
                after=POOL_AGAIN,
            )
        for pool, facts in found:
            mark = facts.mark
            if mark is not None and mark.state is not DiskState.CREATING:
                return await self._take_found(obj, pool, facts, mark)
        return None

    async def _search(self, obj: VolumeObj) -> tuple[list[tuple[PoolObj, DiskFacts]], list[str]]:
        """Disks whose mark says that they are this Volume's, newest copy first, and pools that could not be "
        "searched."""
        found: list[tuple[PoolObj, DiskFacts]] = []
        silent: list[str] = []
        for pool in self._pools_of_zone(obj.spec.zone_ref.name):
            if self.lost_with(pool):
                continue
            if not self.reachable(pool):
                silent.append(pool.name)
                continue
            found += [(pool, d) for d in await self.disks_on(pool) if d.mark and d.mark.uid == obj.uid]
        return sorted(found, key=lambda pair: -(pair[1].mark.n if pair[1].mark else 0)), silent

    def _pools_of_zone(self, zone: str) -> list[PoolObj]:
        cache = self._services.cache
        pools = [p for p in cache.all("StoragePool") if not p.problem and p.spec.type in SUPPORTED]
        named = {p.name for p in pools if p.spec.scope.zone_ref and p.spec.scope.zone_ref.name == zone}
        inside = [
            p
            for p in pools
            if p.name in named or any(zone_of(cache, h) == zone for h in hosts_in_scope(cache, p.spec.scope))
        ]
        return sorted(inside, key=lambda p: p.name)

    async def _take_found(self, obj: VolumeObj, pool: PoolObj, facts: DiskFacts, mark: DiskMark) -> Made:
        """A disk that is there under our UUID: ours after a lost status, or a namesake's after a rebuild (N2, N3)."""
        if mark.installation not in self._services.installations:
            raise Refused(
                "NotOurs",
                f"Disk {facts.disk} on {pool.key} is marked by installation {mark.installation}: the operator's "
                "configuration names it in installation.takeOver if it is to be taken over.",
            )
        if mark.uid != obj.uid and (not may_take(obj, mark) or self._services.cache.by_uid(mark.uid) is not None):
            raise Refused(
                "UUIDTaken",
                f"spec.uuid: disk {facts.disk} on {pool.key} belongs to Volume {mark.namespace}/{mark.name}, not to "
                "this "
                "one: use another UUID, or leave it unset.",
            )
        if mark.state is DiskState.CREATING:
            await self.delete(pool, facts.disk, mark.uid)
            return await self._create(obj, pool, mark.uuid)
        if not facts.exists:
            raise Refused(
                "Lost",
                f"Disk {facts.disk} was ready on {pool.key} and is not there any more. It is not made again empty: "
                "bring "
                "it back there, or delete this Volume.",
                after=60.0,
            )
        return await self._remark(obj, pool, facts, mark)

    async def _take_retained(self, obj: VolumeObj, pool: PoolObj, uuid: str) -> Made:
        """source Existing: a disk marked retained, of the same namespace (D3)."""
        existing = obj.spec.source.existing
        if existing is not None and existing.disk:
            raise Refused(
                "Unsupported",
                "spec.source.existing.disk: unmarked disks cannot be taken yet; leave it unset and name a retained "
                "disk "
                "by spec.uuid.",
                stalled=True,
            )
        found = next((d for d in await self.disks_on(pool) if d.mark and d.mark.uuid == uuid), None)
        mark = found.mark if found else None
        if found is None or mark is None or not found.exists:
            raise Refused("DiskNotFound", f"spec.uuid: no disk of UUID {uuid} lies on {pool.key}.", after=60.0)
        if mark.installation not in self._services.installations or mark.namespace != obj.namespace:
            raise Refused(
                "NotOurs",
                f"spec.uuid: disk {found.disk} on {pool.key} was not kept by a Volume of namespace {obj.namespace}, so "
                "it "
                "cannot be taken here.",
            )
        orphan = may_take(obj, mark) and self._services.cache.by_uid(mark.uid) is None
        if mark.uid != obj.uid and mark.state is not DiskState.RETAINED and not orphan:
            raise Refused("UUIDTaken", f"spec.uuid: disk {found.disk} is not retained: Volume {mark.name} has it.")
        return await self._remark(obj, pool, found, mark)

    async def _remark(self, obj: VolumeObj, pool: PoolObj, facts: DiskFacts, old: DiskMark) -> Made:
        mark = self._mark(obj, old.uuid, DiskState.READY, facts.size, old.base, old)
        if mark != old:
            await self.write_mark(pool, facts.disk, mark)
        disk = Disk(pool=pool.name, n=old.n)
        return Made(
            uuid=old.uuid, disk=disk, facts=facts, format=old.format, origin=self._origin(obj, old), fresh=False
        )

    def _mark(
        self, obj: VolumeObj, uuid: str, state: DiskState, size: int, base: str, old: DiskMark | None = None
    ) -> DiskMark:
        """`old`: of a disk that is there already; what is the disk's own is kept."""
        return DiskMark(
            installation=self._services.installation, kind="Volume", namespace=obj.namespace, name=obj.name,
            uid=obj.uid, uuid=uuid, n=old.n if old else 1, state=state, size=size, base=base,
            format=old.format if old else "qcow2",
            made_by=obj.spec.made_by.uid if obj.spec.made_by else "", owner=old.owner if old else None,
        )  # fmt: skip

    def _origin(self, obj: VolumeObj, mark: DiskMark) -> Origin:
        """What a disk that was taken was made from: of our own, after a lost status, what the spec says."""
        source = obj.spec.source
        if mark.uid == obj.uid and source.template is not None:
            ref = source.template.template_ref
            template = next(iter(self._services.cache.indexed("template-uuid", mark.base.rsplit("-", 1)[0])), None)
            return Origin(
                type="Template", namespace=ref.namespace or obj.namespace, name=ref.name,
                uid=template.uid if template is not None else None,
            )  # fmt: skip
        if mark.uid == obj.uid and source.type == "Blank":
            return Origin(type="Blank")
        return Origin(type="Existing", namespace=mark.namespace or None, name=mark.name or None, uid=mark.uid or None)

    # ------------------------------------------------------------ gone

    async def unrecorded(self, obj: VolumeObj) -> list[tuple[PoolObj, DiskFacts]]:
        """What the pools hold of a Volume that goes and whose status does not say. Raises Refused PoolsNotSearched."""
        ref = obj.spec.storage_pool_ref
        pool = self._services.cache.get("StoragePool", "", ref.name) if ref and obj.generation <= 2 else None
        if pool is not None:  # Named from the beginning: the deletion itself counts as the one change.
            facts = await self.look(pool, f"{volume_uuid(obj)}-1")
            return [(pool, facts)] if facts is not None and facts.mark and facts.mark.uid == obj.uid else []
        found, silent = await self._search(obj)
        if silent:
            text = f"StoragePool {', '.join(silent)} must be searched for its disk first and is not reachable."
            raise Refused("PoolsNotSearched", text, after=POOL_AGAIN)
        return found

    async def retain(self, obj: VolumeObj, pool: PoolObj, facts: DiskFacts, old: DiskMark, *, by: str) -> None:
        """The disk stays, marked as nobody's any more (D3). `by`: a host that shows it."""
        mark = self._mark(obj, old.uuid, DiskState.RETAINED, facts.size, old.base, old)
        await self.write_mark(pool, facts.disk, mark, by=by)
