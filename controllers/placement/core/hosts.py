"""The hosts as NumPy columns. A host's row number never changes; what changed is in two logs that the cached
evaluations read from where they stopped.

Used by every module of the engine. Sizes are bytes; limits are of overcommitted capacity.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.asks import Labels

K = TypeVar("K", bound=Hashable)
Rows = NDArray[np.intp]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
LOG_KEPT = 65_536
"""Entries of a change log that are kept; an evaluation that is further behind looks at every host again."""
LABELS_KEPT = 256
"""Columns of labels that are kept; who asks for hosts by label may be anybody, and may ask for ever new ones."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may be placed somewhere: a NamespaceSet by value."""

    type: str = "All"
    names: frozenset[str] = frozenset()
    selector: frozenset[tuple[str, str]] = frozenset()

    def admits(self, namespace: str, labels: Mapping[str, str] | None) -> bool:
        """`labels`: of the namespace; None: unknown, no selector matches. Namespace "": whoever it may be."""
        if not namespace:
            return self.type in ("All", "Names", "Selector")
        match self.type:
            case "All":
                return True
            case "Names":
                return namespace in self.names
            case "Selector":
                return labels is not None and all(labels.get(key) == value for key, value in self.selector)
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """One host as its objects show it, without what our instances take."""

    name: str
    zone: str = ""
    pod: str = ""
    cluster: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    hypervisor: str = "KVM"
    architecture: str = "x86_64"
    firmware: frozenset[str] = frozenset({"BIOS"})
    machine_types: frozenset[str] = frozenset()
    """Empty: not known, any."""
    down: str = ""
    """Why nothing can be started there now ("not reachable since 10:41"); "" for a Ready host."""
    disabled: str = ""
    """Why it takes nothing new ("disabled: Zone zone-1 is Disabled"); "" when enabled."""
    closed: str = ""
    """Why it takes nothing, pin or not ("is in maintenance"); "" when open."""
    dedicated: tuple[Audience, ...] = ()
    """Of host, cluster, rack and zone: all have to admit the namespace."""
    cpus: int = 0
    memory: int = 0
    foreign_cpus: int = 0
    foreign_memory: int = 0
    """What is not ours takes; counted against the limit."""
    max_guest_cpus: int = 0
    """0: not known, no bound."""
    max_instances: int = 0
    """0: no bound."""
    pools: frozenset[str] = frozenset()
    """Names of the StoragePools connected on it."""
    cpu: str = ""
    """Why it cannot give guests the CPU of its HostCluster ("cannot give the CPU model …"); "" when it can."""
    networks: frozenset[tuple[str, bool]] = frozenset()
    """Physical networks that its uplinks reach, untagged (False) or by VLAN (True)."""
    policy: str = "Balanced"

    def big_enough(self, cpus: int, memory: int) -> bool:
        """Whether it could hold so much if none of our instances were there."""
        return cpus <= self.cpus - self.foreign_cpus and memory <= self.memory - self.foreign_memory


class Interner(Generic[K]):
    """Values as small numbers, so that a column of them is an array."""

    def __init__(self) -> None:
        self._ids: dict[K, int] = {}
        self.values: list[K] = []

    def id(self, value: K) -> int:
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self.values)
            self.values.append(value)
        return found

    def known(self, value: K) -> int:
        """-1 when no host has it."""
        return self._ids.get(value, -1)


