"""Disks, CD-ROMs and NICs of one domain, cold and hot. Called by `actions.py`, inside its `calling`.

Looks at the live and the persistent definition apart, and changes only the side that lacks the change: a call that was
cut between the two is completed by the next.
"""

from typing import Any

import libvirt

from drivers import base
from drivers.base import DiskAttachment, NicAttachment
from drivers.errors import Busy, Invalid, Unsupported
from drivers.kvm.connection import Connection
from drivers.kvm.domain_read import DomainRead, read_domain
from drivers.kvm.domain_xml import disk_element, nic_element
from drivers.kvm.pool_paths import PoolPaths
from drivers.kvm.slots import disk_bus, nic_bus
from drivers.kvm.xml import Element, el, parse, to_text

DeviceAction = (
    base.AttachDisk | base.DetachDisk | base.AttachNic | base.DetachNic | base.ChangeMedia | base.GrowDisk
)  # fmt: skip

_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


class _Sides:
    """A domain's definitions: `live` is None when it is off."""

    def __init__(self, domain: Any) -> None:
        self.live_node: Element | None = None
        self.live: DomainRead | None = None
        if domain.isActive():
            self.live_node = parse(domain.XMLDesc(0), "a domain")
            self.live = read_domain(self.live_node)
        self.config = read_domain(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "a domain"))

    def has_port(self, bus: int) -> bool:
        """Whether the running guest was started with the hot-plug port `bus`."""
        if self.live_node is None:
            return True
        return self.live_node.find(f"devices/controller[@type='pci'][@index='{bus}']") is not None


