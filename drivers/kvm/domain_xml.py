"""What a guest of ours is made of: the whole domain from an InstanceDefinition. Policy; the devices' structure is in
`device_xml.py`, where they sit in `slots.py`. Called by `actions.py`, which resolves pools to paths beforehand.

The same definition always gives the same XML, byte for byte, on every host of a cluster: nothing here is left to
libvirt's choice that it could choose otherwise tomorrow. User data is in the seed, never here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.base import DiskAttachment, Hardware, InstanceDefinition, NicAttachment
from drivers.errors import Invalid, Unsupported
from drivers.kvm import device_xml as device
from drivers.kvm.mark_xml import mark_element
from drivers.kvm.slots import (
    PciAddress,
    disk_alias,
    disk_bus,
    nic_alias,
    nic_bus,
    root_ports,
    target_name,
)
from drivers.kvm.xml import Element, el

SCSI, SERIAL, BALLOON, RANDOM = (PciAddress(0, slot) for slot in (0x02, 0x03, 0x04, 0x05))
SEED_TARGET = 0
LOG_DIRECTORY = "/var/log/libvirt/qemu"
TCG_CACHE_MIB = 64
"""QEMU's translation cache without KVM is otherwise up to 1 GiB a guest."""

_CLOCKS = {"UTC": "utc", "LocalTime": "localtime"}


@dataclass(frozen=True, slots=True)
class Platform:
    """What of the host the XML depends on."""

    domain_type: str
    """kvm, or qemu where /dev/kvm cannot be used."""
    emulator: str
    host_passthrough: bool
    model_features: Callable[[str], frozenset[str]]
    """The features that a named CPU model brings by itself."""


PathOf = Callable[[str, str], str]
"""(pool uuid, file name) → path on the host."""


