"""Disks of the simulated storage as rows: stores (what a pool's address leads to), disks with their marks, companions.

Used by `storage` (our hands), by `actions` (a start needs its disks) and by `faults` (an administrator's hands). A
store belongs to no host: every host that connected a pool sees the same disks.
"""

import functools
import json
from dataclasses import dataclass, replace

from drivers.base import DiskFacts
from drivers.errors import Busy, Invalid, Unreachable
from drivers.marks import DiskMark, Unreadable, decode
from drivers.simulated import domains
from drivers.simulated.state import Transaction

THIN = 196_616
"""Bytes that an empty thin disk takes (as a fresh qcow2 does)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One row. `present` False: only its mark is there. `content` stands for its bytes (a checksum, or "")."""

    address: str
    disk: str
    mark: str
    size: int = 0
    allocated: int = 0
    present: bool = True
    base: str = ""
    content: str = ""


_COLUMNS = "address, disk, mark, size, allocated, present, base, content"


def load(tx: Transaction, address: str, disk: str) -> Disk | None:
    row = tx.row(f"SELECT {_COLUMNS} FROM disks WHERE address = ? AND disk = ?", address, disk)
    return None if row is None else _disk(row)


def load_all(tx: Transaction, address: str) -> list[Disk]:
    return [_disk(row) for row in tx.rows(f"SELECT {_COLUMNS} FROM disks WHERE address = ?", address)]


def save(tx: Transaction, disk: Disk) -> None:
    # An update, where the row is there: REPLACE would not fire the trigger that gives the space back.
    values = (disk.mark, disk.size, disk.allocated, disk.present, disk.base, disk.content, disk.address, disk.disk)
    updated = tx.run(
        "UPDATE disks SET mark=?, size=?, allocated=?, present=?, base=?, content=? WHERE address=? AND disk=?", *values
    )
    if not updated:
        tx.run(f"INSERT INTO disks({_COLUMNS}) VALUES (?7, ?8, ?1, ?2, ?3, ?4, ?5, ?6)", *values)


def remove(tx: Transaction, address: str, disk: str) -> None:
    """The companions, the disk, and then its mark."""
    tx.run("DELETE FROM companions WHERE address = ? AND name IN (?, ?)", address, f"{disk}.nvram", f"{disk}.seed")
    tx.run("DELETE FROM disks WHERE address = ? AND disk = ?", address, disk)


def _disk(row: tuple[str, str, str, int, int, int, str, str]) -> Disk:
    address, disk, mark, size, allocated, present, base, content = row
    return Disk(
        address=address, disk=disk, mark=mark, size=size, allocated=allocated,
        present=bool(present), base=base, content=content,
    )  # fmt: skip


@functools.lru_cache(maxsize=16_384)
def read_mark(text: str) -> tuple[DiskMark | None, bool]:
    """(mark, unreadable)."""
    if not text:
        return None, False
    try:
        mark = decode(text)
    except Unreadable:
        return None, True
    return (mark, False) if isinstance(mark, DiskMark) else (None, mark is not None)


def facts(disk: Disk, users: tuple[str, ...]) -> DiskFacts:
    mark, unreadable = read_mark(disk.mark)
    return DiskFacts(
        disk=disk.disk,
        mark=mark,
        unreadable=unreadable,
        size=disk.size if disk.present else 0,
        allocated=disk.allocated,
        exists=disk.present,
        in_use_by=users,
    )


# ---------------------------------------------------------------- as a host reaches them


def address_of(tx: Transaction, host: str, pool: str) -> str | None:
    """Where `pool` (a UUID) is connected on `host`; None if it is not. Raises Unreachable when its storage is down."""
    row = tx.row(
        "SELECT c.address, s.down FROM connected c JOIN stores s USING (address) WHERE c.host = ? AND c.pool = ?",
        host, pool,
    )  # fmt: skip
    if row is None:
        return None
    if row[1]:
        raise Unreachable(f"storage of pool {pool} does not answer host {host}")
    return str(row[0])


def users(tx: Transaction, host: str, pool: str, disk: str = "") -> dict[str, tuple[str, ...]]:
    """Disk name → UUIDs of the domains of `host` that name it, defined or live. All disks of the pool, or one."""
    needle = disk or pool
    found: dict[str, tuple[str, ...]] = {}
    named = domains.load_all(tx, "host = ? AND (instr(shape, ?) OR instr(coalesce(live, ''), ?))", host, needle, needle)
    for domain in named:
        shapes = (domain.shape, domain.live) if domain.live else (domain.shape,)
        mine = {d.disk for shape in shapes for d in shape.disks if d.pool == pool and d.disk}
        for name in sorted(mine):
            if not disk or name == disk:
                found[name] = (*found.get(name, ()), domain.uuid)
    return found


def require_for_start(tx: Transaction, host: str, pool: str, name: str) -> None:
    """The disk must be there for the hypervisor to open it. Raises Busy, Invalid, Unreachable."""
    address = address_of(tx, host, pool)
    if address is None:
        raise Busy(f"host {host} has not connected pool {pool} yet, where disk {name} lies")
    found = load(tx, address, name)
    companion = tx.row("SELECT 1 FROM companions WHERE address = ? AND name = ?", address, name)
    if companion is None and (found is None or not found.present):
        raise Invalid(f"host {host} finds no disk {name} on pool {pool}")


def grow(tx: Transaction, host: str, pool: str, name: str, size: int) -> None:
    """Smaller or equal: nothing. Raises Invalid when it is not there."""
    require_for_start(tx, host, pool, name)
    address = address_of(tx, host, pool)
    found = load(tx, address, name) if address else None
    if found is not None and size > found.size:
        thick = found.allocated >= found.size > 0
        save(tx, replace(found, size=size, allocated=size if thick else found.allocated))


def make_nvram(tx: Transaction, host: str, pool: str, name: str) -> None:
    """UEFI variables beside the boot disk (D5): made at the first start, kept after."""
    address = address_of(tx, host, pool)
    if address is None:
        raise Busy(f"host {host} has not connected pool {pool} yet, where the UEFI variables {name} lie")
    tx.run("INSERT OR IGNORE INTO companions VALUES (?, ?, ?)", address, name, json.dumps({"variables": {}}))
