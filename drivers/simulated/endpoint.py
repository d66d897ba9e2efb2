"""The connection to one simulated host: `drivers.base.Driver` and `drivers.base.EndPoint`.

Opened through `drivers.registry`. A connection dies with its host, with a silence longer than the host's keepalive,
or when it is closed; it never comes back.
"""

import logging
import time
import uuid as uuids
from collections.abc import Callable, Iterator
from dataclasses import replace

from drivers.base import (
    Action,
    Capabilities,
    Connection,
    CPUFacts,
    Event,
    EventKind,
    Expected,
    Hardware,
    HostFacts,
    InstanceFacts,
    Listing,
    Power,
    SimulatedConnection,
)
from drivers.errors import Invalid, Unreachable, Unsupported
from drivers.simulated import actions, domains
from drivers.simulated.gate import Effect, Gate
from drivers.simulated.state import State, Transaction
from drivers.simulated.storage import SimulatedStorage
from drivers.simulated.watch import Watcher

MACHINE = "pc-sim-1.0"
CPU_MODELS = ("Simulated-v1", "Simulated-v2", "Simulated-v3")
CPU_FEATURES = ("aes", "avx", "avx2", "sse4.2")
FIRMWARE = ("BIOS", "UEFI")
_MACHINES = uuids.UUID("7c1d6d3e-3c1f-4f0a-9a59-0f6a0c2f6b11")

log = logging.getLogger(__name__)


class SimulatedDriver:
    """Opens simulated hosts; the first opening of a host's name makes the host."""

    def open(self, connection: Connection, timeout: float) -> "SimulatedEndPoint":
        """Raises Unreachable for a lost host, after `timeout` seconds for a frozen one."""
        if not isinstance(connection, SimulatedConnection):
            raise Invalid(f"the simulated driver does not open a {type(connection).__name__}")
        state = State.acquire(connection.state)
        try:
            with state.write(cause="guest") as tx:
                boot = _host_row(tx, connection)
                domains.settle(tx)
            gate = Gate(state, connection.host, boot)
            gate.knock(timeout)
            return SimulatedEndPoint(state, gate, connection.installations)
        except BaseException:
            state.release()
            raise


def _host_row(tx: Transaction, connection: SimulatedConnection) -> int:
    """Make the host, or give it the CPUs and memory that its object declares now; returns its boot number."""
    tx.run(
        "INSERT OR IGNORE INTO hosts(name, machine_id, cpus, memory, architecture, cpu_model, cpu_features, born)"
        " VALUES (?, ?, ?, ?, 'x86_64', ?, ?, ?)",
        connection.host, str(uuids.uuid5(_MACHINES, connection.host)), connection.cpus, connection.memory,
        CPU_MODELS[1], ",".join(CPU_FEATURES), time.time(),
    )  # fmt: skip
    tx.run("UPDATE hosts SET cpus = ?, memory = ? WHERE name = ?", connection.cpus, connection.memory, connection.host)
    return int(tx.row("SELECT boot FROM hosts WHERE name = ?", connection.host)[0])


