"""Disk marks as files on a pool (safety.md M2): one raw volume `<disk>.json` a disk, rewritten in place. Used by
`disks.py`, inside `calling`; raises libvirtError.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from drivers import marks
from drivers.errors import NotOurs
from drivers.kvm.bounded import require_awaited
from drivers.kvm.volume_io import create_file, find_volume, read_file, write_file
from drivers.marks import DiskMark
from drivers.storage.names import mark_of

_READERS = 4
"""Reading a mark is four short calls one after another; several at once use the waiting."""


@dataclass(frozen=True, slots=True)
class DiskMarkRead:
    """`there` without `mark`: unreadable, or (`foreign`) of a format version that is somebody else's (M3).

    `blank`: the file was created and never written, which is how a process that dies between the two leaves it. The
    disk comes after its mark, so beside a blank one there is none; where there is one, the mark is unreadable (M2).
    """

    there: bool = False
    mark: DiskMark | None = None
    foreign: bool = False
    blank: bool = False

    @property
    def unreadable(self) -> bool:
        return self.there and self.mark is None and not self.foreign


def decode(content: bytes) -> DiskMarkRead:
    if not content.strip(b"\0"):
        return DiskMarkRead(there=True, blank=True)
    try:
        mark = marks.decode(content.decode())
    except (marks.Unreadable, UnicodeDecodeError):
        return DiskMarkRead(there=True)
    if mark is None:
        return DiskMarkRead(there=True, foreign=True)
    return DiskMarkRead(there=True, mark=mark if isinstance(mark, DiskMark) else None)


def read(raw: Any, pool: Any, disk: str) -> DiskMarkRead:
    """As the storage has it now, past libvirt's list of the pool only if it has the file in it."""
    if find_volume(pool, mark_of(disk)) is None:
        return DiskMarkRead()
    return decode(read_file(raw, pool, mark_of(disk)))


def read_many(raw: Any, pool: Any, disks: tuple[str, ...]) -> dict[str, DiskMarkRead]:
    with ThreadPoolExecutor(_READERS, thread_name_prefix="marks") as readers:
        return dict(zip(disks, readers.map(lambda disk: read(raw, pool, disk), disks), strict=True))


def begin(raw: Any, pool: Any, disk: str, mark: DiskMark) -> bool:
    """The first mark of a disk. False when another call wrote one since the pool was listed: nothing is changed."""
    require_awaited()
    if not create_file(pool, mark_of(disk), marks.MAX_BYTES) and not read(raw, pool, disk).blank:
        return False
    write(raw, pool, disk, mark)
    return True


def write(raw: Any, pool: Any, disk: str, mark: DiskMark) -> None:
    """Create or rewrite in place: one block, in one piece. A mark that needs more blocks (a boot disk whose instance
    has very many volumes) gets them; a torn one is unreadable by its checksum, and held."""
    require_awaited()
    content = marks.encode(mark).encode()
    name = mark_of(disk)
    blocks = -(-len(content) // marks.MAX_BYTES)
    create_file(pool, name, blocks * marks.MAX_BYTES)
    there = pool.storageVolLookupByName(name).info()[1]
    write_file(raw, pool, name, content.ljust(max(blocks * marks.MAX_BYTES, there), b"\n"))


def require_ours(host: str, disk: str, found: DiskMarkRead, installation: str, uid: str) -> DiskMark:
    """Raises NotOurs unless the mark is of this installation and object."""
    at = f"Host {host}: disk {disk}"
    if found.unreadable:
        raise NotOurs(f"{at} has a mark that cannot be read; it is left alone")
    if found.mark is None:
        raise NotOurs(f"{at} is there without a mark of ours; it is left alone")
    if installation and found.mark.installation != installation:
        raise NotOurs(f"{at} belongs to installation {found.mark.installation}; it is left alone")
    if found.mark.uid != uid:
        raise NotOurs(
            f"{at} belongs to {found.mark.kind} {found.mark.namespace}/{found.mark.name} with uid {found.mark.uid}, "
            f"not {uid}; it is left alone"
        )
    return found.mark
