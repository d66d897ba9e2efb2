"""A simulated domain: its row, what it is made of, how it becomes facts, and what happens when its power changes.

Used by the end-point and its actions (our hands) and by `faults` (an administrator's hands), so that both go through
the same rules: what a guest does when it is told to shut down, and the record of what must never happen, two running
copies of one UUID or two writers of one disk.
"""

import functools
import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from drivers.base import (
    DiskAttachment,
    DiskSeen,
    EventKind,
    Hardware,
    InstanceFacts,
    NicAttachment,
    NicSeen,
    Power,
    Why,
)
from drivers.marks import InstanceMark, Unreadable, decode
from drivers.simulated.state import Transaction

OVERHEAD = 180 << 20
"""Bytes a simulated hypervisor takes per running guest beside the guest's memory."""

ACTIVE = (Power.RUNNING, Power.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a domain is made of; the definition has one and, while it is active, the live domain another."""

    cpus: int
    memory: int
    max_cpus: int = 0
    max_memory: int = 0
    hardware: Hardware = field(default_factory=Hardware)
    disks: tuple[DiskAttachment, ...] = ()
    nics: tuple[NicAttachment, ...] = ()
    nvram: tuple[str, str] | None = None


_SHAPE = TypeAdapter(Shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One row. `mark` is the text as written; `live` is None while it is off; `due` is when it will have shut down."""

    host: str
    uuid: str
    title: str
    mark: str = ""
    power: Power = Power.OFF
    why: Why = Why.UNKNOWN
    persistent: bool = True
    autostart: bool = False
    shape: Shape
    live: Shape | None = None
    agent: bool = False
    due: float | None = None

    @property
    def active(self) -> bool:
        return self.power in ACTIVE


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a guest answers. `shutdown`: seconds until it is off after being asked, negative: it ignores it."""

    shutdown: float = 0.0
    agent: bool = True
    unplug: bool = True


# ---------------------------------------------------------------- rows

_COLUMNS = "host, uuid, title, mark, power, why, persistent, autostart, shape, live, agent, due"


def load(tx: Transaction, host: str, uuid: str) -> Domain | None:
    row = tx.row(f"SELECT {_COLUMNS} FROM domains WHERE host = ? AND uuid = ?", host, uuid)
    return None if row is None else _domain(row)


def load_all(tx: Transaction, where: str = "1", *values: Any) -> list[Domain]:
    return [_domain(row) for row in tx.rows(f"SELECT {_COLUMNS} FROM domains WHERE {where}", *values)]


def versions(tx: Transaction, host: str) -> list[tuple[str, int]]:
    """(uuid, version) of every domain of `host`: what a listing compares with what it read before."""
    return tx.rows("SELECT uuid, version FROM domains WHERE host = ?", host)


def save(tx: Transaction, domain: Domain, detail: str) -> None:
    """Write the row, log the change, and record what must never be (see `violations`)."""
    ran = tx.row("SELECT power FROM domains WHERE host = ? AND uuid = ?", domain.host, domain.uuid) == ("Running",)
    version = tx.change(EventKind.CHANGED, domain.host, domain.uuid, detail)
    tx.run(
        f"INSERT OR REPLACE INTO domains({_COLUMNS}, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        *(domain.host, domain.uuid, domain.title, domain.mark, domain.power.value, domain.why.value),
        *(domain.persistent, domain.autostart, _SHAPE.dump_json(domain.shape).decode()),
        *(_SHAPE.dump_json(domain.live).decode() if domain.live else None, domain.agent, domain.due, version),
    )
    written = tx.rows("DELETE FROM writers WHERE host = ? AND uuid = ? RETURNING pool, disk", domain.host, domain.uuid)
    if domain.power is Power.RUNNING and domain.live is not None:
        if not ran:
            _record_run(tx, domain)
        _record_writes(tx, domain, domain.live, written)


def remove(tx: Transaction, domain: Domain, detail: str = "undefined") -> None:
    tx.run("DELETE FROM domains WHERE host = ? AND uuid = ?", domain.host, domain.uuid)
    tx.run("DELETE FROM writers WHERE host = ? AND uuid = ?", domain.host, domain.uuid)
    tx.run("DELETE FROM consoles WHERE host = ? AND uuid = ?", domain.host, domain.uuid)
    tx.change(EventKind.CHANGED, domain.host, domain.uuid, detail)


def _domain(row: Any) -> Domain:
    host, uuid, title, mark, power, why, persistent, autostart, shape, live, agent, due = row
    return Domain(
        host=host,
        uuid=uuid,
        title=title,
        mark=mark,
        power=Power(power),
        why=Why(why),
        persistent=bool(persistent),
        autostart=bool(autostart),
        shape=_SHAPE.validate_json(shape),
        live=_SHAPE.validate_json(live) if live else None,
        agent=bool(agent),
        due=due,
    )


def _record_run(tx: Transaction, domain: Domain) -> None:
    """The oracle of the tests: a second running copy is written down for ever, when it begins to run."""
    others = tx.rows(
        "SELECT host FROM domains WHERE uuid = ? AND power = ? AND host != ?",
        domain.uuid, Power.RUNNING.value, domain.host,
    )  # fmt: skip
    for (host,) in others:
        violate(tx, f"instance {domain.uuid} ({domain.title}) runs on {domain.host} and on {host}")


def _record_writes(tx: Transaction, domain: Domain, live: Shape, before: list[tuple[str, str]]) -> None:
    """And a second writer of a disk, when it begins to write."""
    for disk in live.disks:
        if disk.read_only or disk.device == "cdrom" or not disk.disk:
            continue
        rivals = tx.rows("SELECT host, uuid FROM writers WHERE pool = ? AND disk = ?", disk.pool, disk.disk)
        for host, uuid in rivals:
            if not disk.shareable and (disk.pool, disk.disk) not in before:
                violate(tx, f"disk {disk.disk} of pool {disk.pool} is written by {uuid} on {host} and by "
                            f"{domain.uuid} on {domain.host}")  # fmt: skip
        tx.run("INSERT OR IGNORE INTO writers VALUES (?, ?, ?, ?)", disk.pool, disk.disk, domain.host, domain.uuid)


def violate(tx: Transaction, text: str) -> None:
    tx.run("INSERT INTO violations(time, cause, text) VALUES (?, ?, ?)", time.time(), tx.cause, text)


# ---------------------------------------------------------------- facts


@functools.lru_cache(maxsize=16_384)
def read_mark(text: str) -> tuple[InstanceMark | None, bool]:
    """(mark, unreadable). No text, or a mark of an unknown format version, is (None, False)."""
    if not text:
        return None, False
    try:
        mark = decode(text)
    except Unreadable:
        return None, True
    return (mark, False) if isinstance(mark, InstanceMark) else (None, mark is not None)


def facts(domain: Domain) -> InstanceFacts:
    mark, unreadable = read_mark(domain.mark)
    now = domain.live or domain.shape
    return InstanceFacts(
        host=domain.host,
        uuid=domain.uuid,
        name=domain.title,
        power=domain.power,
        why=domain.why,
        mark=mark,
        unreadable=unreadable,
        cpus=now.cpus,
        memory=now.memory,
        overhead=OVERHEAD,
        disks=tuple(DiskSeen(name=d.name, disk=d.disk, device=d.device, slot=d.slot) for d in now.disks),
        nics=tuple(NicSeen(name=n.name, mac=n.mac, slot=n.slot) for n in now.nics),
        agent_connected=domain.agent,
        persistent=domain.persistent,
        autostart=domain.autostart,
        digest=digest(domain.shape),
    )


def digest(shape: Shape) -> str:
    """Of what `Define` would write; the mark is no part of it, since it changes with every start."""
    return hashlib.sha256(_SHAPE.dump_json(shape)).hexdigest()[:16]


# ---------------------------------------------------------------- power


def behaviour(tx: Transaction, uuid: str) -> Behaviour:
    row = tx.row("SELECT shutdown, agent, unplug FROM guests WHERE uuid IN (?, '') ORDER BY uuid DESC LIMIT 1", uuid)
    return Behaviour() if row is None else Behaviour(row[0], bool(row[1]), bool(row[2]))


def run(tx: Transaction, domain: Domain, detail: str, why: Why = Why.BOOTED) -> Domain:
    """Let its CPUs run. A guest that was started paused boots now: its agent connects and its console speaks."""
    guest = behaviour(tx, domain.uuid)
    result = replace(domain, power=Power.RUNNING, why=why, agent=guest.agent, due=None)
    save(tx, result, detail)
    return result


def end(tx: Transaction, domain: Domain, why: Why, detail: str, power: Power = Power.OFF) -> Domain | None:
    """It is off now. A transient domain goes with its run (None)."""
    result = replace(domain, power=power, why=why, live=None, agent=False, due=None)
    if not domain.persistent:
        remove(tx, result, detail)
        return None
    save(tx, result, detail)
    return result


def ask_to_shut_down(tx: Transaction, domain: Domain) -> None:
    """ACPI or agent: the guest obeys at once, later, or never. A paused one cannot hear it."""
    if domain.power is not Power.RUNNING:
        return
    delay = behaviour(tx, domain.uuid).shutdown
    if delay == 0:
        end(tx, domain, Why.SHUTDOWN, "shut down")
    elif delay > 0 and domain.due is None:
        save(tx, replace(domain, due=time.time() + delay), "shutting down")


def settle(tx: Transaction) -> None:
    """End the guests whose shutdown is due. Guests of a host that nobody reaches shut down too."""
    for domain in load_all(tx, "due <= ?", time.time()):
        if domain.power is Power.RUNNING:
            end(tx, domain, Why.SHUTDOWN, "shut down")
        else:
            save(tx, replace(domain, due=None), "shutdown forgotten")


def say(tx: Transaction, domain: Domain, text: str) -> None:
    """Print a line on the guest's serial console."""
    tx.run("INSERT INTO consoles(host, uuid, text) VALUES (?, ?, ?)", domain.host, domain.uuid, text + "\n")