class SimulatedEndPoint:
    """Thread-safe; holds no connection to the state file between calls."""

    def __init__(self, state: State, gate: Gate, installations: tuple[str, ...] = ()) -> None:
        self._state = state
        self._installations = installations
        self._gate = gate
        self._storage = SimulatedStorage(gate)
        self._deliver: Callable[[Event], None] | None = None
        self._known: dict[str, tuple[int, InstanceFacts]] = {}
        self._closed = False
        self._told = False
        self._watcher = Watcher.add(state, self)

    # ---------------------------------------------------------------- the connection

    @property
    def host(self) -> str:
        return self._gate.host

    @property
    def alive(self) -> bool:
        return self._gate.alive

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            hypervisor="Simulated", uplink_types=actions.UPLINK_TYPES, pool_types=("Simulated",), firmware=FIRMWARE
        )

    @property
    def storage(self) -> SimulatedStorage:
        return self._storage

    def subscribe(self, deliver: Callable[[Event], None]) -> None:
        self._deliver = deliver
        if not self._gate.alive:
            self._watcher.wake()

    def close(self) -> None:
        """Idempotent; waiting calls raise Unreachable, no event comes any more."""
        self._gate.shut("closed by us")
        self._watcher.remove(self)
        if not self._closed:
            self._closed = True
            self._state.release()

    # ---------------------------------------------------------------- what the watcher calls

    def look(self) -> None:
        """Dead connections stop their calls at once, idle ones included."""
        if not self._gate.alive:
            return
        try:
            self._gate.look()
        except Unreachable:
            return

    def die(self, reason: str) -> None:
        self._gate.shut(reason)

    def deliver(self, event: Event) -> None:
        deliver = self._deliver
        if deliver is None or not self._gate.alive:
            return
        try:
            deliver(event)
        except Exception:
            log.exception("the subscriber of host %s raised on an event", self.host)

    def deliver_closed(self) -> None:
        deliver = self._deliver
        if deliver is None or self._told or self._closed or self._gate.alive:
            return
        self._told = True
        try:
            deliver(Event(kind=EventKind.CLOSED, host=self.host, detail="the connection is dead"))
        except Exception:
            log.exception("the subscriber of host %s raised on its end", self.host)

    # ---------------------------------------------------------------- observing

    def observe_host(self, host: str) -> HostFacts:
        self._enter(host, "observe_host")
        with self._state.read() as tx:
            machine, cpus, memory, architecture, model, features, born = tx.row(
                "SELECT machine_id, cpus, memory, architecture, cpu_model, cpu_features, born"
                " FROM hosts WHERE name = ?",
                host,
            )
        running = [f for f in self._read(host) if f.power in domains.ACTIVE]
        foreign = [f for f in running if self._is_foreign(f)]
        return HostFacts(
            host=host,
            machine_id=machine,
            hostname=host,
            architecture=architecture,
            hypervisor="Simulated",
            version="1.0",
            cpus=cpus,
            memory=memory,
            cpu=CPUFacts(model=model, vendor="Simulated", features=tuple(features.split(","))),
            max_instance_cpus=cpus,
            firmware=FIRMWARE,
            machine_types=(MACHINE,),
            foreign_cpus=sum(f.cpus for f in foreign),
            foreign_memory=sum(f.memory + f.overhead for f in foreign),
            used_memory=min(memory, (256 << 20) + sum(f.memory for f in running)),
            cpu_seconds=(time.time() - born) * 0.02 * cpus,
        )

    def list_instances(self, host: str) -> Listing:
        begun = time.monotonic()
        self._enter(host, "list_instances")
        instances = self._read(host)
        return Listing(begun=begun, ended=time.monotonic(), instances=instances)

    def observe_instance(self, host: str, uuid: str) -> InstanceFacts | None:
        self._enter(host, "observe_instance")
        with self._state.read() as tx:
            found = domains.load(tx, host, uuid)
        return None if found is None else domains.facts(found)

    def choose_hardware(self, host: str, wanted: Hardware) -> Hardware:
        self._enter(host, "choose_hardware")
        if wanted.firmware not in FIRMWARE:
            raise Unsupported(f"host {host} has no firmware {wanted.firmware}, only {' and '.join(FIRMWARE)}")
        if wanted.machine not in ("", "pc-sim", MACHINE):
            raise Unsupported(f"host {host} has no machine type {wanted.machine}, only {MACHINE}")
        if wanted.cpu_mode != "HostPassthrough" and wanted.cpu_model not in ("", *CPU_MODELS):
            raise Unsupported(f"host {host} has no CPU model {wanted.cpu_model}, only {', '.join(CPU_MODELS)}")
        if wanted.cpu_mode == "HostPassthrough":
            return replace(wanted, machine=MACHINE, cpu_model="", cpu_features=())
        return replace(wanted, machine=MACHINE, cpu_model=wanted.cpu_model or CPU_MODELS[0])

    def guest_addresses(self, host: str, uuid: str) -> tuple[str, ...]:
        found = self.observe_instance(host, uuid)
        if found is None or not found.agent_connected or found.mark is None or found.power is not Power.RUNNING:
            return ()
        return tuple(address for _, _, several in found.mark.addresses for address in several)

    def console(self, host: str, uuid: str) -> Iterator[bytes]:
        """Ends when the connection dies."""
        self._enter(host, "console")
        with self._state.read() as tx:
            last = tx.row("SELECT coalesce(max(id), 0) FROM consoles")[0]
        return self._lines(host, uuid, int(last))

    # ---------------------------------------------------------------- acting

    def apply(self, host: str, uuid: str, action: Action, expected: Expected) -> None:
        effects = self._enter(host, "apply", type(action).__name__)
        if Effect.LIE not in effects:
            with self._gate.change() as tx:
                actions.act(tx, host, uuid, action, expected)
        if Effect.LOST_ANSWER in effects:
            raise Unreachable(f"host {host}: the connection broke before the answer to {type(action).__name__} came")

    # ---------------------------------------------------------------- inside

    def _enter(self, host: str, *calls: str) -> frozenset[Effect]:
        if host != self.host:
            raise Invalid(f"the connection to simulated host {self.host} knows no host {host}")
        return self._gate.enter(*calls)

    def _is_foreign(self, facts: InstanceFacts) -> bool:
        if facts.mark is None:
            return not facts.unreadable
        return bool(self._installations) and facts.mark.installation not in self._installations

    def _read(self, host: str) -> tuple[InstanceFacts, ...]:
        """All domains, parsing only what changed since it was last read."""
        known, now = self._known, {}
        with self._state.read() as tx:
            current = domains.versions(tx, host)
            changed = sum(1 for uuid, version in current if known.get(uuid, (0,))[0] != version)
            fresh = {}
            if changed > 8:
                fresh = {d.uuid: d for d in domains.load_all(tx, "host = ?", host)}
            for uuid, version in current:
                entry = known.get(uuid)
                if entry is None or entry[0] != version:
                    found = fresh.get(uuid) or domains.load(tx, host, uuid)
                    if found is None:
                        continue
                    entry = (version, domains.facts(found))
                now[uuid] = entry
        self._known = now
        return tuple(entry[1] for entry in now.values())

    def _lines(self, host: str, uuid: str, last: int) -> Iterator[bytes]:
        while True:
            with self._state.read() as tx:
                self._gate.check(tx)
                rows = tx.rows(
                    "SELECT id, text FROM consoles WHERE host = ? AND uuid = ? AND id > ? ORDER BY id", host, uuid, last
                )
            for number, text in rows:
                last = number
                yield text.encode()
            if not rows:
                self._gate.pause(0.05)