class Log:
    """Row numbers in the order in which they changed. Readers keep a position of their own."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._dropped = 0

    @property
    def end(self) -> int:
        return self._dropped + len(self._rows)

    def add(self, row: int) -> None:
        self._rows.append(row)
        if len(self._rows) > 2 * LOG_KEPT:
            del self._rows[:LOG_KEPT]
            self._dropped += LOG_KEPT

    def since(self, position: int) -> list[int] | None:
        """Distinct rows; None when the log does not reach back so far."""
        if position < self._dropped:
            return None
        found = self._rows[position - self._dropped :]
        return found if len(found) < 2 else list(dict.fromkeys(found))


POLICIES = ("Balanced", "Packed", "Spread")
_IDS = ("zone", "pod", "cluster", "hypervisor", "architecture", "firmware", "machines", "audience", "networks",
        "reach")  # fmt: skip
_TOPOLOGY = {"HostCluster": "cluster", "HostPod": "pod", "Zone": "zone"}
_FLAGS = ("alive", "closed", "down", "disabled", "other_cpu")
_AMOUNTS = ("cpus", "memory", "free_cpus", "free_memory", "guest_cpus", "instances", "most_instances", "starting")


class Hosts:
    """Columns by attribute, of the length `capacity`; rows from `size` on are not alive."""

    zone: NDArray[np.int32]
    pod: NDArray[np.int32]
    cluster: NDArray[np.int32]
    hypervisor: NDArray[np.int32]
    architecture: NDArray[np.int32]
    firmware: NDArray[np.int32]
    machines: NDArray[np.int32]
    audience: NDArray[np.int32]
    networks: NDArray[np.int32]
    reach: NDArray[np.int32]
    alive: Bools
    closed: Bools
    down: Bools
    disabled: Bools
    other_cpu: Bools
    policy: NDArray[np.uint8]
    cpus: NDArray[np.int64]
    memory: NDArray[np.int64]
    free_cpus: NDArray[np.int64]
    free_memory: NDArray[np.int64]
    guest_cpus: NDArray[np.int64]
    instances: NDArray[np.int64]
    most_instances: NDArray[np.int64]
    starting: NDArray[np.int64]
    per_cpu: Floats
    per_memory: Floats

    def __init__(self, capacity: int = 64) -> None:
        self.size = 0
        self.capacity = capacity
        self.records: list[HostRecord] = []
        self.moved, self.changed = Log(), Log()
        """Rows whose free room changed; rows of which anything else did."""
        self.values: dict[str, Interner[Any]] = {name: Interner() for name in _IDS}
        self._rows: dict[str, int] = {}
        self._labels: dict[tuple[str, str], Bools] = {}
        for name in _IDS:
            setattr(self, name, np.full(capacity, -1, np.int32))
        for name in _FLAGS:
            setattr(self, name, np.zeros(capacity, np.bool_))
        for name in _AMOUNTS:
            setattr(self, name, np.zeros(capacity, np.int64))
        self.policy = np.zeros(capacity, np.uint8)
        self.scratch: Floats = np.zeros(capacity, np.float32)
        """For sums of a moment: whoever uses it leaves it zero."""
        self._regrouped = 0
        self._groups: dict[str, tuple[int, Rows, Rows]] = {}
        """By topology: when it was made; rows by their domain; where in it each domain begins."""
        self.per_cpu, self.per_memory = np.ones(capacity, np.float32), np.ones(capacity, np.float32)

    # ------------------------------------------------------------ reading

    def row(self, name: str) -> int:
        """-1 when it was never seen."""
        return self._rows.get(name, -1)

    def name(self, row: int) -> str:
        return self.records[row].name

    def labelled(self, key: str, value: str) -> Bools:
        """Which rows have the label; made when first asked for, then kept up to date."""
        column = self._labels.get((key, value))
        if column is None:
            if len(self._labels) == LABELS_KEPT:
                self._labels.clear()
            column = self._labels[key, value] = np.zeros(self.capacity, np.bool_)
            for row, record in enumerate(self.records):
                column[row] = record.labels.get(key) == value
        return column

    def rows_with(self, labels: Labels) -> Rows:
        """Rows that have all of these labels; all rows where none is named."""
        found = np.ones(self.size, np.bool_)
        for key, value in labels:
            found &= self.labelled(key, value)[: self.size]
        return np.flatnonzero(found)

    def domain(self, row: int, topology: str) -> int:
        """Number of the topology domain that the row is in; -1: not known."""
        if topology == "Host":
            return row
        return int(self.domains(topology)[row])

    def domains(self, topology: str) -> NDArray[np.int32]:
        column: NDArray[np.int32] = getattr(self, _TOPOLOGY[topology])
        return column

    def rows_in(self, topology: str, domains: Rows) -> tuple[Rows, Rows]:
        """(rows in any of these distinct domains, for each the position of its domain in `domains`). Number -1, not
        known, has no rows. Cost: by the rows found; by all rows once after a host changed its place."""
        order, begins = self._grouped(topology)
        if len(domains) == 1:
            number = int(domains[0])
            found = order[begins[number] : begins[number + 1]] if 0 <= number < len(begins) - 1 else order[:0]
            return found, np.zeros(len(found), np.intp)
        parts = [order[begins[n] : begins[n + 1]] if 0 <= n < len(begins) - 1 else order[:0] for n in domains.tolist()]
        which = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return (np.concatenate(parts) if parts else order[:0]), which

    def live(self) -> list[HostRecord]:
        return [record for row, record in enumerate(self.records) if self.alive[row]]

    # ------------------------------------------------------------ writing

    def intern(self, name: str) -> int:
        """The host's row; a dead one is made for a name that was never seen, so that claims on it are kept."""
        row = self._rows.get(name)
        if row is None:
            if self.size == self.capacity:
                self._grow()
            row = self._rows[name] = self.size
            self.size += 1
            self.records.append(HostRecord(name=name))
        return row

    def put(self, record: HostRecord) -> bool:
        """Idempotent; True if anything changed."""
        row = self.intern(record.name)
        old = self.records[row]
        if self.alive[row] and old == record:
            return False
        taken_cpus, taken_memory = self._taken(row)
        self.records[row] = record
        if not self.alive[row] or _still(old) != _still(record):
            self._describe(row, record)
            self.changed.add(row)
        self.cpus[row], self.memory[row] = record.cpus, record.memory
        self.per_cpu[row], self.per_memory[row] = 1 / max(record.cpus, 1), 1 / max(record.memory, 1)
        self.free_cpus[row] = record.cpus - record.foreign_cpus - taken_cpus
        self.free_memory[row] = record.memory - record.foreign_memory - taken_memory
        self.moved.add(row)
        return True

    def remove(self, name: str) -> None:
        """Idempotent. What is claimed there stays claimed, in case it comes back."""
        row = self.row(name)
        if row >= 0 and self.alive[row]:
            self.alive[row] = False
            self.changed.add(row)

    def take(self, row: int, cpus: int, memory: int, instances: int, starting: int) -> None:
        """Negative amounts give back."""
        self.free_cpus[row] -= cpus
        self.free_memory[row] -= memory
        self.instances[row] += instances
        self.starting[row] += starting
        self.moved.add(row)

    # ------------------------------------------------------------ inside

    def _grouped(self, topology: str) -> tuple[Rows, Rows]:
        made, order, begins = self._groups.get(topology, (-1, None, None))
        if order is None or begins is None or made != self._regrouped:
            column = self.domains(topology)[: self.size]
            order = np.argsort(column, kind="stable")
            begins = np.searchsorted(column[order], np.arange(len(self.values[_TOPOLOGY[topology]].values) + 1))
            self._groups[topology] = (self._regrouped, order, begins)
        return order, begins

    def _taken(self, row: int) -> tuple[int, int]:
        """By our instances."""
        record = self.records[row]
        cpus = int(self.cpus[row]) - record.foreign_cpus - int(self.free_cpus[row])
        return cpus, int(self.memory[row]) - record.foreign_memory - int(self.free_memory[row])

    def _describe(self, row: int, record: HostRecord) -> None:
        values: dict[str, Hashable] = {
            "zone": record.zone, "pod": record.pod, "cluster": record.cluster, "hypervisor": record.hypervisor,
            "architecture": record.architecture, "firmware": record.firmware, "machines": record.machine_types,
            "audience": record.dedicated, "networks": record.networks, "reach": record.pools,
        }  # fmt: skip
        before = self.zone[row], self.pod[row], self.cluster[row]
        for name, value in values.items():
            getattr(self, name)[row] = self.values[name].id(value) if value != "" else -1
        if before != (self.zone[row], self.pod[row], self.cluster[row]):
            self._regrouped += 1
        self.alive[row] = True
        self.closed[row], self.down[row] = bool(record.closed), bool(record.down)
        self.disabled[row], self.other_cpu[row] = bool(record.disabled), bool(record.cpu)
        self.policy[row] = POLICIES.index(record.policy)
        self.guest_cpus[row] = record.max_guest_cpus or np.iinfo(np.int64).max
        self.most_instances[row] = record.max_instances or np.iinfo(np.int64).max
        for (key, value), column in self._labels.items():
            column[row] = record.labels.get(key) == value

    def _grow(self) -> None:
        self.capacity *= 2
        for name in _IDS:
            setattr(self, name, _longer(getattr(self, name), self.capacity, -1))
        for name in (*_FLAGS, *_AMOUNTS, "policy", "per_cpu", "per_memory", "scratch"):
            setattr(self, name, _longer(getattr(self, name), self.capacity))
        self._labels = {pair: _longer(column, self.capacity) for pair, column in self._labels.items()}


def _still(record: HostRecord) -> HostRecord:
    """Without what changes with every guest."""
    return replace(record, cpus=0, memory=0, foreign_cpus=0, foreign_memory=0)


def _longer(column: NDArray[Any], capacity: int, fill: int = 0) -> NDArray[Any]:
    grown = np.full(capacity, fill, column.dtype)
    grown[: len(column)] = column
    return grown
