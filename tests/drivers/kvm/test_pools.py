"""NFS and Local pools on real hosts: what goes wrong with them and what people read then."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from drivers.base import EndPoint, GrowDisk, ISCSISource, LocalSource, NFSSource, PoolDefinition, Power, StartPaused
from drivers.errors import Busy, DriverError, Invalid, StorageUnreachable, Unreachable, Unsupported, WrongPool
from drivers.kvm import disk_marks
from drivers.kvm.bounded import Bounded
from drivers.kvm.pool_xml import target_path
from drivers.storage.names import CLAIM
from lab.errors import LabError
from tests.drivers.builders import MIB, OURS, attachment, disk_definition, machine, new_uuid, until
from tests.drivers.kvm_backend import KVMBackend

pytestmark = pytest.mark.cloud


def with_source(source: NFSSource | LocalSource | ISCSISource) -> PoolDefinition:
    return PoolDefinition(uuid=new_uuid(), name="under-test", installation=OURS, source=source)


@pytest.fixture
def server_dies(kvm: KVMBackend) -> Iterator[threading.Event]:
    """Set it to switch the NFS server off; it is back afterwards."""

    class Death(threading.Event):
        def set(self) -> None:
            kvm.lab.nfs.kill()
            super().set()

    yield Death()
    kvm.lab.nfs.revive()


@pytest.mark.parametrize("path", ["/nowhere", "/primary/nowhere"])
def test_a_wrong_path_says_so_and_leaves_no_pool(kvm: KVMBackend, node: EndPoint, path: str) -> None:
    wrong = with_source(NFSSource(server=kvm.lab.nfs.address, path=path))
    with pytest.raises(Invalid, match=f"{path} for under-test.*check server and path"):
        node.storage.connect_pool(wrong)
    assert node.storage.observe_pool(wrong) is None


def test_a_server_that_is_not_there_is_unreachable_soon(kvm: KVMBackend, node: EndPoint) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="could not mount"):
        node.storage.connect_pool(with_source(NFSSource(server=f"{kvm.lab.prefix}250", path="/primary")))
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("option", ["soft", "bg", "exec", "a,b", "x y"])
def test_a_mount_option_that_endangers_disks_is_refused(kvm: KVMBackend, node: EndPoint, option: str) -> None:
    with pytest.raises(Invalid, match=r"nfs\.options"):
        node.storage.connect_pool(
            with_source(NFSSource(server=kvm.lab.nfs.address, path="/primary", options=(option,)))
        )


@pytest.mark.parametrize("path", ["/", "/etc/x", "relative", "/var/../etc"])
def test_a_local_pool_in_a_system_folder_is_refused(node: EndPoint, path: str) -> None:
    with pytest.raises(Invalid, match=r"local\.path"):
        node.storage.connect_pool(with_source(LocalSource(path=path)))


def test_a_pool_of_a_later_version_is_unsupported(node: EndPoint) -> None:
    with pytest.raises(Unsupported, match="ISCSI"):
        node.storage.connect_pool(
            with_source(ISCSISource(portals=("10.0.0.1",), target="iqn.x", layout="LUNPerVolume"))
        )


def test_a_local_pool_is_each_hosts_own(kvm: KVMBackend, node: EndPoint) -> None:
    wanted = with_source(LocalSource(path=f"/var/lib/stratiform/{new_uuid()}"))
    node.storage.connect_pool(wanted)
    made = node.storage.create_disk(wanted, disk_definition())
    other = kvm.open("node-2")
    other.storage.connect_pool(wanted)
    assert other.storage.observe_disk(wanted, made.disk) is None
    assert node.storage.observe_disk(wanted, made.disk) == made
    guest = machine(kvm, node, disks=(attachment(wanted, made.disk),)).run()
    assert guest.facts().power is Power.RUNNING


def test_h3_the_same_export_under_another_uuid_is_refused_on_another_host_too(
    kvm: KVMBackend, nfs: PoolDefinition
) -> None:
    with pytest.raises(WrongPool, match=nfs.uuid):
        kvm.open("node-2").storage.connect_pool(kvm.pool(new_uuid(), like=nfs))


def test_h3_a_changed_address_is_taken_where_the_claim_says_the_same(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    made = node.storage.create_disk(nfs, disk_definition())
    assert isinstance(nfs.source, NFSSource)
    moved = replace(nfs, source=replace(nfs.source, path=f"{nfs.source.path}-moved"))
    (kvm.folder(nfs)).rename(kvm.folder(moved))
    node.storage.connect_pool(moved)
    found = node.storage.observe_disk(moved, made.disk)
    assert found is not None
    assert found.mark == made.mark


def test_h3_a_changed_address_waits_for_running_guests(kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition) -> None:
    made = node.storage.create_disk(nfs, disk_definition())
    machine(kvm, node, disks=(attachment(nfs, made.disk),)).run()
    assert isinstance(nfs.source, NFSSource)
    moved = replace(nfs, source=replace(nfs.source, path="/secondary"))
    with pytest.raises(Busy, match="used by 1 machines"):
        node.storage.connect_pool(moved)


def test_a_thin_clone_names_its_base_without_a_path(kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition) -> None:
    base = node.storage.create_disk(nfs, disk_definition(kind="Template"))
    clone = node.storage.clone_disk(nfs, disk_definition(size=8 * MIB), base.disk)
    info = subprocess.run(
        ["qemu-img", "info", "-U", str(kvm.folder(nfs) / clone.disk)], check=True, capture_output=True, text=True
    ).stdout
    assert f"backing file: {base.disk}" in info
    assert "compat: 1.1" in info


def test_d4_a_base_with_clones_is_not_deleted(node: EndPoint, nfs: PoolDefinition) -> None:
    wanted = disk_definition(kind="Template")
    base = node.storage.create_disk(nfs, wanted)
    clone = disk_definition(size=8 * MIB)
    node.storage.clone_disk(nfs, clone, base.disk)
    with pytest.raises(Busy, match="1 thin clones"):
        node.storage.delete_disk(nfs, base.disk, wanted.mark.uid)
    node.storage.delete_disk(nfs, clone.disk, clone.mark.uid)
    node.storage.delete_disk(nfs, base.disk, wanted.mark.uid)
    assert node.storage.list_disks(nfs) == ()


def test_a_mark_longer_than_a_block_is_read_back(node: EndPoint, nfs: PoolDefinition) -> None:
    wanted = disk_definition()
    node.storage.create_disk(nfs, wanted)
    for name in ("x" * 9000, "short"):
        mark = replace(wanted.mark, name=name)
        node.storage.write_disk_mark(nfs, wanted.disk, mark)
        found = node.storage.observe_disk(nfs, wanted.disk)
        assert found is not None
        assert found.mark == mark


def test_a_dead_server_holds_up_neither_the_host_nor_the_next_call(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition, server_dies: threading.Event
) -> None:
    made = node.storage.create_disk(nfs, disk_definition())
    guest = machine(kvm, node, disks=(attachment(nfs, made.disk),)).run()
    server_dies.set()

    def ask() -> None:
        with contextlib.suppress(Unreachable):  # It gives up, or the server is back before.
            node.storage.list_disks(nfs)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(3):
        began = time.monotonic()
        assert [f.power for f in node.list_instances("node-1").instances] == [Power.RUNNING]
        assert time.monotonic() - began < 1, "libvirt's client must not wait for a keepalive"
    with pytest.raises(StorageUnreachable):
        guest.apply(GrowDisk("root", 64 * MIB))
    kvm.lab.nfs.revive()
    until(lambda: not asking.is_alive(), 40)
    until(lambda: len(node.storage.list_disks(nfs)) == 1, 20)
    assert guest.facts().power is Power.RUNNING


def connect(node: EndPoint, pool: PoolDefinition) -> None:
    """Until libvirt could list it."""

    until(lambda: succeeds(DriverError, lambda: node.storage.connect_pool(replace(pool, claimed=True))), 20)


def unmount(kvm: KVMBackend, pool: PoolDefinition) -> None:
    """On node-1, behind libvirt's back, as soon as libvirt has read what it is at."""
    until(lambda: succeeds(LabError, lambda: kvm.lab.host("node-1").exec(["umount", target_path(pool)])))


