"""What shall be out there: instances, disks, pools, images. Part of the seam of `drivers.base`, which is where to
import them from."""

from dataclasses import dataclass, field

from drivers.marks import DiskMark, InstanceMark


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
    claimed: bool = field(default=False, compare=False)
    """It was connected before, somewhere: its storage has its claim, and what has none is another (H3)."""


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
    """Where a template's bytes come from. No `allowed_*`: any but loopback, link-local and `forbidden_cidrs`."""

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
