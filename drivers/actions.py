"""What may be done to an instance: a closed union of frozen actions, each idempotent. Part of the seam of
`drivers.base`, which is where to import them from."""

from dataclasses import dataclass

from drivers.definitions import DiskAttachment, InstanceDefinition, NicAttachment
from drivers.marks import InstanceMark


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
    """Tell a running guest that its disk has grown to `size`; grows the disk itself where the platform does both."""

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
