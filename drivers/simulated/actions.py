"""What each action does to a simulated domain. Called by the end-point inside one write: all of it or nothing.

The rules are `drivers.base`'s: the mark is compared first, doing what is done already is fine.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from drivers.base import (
    Action,
    Adopt,
    AttachDisk,
    AttachNic,
    ChangeMedia,
    Define,
    Destroy,
    DetachDisk,
    DetachNic,
    DiskAttachment,
    Expected,
    ForceOff,
    GrowDisk,
    InstanceDefinition,
    NicAttachment,
    Power,
    Release,
    Reset,
    Resume,
    Shutdown,
    StartPaused,
    Suspend,
    Undefine,
    Why,
    WriteMark,
)
from drivers.errors import Busy, Invalid, NotOurs, Unsupported
from drivers.marks import encode
from drivers.simulated import disks, domains
from drivers.simulated.domains import Domain, Shape
from drivers.simulated.state import Transaction

UPLINK_TYPES = ("Simulated",)

FINE_WITHOUT = (Undefine, Destroy, ForceOff, Shutdown, DetachDisk, DetachNic, Release)
"""Actions that are done already when there is no such domain."""

_Change = Callable[[Shape], Shape]
_Device = TypeVar("_Device", bound=DiskAttachment | NicAttachment)


def act(tx: Transaction, host: str, uuid: str, action: Action, expected: Expected) -> None:
    """Do one action on the domain `uuid` of `host`. Raises NotOurs before anything is changed."""
    found = domains.load(tx, host, uuid)
    match action:
        case Define(definition):
            _define(tx, host, uuid, found, definition, expected)
            return
        case Adopt(mark, previous):
            adopted = _require(found, host, uuid)
            _check_adoption(adopted, mark.uid, previous, expected)
            domains.save(tx, replace(adopted, mark=encode(mark)), "adopted")
            return
    if found is None:
        if not isinstance(action, FINE_WITHOUT):
            _require(found, host, uuid)
        return
    if isinstance(action, Release) and not found.mark:
        return
    check(found, expected)
    match action:
        case WriteMark(mark):
            if found.mark != encode(mark):
                domains.save(tx, replace(found, mark=encode(mark)), "mark written")
        case AttachDisk() | DetachDisk() | AttachNic() | DetachNic() | ChangeMedia() | GrowDisk():
            _devices(tx, found, action)
        case Release():
            domains.save(tx, replace(found, mark=""), "released")
        case Undefine() | Destroy():
            _take_away(tx, found, action)
        case _:
            _power(tx, found, action)


def check(found: Domain, expected: Expected, exactly: bool = True) -> None:
    """The mark must say what the caller believes. Raises NotOurs."""
    mark, unreadable = domains.read_mark(found.mark)
    what = f"domain {found.title} ({found.uuid}) on host {found.host}"
    if mark is None:
        raise NotOurs(f"{what} carries {'a mark that cannot be read' if unreadable else 'no mark of ours'}")
    if mark.installation not in expected.installations:
        raise NotOurs(f"{what} belongs to installation {mark.installation}, not to {expected.installations[0]}")
    if mark.uid != expected.uid:
        raise NotOurs(f"{what} belongs to {mark.namespace}/{mark.name} of uid {mark.uid}, expected uid {expected.uid}")
    if exactly and mark.sequence != expected.sequence:
        raise NotOurs(f"{what} carries sequence {mark.sequence}, expected {expected.sequence}")


def _require(found: Domain | None, host: str, uuid: str) -> Domain:
    if found is None:
        raise Invalid(f"host {host} has no domain {uuid}: define it first")
    return found


def _check_adoption(found: Domain, uid: str, previous: str, expected: Expected) -> None:
    mark, _ = domains.read_mark(found.mark)
    if not found.mark or (
        mark is not None and mark.uid in (uid, previous) and mark.installation in expected.installations
    ):
        return
    owner = f"uid {mark.uid} of installation {mark.installation}" if mark else "somebody whose mark we cannot read"
    raise NotOurs(f"domain {found.title} ({found.uuid}) on host {found.host} is held by {owner}: it is not adopted")


# ---------------------------------------------------------------- definition


def _define(
    tx: Transaction, host: str, uuid: str, found: Domain | None, wanted: InstanceDefinition, expected: Expected
) -> None:
    if wanted.mark.uuid != uuid or wanted.mark.uid != expected.uid:
        raise Invalid(f"the mark of {wanted.title} names {wanted.mark.uuid}, uid {wanted.mark.uid}; asked for {uuid}")
    if found is not None:
        check(found, expected, exactly=False)
        mark, _ = domains.read_mark(found.mark)
        if mark is not None and mark.sequence > wanted.mark.sequence:
            raise NotOurs(f"domain {found.title} ({uuid}) on host {host} carries the higher sequence {mark.sequence}; "
                          f"asked for {wanted.mark.sequence}")  # fmt: skip
    taken = tx.row("SELECT uuid FROM domains WHERE host = ? AND title = ? AND uuid != ?", host, wanted.title, uuid)
    if taken is not None:
        raise Invalid(f"host {host} has another domain ({taken[0]}) with the title {wanted.title}")
    _check_uplinks(wanted.nics)
    shape = shape_of(wanted)
    base = found or Domain(host=host, uuid=uuid, title=wanted.title, shape=shape)
    result = replace(base, title=wanted.title, mark=encode(wanted.mark), shape=shape, persistent=True, autostart=False)
    if result != found:
        domains.save(tx, result, "defined")


def shape_of(wanted: InstanceDefinition) -> Shape:
    """The persistent definition that `Define` writes."""
    seed = (wanted.seed_disk,) if wanted.seed_disk else ()
    return Shape(
        cpus=wanted.cpus,
        memory=wanted.memory,
        max_cpus=wanted.max_cpus,
        max_memory=wanted.max_memory,
        hardware=wanted.hardware,
        disks=(*wanted.disks, *seed),
        nics=wanted.nics,
        nvram=wanted.nvram,
    )


def _check_uplinks(nics: Iterable[NicAttachment]) -> None:
    for nic in nics:
        if nic.uplink_type not in UPLINK_TYPES:
            raise Unsupported(
                f"NIC {nic.name}: a simulated host has no uplink of type {nic.uplink_type}, only Simulated"
            )


def _take_away(tx: Transaction, found: Domain, action: Undefine | Destroy) -> None:
    if found.active and isinstance(action, Undefine):
        raise Busy(f"domain {found.title} on host {found.host} is {found.power}: it is undefined when it is off")
    if found.why is Why.MIGRATING:
        raise Busy(f"domain {found.title} on host {found.host} is being migrated")
    domains.remove(tx, found, "destroyed" if found.active else "undefined")


# ---------------------------------------------------------------- power


def _power(tx: Transaction, found: Domain, action: Action) -> None:
    match action:
        case StartPaused():
            _start(tx, found)
        case Resume():
            _require_active(found, "resumed")
            if found.power is Power.PAUSED:
                if not found.agent:
                    domains.say(tx, found, f"ready {found.title} boots")
                domains.run(tx, found, "resumed")
        case Suspend():
            _require_active(found, "suspended")
            if found.power is Power.RUNNING:
                paused = replace(found, power=Power.PAUSED, why=Why.STARTED_PAUSED)
                domains.save(tx, paused, "suspended")
        case Shutdown():
            domains.ask_to_shut_down(tx, found)
        case ForceOff():
            if found.active:
                domains.end(tx, found, Why.DESTROYED, "forced off")
        case Reset():
            _require_active(found, "reset")
            domains.say(tx, found, f"ready {found.title} boots")
            domains.save(tx, replace(found, due=None), "reset")
        case _:
            raise Unsupported(f"a simulated host does not know the action {type(action).__name__}")


def _require_active(found: Domain, wish: str) -> None:
    if not found.active:
        raise Invalid(f"domain {found.title} on host {found.host} is {found.power}: it cannot be {wish}")


def _start(tx: Transaction, found: Domain) -> None:
    if found.active:
        raise Busy(f"domain {found.title} on host {found.host} is already {found.power}")
    for disk in found.shape.disks:
        if disk.disk:
            disks.require_for_start(tx, found.host, disk.pool, disk.disk)
    if found.shape.nvram is not None:
        disks.make_nvram(tx, found.host, *found.shape.nvram)
    started = replace(found, power=Power.PAUSED, why=Why.STARTED_PAUSED, live=found.shape, agent=False, due=None)
    domains.save(tx, started, "started paused")


# ---------------------------------------------------------------- devices


def _devices(tx: Transaction, found: Domain, action: Action) -> None:
    match action:
        case AttachDisk(disk):
            if found.active:
                disks.require_for_start(tx, found.host, disk.pool, disk.disk)
            result = _both(found, lambda shape: replace(shape, disks=_with(found, shape.disks, disk)))
        case AttachNic(nic):
            _check_uplinks((nic,))
            result = _both(found, lambda shape: replace(shape, nics=_with(found, shape.nics, nic)))
        case ChangeMedia(name, medium):
            result = _both(found, lambda shape: replace(shape, disks=_with_medium(found, shape.disks, name, medium)))
        case DetachDisk(name):
            result = _unplug(tx, found, name, lambda s: replace(s, disks=tuple(d for d in s.disks if d.name != name)))
        case DetachNic(name):
            result = _unplug(tx, found, name, lambda s: replace(s, nics=tuple(n for n in s.nics if n.name != name)))
        case GrowDisk(name, size):
            for disk in (found.live or found.shape).disks:
                if disk.name == name:
                    disks.grow(tx, found.host, disk.pool, disk.disk, size)
                    return
            raise Invalid(f"domain {found.title} on host {found.host} has no disk {name}")
        case _:
            return
    if result != found:
        domains.save(tx, result, type(action).__name__)


def _both(found: Domain, change: _Change) -> Domain:
    """To the definition, and to the running guest."""
    return replace(found, shape=change(found.shape), live=change(found.live) if found.live else None)


def _unplug(tx: Transaction, found: Domain, name: str, change: _Change) -> Domain:
    """From the definition at once, from the running guest when it lets go."""
    kept = replace(found, shape=change(found.shape))
    if found.live is None or domains.behaviour(tx, found.uuid).unplug:
        return replace(kept, live=change(found.live) if found.live else None)
    if kept.shape == found.shape and change(found.live) != found.live:
        raise Busy(f"domain {found.title} on host {found.host}: the guest has not let go of {name} yet")
    return kept


def _with(found: Domain, there: tuple[_Device, ...], new: _Device) -> tuple[_Device, ...]:
    for old in there:
        if old.name == new.name:
            if old == new:
                return there
            raise Invalid(
                f"domain {found.title} on host {found.host} has another device named {new.name}: detach it first"
            )
    if any(old.slot == new.slot and _bus(old) == _bus(new) for old in there):
        raise Invalid(f"domain {found.title} on host {found.host}: slot {new.slot} is taken")
    return (*there, new)


def _bus(device: DiskAttachment | NicAttachment) -> str:
    """CD-ROMs sit on a bus of their own, with slots of their own."""
    return device.device if isinstance(device, DiskAttachment) else "nic"


def _with_medium(
    found: Domain, there: tuple[DiskAttachment, ...], name: str, medium: DiskAttachment | None
) -> tuple[DiskAttachment, ...]:
    for at, old in enumerate(there):
        if old.name == name and old.device == "cdrom":
            new = (
                replace(medium, name=name, slot=old.slot, device="cdrom") if medium else replace(old, disk="", pool="")
            )
            return (*there[:at], new, *there[at + 1 :])
    raise Invalid(f"domain {found.title} on host {found.host} has no CD-ROM {name}")