def below_the_mount(kvm: KVMBackend, pool: PoolDefinition) -> list[str]:
    """What lies in node-1's own folder, which the mount hides."""
    return sorted(kvm.lab.host("node-1").exec(["ls", "-A", target_path(pool)]).stdout.split())


def succeeds(error: type[Exception], call: Callable[[], object]) -> bool:
    """Whether it does not raise `error`."""
    try:
        call()
    except error:
        return False
    return True


def test_h3_a_pool_that_is_not_mounted_any_more_is_not_taken_for_an_empty_one(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    made, wanted = node.storage.create_disk(nfs, disk_definition()), disk_definition()
    stopped = threading.Event()
    node.subscribe(lambda event: stopped.set() if event.uuid == nfs.uuid else None)
    guest = machine(kvm, node, disks=(attachment(nfs, made.disk),)).define()
    for call in (
        lambda: node.storage.create_disk(nfs, wanted),
        lambda: node.storage.list_disks(nfs),
        lambda: node.storage.observe_disk(nfs, made.disk),
        lambda: node.storage.delete_disk(nfs, made.disk, made.mark.uid if made.mark else ""),
        lambda: node.storage.write_disk_mark(nfs, wanted.disk, wanted.mark),
        lambda: guest.apply(StartPaused()),
    ):
        node.storage.connect_pool(replace(nfs, claimed=True))
        unmount(kvm, nfs)
        stopped.clear()
        with pytest.raises(StorageUnreachable, match="was not mounted any more"):
            call()
        assert stopped.wait(5), "whoever asks libvirt is told that it stopped"
        assert node.storage.observe_pool(nfs) is None
        with pytest.raises(Busy, match="not connected"):
            node.storage.list_disks(nfs)
        assert below_the_mount(kvm, nfs) == []
    node.storage.connect_pool(replace(nfs, claimed=True))
    assert [(disk.disk, disk.mark) for disk in node.storage.list_disks(nfs)] == [(made.disk, made.mark)]


def test_h3_a_disk_is_not_made_where_the_mount_was(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, write = disk_definition(), disk_marks.write

    def write_and_unmount(raw: Any, pool: Any, disk: str, mark: Any) -> None:
        write(raw, pool, disk, mark)
        unmount(kvm, nfs)
        pool.refresh(0)  # As libvirt does after an upload.

    monkeypatch.setattr(disk_marks, "write", write_and_unmount)
    with pytest.raises(Unreachable, match="was not mounted any more"):
        node.storage.create_disk(nfs, wanted)
    monkeypatch.undo()
    assert wanted.disk in below_the_mount(kvm, nfs), "so near it is"
    node.storage.connect_pool(nfs)
    assert node.storage.create_disk(nfs, wanted).exists
    assert wanted.disk in kvm.files(nfs)


def test_h3_libvirt_that_unmounts_after_an_upload_loses_nothing(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    wanted = disk_definition()
    node.storage.create_disk(nfs, wanted)
    kvm.open("node-2").storage.connect_pool(nfs)
    may_be, refused, ended = ["data"], 0, threading.Event()

    def come_and_go() -> None:
        """Files that another host deletes while libvirt reads what they are."""
        other = kvm.raw("node-2").storagePoolLookupByUUIDString(nfs.uuid)
        while not ended.is_set():
            other.createXML("<volume><name>brief</name><capacity>65536</capacity></volume>", 0).delete(0)

    churning = threading.Thread(target=come_and_go)
    churning.start()
    try:
        deadline = time.monotonic() + 60
        while refused < 3 and time.monotonic() < deadline:
            name = f"{time.monotonic()}"
            may_be.append(name)
            try:
                node.storage.write_disk_mark(nfs, wanted.disk, replace(wanted.mark, name=name))
            except DriverError:
                refused += 1
                connect(node, nfs)
            else:
                may_be = [name]
    finally:
        ended.set()
        churning.join()
    assert refused, "libvirt no longer unmounts what it could not list: decision 27 can be looked at again"
    found = node.storage.observe_disk(nfs, wanted.disk)
    assert found is not None
    assert found.mark is not None
    assert found.mark.name in may_be


def test_h3_a_pool_that_has_been_claimed_is_not_claimed_again(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    kvm.libvirt_pool(nfs).storageVolLookupByName(CLAIM).delete(0)
    with pytest.raises(WrongPool, match=r"no claim.*emptied.*make another"):
        node.storage.connect_pool(replace(nfs, claimed=True))
    assert node.storage.observe_pool(nfs) is None
    assert not (kvm.folder(nfs) / CLAIM).exists()


def test_a_hanging_call_gives_up_and_the_next_about_the_same_is_refused_at_once() -> None:
    bounded, back = Bounded("node-1", "pool"), threading.Event()
    with pytest.raises(Unreachable, match=r"pool p did not answer within 0\.05 s, asked to list"):
        bounded.call("p", "list", back.wait, 0.05)
    with pytest.raises(Unreachable, match="still hangs in an earlier call, to list"):
        bounded.call("p", "delete", lambda: None)
    assert bounded.call("q", "list", lambda: 7) == 7
    back.set()
    until(lambda: succeeds(Unreachable, lambda: bounded.call("p", "list", lambda: True)))
