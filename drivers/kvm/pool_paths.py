"""Where a pool's files are on a host, and whether the storage under them answers. Used by the actions, before QEMU is
made to open a file, and by `pools.py`.

With a dead server QEMU hangs in the open, and with it the guest, and then everything that asks that guest (lab.md): so
the storage is asked first, by a call that may give up.
"""

from typing import Any

import libvirt

from drivers.errors import Busy, Invalid
from drivers.kvm.bounded import EVERYTHING, Bounded
from drivers.kvm.connection import Connection
from drivers.kvm.failure import is_absent
from drivers.kvm.mounts import Mounts, size_of
from drivers.kvm.pool_xml import MOUNTS, pool_name
from drivers.kvm.volume_io import find_volume
from drivers.kvm.xml import parse, value

ANSWER_SECONDS = 10.0


def find_pool(raw: Any, uuid: str) -> Any | None:
    try:
        return raw.storagePoolLookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if is_absent(error):
            return None
        raise


class PoolPaths:
    """Pool UUID and file name → path on this host. Called inside `calling`; raises libvirtError, Busy,
    StorageUnreachable."""

    def __init__(self, connection: Connection, mounts: Mounts, bounded: Bounded) -> None:
        self._connection = connection
        self._mounts = mounts
        self._bounded = bounded
        self._targets: dict[str, str] = {}

    def path(self, pool: str, name: str) -> str:
        if not name or "/" in name:
            raise Invalid(f"{name!r} is no name of a file on pool {pool}")
        known = self._targets.get(pool)
        if known is None:
            known = self._bounded.call(pool, "look it up", lambda: self._target(pool), ANSWER_SECONDS)
            self.learn(pool, known)
        return f"{known}/{name}"

    def _target(self, pool: str) -> str:
        with self._connection.calling(f"look up pool {pool}") as raw:
            found = find_pool(raw, pool)
            if found is None:
                raise Busy(f"Host {self._connection.host}: pool {pool} is not connected there yet")
            return value(parse(found.XMLDesc(0), "a pool"), "target/path")

    def forget(self, pool: str) -> None:
        self._targets.pop(pool, None)

    def require_answering(self, paths: tuple[str, ...]) -> None:
        """Raises Busy when one of these files lies on a pool of ours that is not connected (a start would look below
        the mount point, and libvirt would make new firmware variables there), StorageUnreachable when the storage is
        silent or not mounted any more."""
        for path in paths:
            self.size(path)

    def size(self, path: str) -> int | None:
        """Virtual size of the file as its header says; None when it is not there or on no pool of ours. Even looking a
        hanging pool up hangs, so all of it is bounded."""
        folder, _, name = path.rpartition("/")
        uuid = self._pool_at(folder)
        if uuid is None:
            return None
        return self._bounded.call(uuid, f"look at {name}", lambda: self._size(uuid, name), ANSWER_SECONDS)

    def _size(self, uuid: str, name: str) -> int | None:
        with self._connection.calling(f"look at {name} on pool {uuid}") as raw:
            pool = find_pool(raw, uuid)
            if pool is None or not pool.isActive():
                raise Busy(f"Host {self._connection.host}: pool {uuid} is not connected there yet")
            size = size_of(find_volume(pool, name))
            if size is None:
                self._mounts.require(pool)
                self._mounts.refresh(pool)
                size = size_of(find_volume(pool, name))
            return size

    def learn(self, pool: str, target: str) -> None:
        """A pool that was just connected."""
        self._targets[pool] = target

    def _pool_at(self, folder: str) -> str | None:
        """UUID of the pool of ours with that target. Known, or read from the path: listing pools waits for each of
        them, and one whose server is dead would hold up all others."""
        for uuid, target in list(self._targets.items()):
            if target == folder:
                return uuid
        if folder.startswith(f"{MOUNTS}/"):
            return folder.removeprefix(f"{MOUNTS}/")
        return self._bounded.call(EVERYTHING, "list its pools", lambda: self._search(folder), ANSWER_SECONDS)

    def _search(self, folder: str) -> str | None:
        with self._connection.calling("list its pools") as raw:
            for pool in raw.listAllStoragePools(0):
                if pool.name().startswith(pool_name("")):
                    target = value(parse(pool.XMLDesc(0), "a pool"), "target/path")
                    self.learn(pool.UUIDString(), target)
                    if target == folder:
                        return str(pool.UUIDString())
        return None
