"""The whole outside world as the controllers see it: Protocols, facts and actions.

Called by `controllers` through its lanes (a small thread pool per end-point). Everything here is synchronous, may
block for as long as the platform takes to answer a short request, is thread-safe, idempotent, and raises only
`drivers.errors`. Platform identifiers and exceptions never leave a driver. Sizes are bytes, times are seconds.

An `EndPoint` is **one connection**: when it breaks it is dead for good and every call raises Unreachable. Nothing
is ever sent again by itself over a new connection (safety.md W6): the caller opens another and lists again first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from drivers.actions import (
    Action,
    Adopt,
    AttachDisk,
    AttachNic,
    ChangeMedia,
    Define,
    Destroy,
    DetachDisk,
    DetachNic,
    Expected,
    ForceOff,
    GrowDisk,
    Release,
    Reset,
    Resume,
    Shutdown,
    StartPaused,
    Suspend,
    Undefine,
    WriteMark,
)
from drivers.connections import Connection, LibvirtConnection, SimulatedConnection, SSHMaterial, TLSMaterial
from drivers.definitions import (
    DiskAttachment,
    DiskDefinition,
    Hardware,
    ImageSource,
    InstanceDefinition,
    IOLimits,
    ISCSISource,
    LocalSource,
    NFSSource,
    NicAttachment,
    PoolDefinition,
    PoolSource,
    RBDSource,
    Seed,
    SimulatedSource,
)
from drivers.facts import (
    CPUFacts,
    DiskFacts,
    DiskSeen,
    Event,
    EventKind,
    HostFacts,
    InstanceFacts,
    Listing,
    NicSeen,
    PoolFacts,
    Power,
    Progress,
    Why,
)
from drivers.marks import DiskMark

__all__ = [
    "Action",
    "Adopt",
    "AttachDisk",
    "AttachNic",
    "CPUFacts",
    "Capabilities",
    "ChangeMedia",
    "Connection",
    "Define",
    "Destroy",
    "DetachDisk",
    "DetachNic",
    "DiskAttachment",
    "DiskDefinition",
    "DiskFacts",
    "DiskSeen",
    "Driver",
    "EndPoint",
    "Event",
    "EventKind",
    "Expected",
    "ForceOff",
    "GrowDisk",
    "Hardware",
    "HostFacts",
    "IOLimits",
    "ISCSISource",
    "ImageSource",
    "InstanceDefinition",
    "InstanceFacts",
    "LibvirtConnection",
    "Listing",
    "LocalSource",
    "NFSSource",
    "NicAttachment",
    "NicSeen",
    "PoolDefinition",
    "PoolFacts",
    "PoolSource",
    "Power",
    "Progress",
    "RBDSource",
    "Release",
    "Reset",
    "Resume",
    "SSHMaterial",
    "Seed",
    "Shutdown",
    "SimulatedConnection",
    "SimulatedSource",
    "StartPaused",
    "Storage",
    "Suspend",
    "TLSMaterial",
    "Undefine",
    "Why",
    "WriteMark",
]


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
        self,
        pool: PoolDefinition,
        definition: DiskDefinition,
        source: ImageSource,
        progress: Callable[[Progress], None],
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
