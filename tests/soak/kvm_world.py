"""A cloud of the lab's real hosts and NFS server for many tenants at once. Guests boot nothing, so that many fit, and let
go of no device while they run.

What there is, is read from libvirt's own files on the hosts and from the server's disk, past libvirtd and the operator.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from drivers.base import DiskAttachment, NicAttachment, Power
from drivers.kvm.slots import nic_name
from drivers.kvm.xml import Element, value
from drivers.simulated.disks import Disk
from drivers.simulated.domains import Domain, Shape
from drivers.storage.names import CLAIM, MARK, is_disk
from lab.machines import Host, Machines
from lab.machines.host import GUEST_BRIDGE
from tests.drivers.images import ImageServer, qcow2
from tests.engine.harness import Cluster
from tests.kills.world import Mirror, Obj, Terms, owner

WIRES = 32
"""Physical networks of the zone: on Linux bridges each tenant needs one of its own."""
GUESTS = "user.stratiform-guest"
"""The extended attribute that stands for what the guest wrote on a disk: it goes with the file."""
POOL, STORE = "primary", "secondary"
POWERS = {"running": Power.RUNNING, "paused": Power.PAUSED}


class KvmWorld:
    """`begin` with hosts and storage that are new (safety.md H3). With `mirror`, beside what is in the API already."""

    terms = Terms(
        zone="zone-kvm", pool="nfs-kvm", size="8Mi", grown="16Mi", grown_bytes=16 << 20, memory="16Mi",
        more_memory="24Mi", unplugs=False, spec={"shutdown": {"gracePeriodSeconds": 0}},
    )  # fmt: skip

    def __init__(self, api: Cluster, machines: Machines, mirror: Mirror | None = None) -> None:
        self.api, self.machines = api, machines
        self.images = ImageServer()
        self.revived = 0
        """How often a libvirtd died and was started again."""
        self._watch: asyncio.Task[None] | None = None
        self._alone = mirror is None
        if mirror is not None:
            self.mirror = mirror

    async def begin(self) -> None:
        create, zone = self.api.create, {"zoneRef": {"name": self.terms.zone}}
        if self._alone:
            await self.api.wipe()
            await create("Region", "default", {})
        wires = [f"wire-{number}" for number in range(WIRES)]
        physical = [{"name": wire, "untagged": True, "namespaces": {"type": "All"}} for wire in wires]
        await create("Zone", self.terms.zone, {"regionRef": {"name": "default"}, "physicalNetworks": physical})
        await create("HostPod", "rack-kvm", zone)
        bridge = {"type": "Bridge", "bridge": {"name": GUEST_BRIDGE}}
        cluster = {"hostPodRef": {"name": "rack-kvm"}, "hypervisor": "KVM", "overcommit": {"cpuPercent": 3200}}
        await create("HostCluster", "kvm-1", {**cluster, "uplinks": [{"name": wire, **bridge} for wire in wires]})
        for host in self.machines.hosts:
            libvirt = {"uri": host.uri, "tlsSecretRef": {"name": "libvirt-client"}}
            connection = {"type": "Libvirt", "libvirt": libvirt}
            await create("Host", _name(host), {"hostClusterRef": {"name": "kvm-1"}, "connection": connection})
        scope = {"type": "HostCluster", "hostClusterRef": {"name": "kvm-1"}}
        await create("StoragePool", self.terms.pool, {"scope": scope, **self._nfs(POOL)})
        sources = {"allowedSources": {"cidrs": ["127.0.0.0/8"]}}
        await create("ImageStore", "images-kvm", {"scope": {"type": "Zone", **zone}, **self._nfs(STORE), **sources})
        if self._alone:
            self.mirror = Mirror(self.api)

    def revive(self) -> None:
        """Start libvirtd again where it died, as systemd does on a real host: 9.0 crashes now and then when pools are
        refreshed while volumes are made."""
        self._watch = asyncio.create_task(self._revive())

    async def _revive(self) -> None:
        while True:
            for host in self.machines.hosts:
                if host.libvirtd_state() is None:
                    print(f"libvirtd of {host.name} died")
                    self.revived += 1
                    await asyncio.to_thread(host.start_libvirtd)
            await asyncio.sleep(1.0)

    async def settled(self) -> None:
        """Wait until an operator has connected hosts, pool and store."""
        hosts = [("Host", _name(host)) for host in self.machines.hosts]
        for kind, name in (*hosts, ("StoragePool", self.terms.pool), ("ImageStore", "images-kvm")):
            await self.api.until_condition(kind, name, "Ready", "True", deadline=90.0)

    async def end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._alone:
            await self.mirror.close()
        self.images.close()

    async def found_wrong(self) -> list[str]:
        """Whatever is on hosts and storage: every tenant has ended."""
        return await asyncio.to_thread(self._left)

    def host(self, name: str) -> Host:
        """The machine of that Host."""
        return next(host for host in self.machines.hosts if _name(host) == name)

    def image(self) -> Obj:
        source = self.images.put(qcow2())
        return {"url": source.url, "checksum": source.checksum}

    def physical(self, number: int) -> Obj:
        return {"network": f"wire-{number % WIRES}"}

    def domains(self, namespace: str) -> list[Domain]:
        """Defined or running, one for each host that knows it."""
        return [domain for domain in self._all_domains() if domain.title.startswith(f"{namespace}.")]

    def disks(self, namespace: str) -> list[Disk]:
        return [disk for disk in self._all_disks() if owner(disk) == namespace]

    def volumes_disks(self, namespace: str) -> list[Disk]:
        return [d for d in self.disks(namespace) if d.address == POOL and '"Template"' not in d.mark]

    def write(self, disk: Disk, content: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # Deleted meanwhile.
            os.setxattr(self._folder(disk.address) / disk.disk, GUESTS, content.encode())

    def companion(self, name: str) -> bool:
        return (self._folder(POOL) / name).exists()

    def _nfs(self, export: str) -> Obj:
        return {"type": "NFS", "nfs": {"server": self.machines.nfs.address, "path": f"/{export}"}}

    def _folder(self, export: str) -> Path:
        return self.machines.state_dir / "nfs" / export

    def _left(self) -> list[str]:
        files = [path for export in (POOL, STORE) for path in self._folder(export).rglob("*")]
        left = [f"file {path}" for path in files if path.is_file() and path.name != CLAIM]
        return [f"left on {d.host}: domain {d.title}" for d in self._all_domains()] + left

    def _all_domains(self) -> Iterator[Domain]:
        for host in self.machines.hosts:
            root = Path(f"/proc/{host.pid()}/root")
            found: dict[str, Domain] = {}
            for path in (*root.glob("etc/libvirt/qemu/*.xml"), *root.glob("run/libvirt/qemu/*.xml")):
                with contextlib.suppress(FileNotFoundError):
                    domain = _domain(_name(host), etree.fromstring(path.read_bytes()))
                    found[domain.uuid] = domain  # What runs last: it is what counts.
            yield from found.values()

    def _all_disks(self) -> Iterator[Disk]:
        for export in (POOL, STORE):
            for path in self._folder(export).glob(f"*{MARK}"):
                if is_disk(path.stem):
                    with contextlib.suppress(FileNotFoundError):
                        yield _disk(export, path)


def _name(host: Host) -> str:
    return host.name.replace("node", "kvm")


def _domain(host: str, root: Element) -> Domain:
    """From a definition, or from libvirt's record of a domain that runs."""
    live = root.tag == "domstatus"
    node = root.find("domain") if live else root
    assert node is not None
    disks = [
        DiskAttachment(name=value(disk, "serial"), slot=0, pool=POOL, disk=Path(file).name)
        for disk in node.iterfind("devices/disk")
        if (file := value(disk, "source", "file"))
    ]
    nics = [
        NicAttachment(
            name=nic_name(value(nic, "alias", "name")),
            slot=0,
            mac=value(nic, "mac", "address"),
            uplink_type="Bridge",
            uplink=value(nic, "source", "bridge"),
        )
        for nic in node.iterfind("devices/interface")
    ]
    cpus = int(value(node, "vcpu", "current") or value(node, "vcpu"))
    memory = int(value(node, "memory")) << 10
    shape = Shape(cpus=cpus, memory=memory, disks=tuple(disks), nics=tuple(nics))
    power = POWERS.get(root.get("state", ""), Power.OFF)
    named, uuid = value(node, "name"), value(node, "uuid")
    return Domain(host=host, uuid=uuid, title=named, power=power, shape=shape, live=shape if live else None)


def _disk(export: str, mark: Path) -> Disk:
    """From its mark, the header of its file and what the guest wrote there."""
    path, text = mark.with_suffix(""), mark.read_text()
    disk = Disk(address=export, disk=path.name, mark=text.rstrip("\0 \n"), present=False)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(32)[24:32], "big")
        wrote = os.getxattr(path, GUESTS).decode() if GUESTS in os.listxattr(path) else ""
    except FileNotFoundError:
        return disk
    return Disk(address=export, disk=path.name, mark=disk.mark, size=size, content=wrote)
