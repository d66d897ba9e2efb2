"""What was seen out there: frozen facts, sizes in bytes, times in seconds. Part of the seam of `drivers.base`, which is
where to import them from."""

import enum
from dataclasses import dataclass

from drivers.marks import DiskMark, InstanceMark


class Power(enum.StrEnum):
    RUNNING = "Running"
    PAUSED = "Paused"
    OFF = "Off"
    CRASHED = "Crashed"
    """Stopped because the guest or its process crashed."""


class Why(enum.StrEnum):
    """Why a domain is in its power state, as far as the platform tells. The reasons that say that a run *ended
    there* (safety.md W3b) are SHUTDOWN, DESTROYED and CRASHED."""

    UNKNOWN = "Unknown"
    BOOTED = "Booted"
    STARTED_PAUSED = "StartedPaused"
    """Paused: started so, or suspended by an administrator: libvirt does not tell which; the mark does (W6)."""
    MIGRATING = "Migrating"
    """Running or paused as the source or the incoming end of a migration."""
    MIGRATED = "Migrated"
    SHUTDOWN = "Shutdown"
    DESTROYED = "Destroyed"
    CRASHED = "Crashed"
    IO_ERROR = "IOError"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSeen:
    """A disk of a domain as it is there now. `name` is our entry name (its serial), "" for one that is not ours."""

    name: str
    disk: str
    """Disk name on its pool (`<volume uuid>-<n>`), or the platform's path for a foreign one."""
    device: str = "disk"
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSeen:
    name: str
    mac: str
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """One domain, ours or not. `mark` is None for an unmarked one; `unreadable` says that it has a mark of ours that
    cannot be read (hold and report)."""

    host: str
    uuid: str
    name: str
    power: Power
    why: Why
    mark: InstanceMark | None
    unreadable: bool = False
    cpus: int = 0
    memory: int = 0
    """Bytes the guest has now (without the hypervisor's overhead)."""
    overhead: int = 0
    disks: tuple[DiskSeen, ...] = ()
    nics: tuple[NicSeen, ...] = ()
    agent_connected: bool = False
    persistent: bool = True
    autostart: bool = False
    digest: str = ""
    """Changes whenever the persistent definition changes in a way `Define` would correct (drift)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything one end-point has, read whole after `begun`. The only ground on which absence is believed (W3)."""

    begun: float
    ended: float
    """time.monotonic() around the reading."""
    instances: tuple[InstanceFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CPUFacts:
    model: str
    vendor: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    host: str
    machine_id: str
    """The machine's own UUID (H2)."""
    hostname: str
    architecture: str
    hypervisor: str
    """KVM, Simulated, …"""
    version: str
    cpus: int
    memory: int
    cpu: CPUFacts
    cpu_models: tuple[str, ...] = ()
    """CPU models that it can give a guest; (): not known."""
    max_instance_cpus: int = 0
    firmware: tuple[str, ...] = ("BIOS",)
    machine_types: tuple[str, ...] = ()
    foreign_cpus: int = 0
    """vCPUs of running domains that carry no mark of this installation."""
    foreign_memory: int = 0
    used_memory: int = 0
    """Bytes in use on the host now (total less free), for the `used` column."""
    cpu_seconds: float = 0.0
    """Busy CPU seconds since the host's boot, all cores; the caller takes differences."""


class EventKind(enum.StrEnum):
    CHANGED = "Changed"
    """Something about this instance changed (lifecycle, agent, device, definition): look again."""
    POOL = "Pool"
    CLOSED = "Closed"
    """The connection is gone; the EndPoint is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    kind: EventKind
    host: str
    uuid: str = ""
    """Of the instance or pool."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    uuid: str
    capacity: int
    available: int
    """Bytes free on the storage itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """One disk on a pool. `mark` None: not ours, or unreadable."""

    disk: str
    mark: DiskMark | None
    unreadable: bool = False
    size: int = 0
    """Virtual size; 0 when the mark is there and the disk is not."""
    allocated: int = 0
    exists: bool = True
    in_use_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    bytes: int
    total: int
    """0 when the server did not say."""
