"""What the domain builder refuses, and where devices sit for good."""

from dataclasses import replace

import pytest

from drivers.base import Hardware
from drivers.errors import Invalid, Unsupported
from drivers.kvm import slots
from drivers.kvm.domain_xml import build
from drivers.kvm.xml import to_text
from tests.drivers.kvm.definitions import FULL, KVM, LAN, MARK, ROOT, SMALL, TCG, path_of

REFUSED = {
    "two disks in one slot": (replace(SMALL, disks=(ROOT, replace(ROOT, name="data"))), Invalid),
    "two disks of one name": (replace(SMALL, disks=(ROOT, replace(ROOT, slot=5))), Invalid),
    "two NICs of one MAC": (replace(SMALL, nics=(LAN, replace(LAN, name="b", slot=3))), Invalid),
    "a slot beyond the bus": (replace(SMALL, disks=(replace(ROOT, slot=200),)), Invalid),
    "no CPU": (replace(SMALL, cpus=0), Invalid),
    "UEFI without a place for its variables": (replace(FULL, nvram=None), Invalid),
    "a named CPU without a name": (replace(SMALL, hardware=Hardware(cpu_mode="Named")), Invalid),
    "an unknown CPU mode": (replace(SMALL, hardware=Hardware(cpu_mode="Quantum")), Unsupported),
    "an unknown firmware": (replace(SMALL, hardware=Hardware(firmware="OpenFirmware")), Unsupported),
    "an unknown clock": (replace(SMALL, hardware=Hardware(clock="Mars")), Unsupported),
    "an uplink of a later version": (replace(SMALL, nics=(replace(LAN, uplink_type="OpenVSwitch"),)), Unsupported),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what: str) -> None:
    wanted, error = REFUSED[what]
    with pytest.raises(error):
        build(wanted, wanted.title, KVM, path_of)


def test_the_same_definition_gives_the_same_bytes() -> None:
    once, twice = (to_text(build(FULL, FULL.title, KVM, path_of)) for _ in range(2))
    assert once == twice


def test_without_kvm_the_cpu_is_the_most_that_emulation_gives() -> None:
    node = build(SMALL, SMALL.title, TCG, path_of)
    assert node.get("type") == "qemu"
    assert [cpu.get("mode") for cpu in node.iterfind("cpu")] == ["maximum"]


def test_a_baseline_gives_just_the_listed_features_whatever_its_model_has() -> None:
    node = build(FULL, FULL.title, KVM, path_of)
    policies = {f.get("name"): f.get("policy") for f in node.iterfind("cpu/feature")}
    assert policies == {"x2apic": "require", "avx": "disable"}, "sse4.2 comes with the model"


def test_more_devices_never_move_the_ones_that_are_there() -> None:
    few, many = slots.root_ports({slots.disk_bus(0)}), slots.root_ports({slots.nic_bus(40)})
    assert many[: len(few)] == few


def test_disks_and_nics_may_share_one_numbering_or_have_one_each() -> None:
    buses = [slots.disk_bus(n) for n in range(88)] + [slots.nic_bus(n) for n in range(88)]
    assert len(set(buses)) == len(buses)
    assert all(slots.slot_of_bus(slots.disk_bus(n)) == n == slots.slot_of_bus(slots.nic_bus(n)) for n in range(88))


def test_every_port_has_an_address_of_its_own_below_the_chipsets() -> None:
    ports = slots.root_ports({slots.nic_bus(87)})
    places = {(p.address.slot, p.address.function) for p in ports}
    assert len(places) == len(ports) == 176
    assert max(slot for slot, _ in places) < 0x1F
    assert all(p.address.multifunction == (p.address.function == 0) for p in ports)


def test_there_is_a_port_left_for_what_is_attached_hot() -> None:
    last = slots.disk_bus(7)
    assert len(slots.root_ports({last})) > last


def test_nothing_of_the_user_data_is_in_the_xml() -> None:
    """Its place is the seed, whose file alone is named."""
    text = to_text(build(SMALL, SMALL.title, KVM, path_of))
    assert "cloud-config" not in text
    assert MARK.uuid in text
