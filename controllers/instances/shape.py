"""What the machine shall be made of: every reference of the spec looked up, with what hinders each entry.

Reads the cache only. Used at a start (where what hinders stops it) and while it runs (where it is shown).
"""

from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Obj, Refused
from controllers.images import image_disk
from controllers.instances.work import Work
from controllers.logic import devices
from controllers.logic.pool import pool_uuid
from controllers.logic.visibility import visible
from controllers.logic.volumes import made_by, volume_uuid
from controllers.placement.requests import resources
from crds.instance import InstanceSpec, InstanceVolume
from crds.instancestatus import VolumeState
from drivers.base import DiskAttachment, IOLimits


@dataclass(frozen=True, slots=True)
class Size:
    cpus: int
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of spec.volumes. `attachment` is None while it must not be attached; `problem` says why."""

    spec: InstanceVolume
    volume: Obj[Any, Any] | None = None
    template: Obj[Any, Any] | None = None
    attachment: DiskAttachment | None = None
    problem: tuple[str, str] | None = None
    """(reason, message)"""


@dataclass(frozen=True, slots=True)
class Disks:
    entries: tuple[Entry, ...]
    slots: dict[str, int]
    drives: dict[str, int]
    orders: dict[str, int]

    def attachments(self) -> tuple[DiskAttachment, ...]:
        return tuple(e.attachment for e in self.entries if e.attachment)

    def boot(self) -> Entry | None:
        """The entry that the machine boots from first, with a disk of its own; else any disk."""
        disks = [e for e in self.entries if e.spec.type != "CDROM"]
        return min(disks, key=lambda e: (self.orders.get(e.spec.name, 99), e.spec.name), default=None)


def lost(disks: Disks) -> tuple[str, str] | None:
    """Why it cannot be started although its host has every disk in the definition: one is not there any more (D2)."""
    for entry in disks.entries:
        ready = (entry.volume.condition("Ready") or {}) if entry.volume else {}
        if entry.volume is not None and ready.get("reason") == "Lost":
            what = f"spec.volumes[{entry.spec.name}] waits for Volume {entry.volume.name}"
            return "WaitingForVolume", f"{what}: Lost: {ready.get('message')}"
    return None


def size_of(work: Work) -> Size:
    """CPU and memory by type or resources. Raises Refused."""
    return Size(*resources(work.cache, work.obj))


def volume_name(instance: str, entry: InstanceVolume) -> str:
    """Name of the Volume of an entry that has one."""
    return entry.volume.volume_ref.name if entry.volume else f"{instance}-{entry.name}"


def disks_of(work: Work) -> Disks:
    """Every entry resolved. Raises Refused (BootOrderNeeded)."""
    spec, status = work.spec, work.status
    kept = {v.name: v.slot for v in status.volumes if v.slot is not None}
    types = {v.name: v.type for v in status.volumes} | {v.name: v.type for v in spec.volumes}
    drives = {n: s for n, s in kept.items() if types.get(n) == "CDROM"}
    disks = {n: s for n, s in kept.items() if n not in drives}
    orders = devices.boot_orders(
        {v.name: v.boot_order for v in spec.volumes},
        {v.name: _filled(work, v) for v in spec.volumes if v.type != "CDROM"},
    )
    if isinstance(orders, devices.BootProblem):
        raise Refused("BootOrderNeeded", orders.message, stalled=True)
    # The disk that boots sits first, where a guest expects it; from then on each keeps its place.
    names = sorted((v.name for v in spec.volumes), key=lambda n: (orders.get(n, len(orders) + 1), n))
    slots = devices.choose_slots([n for n in names if types[n] != "CDROM"], disks)
    drive_slots = devices.choose_slots([n for n in names if types[n] == "CDROM"], drives)
    entries = []
    for entry in sorted(spec.volumes, key=lambda v: v.name):
        if entry.type == "CDROM":
            entries.append(_drive(work, entry, drive_slots[entry.name], orders.get(entry.name, 0)))
        else:
            entries.append(_disk(work, entry, slots[entry.name], orders.get(entry.name, 0)))
    return Disks(tuple(entries), slots, drive_slots, orders)


def _filled(work: Work, entry: InstanceVolume) -> bool:
    """Whether something was put on it that could boot: a blank disk cannot."""
    if entry.managed:
        return entry.managed.template_ref is not None
    volume = work.cache.get("Volume", work.obj.namespace, volume_name(work.obj.name, entry))
    return volume is not None and volume.spec.source.type != "Blank"


def _disk(work: Work, entry: InstanceVolume, slot: int, order: int) -> Entry:
    name = volume_name(work.obj.name, entry)
    field = f"spec.volumes[{entry.name}]"
    volume = work.cache.get("Volume", work.obj.namespace, name)
    if volume is None:
        missing = f"{field}.volume.volumeRef: Volume {work.obj.namespace}/{name} does not exist."
        made = f"{field}: Volume {name} is about to be made."
        return Entry(spec=entry, problem=("VolumeNotFound", missing) if entry.volume else ("Provisioning", made))
    foreign = _not_ours(work, entry, volume, field)
    if foreign:
        return Entry(spec=entry, volume=volume, problem=foreign)
    ready = volume.condition("Ready") or {}
    disk = volume.status.disk
    attached = any(v.name == entry.name and v.attached for v in work.status.volumes)
    if disk is None or (ready.get("status") != "True" and not attached):
        if ready.get("reason", "Pending") == "Pending":
            made = f"{field}: Volume {name} is about to be made."
            return Entry(spec=entry, volume=volume, problem=("Provisioning", made))
        why = ready.get("message") or ready.get("reason")
        return Entry(
            spec=entry, volume=volume,
            problem=("WaitingForVolume", f"{field} waits for Volume {name}: {ready.get('reason')}: {why}"),
        )  # fmt: skip
    placement = work.status.placement
    host = placement.host if placement else None
    granted = next((a for a in volume.status.attachments if a.uid == work.obj.uid and host in a.hosts), None)
    if granted is None:
        holders = ", ".join(a.instance for a in volume.status.attachments if a.uid != work.obj.uid)
        waits = (
            f"until Instance {holders} has let go of it: delete that, or remove it from its spec.volumes"
            if holders
            else f"to be granted to this instance: who may have its disk still is told by kubectl describe vol {name}"
        )
        return Entry(spec=entry, volume=volume, problem=("WaitingForVolume", f"{field}: Volume {name} waits {waits}."))
    pool = work.cache.get("StoragePool", "", disk.pool)
    if pool is None:
        gone = f"{field}: StoragePool {disk.pool}, where Volume {name} lies, does not exist."
        return Entry(spec=entry, volume=volume, problem=("StoragePoolNotFound", gone))
    attachment = DiskAttachment(
        name=entry.name, slot=slot, pool=pool_uuid(pool), disk=disk_name(volume),
        format=(volume.status.format or "qcow2").lower(), boot_order=order,
        read_only=granted.access == "ReadOnly", shareable=volume.spec.shareable, limits=_limits(work, volume),
    )  # fmt: skip
    return Entry(spec=entry, volume=volume, attachment=attachment)


def _not_ours(work: Work, entry: InstanceVolume, volume: Obj[Any, Any], field: str) -> tuple[str, str] | None:
    if entry.type == "Managed" and not made_by(volume, work.obj):
        return (
            "VolumeNameTaken",
            (
                f"{field}: Volume {volume.name} exists and was not made by this instance: it is never used in its "
                "place. "
                f"Rename the entry, or use it by type Volume with volumeRef {volume.name}."
            ),
        )
    if volume.deleting and not any(v.name == entry.name and v.attached for v in work.status.volumes):
        return ("VolumeDeleting", f"{field}: Volume {volume.name} is being deleted.")
    return None


def disk_name(volume: Obj[Any, Any]) -> str:
    """I4: name of its current copy."""
    return f"{volume_uuid(volume)}-{volume.status.disk.n}"


def _limits(work: Work, volume: Obj[Any, Any]) -> IOLimits:
    ref = volume.spec.volume_type_ref
    offer = work.cache.get("VolumeType", "", ref.name) if ref else None
    limits = offer.spec.limits if offer else None
    if limits is None:
        return IOLimits()
    return IOLimits(
        read_iops=limits.read_iops or 0,
        write_iops=limits.write_iops or 0,
        read_bytes=limits.read_bytes_per_second or 0,
        write_bytes=limits.write_bytes_per_second or 0,
    )


def _drive(work: Work, entry: InstanceVolume, slot: int, order: int) -> Entry:
    """A CD-ROM: empty, or with an ISO that lies in a cache on some pool that its host reaches."""
    field = f"spec.volumes[{entry.name}].cdrom.templateRef"
    empty = DiskAttachment(name=entry.name, slot=slot, pool="", disk="", device="cdrom", read_only=True, format="raw")
    ref = entry.cdrom.template_ref if entry.cdrom else None
    if ref is None:
        return Entry(spec=entry, attachment=empty)
    namespace = ref.namespace or work.obj.namespace
    template = work.cache.get("Template", namespace, ref.name)
    if template is None or not visible(work.cache, template, work.obj.namespace):
        gone = (
            f"{field}: Template {namespace}/{ref.name} does not exist or is not visible to namespace "
            f"{work.obj.namespace}."
        )
        return Entry(spec=entry, problem=("TemplateNotFound", gone))
    if template.spec.type != "ISO":
        disk = f"{field}: Template {namespace}/{ref.name} is of type Disk; only an ISO goes into a drive."
        return Entry(spec=entry, template=template, problem=("NotAnISO", disk))
    pools = {copy.pool for copy in template.status.pools if copy.state == "Ready"}
    for name in sorted(pools):
        pool = work.cache.get("StoragePool", "", name)
        reached = pool and any(h.name == work.host and h.state == "Ready" for h in pool.status.hosts)
        if pool and reached:
            disc = DiskAttachment(
                name=entry.name, slot=slot, pool=pool_uuid(pool),
                disk=image_disk(template), format="raw", device="cdrom", read_only=True,
                boot_order=order,
            )  # fmt: skip
            return Entry(spec=entry, template=template, attachment=disc)
    waits = f"{field} waits for Template {namespace}/{ref.name} to be copied to a storage pool of {work.host}."
    return Entry(spec=entry, template=template, attachment=empty, problem=("WaitingForTemplate", waits))


def boot_template(work: Work, disks: Disks) -> Obj[Any, Any] | None:
    """The template that the boot disk was made from, if it still is there."""
    boot = disks.boot()
    managed = boot.spec.managed if boot else None
    ref = managed.template_ref if managed else None
    source = boot.volume.spec.source if boot and boot.volume else None
    if ref is None and source is not None and source.template:
        ref = source.template.template_ref
    return work.cache.get("Template", ref.namespace or work.obj.namespace, ref.name) if ref else None


def volume_states(work: Work, disks: Disks) -> tuple[VolumeState, ...]:
    """status.volumes: every entry of the spec, and what is attached still though its entry is gone (D3)."""
    attached = {d.name: d for d in work.facts.disks} if work.facts else {}
    before = {v.name: v for v in work.status.volumes}
    shown = []
    for entry in disks.entries:
        name = entry.spec.name
        slot = disks.drives.get(name, disks.slots.get(name))
        ref = entry.spec.cdrom.template_ref if entry.spec.cdrom else None
        shown.append(
            VolumeState(
                name=name, type=entry.spec.type, attached=_attached(work, name, attached, before), slot=slot,
                volume_ref=None if entry.spec.type == "CDROM" else {"name": volume_name(work.obj.name, entry.spec)},
                template_ref={"name": ref.name} if ref else None, bootable=disks.orders.get(name) == 1,
                message=entry.problem[1][:1024] if entry.problem else None,
            )
        )  # fmt: skip
    names = {v.name for v in shown}
    gone = [v.model_copy(update={"bootable": False}) for n, v in before.items() if n not in names and v.volume_ref]
    shown += [v for v in gone if _attached(work, v.name, attached, before)]
    return tuple(sorted(shown, key=lambda v: v.name))


def _attached(work: Work, name: str, attached: dict[str, Any], before: dict[str, VolumeState]) -> bool:
    """As seen; while its host does not answer, as it was."""
    if work.facts is None and not work.seen:
        return name in before and before[name].attached
    return name in attached


def declared(spec: InstanceSpec) -> frozenset[str]:
    return frozenset(v.name for v in spec.volumes)
