"""Slots that are chosen once and kept, what boots, and the one next change of a machine's devices. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from drivers.base import (
    AttachDisk,
    AttachNic,
    ChangeMedia,
    DetachDisk,
    DetachNic,
    DiskAttachment,
    InstanceFacts,
    NicAttachment,
)

SEED = "_seed"
"""Name of the cloud-init CD-ROM: no entry can be called so."""

Change = AttachDisk | DetachDisk | AttachNic | DetachNic | ChangeMedia


def choose_slots(names: Iterable[str], kept: Mapping[str, int]) -> dict[str, int]:
    """A slot for each name: the one it has, else the lowest that no other has. Slots of gone entries are given again
    only when nobody names them in `kept`."""
    slots = {name: kept[name] for name in names if name in kept}
    taken = set(kept.values())
    for name in names:
        if name not in slots:
            slots[name] = next(n for n in range(len(taken) + 1) if n not in taken)
            taken.add(slots[name])
    return slots


@dataclass(frozen=True, slots=True)
class BootProblem:
    message: str


def boot_orders(asked: Mapping[str, int | None], disks: Mapping[str, bool]) -> dict[str, int] | BootProblem:
    """Entry → boot order, 1 first. `disks`: those without drives → whether something bootable was put on it. Who names
    no order boots only if it is the only one that can (a drive boots only if asked)."""
    given = sorted((order, name) for name, order in asked.items() if order is not None)
    if given:
        return {name: place for place, (_, name) in enumerate(given, start=1)}
    candidates = sorted(n for n, filled in disks.items() if filled) or sorted(disks)
    if len(candidates) > 1:
        return BootProblem(
            f"spec.volumes: {', '.join(candidates)} could all boot: give the one that shall boot the lowest bootOrder."
        )
    return dict.fromkeys(candidates, 1)


@dataclass(frozen=True, slots=True)
class Differences:
    """`change` is the next hot change; `restart` names what only a restart changes."""

    change: Change | None
    restart: tuple[str, ...]


def compare(
    facts: InstanceFacts, disks: Iterable[DiskAttachment], nics: Iterable[NicAttachment], *,
    declared_disks: frozenset[str], declared_nics: frozenset[str], hot_disks: bool, hot_nics: bool,
) -> Differences:  # fmt: skip
    """`disks` and `nics` are those that may be attached now; what is declared and not among them is left as it is (its
    volume waits). D3: what is attached and not declared is detached, never deleted."""
    changes: list[Change] = []
    restart: list[str] = []
    has = {d.name: d for d in facts.disks if d.name and d.name != SEED}
    for disk in disks:
        there = has.get(disk.name)
        if there is None:
            _either(changes, restart, AttachDisk(disk), f"volumes[{disk.name}]", hot_disks and disk.device == "disk")
        elif there.disk != disk.disk and disk.device == "cdrom":
            changes.append(ChangeMedia(disk.name, disk if disk.disk else None))
        elif there.disk != disk.disk:
            restart.append(f"volumes[{disk.name}]")
    for name, there in has.items():
        if name not in declared_disks:
            _either(changes, restart, DetachDisk(name), f"volumes[{name}]", hot_disks and there.device == "disk")
    nics_there = {n.name for n in facts.nics if n.name}
    for nic in nics:
        if nic.name not in nics_there:
            _either(changes, restart, AttachNic(nic), f"networks[{nic.name}]", hot_nics)
    for name in sorted(nics_there - declared_nics):
        _either(changes, restart, DetachNic(name), f"networks[{name}]", hot_nics)
    return Differences(changes[0] if changes else None, tuple(restart))


def _either(changes: list[Change], restart: list[str], change: Change, field: str, hot: bool) -> None:
    if hot:
        changes.append(change)
    else:
        restart.append(field)
