"""Guests and pools of the XML tests: a small one, one with everything, and what the host offers."""

from dataclasses import replace

from drivers.base import (
    DiskAttachment,
    Hardware,
    InstanceDefinition,
    IOLimits,
    LocalSource,
    NFSSource,
    NicAttachment,
    PoolDefinition,
)
from drivers.kvm.domain_xml import Platform
from drivers.marks import InstanceMark

POOL = "6f7b1c1e-5a0e-4a52-9d5f-0d6f3c1f0a01"
VOLUME = "0b2ad7e4-9c1c-4a86-8f55-2d9a7f3f5b10-1"

KVM = Platform("kvm", "/usr/bin/qemu-system-x86_64", True, lambda model: frozenset({"avx", "sse4.2"}))
TCG = replace(KVM, domain_type="qemu", host_passthrough=False)

MARK = InstanceMark(
    installation="8d0c2a8e-1111-4222-8333-123456789abc",
    namespace="team-a",
    name="web-1",
    uid="3f6b0f8e-aaaa-4bbb-8ccc-0123456789ab",
    uuid="3b0f5a3c-2f0a-5e0c-9a7e-d1b2c3d4e5f6",
    sequence=1795592522,
    volumes=(("root", VOLUME[:-2], VOLUME),),
    addresses=(("lan", "02:5a:00:00:00:01", ("10.91.0.60",)),),
    run_count=2,
)
ROOT = DiskAttachment(name="root", slot=0, pool=POOL, disk=VOLUME, boot_order=1)
LAN = NicAttachment(name="lan", slot=0, mac="02:5a:00:00:00:01", uplink_type="Bridge", uplink="br-guest")
SEED = DiskAttachment(name="seed", slot=0, pool=POOL, disk=f"{VOLUME}.seed", format="raw", device="cdrom")

SMALL = InstanceDefinition(
    title="team-a.web-1.3b0f5a3c",
    mark=MARK,
    cpus=1,
    memory=512 << 20,
    max_cpus=1,
    max_memory=512 << 20,
    hardware=Hardware(machine="pc-q35-7.2"),
    disks=(ROOT,),
    nics=(LAN,),
    seed_disk=SEED,
)
FULL = replace(
    SMALL,
    cpus=2,
    max_cpus=4,
    hardware=Hardware(
        machine="pc-q35-7.2", firmware="UEFI", cpu_mode="Baseline", cpu_model="EPYC", cpu_features=("sse4.2", "x2apic")
    ),
    disks=(
        ROOT,
        replace(
            ROOT, name="data", slot=7, disk="d-2", boot_order=0, limits=IOLimits(read_iops=2000, write_bytes=1 << 20)
        ),
        replace(ROOT, name="shared", slot=8, disk="d-3", format="raw", boot_order=0, shareable=True),
        replace(ROOT, name="tools", slot=0, disk="", format="raw", device="cdrom", boot_order=2, read_only=True),
    ),
    nics=(LAN, replace(LAN, name="back", slot=9, mac="02:5a:00:00:00:02")),
    nvram=(POOL, f"{VOLUME}.nvram"),
)
SECURE = replace(
    FULL, hardware=replace(FULL.hardware, secure_boot=True, cpu_mode="HostPassthrough", cpu_model="", cpu_features=())
)


def path_of(pool: str, name: str) -> str:
    return f"/var/lib/libvirt/stratiform/{pool}/{name}"


def pool(source: NFSSource | LocalSource) -> PoolDefinition:
    return PoolDefinition(uuid=POOL, name="nfs-1", installation=MARK.installation, source=source)