class Hotplug:
    def __init__(self, connection: Connection, paths: PoolPaths) -> None:
        self._host = connection.host
        self._paths = paths

    def apply(self, domain: Any, action: DeviceAction) -> None:
        match action:
            case base.AttachDisk(attachment):
                self._attach_disk(domain, attachment)
            case base.DetachDisk(name):
                self._detach_disk(domain, name)
            case base.AttachNic(attachment):
                self._attach_nic(domain, attachment)
            case base.DetachNic(name):
                self._detach_nic(domain, name)
            case base.ChangeMedia(name, media):
                self._change_media(domain, name, media)
            case base.GrowDisk(name, size):
                self._grow(domain, name, size)

    # ---------------------------------------------------------------- attach

    def _attach_disk(self, domain: Any, wanted: DiskAttachment) -> None:
        path = self._paths.path(wanted.pool, wanted.disk) if wanted.disk else None
        element = disk_element(wanted, path)
        sides = _Sides(domain)
        flags = 0
        for side, flag in ((sides.config, _CONFIG), (sides.live, _LIVE)):
            there = side.disk(wanted.name) if side is not None else None
            if side is None or (there is not None and there.path == (path or "")):
                continue
            if there is not None:
                raise Invalid(
                    f"{self._at(domain)}: a disk named {wanted.name} is attached already, from {there.path}; "
                    "detach that one first"
                )
            flags |= flag
        if flags & _LIVE and path is not None:
            self._paths.require_answering((path,))
        self._attach(domain, element, flags, sides, disk_bus(wanted.slot) if wanted.device == "disk" else None)

    def _attach_nic(self, domain: Any, wanted: NicAttachment) -> None:
        element = nic_element(wanted)
        sides = _Sides(domain)
        flags = 0
        for side, flag in ((sides.config, _CONFIG), (sides.live, _LIVE)):
            there = side.nic(wanted.name) if side is not None else None
            if side is None or (there is not None and (there.seen.mac, there.bridge) == (wanted.mac, wanted.uplink)):
                continue
            if there is not None:
                raise Invalid(
                    f"{self._at(domain)}: a NIC named {wanted.name} is attached already, {there.seen.mac} on "
                    f"{there.bridge}; detach that one first"
                )
            flags |= flag
        self._attach(domain, element, flags, sides, nic_bus(wanted.slot))

    def _attach(self, domain: Any, element: Element, flags: int, sides: _Sides, bus: int | None) -> None:
        text = to_text(element)
        if flags & _LIVE and bus is not None and not sides.has_port(bus):
            if flags & _CONFIG:
                self._cold(domain, text, bus)
            raise Unsupported(
                f"{self._at(domain)}: the running guest has no free hot-plug port for slot bus {bus}; the device is in "
                "its definition and comes with the next restart"
            )
        if flags == _CONFIG and bus is not None:
            self._cold(domain, text, bus)
        elif flags:
            domain.attachDeviceFlags(text, flags)

    def _cold(self, domain: Any, text: str, bus: int) -> None:
        """Into the definition alone. A slot beyond its ports is left to the next Define, which adds the ports."""
        config = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "a domain")
        if config.find(f"devices/controller[@type='pci'][@index='{bus}']") is None:
            raise Unsupported(f"{self._at(domain)}: its definition has no port for bus {bus}; define it anew")
        domain.attachDeviceFlags(text, _CONFIG)

    # ---------------------------------------------------------------- detach

    def _detach_disk(self, domain: Any, name: str) -> None:
        sides = _Sides(domain)
        live = sides.live.disk(name) if sides.live is not None else None
        config = sides.config.disk(name)
        self._detach(domain, f"disk {name}", live.alias if live else None, config.alias if config else None)

    def _detach_nic(self, domain: Any, name: str) -> None:
        sides = _Sides(domain)
        live = sides.live.nic(name) if sides.live is not None else None
        config = sides.config.nic(name)
        self._detach(domain, f"NIC {name}", live.alias if live else None, config.alias if config else None)

    def _detach(self, domain: Any, what: str, live: str | None, config: str | None) -> None:
        """The running guest first: until it has let go, the definition says what is true."""
        if live is not None:
            try:
                domain.detachDeviceAlias(live, _LIVE)
            except libvirt.libvirtError as error:
                raise Busy(f"{self._at(domain)}: {what} is not free yet: {error.get_error_message()}") from error
            raise Busy(f"{self._at(domain)}: the guest was asked to let go of {what}")
        if config is not None:
            domain.detachDeviceAlias(config, _CONFIG)

    # ---------------------------------------------------------------- media and size

    def _change_media(self, domain: Any, name: str, media: DiskAttachment | None) -> None:
        sides = _Sides(domain)
        path = self._paths.path(media.pool, media.disk) if media is not None and media.disk else None
        node = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "a domain")
        there = sides.config.disk(name)
        if there is None or there.seen.device != "cdrom":
            raise Invalid(f"{self._at(domain)}: has no CD-ROM named {name}")
        element = _device(node, there.alias)
        for source in element.findall("source"):
            element.remove(source)
        if path is not None:
            element.insert(0, el("source", file=path))
        flags = 0
        for side, flag in ((sides.config, _CONFIG), (sides.live, _LIVE)):
            seen = side.disk(name) if side is not None else None
            if seen is not None and seen.path != (path or ""):
                flags |= flag
        if flags & _LIVE and path is not None:
            self._paths.require_answering((path,))
        if flags:
            # A CD-ROM is read-only, so taking it out of a locked tray loses nothing.
            domain.updateDeviceFlags(to_text(element), flags | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)

    def _grow(self, domain: Any, name: str, size: int) -> None:
        sides = _Sides(domain)
        if sides.live is None:
            return  # A stopped guest sees the new size when it starts.
        disk = sides.live.disk(name)
        if disk is None:
            raise Invalid(f"{self._at(domain)}: has no disk named {name}")
        # Not blockInfo: that is a block statistic, which with a dead server freezes the guest.
        capacity = self._paths.size(disk.path)
        if capacity is None:
            raise Invalid(f"{self._at(domain)}: {disk.path} of disk {name} is on no pool of ours")
        if size > capacity:
            domain.blockResize(disk.target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def _at(self, domain: Any) -> str:
        return f"Host {self._host}: instance {domain.UUIDString()}"


def _device(node: Element, alias: str) -> Element:
    for disk in node.iterfind("devices/disk"):
        named = disk.find("alias")
        if named is not None and named.get("name") == alias:
            return disk
    raise Invalid(f"no device {alias} in the definition")
