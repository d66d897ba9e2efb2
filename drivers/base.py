"""The whole outside world as the controllers see it: Protocols, facts and actions.

Called by `controllers` through its lanes (a small thread pool per end-point). Everything here is synchronous, may
block for as long as the platform takes to answer a short request, is thread-safe, idempotent, and raises only
`drivers.errors`. Platform identifiers and exceptions never leave a driver. Sizes are bytes, times are seconds.

An `EndPoint` is **one connection**: when it breaks it is dead for good and every call raises Unreachable. Nothing
is ever sent again by itself over a new connection (safety.md W6): the caller opens another and lists again first.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from drivers.marks import DiskMark, InstanceMark

# ---------------------------------------------------------------- connections


@dataclass(frozen=True, slots=True)
class TLSMaterial:
    """PEM texts. Never printed: `repr` hides them."""

    ca: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SSHMaterial:
    private_key: str = field(repr=False)
    known_hosts: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtConnection:
    """`qemu+tls` needs tls, `qemu+ssh` needs ssh, `qemu+tcp` is refused unless allow_plaintext."""

    host: str
    """Name of the Host object: for messages and for listings."""
    uri: str
    tls: TLSMaterial | None = None
    ssh: SSHMaterial | None = None
    allow_plaintext: bool = False
    installations: tuple[str, ...] = ()
    """Ours first, then those taken over: tells foreign domains of HostFacts; (): every marked one counts as ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConnection:
    host: str
    cpus: int
    memory: int
    state: str
    """Path of the simulator's state (a SQLite file), shared by all simulated hosts of the operator."""
    installations: tuple[str, ...] = ()
    """As of LibvirtConnection."""


Connection = LibvirtConnection | SimulatedConnection


# ---------------------------------------------------------------- facts


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


# ---------------------------------------------------------------- what an instance shall be


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Chosen at the first start and kept for life (only the CPU is chosen anew at a cold start)."""

    machine: str = ""
    """"" lets the driver choose; `InstanceFacts`/`choose_hardware` tell what it became (pc-q35-7.2)."""
    firmware: str = "BIOS"
    secure_boot: bool = False
    cpu_mode: str = "HostPassthrough"
    """Baseline and Named carry model and features; HostPassthrough none."""
    cpu_model: str = ""
    cpu_features: tuple[str, ...] = ()
    clock: str = "UTC"
    os_info: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IOLimits:
    read_iops: int = 0
    write_iops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    """Per second; 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAttachment:
    """`name` is the entry's name and the disk's serial; `slot` its PCI slot number, chosen once and kept."""

    name: str
    slot: int
    pool: str
    """UUID of the pool."""
    disk: str
    """Disk name on the pool."""
    format: str = "qcow2"
    device: str = "disk"
    """disk | cdrom"""
    boot_order: int = 0
    """0: not bootable; else 1 is first."""
    read_only: bool = False
    shareable: bool = False
    limits: IOLimits = IOLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class NicAttachment:
    name: str
    slot: int
    mac: str
    uplink_type: str
    """Bridge | Simulated (others raise Unsupported)."""
    uplink: str
    """Name of the bridge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """The NoCloud files. Secret: never in a log, an XML or a repr."""

    meta_data: str = field(repr=False)
    user_data: str = field(repr=False)
    network_config: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDefinition:
    """Everything `Define` needs. `mark.uuid` is the domain's UUID; `title` its name on the platform (I3)."""

    title: str
    mark: InstanceMark
    cpus: int
    memory: int
    max_cpus: int
    max_memory: int
    hardware: Hardware
    disks: tuple[DiskAttachment, ...]
    nics: tuple[NicAttachment, ...]
    seed_disk: DiskAttachment | None = None
    """The seed ISO written beforehand by `Storage.write_seed`, as a CD-ROM."""
    nvram: tuple[str, str] | None = None
    """(pool uuid, file name) of the UEFI variables, beside the boot disk (D5)."""


# ---------------------------------------------------------------- actions (closed union)


@dataclass(frozen=True, slots=True)
class Define:
    """Make or rewrite the persistent definition, mark included; never starts, never touches a running guest's live
    state. Refused (NotOurs) when a domain of this UUID is there with a mark that is not of our installation and uid,
    or with a higher sequence; (Invalid) when another UUID has its title."""

    definition: InstanceDefinition


@dataclass(frozen=True, slots=True)
class WriteMark:
    """Rewrite the mark of the definition (and of the live domain, where it runs)."""

    mark: InstanceMark


