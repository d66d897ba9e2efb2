"""Faults and the hands of an administrator: what happens to a simulated cloud behind the operator's back.

Used by tests and soak runs, and by people through `python -m drivers.simulated`. It works on the state file alone, so
that it reaches the operator's end-points in this process or in another. Everything here is short and never blocks.
"""

import time
import uuid as uuids
from collections.abc import Sequence
from dataclasses import replace

from drivers.base import EventKind, Power, Why
from drivers.errors import DriverError, Unreachable
from drivers.marks import DiskMark, InstanceMark, encode
from drivers.simulated import disks, domains
from drivers.simulated.domains import Domain, Shape
from drivers.simulated.gate import Effect
from drivers.simulated.state import HOST_CHANGED, State, Transaction


class Faults:
    """The state file's other door. `host=""` means any host, `call=""` any call: a method of `EndPoint` or `Storage`,
    or the name of an action (`StartPaused`). Orders return a number for `release`."""

    def __init__(self, path: str) -> None:
        self._state = State.acquire(path)

    def close(self) -> None:
        self._state.release()

    # ---------------------------------------------------------------- orders

    def fail(
        self,
        calls: int | None = 1,
        *,
        host: str = "",
        call: str = "",
        error: type[DriverError] = Unreachable,
        text: str = "",
    ) -> int:
        """The next `calls` calls (None: all) raise `error` and do nothing."""
        return self._order(Effect.FAIL, calls, host, call, error=error.__name__, text=text)

    def lose_answer(self, calls: int | None = 1, *, host: str = "", call: str = "") -> int:
        """The next calls are done, and raise Unreachable all the same."""
        return self._order(Effect.LOST_ANSWER, calls, host, call)

    def break_midway(self, calls: int | None = 1, *, host: str = "", call: str = "") -> int:
        """The next disks made get their mark `creating` and no further."""
        return self._order(Effect.PARTIAL, calls, host, call)

    def lie(self, calls: int | None = 1, *, host: str = "", call: str = "") -> int:
        """The next changes are reported as done and are not."""
        return self._order(Effect.LIE, calls, host, call)

    def hang(self, calls: int | None = None, *, host: str = "", call: str = "") -> int:
        """Calls block until `release`, then go on (a late call), or until their connection dies."""
        return self._order(Effect.HANG, calls, host, call)

    def slow(self, seconds: float, calls: int | None = None, *, host: str = "", call: str = "") -> int:
        """Calls take `seconds` longer."""
        return self._order(Effect.SLOW, calls, host, call, seconds=seconds)

    def release(self, order: int | None = None) -> None:
        """Withdraw one order, or all. What hangs on it goes on."""
        with self._state.write("administrator") as tx:
            tx.run("DELETE FROM faults WHERE ?1 IS NULL OR id = ?1", order)

    # ---------------------------------------------------------------- hosts

    def lose_host(self, host: str, *, power_loss: bool = False) -> None:
        """Connections die and nothing answers. With `power_loss` its guests stop too; without, they run on unseen."""
        with self._state.write("administrator") as tx:
            if power_loss:
                _power_loss(tx, host)
            _host(tx, host, "lost = 1, boot = boot + 1, frozen_at = NULL")

    def return_host(self, host: str) -> None:
        """It answers again, to new connections."""
        with self._state.write("administrator") as tx:
            _host(tx, host, "lost = 0")

    def reboot_host(self, host: str) -> None:
        """Power loss and return in one: connections die, guests are off, definitions are kept."""
        with self._state.write("administrator") as tx:
            _power_loss(tx, host)
            _host(tx, host, "lost = 0, boot = boot + 1, frozen_at = NULL")

    def cut_connections(self, host: str) -> None:
        """Every open connection breaks; new ones are accepted."""
        with self._state.write("administrator") as tx:
            _host(tx, host, "boot = boot + 1")

    def freeze(self, host: str, keepalive: float = 8.0) -> None:
        """Its daemon stops: calls block, connections die after `keepalive` seconds, guests run."""
        with self._state.write("administrator") as tx:
            tx.run("UPDATE hosts SET keepalive = ?, frozen_at = ? WHERE name = ?", keepalive, time.time(), host)
            _host(tx, host, "lost = lost")

    def thaw(self, host: str) -> None:
        with self._state.write("administrator") as tx:
            _host(tx, host, "frozen_at = NULL")

    def change_machine(self, host: str, machine_id: str = "") -> str:
        """Another machine answers at its address (H2), without any of the old one's domains; returns its id."""
        machine_id = machine_id or str(uuids.uuid4())
        with self._state.write("administrator") as tx:
            for domain in domains.load_all(tx, "host = ?", host):
                domains.remove(tx, domain, "gone with its machine")
            tx.run("DELETE FROM connected WHERE host = ?", host)
            tx.run("UPDATE hosts SET machine_id = ? WHERE name = ?", machine_id, host)
            _host(tx, host, "boot = boot + 1")
        return machine_id

    def set_host(
        self,
        host: str,
        *,
        machine_id: str = "",
        architecture: str = "",
        cpu_model: str = "",
        features: Sequence[str] = (),
    ) -> None:
        """Change what the host reports of itself."""
        with self._state.write("administrator") as tx:
            for column, value in (
                ("machine_id", machine_id),
                ("architecture", architecture),
                ("cpu_model", cpu_model),
                ("cpu_features", ",".join(features)),
            ):
                if value:
                    tx.run(f"UPDATE hosts SET {column} = ? WHERE name = ?", value, host)

    # ---------------------------------------------------------------- domains

    def make_unmarked(
        self, host: str, title: str, *, uuid: str = "", cpus: int = 1, memory: int = 1 << 30, running: bool = True
    ) -> str:
        """A domain that somebody made by hand; returns its UUID."""
        shape = Shape(cpus=cpus, memory=memory)
        domain = Domain(host=host, uuid=uuid or str(uuids.uuid4()), title=title, shape=shape)
        with self._state.write("administrator") as tx:
            domains.save(tx, domain, "defined by an administrator")
            if running:
                domains.run(tx, replace(domain, live=shape), "started by an administrator")
        return domain.uuid

    def move(self, uuid: str, origin: str, target: str, *, keep_definition: bool = False) -> None:
        """A live migration by hand. With `keep_definition` the source stays defined, off because it migrated."""
        with self._state.write("administrator") as tx:
            domain = _found(tx, origin, uuid)
            if keep_definition:
                domains.end(tx, domain, Why.MIGRATED, "migrated away")
            else:
                domains.remove(tx, domain, "migrated away")
            domains.save(tx, replace(domain, host=target, why=Why.MIGRATED), "migrated here")

    def duplicate(self, uuid: str, origin: str, target: str) -> None:
        """The same domain on another host too, as it is."""
        with self._state.write("administrator") as tx:
            domains.save(tx, replace(_found(tx, origin, uuid), host=target), "copied by an administrator")

    def remove(self, host: str, uuid: str) -> None:
        """Powered off and undefined by hand."""
        with self._state.write("administrator") as tx:
            domains.remove(tx, _found(tx, host, uuid), "removed by an administrator")

    def stop(self, host: str, uuid: str) -> None:
        """`virsh destroy`: forced off by hand."""
        with self._state.write("administrator") as tx:
            domains.end(tx, _found(tx, host, uuid), Why.DESTROYED, "stopped by an administrator")

    def start(self, host: str, uuid: str) -> None:
        """`virsh start`: runs at once."""
        with self._state.write("administrator") as tx:
            domain = _found(tx, host, uuid)
            domains.run(tx, replace(domain, live=domain.shape), "started by an administrator")

    def suspend(self, host: str, uuid: str) -> None:
        with self._state.write("administrator") as tx:
            domain = _found(tx, host, uuid)
            domains.save(tx, replace(domain, power=Power.PAUSED, why=Why.STARTED_PAUSED), "suspended")

    def set_power(self, host: str, uuid: str, power: Power, why: Why) -> None:
        """Any state a platform may report (an end of a migration, an I/O error)."""
        with self._state.write("administrator") as tx:
            domain = _found(tx, host, uuid)
            live = (domain.live or domain.shape) if power in domains.ACTIVE else None
            domains.save(tx, replace(domain, power=power, why=why, live=live), "state set")

    def edit(self, host: str, uuid: str, *, cpus: int | None = None, memory: int | None = None) -> None:
        """`virsh edit`: the definition drifts, the running guest does not."""
        with self._state.write("administrator") as tx:
            domain = _found(tx, host, uuid)
            shape = replace(domain.shape, cpus=cpus or domain.shape.cpus, memory=memory or domain.shape.memory)
            domains.save(tx, replace(domain, shape=shape), "edited by an administrator")

    def write_mark(self, host: str, uuid: str, mark: InstanceMark | str) -> None:
        """Any mark, or any text in its place ("": none)."""
        text = mark if isinstance(mark, str) else encode(mark)
        with self._state.write("administrator") as tx:
            domains.save(tx, replace(_found(tx, host, uuid), mark=text), "mark written by an administrator")

    # ---------------------------------------------------------------- guests

    def guest(self, uuid: str = "", *, shutdown: float | None = 0.0, agent: bool = True, unplug: bool = True) -> None:
        """How a guest (or, without a UUID, every other one) behaves: seconds until it is off when asked (None: it
        ignores it), whether its agent connects at the next boot, whether it lets go of what is unplugged."""
        with self._state.write("administrator") as tx:
            seconds = -1.0 if shutdown is None else shutdown
            tx.run("INSERT OR REPLACE INTO guests VALUES (?, ?, ?, ?)", uuid, seconds, agent, unplug)

    def power_off_guest(self, host: str, uuid: str) -> None:
        """The guest shuts itself down."""
        with self._state.write("guest") as tx:
            domains.end(tx, _found(tx, host, uuid), Why.SHUTDOWN, "powered off by its guest")

    def crash_guest(self, host: str, uuid: str) -> None:
        with self._state.write("guest") as tx:
            domains.end(tx, _found(tx, host, uuid), Why.CRASHED, "crashed", Power.CRASHED)

    def say(self, host: str, uuid: str, text: str) -> None:
        """The guest prints a line on its console."""
        with self._state.write("guest") as tx:
            domains.say(tx, _found(tx, host, uuid), text)

    # ---------------------------------------------------------------- storage

    def storage_down(self, address: str, down: bool = True) -> None:
        """The storage behind a pool (by default its UUID) stops answering, or answers again."""
        with self._state.write("administrator") as tx:
            tx.run("UPDATE stores SET down = ? WHERE address = ?", down, address)

    def drop_pool(self, host: str, pool: str) -> None:
        """The host disconnects the pool by itself, and says so."""
        with self._state.write("administrator") as tx:
            tx.run("DELETE FROM connected WHERE host = ? AND pool = ?", host, pool)
            tx.change(EventKind.POOL, host, pool, "disconnected")

    def connected(self, host: str) -> set[str]:
        """UUIDs of the pools that the host has connected."""
        with self._state.read() as tx:
            return {row[0] for row in tx.rows("SELECT pool FROM connected WHERE host = ?", host)}

    def claim(self, address: str, pool: str) -> None:
        """Another pool's UUID stands in the claim of the storage (H3)."""
        with self._state.write("administrator") as tx:
            tx.run("UPDATE stores SET claim = ? WHERE address = ?", pool, address)

    def lose_disk(self, address: str, disk: str, *, mark_too: bool = False) -> None:
        """Somebody deleted a disk; its mark stays unless `mark_too`."""
        with self._state.write("administrator") as tx:
            found = disks.load(tx, address, disk)
            if found is not None and not mark_too:
                disks.save(tx, replace(found, present=False, allocated=0))
            elif found is not None:
                disks.remove(tx, address, disk)

    def write_disk_mark(self, address: str, disk: str, mark: DiskMark | str) -> None:
        """Any mark, or any text in its place ("": none); makes a foreign disk where none is."""
        text = mark if isinstance(mark, str) else encode(mark)
        with self._state.write("administrator") as tx:
            found = disks.load(tx, address, disk) or disks.Disk(address=address, disk=disk, mark="", size=1 << 30)
            disks.save(tx, replace(found, mark=text))

    def write_data(self, address: str, disk: str, content: str) -> None:
        """A guest writes on its disk."""
        with self._state.write("guest") as tx:
            found = disks.load(tx, address, disk)
            if found is None or not found.present:
                raise LookupError(f"the simulated storage {address} has no disk {disk}")
            disks.save(tx, replace(found, content=content))

    # ---------------------------------------------------------------- looking, past every fault

    def running(self, uuid: str) -> tuple[str, ...]:
        """The hosts on which the instance really runs now, reachable or not."""
        return tuple(d.host for d in self.domains() if d.uuid == uuid and d.power is Power.RUNNING)

    def domains(self, host: str = "") -> tuple[Domain, ...]:
        with self._state.write("guest") as tx:
            domains.settle(tx)
            return tuple(domains.load_all(tx, "?1 = '' OR host = ?1", host))

    def disks(self, address: str) -> tuple[disks.Disk, ...]:
        with self._state.read() as tx:
            return tuple(disks.load_all(tx, address))

    def companion(self, address: str, name: str) -> str | None:
        """The content of a seed (JSON) or of UEFI variables; None when it is not there."""
        with self._state.read() as tx:
            row = tx.row("SELECT content FROM companions WHERE address = ? AND name = ?", address, name)
        return None if row is None else str(row[0])

    def violations(self, cause: str = "driver") -> tuple[str, ...]:
        """Every moment at which an instance ran twice or a disk had two writers through `cause`: driver (our calls),
        administrator, guest; "" for all. Recorded by the state itself, whoever was looking."""
        with self._state.read() as tx:
            return tuple(
                r[0] for r in tx.rows("SELECT text FROM violations WHERE ?1 IN ('', cause) ORDER BY id", cause)
            )

    # ---------------------------------------------------------------- inside

    def _order(
        self,
        effect: Effect,
        calls: int | None,
        host: str,
        call: str,
        error: str = "",
        text: str = "",
        seconds: float = 0.0,
    ) -> int:
        with self._state.write("administrator") as tx:
            cursor = tx.connection.execute(
                "INSERT INTO faults(host, call, effect, error, text, remaining, seconds) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (host, call, effect.value, error, text, calls, seconds),
            )
            return int(cursor.lastrowid or 0)


def _host(tx: Transaction, host: str, change: str) -> None:
    if not tx.run(f"UPDATE hosts SET {change} WHERE name = ?", host):
        raise LookupError(f"the simulated cloud has no host {host}")
    tx.change(HOST_CHANGED, host)


def _power_loss(tx: Transaction, host: str) -> None:
    for domain in domains.load_all(tx, "host = ?", host):
        if domain.active or not domain.persistent:
            domains.end(tx, domain, Why.UNKNOWN, "power lost")
    tx.run("DELETE FROM connected WHERE host = ?", host)


def _found(tx: Transaction, host: str, uuid: str) -> Domain:
    domain = domains.load(tx, host, uuid)
    if domain is None:
        raise LookupError(f"simulated host {host} has no domain {uuid}")
    return domain
