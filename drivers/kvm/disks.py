"""Disks on a pool: observe, list, make, grow, delete, each with its mark (safety.md M2). Called by `storage.py`.

The order never changes: the mark `creating`, the disk, the mark `ready`; and backwards when it goes: the disk with its
companions, then the mark. So a disk without a mark is never ours, whenever a host or an operator died.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import libvirt

from drivers.base import DiskDefinition, DiskFacts, PoolDefinition
from drivers.errors import Busy, Invalid, NotOurs
from drivers.kvm import disk_marks
from drivers.kvm.bounded import require_awaited
from drivers.kvm.connection import Connection
from drivers.kvm.disk_marks import DiskMarkRead
from drivers.kvm.failure import is_absent, is_taken
from drivers.kvm.mounts import Mounts
from drivers.kvm.pool_xml import volume_element
from drivers.kvm.pools import Pools
from drivers.kvm.usage import Usage
from drivers.kvm.volume_io import create_file, find_volume, write_file
from drivers.kvm.xml import parse, to_text, value
from drivers.marks import DiskMark, DiskState
from drivers.storage.names import COMPANIONS, MARK, SEED, is_disk, sort_names

Make = Callable[[Any, Any], int]
"""(raw connection, libvirt pool) → virtual size of the disk that it made; 0: as defined."""


class Disks:
    """Thread-safe; the caller runs one call per disk at a time."""

    def __init__(self, connection: Connection, mounts: Mounts, pools: Pools, usage: Usage) -> None:
        self._connection = connection
        self.mounts = mounts
        self._pools = pools
        self._usage = usage

    @contextlib.contextmanager
    def _calling(self, what: str, pool: PoolDefinition) -> Iterator[tuple[Any, Any]]:
        """Gives the raw connection and the libvirt pool; see Connection.calling and Pools.mounted."""
        with self._connection.calling(what) as raw, self._pools.mounted(raw, pool) as there:
            yield raw, there

    # ---------------------------------------------------------------- looking

    def listing(self, pool: PoolDefinition) -> tuple[DiskFacts, ...]:
        users = self._usage.users()
        with self._calling(f"list the disks of pool {pool.name}", pool) as (raw, there):
            self.mounts.refresh(there)
            volumes = {v.name(): v for v in there.listAllVolumes(0)}
            names = sort_names(list(volumes))
            marks = disk_marks.read_many(raw, there, names.marks)
            facts = []
            for disk in sorted({*names.disks, *names.marks, *names.foreign}):
                volume = volumes.get(disk)
                facts.append(_facts(disk, _begun(marks.get(disk, DiskMarkRead()), volume), volume, users))
        return tuple(f for f in facts if f is not None)

    def observe(self, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        users = self._usage.users()
        with self._calling(f"look at disk {disk} on pool {pool.name}", pool) as (raw, there):
            self.mounts.refresh(there)  # Another host may have made or deleted it.
            return self._observe(raw, there, disk, users)

    def _observe(self, raw: Any, there: Any, disk: str, users: dict[str, tuple[str, ...]]) -> DiskFacts | None:
        return _facts(disk, *_find(raw, there, disk), users)

    # ---------------------------------------------------------------- making

    def make(self, pool: PoolDefinition, wanted: DiskDefinition, what: str, make: Make) -> DiskFacts:
        """The frame around every way to make a disk. `make` raises to give up: then nothing is left."""
        disk, users = wanted.disk, self._usage.users()
        if not is_disk(disk):
            raise Invalid(f"{disk!r} is no disk name of the form <uuid>-<n>")
        what = f"{what} {disk} on pool {pool.name}"
        with self._calling(what, pool) as (raw, there):
            self.mounts.refresh(there)
            found, volume = _find(raw, there, disk)
            if found.there:
                mark = disk_marks.require_ours(
                    self._connection.host, disk, found, wanted.mark.installation, wanted.mark.uid
                )
                # An image can be made again, a guest's disk cannot: that one is lost.
                if mark.state is not DiskState.CREATING and (volume is not None or mark.kind != "Template"):
                    facts = _facts(disk, found, volume, users)
                    if facts is not None:
                        return facts
                self._drop(there, disk)
            elif volume is not None:
                raise NotOurs(f"Host {self._connection.host}: disk {disk} is there without a mark; it is left alone")
            begun = replace(wanted.mark, state=DiskState.CREATING)
            if found.there:
                disk_marks.write(raw, there, disk, begun)
            elif not disk_marks.begin(raw, there, disk, begun):
                raise Busy(f"Host {self._connection.host}: disk {disk} was begun by another call meanwhile")
            try:
                size = make(raw, there)
            except BaseException as error:
                if not is_taken(error):  # Else what is there came from another call.
                    self._drop(there, disk)
                    delete_volume(there, disk + MARK)
                raise
        # Only now is it certain that the disk lies on the storage itself.
        with self._calling(what, pool) as (raw, there):
            ready = replace(wanted.mark, state=DiskState.READY, size=size or wanted.mark.size)
            disk_marks.write(raw, there, disk, ready)
            facts = self._observe(raw, there, disk, users)
        if facts is None:
            raise Busy(f"Host {self._connection.host}: disk {disk} vanished while it was made")
        return facts

    def blank(self, pool: PoolDefinition, wanted: DiskDefinition) -> DiskFacts:
        def make(_raw: Any, there: Any) -> int:
            thick = wanted.provisioning == "Thick"
            flags = 0
            if thick and wanted.format == "qcow2":
                flags = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA
            element = volume_element(
                wanted.disk,
                capacity=wanted.size,
                image_format=wanted.format,
                allocation=wanted.size if thick and wanted.format == "raw" else 0,
            )
            there.createXML(to_text(element), flags)
            return 0

        return self.make(pool, wanted, "create disk", make)

    def clone(self, pool: PoolDefinition, wanted: DiskDefinition, base: str) -> DiskFacts:
        thin = wanted.provisioning == "Thin" and wanted.format == "qcow2"
        wanted = replace(wanted, mark=replace(wanted.mark, base=base if thin else ""))

        def make(raw: Any, there: Any) -> int:
            origin = self._verified(raw, there, base, pool.name)
            size, image_format = origin.info()[1], _format_of(origin)
            if wanted.size < size:
                raise Invalid(
                    f"disk {wanted.disk}: {wanted.size} bytes are less than the {size} bytes of its image {base}"
                )
            if thin:
                element = volume_element(
                    wanted.disk, capacity=wanted.size, image_format="qcow2", base=base, base_format=image_format
                )
                there.createXML(to_text(element), 0)
            else:
                copy_volume(there, wanted, origin, grow_to=wanted.size)
            return 0

        return self.make(pool, wanted, "clone disk", make)

    def copy(self, source: PoolDefinition, disk: str, pool: PoolDefinition, wanted: DiskDefinition) -> DiskFacts:
        def make(raw: Any, there: Any) -> int:
            with self._pools.mounted(raw, source) as store:
                self.mounts.refresh(store)
                origin = self._verified(raw, store, disk, source.name)
                return copy_volume(there, wanted, origin)

        return self.make(pool, wanted, f"copy image {disk} from {source.name} to", make)

    def _verified(self, raw: Any, there: Any, base: str, pool: str) -> Any:
        """The volume of an image whose mark is ready. Raises Invalid, Busy."""
        found, volume = disk_marks.read(raw, there, base), find_volume(there, base)
        if found.mark is None or volume is None:
            raise Invalid(f"Host {self._connection.host}: pool {pool} has no image {base} with a mark of ours")
        if found.mark.state is not DiskState.READY:
            raise Busy(f"Host {self._connection.host}: image {base} on pool {pool} is still {found.mark.state}")
        return volume

    # ---------------------------------------------------------------- changing

    def resize(self, pool: PoolDefinition, disk: str, size: int) -> DiskFacts:
        users = self._usage.users()
        with self._calling(f"grow disk {disk} on pool {pool.name}", pool) as (raw, there):
            self.mounts.refresh(there)
            volume = find_volume(there, disk)
            if volume is None:
                raise Invalid(f"Host {self._connection.host}: pool {pool.name} has no disk {disk}")
            if size > volume.info()[1]:
                if self._usage.is_running_on(volume.path()):
                    raise Busy(f"Host {self._connection.host}: a guest runs on disk {disk}; grow it through the guest")
                volume.resize(size, 0)
            facts = self._observe(raw, there, disk, users)
        if facts is None:
            raise Invalid(f"Host {self._connection.host}: pool {pool.name} has no disk {disk}")
        return facts

    def write_mark(self, pool: PoolDefinition, disk: str, mark: DiskMark) -> None:
        with self._calling(f"mark disk {disk} on pool {pool.name}", pool) as (raw, there):
            found = disk_marks.read(raw, there, disk)
            if not found.there:
                self.mounts.refresh(there)
                found = disk_marks.read(raw, there, disk)
            if found.foreign:
                raise NotOurs(
                    f"Host {self._connection.host}: disk {disk} has a mark of a later format version; it is left alone"
                )
            disk_marks.write(raw, there, disk, mark)

    def write_seed(self, pool: PoolDefinition, disk: str, image: bytes) -> str:
        """In place: a file that is too small grows first, and one that is larger keeps its size."""
        name = disk + SEED
        with self._calling(f"write the seed of {disk} on pool {pool.name}", pool) as (raw, there):
            if not create_file(there, name, len(image)):
                volume = there.storageVolLookupByName(name)
                size = volume.info()[1]
                if size < len(image):
                    volume.resize(len(image), 0)
                image = image.ljust(size, b"\0")
            write_file(raw, there, name, image)
        return name

    # ---------------------------------------------------------------- going

    def delete(self, pool: PoolDefinition, disk: str, expected_uid: str) -> None:
        users = self._usage.users()
        with self._calling(f"delete disk {disk} on pool {pool.name}", pool) as (raw, there):
            self.mounts.refresh(there)
            found, volume = _find(raw, there, disk)
            if not found.there and volume is None:
                delete_volume(there, disk + MARK)  # Only a blank one can be there.
                return
            mark = disk_marks.require_ours(self._connection.host, disk, found, "", expected_uid)
            at = f"Host {self._connection.host}: disk {disk} on pool {pool.name}"
            if volume is not None and (by := users.get(volume.path(), ())):
                raise Busy(f"{at} is named by {', '.join(by)}; undefine or detach it first")
            if mark.kind == "Template" and (clones := self._clones(raw, there, disk)):
                raise Busy(f"{at} is the base of {len(clones)} thin clones: {', '.join(clones[:3])}")
            self._drop(there, disk)
            delete_volume(there, disk + MARK)

    def _clones(self, raw: Any, there: Any, base: str) -> list[str]:
        names = sort_names([v.name() for v in there.listAllVolumes(0)])
        marks = disk_marks.read_many(raw, there, names.marks)
        return sorted(disk for disk, found in marks.items() if found.mark is not None and found.mark.base == base)

    def _drop(self, there: Any, disk: str) -> None:
        """The disk and its companions, never its mark."""
        require_awaited()
        for name in (disk, *(disk + end for end in COMPANIONS)):
            delete_volume(there, name)


def copy_volume(there: Any, wanted: DiskDefinition, origin: Any, grow_to: int = 0) -> int:
    """A whole copy in the wanted format; grown if asked for more than it has. Returns its size."""
    size: int = origin.info()[1]
    element = volume_element(wanted.disk, capacity=size, image_format=wanted.format, allocation=0)
    made = there.createXMLFrom(to_text(element), origin, 0)
    if grow_to > size:
        made.resize(grow_to, 0)  # libvirt copies the source's size whatever the XML says.
        return grow_to
    return size


def delete_volume(there: Any, name: str) -> None:
    volume = find_volume(there, name)
    if volume is None:
        return
    try:
        volume.delete(0)
    except libvirt.libvirtError as error:
        if not is_absent(error):
            raise


def _find(raw: Any, there: Any, disk: str) -> tuple[DiskMarkRead, Any | None]:
    """The disk's mark and its volume."""
    volume = find_volume(there, disk)
    return _begun(disk_marks.read(raw, there, disk), volume), volume


def _begun(found: DiskMarkRead, volume: Any | None) -> DiskMarkRead:
    """A blank mark without its disk is no mark: whoever was about to write it died, and the next one does."""
    return DiskMarkRead() if found.blank and volume is None else found


def _format_of(volume: Any) -> str:
    return value(parse(volume.XMLDesc(0), "a volume"), "target/format", "type") or "raw"


def _facts(disk: str, found: DiskMarkRead, volume: Any | None, users: dict[str, tuple[str, ...]]) -> DiskFacts | None:
    """None when neither disk nor mark is there."""
    size = allocated = 0
    by: tuple[str, ...] = ()
    if volume is not None:
        try:
            _kind, size, allocated = volume.info()
            by = users.get(volume.path(), ())
        except libvirt.libvirtError as error:
            if not is_absent(error):
                raise
            volume = None
    if volume is None and not found.there:
        return None
    return DiskFacts(
        disk=disk,
        mark=found.mark,
        unreadable=found.unreadable,
        size=size,
        allocated=allocated,
        exists=volume is not None,
        in_use_by=by,
    )