def build(wanted: InstanceDefinition, name: str, platform: Platform, path_of: PathOf) -> Element:
    """The domain's XML under the platform name `name`. Raises Invalid, Unsupported."""
    _check_unique(wanted)
    if wanted.cpus < 1 or wanted.memory < 1 << 20:
        raise Invalid(f"{wanted.title}: {wanted.cpus} CPUs and {wanted.memory} bytes of memory make no machine")
    most = max(wanted.max_cpus, wanted.cpus)
    hardware = wanted.hardware
    if hardware.clock not in _CLOCKS:
        raise Unsupported(f"{wanted.title}: clock {hardware.clock!r} is none of {', '.join(_CLOCKS)}")
    return el(
        "domain",
        el("name", text=name),
        el("uuid", text=wanted.mark.uuid),
        el("metadata", mark_element(wanted.mark)),
        el("memory", text=str(wanted.memory // 1024), unit="KiB"),
        el("vcpu", text=str(most), placement="static", current=wanted.cpus if wanted.cpus < most else None),
        _os(wanted, path_of),
        _features(hardware, platform),
        _cpu(hardware, platform, most),
        el("clock", *_timers(), offset=_CLOCKS[hardware.clock]),
        el("on_poweroff", text="destroy"),
        el("on_reboot", text="restart"),
        # A crashed guest stops with the reason "crashed", so that its run strategy decides what follows.
        el("on_crash", text="destroy"),
        el("pm", el("suspend-to-mem", enabled="no"), el("suspend-to-disk", enabled="no")),
        _devices(wanted, platform, path_of),
        type_=platform.domain_type,
    )


def disk_element(attachment: DiskAttachment, path: str | None) -> Element:
    """A disk or CD-ROM entry, the same at define and at hot-plug."""
    alias = disk_alias(attachment.name)
    if attachment.device == "cdrom":
        return device.cdrom(
            path=path,
            image_format=attachment.format,
            target=target_name("sd", attachment.slot + 1),
            serial=attachment.name,
            alias=alias,
            scsi_target=attachment.slot + 1,
            boot_order=attachment.boot_order,
        )
    if attachment.device != "disk" or path is None:
        raise Invalid(f"volume {attachment.name}: device {attachment.device!r} is neither disk nor cdrom")
    return device.virtio_disk(
        path=path,
        image_format=attachment.format,
        target=target_name("vd", attachment.slot),
        serial=attachment.name,
        alias=alias,
        at=PciAddress(disk_bus(attachment.slot), 0),
        boot_order=attachment.boot_order,
        read_only=attachment.read_only,
        shareable=attachment.shareable,
        limits=attachment.limits,
    )


def nic_element(attachment: NicAttachment) -> Element:
    if attachment.uplink_type != "Bridge":
        raise Unsupported(
            f"network {attachment.name}: the uplink's type is {attachment.uplink_type}; on KVM this version has Bridge"
        )
    return device.bridge_interface(
        mac=attachment.mac,
        bridge=attachment.uplink,
        alias=nic_alias(attachment.name),
        at=PciAddress(nic_bus(attachment.slot), 0),
    )


def seed_element(attachment: DiskAttachment, path: str) -> Element:
    return device.cdrom(
        path=path,
        image_format="raw",
        target=target_name("sd", SEED_TARGET),
        serial=attachment.name,
        alias=disk_alias(attachment.name),
        scsi_target=SEED_TARGET,
        boot_order=0,
    )


def _check_unique(wanted: InstanceDefinition) -> None:
    for what, values in (
        ("volume slot", [str(d.slot) for d in wanted.disks if d.device == "disk"]),
        ("CD-ROM slot", [str(d.slot) for d in wanted.disks if d.device == "cdrom"]),
        ("volume name", [d.name for d in wanted.disks]),
        ("network slot", [str(n.slot) for n in wanted.nics]),
        ("network name", [n.name for n in wanted.nics]),
        ("MAC address", [n.mac for n in wanted.nics]),
    ):
        twice = sorted({v for v in values if values.count(v) > 1})
        if twice:
            raise Invalid(f"{wanted.title}: {what} {', '.join(twice)} is used twice")


def _os(wanted: InstanceDefinition, path_of: PathOf) -> Element:
    hardware = wanted.hardware
    kind = el("type", text="hvm", arch="x86_64", machine=hardware.machine or "q35")
    if hardware.firmware == "BIOS":
        # useserial makes the firmware's own messages appear on the console.
        return el("os", kind, el("bios", useserial="yes"))
    if hardware.firmware != "UEFI":
        raise Unsupported(f"{wanted.title}: firmware {hardware.firmware!r} is neither BIOS nor UEFI")
    if wanted.nvram is None:
        raise Invalid(f"{wanted.title}: UEFI needs a place for its variables beside the boot disk")
    secure = "yes" if hardware.secure_boot else "no"
    return el(
        "os",
        kind,
        el(
            "firmware",
            el("feature", enabled=secure, name="enrolled-keys"),
            el("feature", enabled=secure, name="secure-boot"),
        ),
        el("nvram", text=path_of(*wanted.nvram)),
        firmware="efi",
    )


def _features(hardware: Hardware, platform: Platform) -> Element:
    tcg = None
    if platform.domain_type == "qemu":
        tcg = el("tcg", el("tb-cache", unit="MiB", text=str(TCG_CACHE_MIB)))
    return el(
        "features",
        el("acpi"),
        el("apic"),
        el("smm", state="on") if hardware.secure_boot else None,
        el("vmport", state="off"),
        tcg,
    )


def _cpu(hardware: Hardware, platform: Platform, most: int) -> Element:
    topology = el("topology", sockets="1", dies="1", cores=most, threads="1")
    if hardware.cpu_mode == "HostPassthrough":
        if platform.host_passthrough:
            return el("cpu", topology, mode="host-passthrough", check="none", migratable="on")
        return el("cpu", topology, mode="maximum", check="none", migratable="on")
    if hardware.cpu_mode not in ("Baseline", "Named"):
        raise Unsupported(f"CPU mode {hardware.cpu_mode!r} is none of Baseline, Named, HostPassthrough")
    if not hardware.cpu_model:
        raise Invalid(f"CPU mode {hardware.cpu_mode} needs a model")
    features: list[Element] = []
    if hardware.cpu_features:
        own, listed = platform.model_features(hardware.cpu_model), frozenset(hardware.cpu_features)
        features = [el("feature", policy="require", name=f) for f in sorted(listed - own)]
        features += [el("feature", policy="disable", name=f) for f in sorted(own - listed)]
    model = el("model", text=hardware.cpu_model, fallback="forbid")
    return el("cpu", model, topology, *features, mode="custom", match="exact", check="partial")


def _timers() -> tuple[Element, ...]:
    return (
        el("timer", name="rtc", tickpolicy="catchup"),
        el("timer", name="pit", tickpolicy="delay"),
        el("timer", name="hpet", present="no"),
    )


def _devices(wanted: InstanceDefinition, platform: Platform, path_of: PathOf) -> Element:
    disks = [disk_element(d, path_of(d.pool, d.disk) if d.disk else None) for d in wanted.disks]
    if wanted.seed_disk is not None:
        disks.append(seed_element(wanted.seed_disk, path_of(wanted.seed_disk.pool, wanted.seed_disk.disk)))
    buses = {disk_bus(d.slot) for d in wanted.disks if d.device == "disk"} | {nic_bus(n.slot) for n in wanted.nics}
    serial, console = device.serial_console(f"{LOG_DIRECTORY}/{wanted.mark.uuid}-console.log")
    return el(
        "devices",
        el("emulator", text=platform.emulator),
        *disks,
        device.controller("usb", "none"),
        device.controller("scsi", "virtio-scsi", SCSI),
        device.controller("virtio-serial", None, SERIAL),
        device.pcie_root(),
        *(device.root_port(port) for port in root_ports(buses)),
        *(nic_element(n) for n in wanted.nics),
        serial,
        console,
        device.agent_channel(),
        device.balloon(BALLOON),
        device.random_source(RANDOM),
        el("panic", model="isa"),
    )
