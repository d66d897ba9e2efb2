"""N2 for disks: what bears a Volume's name and belongs to an object that is gone holds the name until somebody decides.

Two sources: what the pools listed, which may be older than the going of the last one of that name, and where the disk
of that one was, which is looked at. Used by `controllers.disks` before a disk is made.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controllers.diskcalls import SOON, DiskCalls, PoolObj
from controllers.engine.base import Key, NotYet, Obj, Refused, Services
from controllers.logic.volumes import VolumeObj, ignores
from controllers.poolwork import PoolWork
from crds.base import ADOPT, IGNORE_ORPHAN
from drivers.marks import DiskMark, DiskState

MOST = 10_000
"""Volumes that went, of which it is remembered where their disk was."""
AGAIN = 30.0
"""Seconds until it is looked whether the orphan is still there."""


@dataclass(frozen=True, slots=True)
class _Place:
    uid: str
    pool: str
    disk: str


class Namesakes:
    """Told of every Volume by the cache."""

    def __init__(self, services: Services, calls: DiskCalls, pools: PoolWork) -> None:
        self._services, self._calls, self._pools = services, calls, pools
        self._places: dict[Key, _Place] = {}
        self._left: OrderedDict[Key, _Place] = OrderedDict()
        services.cache.subscribe(self._told)

    async def check(self, obj: VolumeObj, pools: Iterable[PoolObj]) -> None:
        """`pools`: all of its zone. Raises Refused OrphanExists; NotYet before the disks of each pool in reach were
        listed once."""
        self._check_listed(obj, pools)
        left = self._left.get(obj.key)
        pool = self._services.cache.get("StoragePool", "", left.pool) if left is not None else None
        if left is None or pool is None or not self._calls.reachable(pool):
            return
        facts = await self._calls.look(pool, left.disk)
        mark = facts.mark if facts is not None else None
        if mark is not None and mark.uid == left.uid and mark.state is DiskState.READY and not ignores(obj, mark.uuid):
            raise _refused(pool, left.disk, mark.uuid)

    def _check_listed(self, obj: VolumeObj, pools: Iterable[PoolObj]) -> None:
        for pool in pools:
            found = self._pools.strangers(pool)
            if found is None and self._calls.reachable(pool):
                raise NotYet(SOON)
            for disk in found or ():
                mark = disk.mark
                if mark is not None and self._holds_name(mark, obj) and not ignores(obj, mark.uuid):
                    raise _refused(pool, disk.disk, mark.uuid)

    def _holds_name(self, mark: DiskMark, obj: VolumeObj) -> bool:
        named = (mark.kind, mark.namespace, mark.name) == ("Volume", obj.namespace, obj.name)
        ours = mark.installation in self._services.installations
        return named and ours and mark.state is DiskState.READY and self._services.cache.by_uid(mark.uid) is None

    def _told(self, key: Key) -> None:
        if key.kind != "Volume":
            return
        obj: Obj[Any, Any] | None = self._services.cache.get("Volume", key.namespace, key.name)
        had = self._places.get(key)
        if had is not None and (obj is None or obj.uid != had.uid):
            self._left[key] = self._places.pop(key)
            if len(self._left) > MOST:
                self._left.popitem(last=False)
        if obj is not None and obj.status.disk is not None:
            disk = obj.status.disk
            self._places[key] = _Place(obj.uid, disk.pool, f"{obj.status.uuid}-{disk.n}")


def _refused(pool: PoolObj, disk: str, uuid: str) -> Refused:
    return Refused(
        "OrphanExists",
        f"Disk {disk} on {pool.key} bears this Volume's name, and its object is gone: nothing was made. Annotate "
        f"{ADOPT}: {uuid} to take it, or {IGNORE_ORPHAN}: {uuid} to make a new one beside it.",
        after=AGAIN,
    )
