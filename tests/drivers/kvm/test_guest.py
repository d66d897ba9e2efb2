"""The lab's small guest on real hosts: it boots, prints, takes devices and lets go of them, and ends by itself."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from drivers.base import (
    AttachDisk,
    AttachNic,
    DetachDisk,
    DetachNic,
    DiskAttachment,
    EndPoint,
    GrowDisk,
    Hardware,
    ImageSource,
    NicAttachment,
    PoolDefinition,
    Power,
    Resume,
    Seed,
    Shutdown,
    Undefine,
    Why,
)
from drivers.errors import Busy
from tests.drivers.builders import (
    MIB,
    OURS,
    Machine,
    attachment,
    disk_definition,
    instance_mark,
    machine,
    new_uuid,
    until,
)
from tests.drivers.kvm_backend import KVMBackend

pytestmark = pytest.mark.cloud

BOOT_SECONDS = 90.0
"""A boot takes 5 s alone, and half a minute beside a build."""


@dataclass(frozen=True)
class Booted:
    guest: Machine
    pool: PoolDefinition
    printed: str


def template(kvm: KVMBackend) -> ImageSource:
    lab = kvm.lab
    return ImageSource(
        url=lab.template_url,
        checksum=lab.template_checksum,
        format="qcow2",
        max_bytes=1 << 30,
        max_virtual_size=1 << 30,
    )


def boot(kvm: KVMBackend, node: EndPoint, pool: PoolDefinition, hardware: Hardware, memory: int) -> Booted:
    """A thin clone of the template with a seed, up to the line in which it says that it is ready."""
    name = f"guest-{new_uuid()[:6]}"
    base = node.storage.import_image(pool, disk_definition(kind="Template"), template(kvm), lambda done: None)
    root = node.storage.clone_disk(pool, disk_definition(size=2 * base.size), base.disk)
    seed = Seed(
        meta_data=f"instance-id: {name}\nlocal-hostname: {name}\n",
        user_data="#!/bin/sh\necho secret-$((6*7))\n",
        network_config="",
    )
    written = node.storage.write_seed(pool, root.disk, seed)
    prepared = machine(kvm, node, mark=instance_mark(name), disks=(attachment(pool, root.disk),))
    definition = replace(
        prepared.definition,
        memory=memory,
        max_memory=memory,
        hardware=node.choose_hardware("node-1", hardware),
        nvram=(pool.uuid, f"{root.disk}.nvram"),
        seed_disk=DiskAttachment(name="seed", slot=0, pool=pool.uuid, disk=written, format="raw", device="cdrom"),
    )
    guest = replace(prepared, definition=definition).start_paused()
    console = node.console("node-1", guest.uuid)
    guest.apply(Resume())
    return Booted(guest, pool, printed_until(console, f"ready {name} boots="))


def printed_until(console: Iterator[bytes], words: str) -> str:
    text, deadline = "", time.monotonic() + BOOT_SECONDS
    for piece in console:
        text += piece.decode(errors="replace")
        if words in text:
            return text
        assert time.monotonic() < deadline, f"{words!r} was not printed within {BOOT_SECONDS:g} s, but: {text[-2000:]}"
    raise AssertionError(f"the console ended without {words!r}: {text[-2000:]}")


def until_detached(guest: Machine, action: DetachDisk | DetachNic) -> None:
    def gone() -> bool:
        try:
            guest.apply(action)
        except Busy:
            return False
        return True

    until(gone, 20)


def test_a_guest_boots_from_a_thin_clone_takes_devices_and_shuts_down(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    booted = boot(kvm, node, nfs, Hardware(cpu_mode="Baseline"), 160 * MIB)
    guest = booted.guest
    assert "SeaBIOS" in booted.printed, "the console shows the boot from its beginning"
    assert "secret-42" in booted.printed, "the seed was read"

    until(lambda: guest.facts().agent_connected, 30)
    until(lambda: node.guest_addresses("node-1", guest.uuid) != (), 30)
    assert all(a.startswith(kvm.lab.guest_prefix) for a in node.guest_addresses("node-1", guest.uuid))

    data = node.storage.create_disk(nfs, disk_definition(size=16 * MIB))
    guest.apply(AttachDisk(attachment(nfs, data.disk, "data", 2)))
    guest.apply(GrowDisk("data", 32 * MIB))
    guest.apply(
        AttachNic(NicAttachment(name="back", slot=3, mac="02:00:00:00:00:99", uplink_type="Bridge", uplink="br-guest"))
    )
    assert {d.name for d in guest.facts().disks} == {"root", "data", "seed"}
    assert {n.name for n in guest.facts().nics} == {"lan", "back"}
    until_detached(guest, DetachDisk("data"))
    until_detached(guest, DetachNic("back"))
    assert {d.name for d in guest.facts().disks} == {"root", "seed"}
    grown = node.storage.observe_disk(nfs, data.disk)
    assert grown is not None
    assert grown.size == 32 * MIB

    began = time.monotonic()
    guest.apply(Shutdown())
    assert time.monotonic() - began < 5, "it asks and returns"
    until(lambda: guest.facts().power is Power.OFF, 30)
    assert guest.facts().why is Why.SHUTDOWN, "W3b: the run ended here"


def test_d5_uefi_variables_lie_beside_the_boot_disk_and_outlive_the_definition(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    booted = boot(kvm, node, nfs, Hardware(firmware="UEFI"), 320 * MIB)
    guest, variables = booted.guest, booted.guest.definition.nvram
    assert variables is not None
    assert "BdsDxe" in booted.printed
    assert variables[1] in kvm.files(nfs)
    guest.apply(Shutdown())
    until(lambda: guest.facts().power is Power.OFF, 30)
    guest.apply(Undefine())
    assert variables[1] in kvm.files(nfs)
    disk = guest.definition.disks[0].disk
    mark = node.storage.observe_disk(nfs, disk)
    assert mark is not None
    assert mark.mark is not None
    assert mark.mark.installation == OURS
    node.storage.delete_disk(nfs, disk, mark.mark.uid)
    assert not [name for name in kvm.files(nfs) if name.startswith(disk)]


def test_libvirt_accepts_a_guest_with_secure_boot(kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition) -> None:
    disk = node.storage.create_disk(nfs, disk_definition())
    prepared = machine(kvm, node, disks=(attachment(nfs, disk.disk),))
    hardware = node.choose_hardware("node-1", Hardware(firmware="UEFI", secure_boot=True))
    definition = replace(prepared.definition, hardware=hardware, nvram=(nfs.uuid, f"{disk.disk}.nvram"))
    guest = replace(prepared, definition=definition).run()
    assert guest.facts().power is Power.RUNNING
    assert f"{disk.disk}.nvram" in kvm.files(nfs)
