"""Two real libvirt hosts of the session's lab for the contract suite.

The administrator's hands are libvirt itself, past the driver, and, to damage and to count files, the NFS server's
folder. Each pool is a folder of its own on that server.
"""

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

import libvirt

from drivers.base import LibvirtConnection, NFSSource, PoolDefinition, TLSMaterial
from drivers.kvm.events import ensure_loop
from drivers.kvm.mark_xml import NAMESPACE, PREFIX
from lab.errors import LabError
from lab.machines.lab import Machines
from tests.drivers.backend import Backend
from tests.drivers.builders import OURS

CLAIM = ".stratiform-claim.json"


class KVMBackend(Backend):
    name = "kvm"
    hosts = ("node-1", "node-2")
    uplink = ("Bridge", "br-guest")

    def __init__(self, lab: Machines) -> None:
        super().__init__()
        ensure_loop()
        self.lab = lab
        self.exports = lab.state_dir / "nfs"
        self._raw = {host: libvirt.open(f"{lab.host(host).uri}?pkipath={lab.pki_dir}") for host in self.hosts}

    def connection(self, host: str) -> LibvirtConnection:
        return LibvirtConnection(host=host, uri=self.lab.host(host).uri, tls=tls_of(self.lab.pki_dir))

    def pool(self, uuid: str, like: PoolDefinition | None = None) -> PoolDefinition:
        path = nfs_path(like) if like else f"/primary/contract-{uuid}"
        (self.exports / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        source = NFSSource(server=self.lab.nfs.address, path=path)
        return PoolDefinition(uuid=uuid, name="shared", installation=OURS, source=source)

    def break_connections(self, host: str) -> None:
        machine = self.lab.host(host)
        machine.kill_libvirtd()
        # A libvirtd that is dead and not reaped yet passes for running and even takes connections: a first start may
        # find nothing to do, and return while the last threads of the old one end.
        deadline = time.monotonic() + 40
        while machine.libvirtd_state() is None:
            assert time.monotonic() < deadline, f"libvirtd of {host} does not start"
            with contextlib.suppress(LabError):
                machine.start_libvirtd(seconds=6)

    def make_unmarked(self, host: str, title: str) -> str:
        xml = (
            f"<domain type='qemu'><name>{title}</name><memory unit='b'>{self.memory}</memory>"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
        )
        return str(self.raw(host).defineXML(xml).UUIDString())

    def edit_memory(self, host: str, uuid: str, memory: int) -> None:
        domain = self.raw(host).lookupByUUIDString(uuid)
        before = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        old = f"<memory unit='KiB'>{self.memory // 1024}</memory>"
        assert old in before
        after = before.replace(old, f"<memory unit='b'>{memory}</memory>")
        self.raw(host).defineXML(after)

    def damage_mark(self, host: str, uuid: str) -> None:
        domain = self.raw(host).lookupByUUIDString(uuid)
        domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT, '<mark>{"stratiform": 1, "ki</mark>', PREFIX, NAMESPACE,
            libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )  # fmt: skip

    def damage_disk_mark(self, pool: PoolDefinition, disk: str) -> None:
        with (self.folder(pool) / f"{disk}.json").open("r+b") as file:
            file.write(b'{"stratiform": 1, "ki\n\0')

    def put_foreign_disk(self, pool: PoolDefinition, disk: str) -> None:
        # Through the host's own mount: the server's folder would be seen only after its attribute cache's second.
        xml = f"<volume><name>{disk}</name><capacity>1048576</capacity></volume>"
        self.libvirt_pool(pool).createXML(xml, 0)

    def lose_disk(self, pool: PoolDefinition, disk: str) -> None:
        self.libvirt_pool(pool).storageVolLookupByName(disk).delete(0)

    def files(self, pool: PoolDefinition) -> set[str]:
        return {path.name for path in self.folder(pool).iterdir()} - {CLAIM}

    def clean(self) -> None:
        for host in self.hosts:
            raw = self.raw(host)
            for domain in raw.listAllDomains(0):
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                with contextlib.suppress(libvirt.libvirtError):
                    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
            for pool in raw.listAllStoragePools(0):
                if pool.isActive():
                    pool.destroy()
                pool.undefine()
        for folder in (self.exports / "primary").glob("contract-*"):
            shutil.rmtree(folder)

    def close(self) -> None:
        for raw in self._raw.values():
            raw.close()

    def folder(self, pool: PoolDefinition) -> Path:
        return self.exports / nfs_path(pool).lstrip("/")

    def libvirt_pool(self, pool: PoolDefinition) -> Any:
        found = self.raw(self.hosts[0]).storagePoolLookupByUUIDString(pool.uuid)
        found.refresh(0)
        return found

    def raw(self, host: str) -> Any:
        """libvirt past the driver; opened again when the host's libvirtd was started anew."""
        if not self._raw[host].isAlive():
            self._raw[host] = libvirt.open(f"{self.lab.host(host).uri}?pkipath={self.lab.pki_dir}")
        return self._raw[host]


def nfs_path(pool: PoolDefinition) -> str:
    assert isinstance(pool.source, NFSSource)
    return pool.source.path


def tls_of(folder: Path) -> TLSMaterial:
    return TLSMaterial(
        ca=(folder / "cacert.pem").read_text(),
        certificate=(folder / "clientcert.pem").read_text(),
        key=(folder / "clientkey.pem").read_text(),
    )
