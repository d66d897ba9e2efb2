"""Slots for life, what boots, hot changes, drift, and what waits for a restart."""

from dataclasses import replace

import pytest

from controllers.logic.devices import BootProblem, boot_orders, choose_slots, compare
from controllers.logic.drift import DEFINITION, drift, started_with, waiting_for_restart
from crds.instance import InstanceSpec
from drivers.base import (
    AttachDisk,
    AttachNic,
    ChangeMedia,
    DetachDisk,
    DetachNic,
    DiskAttachment,
    DiskSeen,
    NicAttachment,
    NicSeen,
)
from tests.logic.machines import MARK, off, running, with_devices

ROOT = DiskAttachment(name="root", slot=0, pool="p", disk="r-1")
DATA = DiskAttachment(name="data", slot=1, pool="p", disk="d-1")
DRIVE = DiskAttachment(name="cd", slot=0, pool="p", disk="iso-1", device="cdrom")
LAN = NicAttachment(name="lan", slot=0, mac="02:00:00:00:00:01", uplink_type="Bridge", uplink="br")


def test_a_slot_is_kept_and_new_ones_are_the_lowest_free() -> None:
    assert choose_slots(["a", "b", "c"], {"b": 0, "c": 2}) == {"a": 1, "b": 0, "c": 2}


def test_the_slot_of_an_entry_that_is_still_attached_is_not_given_away() -> None:
    assert choose_slots(["new"], {"old": 0}) == {"new": 1}


@pytest.mark.parametrize(
    ("asked", "disks", "orders"),
    [
        ({"root": None}, {"root": True}, {"root": 1}),
        ({"root": None, "data": None}, {"root": True, "data": False}, {"root": 1}),
        ({"root": 5, "data": 9}, {"root": True, "data": True}, {"root": 1, "data": 2}),
        ({"root": None, "cd": 1}, {"root": True}, {"cd": 1}),
        ({"blank": None}, {"blank": False}, {"blank": 1}),
        ({}, {}, {}),
    ],
)
def test_what_boots(asked: dict[str, int | None], disks: dict[str, bool], orders: dict[str, int]) -> None:
    assert boot_orders(asked, disks) == orders


def test_two_that_could_boot_need_an_order() -> None:
    problem = boot_orders({"a": None, "b": None}, {"a": True, "b": True})
    assert isinstance(problem, BootProblem) and "bootOrder" in problem.message


def _compare(has: dict[str, str], wanted: list[DiskAttachment], *, hot: bool = True, cdrom: bool = False) -> object:
    facts = with_devices(running(), has, {"lan": LAN.mac})
    if cdrom:
        facts = replace(facts, disks=(DiskSeen(name="cd", disk=has["cd"], device="cdrom"),))
    return compare(
        facts, wanted, [LAN], declared_disks=frozenset(d.name for d in wanted), declared_nics=frozenset({"lan"}),
        hot_disks=hot, hot_nics=hot,
    )  # fmt: skip


def test_nothing_to_do() -> None:
    found = _compare({"root": "r-1"}, [ROOT])
    assert (found.change, found.restart) == (None, ())  # type: ignore[attr-defined]


def test_a_new_disk_is_attached_hot() -> None:
    assert _compare({"root": "r-1"}, [ROOT, DATA]).change == AttachDisk(DATA)  # type: ignore[attr-defined]


def test_d3_a_disk_whose_entry_is_gone_is_detached() -> None:
    assert _compare({"root": "r-1", "data": "d-1"}, [ROOT]).change == DetachDisk("data")  # type: ignore[attr-defined]


def test_where_it_cannot_be_hot_it_waits_for_a_restart() -> None:
    found = _compare({"root": "r-1"}, [ROOT, DATA], hot=False)
    assert (found.change, found.restart) == (None, ("volumes[data]",))  # type: ignore[attr-defined]


def test_the_seed_is_nobodys_entry() -> None:
    assert _compare({"root": "r-1", "_seed": "r-1.seed"}, [ROOT]).change is None  # type: ignore[attr-defined]


