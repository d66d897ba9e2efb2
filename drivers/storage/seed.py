"""The NoCloud seed: an ISO 9660 image labelled `cidata` with three files. Used by every back-end's `write_seed`.

Written here rather than by a library because the same content must give the same bytes (so that writing it again
changes nothing), and the ISO libraries stamp the time. Long names are Joliet's, which Linux and Windows read. What is
in it is secret (user data): it goes to the pool and nowhere else.
"""

import struct
from dataclasses import dataclass

from drivers.base import Seed

SECTOR = 2048
ROUND = 64 * 1024
"""The image's size is a multiple of this, so that a small change is written in place."""
LABEL = "cidata"

_PRIMARY_TABLES, _JOLIET_TABLES, _PRIMARY_ROOT, _JOLIET_ROOT, _FIRST_FILE = 19, 21, 23, 24, 25
_EPOCH = bytes((100, 1, 1, 0, 0, 0, 0))
"""2000-01-01: the same in every image."""


@dataclass(frozen=True, slots=True)
class _File:
    short: bytes
    long: bytes
    sector: int
    content: bytes


def seed_image(seed: Seed) -> bytes:
    """The whole image. A network-config that is empty is left out: cloud-init then asks by DHCP."""
    files = _placed(
        [("META_DAT.;1", "meta-data", seed.meta_data)]
        + ([("NETWORK_.;1", "network-config", seed.network_config)] if seed.network_config else [])
        + [("USER_DAT.;1", "user-data", seed.user_data)]
    )
    last = files[-1]
    sectors = last.sector + _sectors(last.content)
    total = -(-sectors * SECTOR // ROUND) * ROUND
    image = bytearray(total)

    def put(sector: int, content: bytes) -> None:
        image[sector * SECTOR : sector * SECTOR + len(content)] = content

    put(16, _descriptor(1, total // SECTOR, _PRIMARY_TABLES, _PRIMARY_ROOT, LABEL.encode().ljust(32), b""))
    label = LABEL.encode("utf-16-be").ljust(32, b"\0")
    put(17, _descriptor(2, total // SECTOR, _JOLIET_TABLES, _JOLIET_ROOT, label, b"%/E"))
    put(18, b"\xffCD001\x01")
    for table, root in ((_PRIMARY_TABLES, _PRIMARY_ROOT), (_JOLIET_TABLES, _JOLIET_ROOT)):
        put(table, struct.pack("<BBIH2x", 1, 0, root, 1))
        put(table + 1, struct.pack(">BBIH2x", 1, 0, root, 1))
    put(_PRIMARY_ROOT, _directory(_PRIMARY_ROOT, [(f.short, f) for f in files]))
    put(_JOLIET_ROOT, _directory(_JOLIET_ROOT, [(f.long, f) for f in files]))
    for file in files:
        put(file.sector, file.content)
    return bytes(image)


def _placed(files: list[tuple[str, str, str]]) -> list[_File]:
    placed, sector = [], _FIRST_FILE
    for short, long, text in files:
        content = text.encode()
        placed.append(_File(short.encode(), long.encode("utf-16-be"), sector, content))
        sector += _sectors(content)
    return placed


def _sectors(content: bytes) -> int:
    return max(-(-len(content) // SECTOR), 1)


def _both(number: int) -> bytes:
    """Little and big endian one after the other, as ISO 9660 wants."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def _both16(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _record(name: bytes, sector: int, size: int, directory: bool) -> bytes:
    body = (
        b"\0" + _both(sector) + _both(size) + _EPOCH + bytes((2 if directory else 0, 0, 0)) + _both16(1)
        + bytes((len(name),)) + name
    )  # fmt: skip
    if len(body) % 2 == 0:
        body += b"\0"
    return bytes((len(body) + 1,)) + body


def _directory(sector: int, entries: list[tuple[bytes, _File]]) -> bytes:
    records = [_record(name, sector, SECTOR, True) for name in (b"\0", b"\1")]
    records += [
        _record(name, file.sector, len(file.content), False) for name, file in sorted(entries, key=lambda e: e[0])
    ]
    return b"".join(records)


def _descriptor(kind: int, sectors: int, tables: int, root: int, label: bytes, escapes: bytes) -> bytes:
    """A primary (1) or supplementary (2) volume descriptor."""
    blank = b"\0" if kind == 2 else b" "
    space = b"\0 " if kind == 2 else b" "
    never = b"0" * 16 + b"\0"
    head = bytes((kind,)) + b"CD001\x01\0"
    head += (space * 32)[:32] + label + bytes(8) + _both(sectors) + escapes.ljust(32, b"\0")
    head += _both16(1) + _both16(1) + _both16(SECTOR) + _both(10)
    head += struct.pack("<II", tables, 0) + struct.pack(">II", tables + 1, 0)
    head += _record(b"\0", root, SECTOR, True)
    head += (space * 128)[:128] * 4 + (blank * 37)[:37] * 3
    return head + never * 4 + b"\x01\0"
