"""What an image's first bytes may say before any tool opens it. Pure; called by `images.py`.

oslo's format inspector knows the formats and their references to other files; it calls a disk of 1 PiB or a giant
L1 table safe, so sizes and tables are checked here, from the formats' specifications.
"""

import struct

from drivers.errors import BadImage

MIB = 1 << 20
MAX_TABLE = 32 * MIB
"""QEMU's own bound for an L1 table; one this large serves 2 PiB with clusters of 64 KiB."""
MAX_SECTOR_GRAIN = 128 * 2
_DATA_FILE_EXTENSION = 0x44415441
_BACKING_FORMAT_EXTENSION = 0xE2792ACA

_QCOW2 = struct.Struct(">4sIQIIQIIQQIIQ")
_VMDK = struct.Struct("<4sIIQQQQIQQQ")


def virtual_size(image_format: str, head: bytes, length: int, url: str) -> int:
    """Bytes of the disk inside, 0 for a raw image whose `length` is unknown. Raises BadImage, saying what was found."""
    if image_format == "qcow2":
        return _qcow2(head, length, url)
    if image_format == "vmdk":
        return _vmdk(head, url)
    return length


def _qcow2(head: bytes, length: int, url: str) -> int:
    if len(head) < 512:
        raise BadImage(f"{url}: ends within the qcow2 header")
    fields = _QCOW2.unpack_from(head)
    magic, version, backing, _backing_size, bits, size, encrypted, l1, l1_at, refs_at, refs, snapshots, _at = fields
    _refuse(magic != b"QFI\xfb" or version not in (2, 3), url, "is not a qcow2 of version 2 or 3")
    _refuse(backing != 0, url, "is a qcow2 with a backing file: only self-contained images are taken")
    _refuse(encrypted != 0, url, "is an encrypted qcow2")
    _refuse(not 9 <= bits <= 21, url, f"has clusters of 2^{bits} bytes")
    _refuse(snapshots != 0, url, f"has {snapshots} internal snapshots; convert it first (qemu-img convert)")
    cluster = 1 << bits
    needed = -(-size // (cluster * (cluster // 8)))
    _refuse(l1 * 8 > MAX_TABLE or l1 < needed, url, f"has an L1 table of {l1} entries where {needed} are needed")
    _refuse(refs * cluster > 8 * MIB, url, f"has a reference table of {refs} clusters")
    for what, at in (("L1 table", l1_at), ("reference table", refs_at)):
        _refuse(at % cluster != 0 or (length > 0 and at >= length), url, f"has its {what} outside the file")
    if version == 3:
        (incompatible,) = struct.unpack_from(">Q", head, 72)
        _refuse(
            bool(incompatible & 4), url, "is a qcow2 with an external data file: only self-contained images are taken"
        )
        _refuse(bool(incompatible & ~0b1001), url, f"has incompatible features {incompatible:#x}")
        (header_length,) = struct.unpack_from(">I", head, 100)
        _refuse(not 104 <= header_length <= cluster, url, f"has a header of {header_length} bytes")
        _extensions(head, header_length, url)
    return int(size)


def _extensions(head: bytes, at: int, url: str) -> None:
    while at + 8 <= len(head):
        kind, size = struct.unpack_from(">II", head, at)
        if kind == 0:
            return
        _refuse(kind == _DATA_FILE_EXTENSION, url, "names an external data file")
        at += 8 + -(-size // 8) * 8
    raise BadImage(f"{url}: its qcow2 header extensions do not end")


def _vmdk(head: bytes, url: str) -> int:
    if len(head) < 512 or not head.startswith(b"KDMV"):
        raise BadImage(f"{url}: is a VMDK that only names other files; take a monolithicSparse or streamOptimized one")
    _magic, version, _flags, capacity, grain, _desc, _desc_size, entries, _rgd, _gd, _overhead = _VMDK.unpack_from(head)
    _refuse(version not in (1, 2, 3), url, f"is a VMDK of version {version}")
    _refuse(grain < 8 or grain > MAX_SECTOR_GRAIN or grain & (grain - 1) != 0, url, f"has grains of {grain} sectors")
    _refuse(entries != 512, url, f"has grain tables of {entries} entries")
    tables = -(-capacity // (grain * entries)) if capacity < 1 << 55 else 1 << 60
    _refuse(tables * 4 > MAX_TABLE, url, f"has a directory of {tables} grain tables")
    return int(capacity) * 512


def _refuse(bad: bool, url: str, what: str) -> None:
    if bad:
        raise BadImage(f"{url}: {what}")