def test_a_disc_is_changed_and_ejected() -> None:
    assert _compare({"cd": ""}, [DRIVE], cdrom=True).change == ChangeMedia("cd", DRIVE)  # type: ignore[attr-defined]
    empty = replace(DRIVE, disk="", pool="")
    assert _compare({"cd": "iso-1"}, [empty], cdrom=True).change == ChangeMedia("cd", None)  # type: ignore[attr-defined]


def test_nics_come_and_go() -> None:
    facts = with_devices(running(), {}, {"old": "02:00:00:00:00:09"})
    kwargs = {"declared_disks": frozenset[str](), "hot_disks": True, "hot_nics": True}
    found = compare(facts, [], [LAN], declared_nics=frozenset({"lan"}), **kwargs)  # type: ignore[arg-type]
    assert found.change == AttachNic(LAN)
    found = compare(facts, [], [], declared_nics=frozenset(), **kwargs)  # type: ignore[arg-type]
    assert found.change == DetachNic("old")


# ---------------------------------------------------------------- drift


def test_no_drift() -> None:
    facts = with_devices(running(), {"root": "r-1"}, {"lan": LAN.mac})
    assert drift(facts, [ROOT], [LAN], running=True).message == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"persistent": False}, "definition was removed"),
        ({"autostart": True}, "autostart"),
        ({"nics": (NicSeen(name="lan", mac="02:00:00:00:00:99"),)}, "02:00:00:00:00:99"),
        ({"disks": (DiskSeen(name="", disk="/dev/sdb"),)}, "/dev/sdb"),
        ({"nics": (NicSeen(name="", mac="52:54:00:00:00:01"),)}, "52:54:00:00:00:01"),
        (
            {"digest": "changed", "mark": replace(MARK, started=((DEFINITION, "ours"),))},
            "definition on the host was changed",
        ),
    ],
)
def test_what_somebody_changed_is_named(change: dict[str, object], text: str) -> None:
    facts = replace(with_devices(running(), {}, {"lan": LAN.mac}), **change)  # type: ignore[arg-type]
    assert text in drift(facts, [], [LAN], running=True).message


def test_a_disk_detached_by_hand_is_named() -> None:
    facts = with_devices(running(volumes=(("root", "u", "r-1"),)), {}, {})
    assert "detached by hand: root" in drift(facts, [ROOT], [], running=True).message


# ---------------------------------------------------------------- restart


def _spec(**more: object) -> InstanceSpec:
    base = {"zoneRef": {"name": "z"}, "resources": {"cpus": 1, "memory": "512Mi"}}
    return InstanceSpec.model_validate({**base, **more})


def _waits(before: InstanceSpec, now: InstanceSpec, cpus: int = 1, memory: int = 512 << 20) -> tuple[str, ...]:
    facts = running(started=tuple(started_with(before, {"root": 1}).items()))
    facts = with_devices(facts, {}, {"lan": LAN.mac})
    return waiting_for_restart(now, facts, cpus=cpus, memory=memory, orders={"root": 1})


def test_nothing_waits() -> None:
    assert _waits(_spec(), _spec()) == ()


def test_resize_waits_for_a_restart_and_says_what() -> None:
    assert _waits(_spec(), _spec(), cpus=2, memory=1 << 30) == (
        "spec.resources: 1 CPUs, declared 2",
        "spec.resources: 512Mi memory, declared 1024Mi",
    )


@pytest.mark.parametrize(
    ("now", "path"),
    [
        ({"cloudInit": {"hostname": "other"}}, "spec.cloudInit"),
        (
            {"networks": [{"name": "lan", "networkRef": {"name": "lan"}, "addresses": ["10.0.0.9"]}]},
            "spec.networks[lan]",
        ),
        ({"placement": {"hostRef": {"name": "node-2"}}}, "spec.placement.hostRef: runs on node-1, declared node-2"),
    ],
)
def test_what_takes_effect_at_a_restart_is_named(now: dict[str, object], path: str) -> None:
    assert _waits(_spec(), _spec(**now)) == (path,)


def test_an_off_machine_has_no_mark_to_compare_with() -> None:
    assert waiting_for_restart(_spec(), off(), cpus=1, memory=512 << 20, orders={}) == ()
