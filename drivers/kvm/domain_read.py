"""What a domain's XML says, for facts and for the checks before an action. The inverse of `domain_xml.py`.

Works on any domain: of one that is not ours it gives devices with their platform names and no mark.
"""

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from lxml import etree

from drivers.base import DiskSeen, NicSeen
from drivers.kvm import slots
from drivers.kvm.mark_xml import MarkRead, read_mark
from drivers.kvm.xml import Element, value

_UNITS = {
    "b": 1,
    "bytes": 1,
    "KB": 1000,
    "KiB": 1024,
    "k": 1024,
    "MiB": 1 << 20,
    "M": 1 << 20,
    "GiB": 1 << 30,
    "G": 1 << 30,
}


@dataclass(frozen=True, slots=True)
class DiskRead:
    """A disk with what only the driver needs: where it is and how libvirt calls it."""

    seen: DiskSeen
    path: str
    target: str
    alias: str


@dataclass(frozen=True, slots=True)
class NicRead:
    seen: NicSeen
    alias: str
    bridge: str


@dataclass(frozen=True, slots=True)
class DomainRead:
    """One XML document of one domain, live or persistent."""

    uuid: str
    name: str
    domain_type: str
    cpus: int
    memory: int
    disks: tuple[DiskRead, ...]
    nics: tuple[NicRead, ...]
    mark: MarkRead
    agent_connected: bool
    nvram: str
    digest: str

    def disk(self, name: str) -> DiskRead | None:
        return next((d for d in self.disks if d.seen.name == name), None)

    def nic(self, name: str) -> NicRead | None:
        return next((n for n in self.nics if n.seen.name == name), None)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that the domain names, its firmware variables included."""
        return tuple(d.path for d in self.disks if d.path) + ((self.nvram,) if self.nvram else ())


def read_domain(node: Element) -> DomainRead:
    current = node.find("currentMemory")
    memory = current if current is not None else node.find("memory")
    vcpu = node.find("vcpu")
    return DomainRead(
        uuid=value(node, "uuid"),
        name=value(node, "name"),
        domain_type=node.get("type", ""),
        cpus=int((vcpu.get("current") or vcpu.text or "1") if vcpu is not None else 1),
        memory=_bytes(memory) if memory is not None else 0,
        disks=tuple(_disk(d) for d in node.iterfind("devices/disk")),
        nics=tuple(_nic(n) for n in node.iterfind("devices/interface")),
        mark=read_mark(node),
        agent_connected=node.find("devices/channel/target[@name='org.qemu.guest_agent.0'][@state='connected']")
        is not None,
        nvram=value(node, "os/nvram"),
        digest=digest(node),
    )


def digest(node: Element) -> str:
    """Of what a definition decides: the part that libvirt keeps as we wrote it, in an order of our own. What libvirt
    adds by itself (implicit devices, seclabels) is left out, so that its next version changes nothing here."""
    lines = sorted(_decided(node))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


_DECIDED = ("vcpu", "os", "cpu", "clock", "on_poweroff", "on_reboot", "on_crash", "features")
_DEVICES = ("disk", "interface", "hostdev", "filesystem", "graphics", "rng", "memballoon", "panic", "tpm")


def _decided(node: Element) -> list[str]:
    memory = node.find("memory")
    lines = [f"type {node.get('type')}", f"memory {_bytes(memory) if memory is not None else 0}"]
    for tag in _DECIDED:
        for child in node.iterfind(tag):
            lines.append(_flat(child))
    for tag in _DEVICES:
        for child in node.iterfind(f"devices/{tag}"):
            lines.append(_flat(child))
    return lines


def _flat(node: Element) -> str:
    attributes = " ".join(f"{name}={node.get(name)}" for name in sorted(str(key) for key in node.attrib))
    children = "".join(
        sorted(_flat(c) for c in node if isinstance(c.tag, str) and c.tag not in ("backingStore", "loader"))
    )
    return f"<{etree.QName(node).localname} {attributes}>{(node.text or '').strip()}{children}"


def _bytes(node: Element) -> int:
    return int(node.text or 0) * _UNITS.get(node.get("unit", "KiB"), 1024)


def _disk(node: Element) -> DiskRead:
    source, alias = node.find("source"), value(node, "alias", "name")
    path = ""
    if source is not None:
        path = source.get("file") or source.get("dev") or source.get("name") or source.get("volume") or ""
    ours = slots.disk_name(alias)
    device = node.get("device", "disk")
    seen = DiskSeen(
        name=ours,
        disk=PurePosixPath(path).name if ours else path,
        device=device,
        slot=_slot(node, device) if ours else None,
    )
    return DiskRead(seen, path, value(node, "target", "dev"), alias)


def _nic(node: Element) -> NicRead:
    alias = value(node, "alias", "name")
    ours = slots.nic_name(alias)
    seen = NicSeen(name=ours, mac=value(node, "mac", "address"), slot=_slot(node, "interface") if ours else None)
    return NicRead(seen, alias, value(node, "source", "bridge"))


def _slot(node: Element, device: str) -> int | None:
    address = node.find("address")
    if address is None:
        return None
    if device == "cdrom":
        return int(address.get("target", "0")) - 1 if address.get("target", "0") != "0" else None
    return slots.slot_of_bus(int(address.get("bus", "0"), 16))