@dataclass(frozen=True, slots=True)
class StartPaused:
    """Start with CPUs stopped. Refused (Busy) when it is active already. `WriteMark(starting=n)` goes before it."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused guest's CPUs run."""


@dataclass(frozen=True, slots=True)
class Suspend:
    pass


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ask the guest (agent if connected, else ACPI). Returns at once; the guest may ignore it."""


@dataclass(frozen=True, slots=True)
class ForceOff:
    pass


@dataclass(frozen=True, slots=True)
class Reset:
    pass


@dataclass(frozen=True, slots=True)
class Undefine:
    """Remove the definition of a domain that is off; firmware variables, seed and disks stay (D5)."""


@dataclass(frozen=True, slots=True)
class Destroy:
    """Power off and undefine the copy with just the expected sequence (W4)."""


@dataclass(frozen=True, slots=True)
class AttachDisk:
    """To the definition, and hot to the running guest."""

    attachment: DiskAttachment


@dataclass(frozen=True, slots=True)
class DetachDisk:
    """From both. Starts the hot unplug and returns; raises Busy until the guest has let go."""

    name: str


@dataclass(frozen=True, slots=True)
class AttachNic:
    attachment: NicAttachment


@dataclass(frozen=True, slots=True)
class DetachNic:
    name: str


@dataclass(frozen=True, slots=True)
class ChangeMedia:
    """Of the CD-ROM `name`; None ejects."""

    name: str
    attachment: DiskAttachment | None


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Tell a running guest that its disk has grown to `size` (also grows the disk itself where the platform does both)."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """Write our mark on an unmarked domain, or replace the mark whose uid is `previous_uid` (N2, N3)."""

    mark: InstanceMark
    previous_uid: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Take our mark off the definition and the live domain, and leave the machine as it is (N3). Absent: fine."""


