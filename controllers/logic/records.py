"""The instance's mark: composed from what is known, and read back where the status was lost (safety.md M1, M4).
Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from controllers.logic.power import UNKNOWN_ACTION
from crds.base import format_time
from crds.instancestatus import (
    Hardware,
    InstanceStatus,
    NetworkState,
    PowerRequestDone,
    VolumeState,
)
from drivers.base import InstanceFacts
from drivers.marks import MAX_BYTES, DiskMark, InstanceMark, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What of a mark never changes while the object lives."""

    installation: str
    namespace: str
    name: str
    uid: str
    uuid: str


def compose(
    identity: Identity, status: InstanceStatus, *, sequence: int, disks: Iterable[tuple[str, str, str]],
    starting: int | None, runs: int, restart: datetime | None, started: Iterable[tuple[str, str]],
) -> InstanceMark:  # fmt: skip
    """The mark as it shall be now. `disks`: (entry, volume uuid, disk name) of each that it has or is about to have;
    `restart`: requestedAt of the restart that this run was started for; `started`: digests of what waits for a
    restart."""
    done = status.last_power_request
    return InstanceMark(
        installation=identity.installation,
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        uuid=identity.uuid,
        sequence=sequence,
        hardware=status.hardware.model_dump_json(by_alias=True, exclude_none=True) if status.hardware else "",
        volumes=tuple(sorted(disks)),
        addresses=tuple((n.name, n.mac_address or "", n.addresses) for n in status.networks),
        run_count=runs,
        starting=starting,
        last_restart=format_time(restart) if restart else "",
        last_power_request=format_time(done.requested_at) if done else "",
        imported=status.imported,
        started=tuple(sorted(started)),
    )


def with_owner(disk: DiskMark, owner: InstanceMark) -> DiskMark:
    """M2: the boot disk's mark with a copy of its instance's, in the room that a disk's mark has. What a start chooses
    anew goes first (CPU features, digests); the other volumes and the addresses are known from their own records."""
    hardware = Hardware.model_validate_json(owner.hardware) if owner.hardware else None
    plain = (
        hardware.model_copy(update={"cpu": None}).model_dump_json(by_alias=True, exclude_none=True) if hardware else ""
    )
    short = replace(owner, hardware=plain, started=())
    for copy in (owner, short, replace(short, volumes=()), replace(short, volumes=(), addresses=())):
        mark = replace(disk, owner=copy)
        if len(encode(mark).encode()) <= MAX_BYTES:
            return mark
    return disk


def recover(status: InstanceStatus, facts: InstanceFacts | None) -> InstanceStatus:
    """M4: what the status has lost comes from the mark; what the status has stays, counters only grow."""
    mark = facts.mark if facts else None
    if mark is None or facts is None:
        return status
    found: dict[str, object] = {
        "run_count": max(status.run_count, mark.run_count),
        "imported": status.imported or mark.imported,
        "platform_name": status.platform_name or facts.name,
    }
    if status.hardware is None and mark.hardware:
        found["hardware"] = Hardware.model_validate_json(mark.hardware)
    found["networks"] = _networks(status, facts, mark)
    if not status.volumes:
        found["volumes"] = tuple(
            VolumeState(name=disk.name, type="CDROM" if disk.device == "cdrom" else "Volume", slot=disk.slot)
            for disk in facts.disks
            if disk.name
        )
    done = status.last_power_request
    at = moment(mark.last_power_request) if mark.last_power_request else None
    # The mark is written first: without it a Reset whose status was not written would be pressed again.
    if at is not None and (done is None or done.requested_at < at):
        found["last_power_request"] = PowerRequestDone(action=UNKNOWN_ACTION, requested_at=at, done_at=at)
    if status.last_restart is None and mark.last_restart:
        found["last_restart"] = moment(mark.last_restart)
    return status.model_copy(update=found)


def _networks(status: InstanceStatus, facts: InstanceFacts, mark: InstanceMark) -> tuple[NetworkState, ...]:
    """All of them where the status has none; the addresses of a NIC where it has none of that."""
    if status.networks:
        marked = {name: addresses for name, _, addresses in mark.addresses}
        return tuple(
            nic if nic.addresses else nic.model_copy(update={"addresses": marked.get(nic.name, ())})
            for nic in status.networks
        )
    slots = {nic.name: nic.slot for nic in facts.nics}
    return tuple(
        NetworkState(name=name, mac_address=mac or None, addresses=addresses, slot=slots.get(name))
        for name, mac, addresses in mark.addresses
    )


def runs(status: InstanceStatus, facts: InstanceFacts | None) -> int:
    """Runs that were begun: a start that ended before its mark could be settled counts too."""
    mark = facts.mark if facts else None
    count = max(status.run_count, mark.run_count if mark else 0)
    if (
        mark
        and facts
        and mark.starting is not None
        and facts.why.value in ("Shutdown", "Crashed")
        and mark.starting == 1
    ):
        return max(count, 1)
    return count


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
