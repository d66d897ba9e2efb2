"""What a Volume or a Template has on pools is taken away: its disk, and a cached image with the last who needs it (D4).

Used by the two kinds. Raises Refused with the words of a condition, and DriverError.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controllers.diskcalls import SHOWN, PoolObj
from controllers.disks import STILL_THERE, DiskWork
from controllers.engine.base import Obj, Refused, Services
from controllers.fleet.base import Fleet
from controllers.logic.identity import object_uuid
from controllers.logic.reach import origin_on
from controllers.logic.volumes import VolumeObj
from crds.base import FINALIZER
from drivers.marks import DiskMark, DiskState


@dataclass(slots=True)
class _Leaving:
    """`since`: when the first of it was to go, and for a Volume later on when its disk was deleted."""

    since: datetime
    base: str = ""


class Disposal:
    """One for volumes and templates: it keeps which of them this process is taking away. A Volume is on record as
    attached until it is gone, and a Template as one that is going; by then both have looked for the image."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self.disks = services, DiskWork(services, fleet)
        self._leaving: dict[str, _Leaving] = {}

    async def dispose(self, obj: VolumeObj, pool: PoolObj, disk: str, *, retain: bool) -> None:
        """The disk goes, or stays with the mark `retained`; a cached image that only it needed goes too. Idempotent."""
        leaving = self._leaves(obj)
        host, facts = await self.disks.find(pool, disk, self.disks.made_at(obj))
        mark = facts.mark if facts else None
        leaving.base = leaving.base or (mark.base if mark else "") or _made_from(obj)
        if facts is not None and facts.unreadable:
            text = f"the mark of disk {disk} on {pool.key} cannot be read, so it is neither deleted nor released."
            raise Refused("MarkUnreadable", text, after=60.0)
        if facts is not None and mark is not None and mark.uid == obj.uid:
            if retain and facts.exists and mark.state is not DiskState.CREATING:
                await self.disks.retain(obj, pool, facts, mark, by=host)
                if mark.base:
                    return
            else:
                await self._delete(pool, disk, obj.uid, host)
                leaving.since = self._services.now()
        if leaving.base:
            await self.drop_unused_base(pool, leaving.base, obj)

    async def _delete(self, pool: PoolObj, disk: str, uid: str, host: str) -> None:
        await self.disks.delete(pool, disk, uid, by=host)
        if await self.disks.look(pool, disk, by=host) is not None:
            text = f"{pool.key} says that disk {disk} was deleted, and still shows it: that is asked for again."
            raise Refused("StillThere", text, after=STILL_THERE)

    async def drop_unused_base(self, pool: PoolObj, base: str, going: Obj[Any, Any]) -> None:
        """A cached image goes with its last clone, once its Template is gone; called for either, `going`. Idempotent.
        What a host lists may be old by what another one did (NFS): a clone that a Volume stands for counts without
        being seen, and one that is nobody's any more is looked for again for a while. Raises Refused then."""
        leaving = self._leaves(going)
        host, facts = await self.disks.find(pool, base, _made_at(going, pool))
        if facts is None or facts.mark is None or facts.mark.kind != "Template":
            return
        cache, uid = self._services.cache, facts.mark.uid
        # A Template that still waits for what is made from it looks itself after that.
        if cache.by_uid(uid) is not None and uid not in self._leaving:
            return
        if any(origin_on(pool, volume) == uid and self._will_look(volume) for volume in cache.all("Volume")):
            return
        clones = [d.mark for d in await self.disks.disks_on(pool) if d.mark is not None and d.mark.base == base]
        if not clones:
            await self.disks.delete(pool, base, uid, by=host)
        elif self._services.now() < leaving.since + SHOWN and all(map(self._goes, clones)):
            clone = f"{clones[0].uuid}-{clones[0].n}"
            text = f"{pool.key} shows disk {clone} still, a clone of {base}: one of the two goes last."
            raise Refused("StillThere", text, after=STILL_THERE)

    def _will_look(self, volume: VolumeObj) -> bool:
        """Whether it stays, or looks for its image later, after its disk has gone."""
        held = bool(volume.status.attachments) and FINALIZER in volume.finalizers
        return not volume.deleting or (held and volume.uid not in self._leaving)

    def _goes(self, clone: DiskMark) -> bool:
        """Whether it is being taken away, or has been: nobody's disk stays only as retained."""
        owner = self._services.cache.by_uid(clone.uid)
        return clone.state is not DiskState.RETAINED and (owner is None or owner.deleting)

    def _leaves(self, obj: Obj[Any, Any]) -> _Leaving:
        """Noted for as long as the object is there."""
        for uid in [uid for uid in self._leaving if self._services.cache.by_uid(uid) is None]:
            del self._leaving[uid]
        return self._leaving.setdefault(obj.uid, _Leaving(self._services.now()))


def _made_from(obj: VolumeObj) -> str:
    """The cached image, as the status tells it: of a disk that was copied whole the mark does not."""
    origin = obj.status.made_from
    return f"{object_uuid(None, origin.uid)}-1" if origin and origin.type == "Template" and origin.uid else ""


def _made_at(going: Obj[Any, Any], pool: PoolObj) -> datetime | None:
    """When the image came to the pool, at the latest; None if nobody knows."""
    if going.key.kind == "Volume":
        ready_at: datetime | None = going.status.ready_at
        return ready_at
    return next((copy.finished_at for copy in going.status.pools if copy.pool == pool.name), None)