Action = (
    Define | WriteMark | StartPaused | Resume | Suspend | Shutdown | ForceOff | Reset | Undefine | Destroy
    | AttachDisk | DetachDisk | AttachNic | DetachNic | ChangeMedia | GrowDisk | Adopt | Release
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the caller believes to act on. The driver reads the mark first and raises NotOurs when it differs."""

    installations: tuple[str, ...]
    """Ours first, then those of installation.takeOver."""
    uid: str
    sequence: int


# ---------------------------------------------------------------- storage


@dataclass(frozen=True, slots=True, kw_only=True)
class NFSSource:
    server: str
    path: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSource:
    capacity: int
    address: str = ""
    """Which simulated storage this is, as an NFS export is one; "": one of its own, named by the pool's UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ISCSISource:
    portals: tuple[str, ...]
    target: str
    layout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RBDSource:
    monitors: tuple[str, ...]
    pool: str
    namespace: str
    user: str


PoolSource = NFSSource | LocalSource | SimulatedSource | ISCSISource | RBDSource
"""vSphere datastores and Xen SRs add their members here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDefinition:
    uuid: str
    name: str
    """Of the StoragePool or ImageStore object, for messages."""
    installation: str
    source: PoolSource


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
class DiskDefinition:
    """`mark.uuid` and `mark.n` give the disk's name."""

    mark: DiskMark
    size: int
    format: str = "qcow2"
    provisioning: str = "Thin"
    """Thin | Thick"""

    @property
    def disk(self) -> str:
        return f"{self.mark.uuid}-{self.mark.n}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Where a template's bytes come from. `cidrs`/`hosts` empty: any address but loopback, link-local and `forbidden`."""

    url: str
    checksum: str
    """`sha256:<hex>` or `sha512:<hex>`."""
    format: str
    """qcow2 | raw | vmdk, checked against the bytes."""
    max_bytes: int
    max_virtual_size: int
    allowed_cidrs: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    forbidden_cidrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    bytes: int
    total: int
    """0 when the server did not say."""


class Storage(Protocol):
    """Pools and disks as one end-point reaches them. NFS, iSCSI, RBD, Local, datastores and SRs all stand behind it."""

    def connect_pool(self, pool: PoolDefinition) -> PoolFacts:
        """Define, mount and start the pool on the host, and check or make its claim (H3). Idempotent. Raises
        Unreachable (server silent), Invalid (wrong path, with the platform's words), WrongPool, Unsupported."""

    def disconnect_pool(self, pool: PoolDefinition) -> None:
        """Unmount and forget. Disks stay. Raises Busy while a domain uses it. Idempotent."""

    def observe_pool(self, pool: PoolDefinition) -> PoolFacts | None:
        """None when the host does not have it connected. Never blocks on the storage itself for long."""

    def list_disks(self, pool: PoolDefinition) -> tuple[DiskFacts, ...]:
        """Every disk and every mark, ours or not. `in_use_by` is filled for disks that a domain of this host names."""

    def observe_disk(self, pool: PoolDefinition, disk: str) -> DiskFacts | None: ...

    def create_disk(self, pool: PoolDefinition, definition: DiskDefinition) -> DiskFacts:
        """Blank disk: mark `creating`, the disk, mark `ready` (M2). One already ready under this uid is returned as it
        is; one of another owner raises NotOurs; one still `creating` of ours is deleted and made anew."""

    def clone_disk(self, pool: PoolDefinition, definition: DiskDefinition, base: str) -> DiskFacts:
        """From the cached image `base` of the same pool: Thin a linked clone (relative backing), Thick a whole copy."""

    def import_image(
        self, pool: PoolDefinition, definition: DiskDefinition, source: ImageSource, progress: Callable[[Progress], None]
    ) -> DiskFacts:
        """Stream the image through checksum, inspector and bounds into the pool (design.md §5). Long: blocks until
        done; `progress` may raise to give up. A failed copy is deleted. Raises BadImage, Unreachable, NoSpace."""

    def copy_image(
        self, source: PoolDefinition, disk: str, pool: PoolDefinition, definition: DiskDefinition
    ) -> DiskFacts:
        """Copy the verified image `disk` of one connected pool (an image store) to another, as a base image there.
        Long: blocks until done. Marks and idempotence as `create_disk`; a failed copy is deleted."""

    def resize_disk(self, pool: PoolDefinition, disk: str, size: int) -> DiskFacts:
        """Grow a disk that no guest runs on (a running one: `GrowDisk`). Smaller or equal: nothing."""

    def delete_disk(self, pool: PoolDefinition, disk: str, expected_uid: str) -> None:
        """The disk with its companions (.nvram, .seed), then its mark. Absent: fine. Raises NotOurs, Busy (in use)."""

    def write_disk_mark(self, pool: PoolDefinition, disk: str, mark: DiskMark) -> None: ...

    def write_seed(self, pool: PoolDefinition, disk: str, seed: Seed) -> str:
        """Write the NoCloud ISO beside the boot disk as `<disk>.seed`; returns its name. Rewritten in place."""


# ---------------------------------------------------------------- the end-point


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    hypervisor: str
    hot_disks: bool = True
    hot_nics: bool = True
    hot_cpus: bool = False
    hot_memory: bool = False
    suspend: bool = True
    uplink_types: tuple[str, ...] = ()
    pool_types: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ("BIOS",)


class EndPoint(Protocol):
    """One connection to one hypervisor end-point (one libvirt host, one vCenter, one Xen pool)."""

    @property
    def alive(self) -> bool: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def storage(self) -> Storage: ...

    def observe_host(self, host: str) -> HostFacts: ...

    def list_instances(self, host: str) -> Listing:
        """One bulk read of all domains, running or not, ours or not. Never reads block statistics."""

    def observe_instance(self, host: str, uuid: str) -> InstanceFacts | None: ...

    def choose_hardware(self, host: str, wanted: Hardware) -> Hardware:
        """What `wanted` becomes on this host: machine type by its versioned name, CPU made explicit. Raises
        Unsupported (no such firmware or CPU here)."""

    def apply(self, host: str, uuid: str, action: Action, expected: Expected) -> None:
        """Do one action. Doing what is done already is fine. Raises NotOurs before anything is changed."""

    def subscribe(self, deliver: Callable[[Event], None]) -> None:
        """Deliver events from a thread of the driver's until closed. One subscriber."""

    def console(self, host: str, uuid: str) -> Iterator[bytes]:
        """What the guest's serial console prints from now on. For tests and tools, not for reconciling."""

    def guest_addresses(self, host: str, uuid: str) -> tuple[str, ...]:
        """As the guest's agent reports them; () without an agent."""

    def close(self) -> None:
        """Idempotent, never blocks for long; pending calls raise Unreachable."""


class Driver(Protocol):
    """A back-end: how to open its end-points. Found by `drivers.registry`."""

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        """Blocks at most `timeout` seconds. Raises Unreachable, AuthenticationFailed, Invalid."""
