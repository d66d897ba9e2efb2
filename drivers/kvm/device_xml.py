"""The XML of single devices, a function for each: structure only. What a guest gets is decided in `domain_xml.py`;
hot-plug uses the same functions, so that a device looks the same however it came."""

from drivers.base import IOLimits
from drivers.kvm.slots import PciAddress, RootPort
from drivers.kvm.xml import Element, el


def pci_address(at: PciAddress) -> Element:
    return el(
        "address",
        type_="pci",
        domain="0x0000",
        bus=f"0x{at.bus:02x}",
        slot=f"0x{at.slot:02x}",
        function=f"0x{at.function:x}",
        multifunction="on" if at.multifunction else None,
    )


def scsi_address(target: int) -> Element:
    """Linux looks for units only behind a target's unit 0, so each CD-ROM is a target of its own."""
    return el("address", type_="drive", controller="0", bus="0", target=target, unit="0")


def pcie_root() -> Element:
    """Must be there by name before any root port, or libvirt refuses the ports."""
    return el("controller", type_="pci", index="0", model="pcie-root")


def root_port(port: RootPort) -> Element:
    return el(
        "controller",
        el("model", name="pcie-root-port"),
        el("target", chassis=port.index, port=f"0x{port.address.slot * 8 + port.address.function:x}"),
        pci_address(port.address),
        type_="pci",
        index=port.index,
        model="pcie-root-port",
    )


def controller(kind: str, model: str | None, at: PciAddress | None = None) -> Element:
    return el("controller", pci_address(at) if at else None, type_=kind, index="0", model=model)


def iotune(limits: IOLimits) -> Element | None:
    pairs = (
        ("read_bytes_sec", limits.read_bytes),
        ("write_bytes_sec", limits.write_bytes),
        ("read_iops_sec", limits.read_iops),
        ("write_iops_sec", limits.write_iops),
    )
    children = [el(name, text=str(number)) for name, number in pairs if number]
    return el("iotune", *children) if children else None


def virtio_disk(
    *,
    path: str,
    image_format: str,
    target: str,
    serial: str,
    alias: str,
    at: PciAddress,
    boot_order: int,
    read_only: bool,
    shareable: bool,
    limits: IOLimits,
) -> Element:
    """A virtio-blk disk on a file. `cache=none`: a crash of the host loses nothing that the guest flushed, and a
    migration needs it."""
    return el(
        "disk",
        el("driver", name="qemu", type_=image_format, cache="none", discard=None if shareable else "unmap"),
        el("source", file=path),
        el("target", dev=target, bus="virtio"),
        iotune(limits),
        el("readonly") if read_only else None,
        el("shareable") if shareable else None,
        el("serial", text=serial),
        el("boot", order=boot_order) if boot_order else None,
        el("alias", name=alias),
        pci_address(at),
        type_="file",
        device="disk",
    )


def cdrom(
    *, path: str | None, image_format: str, target: str, serial: str, alias: str, scsi_target: int, boot_order: int
) -> Element:
    """A CD-ROM on virtio-scsi; without a path its tray is empty. (Cloud kernels have no AHCI driver, so not SATA.)"""
    return el(
        "disk",
        el("driver", name="qemu", type_=image_format),
        el("source", file=path) if path else None,
        el("target", dev=target, bus="scsi"),
        el("readonly"),
        el("serial", text=serial),
        el("boot", order=boot_order) if boot_order else None,
        el("alias", name=alias),
        scsi_address(scsi_target),
        type_="file",
        device="cdrom",
    )


def bridge_interface(*, mac: str, bridge: str, alias: str, at: PciAddress) -> Element:
    return el(
        "interface",
        el("mac", address=mac),
        el("source", bridge=bridge),
        el("model", type_="virtio"),
        el("alias", name=alias),
        pci_address(at),
        type_="bridge",
    )


def serial_console(log_file: str) -> tuple[Element, Element]:
    """The first serial port: a pseudo-terminal that `virsh console` opens, and a log that has the boot's beginning."""
    serial = el(
        "serial",
        el("log", file=log_file, append="on"),
        el("target", el("model", name="isa-serial"), type_="isa-serial", port="0"),
        type_="pty",
    )
    return serial, el(
        "console", el("log", file=log_file, append="on"), el("target", type_="serial", port="0"), type_="pty"
    )


def agent_channel() -> Element:
    return el(
        "channel",
        el("target", type_="virtio", name="org.qemu.guest_agent.0"),
        el("address", type_="virtio-serial", controller="0", bus="0", port="1"),
        type_="unix",
    )


def balloon(at: PciAddress) -> Element:
    return el("memballoon", el("stats", period="10"), pci_address(at), model="virtio", freePageReporting="on")


def random_source(at: PciAddress) -> Element:
    return el("rng", el("backend", model="random", text="/dev/urandom"), pci_address(at), model="virtio")
