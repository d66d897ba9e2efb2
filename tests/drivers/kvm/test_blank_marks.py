"""M2: a mark's file that was created and never written is what an operator leaves that was killed between the two."""

import pytest

from drivers.base import EndPoint, PoolDefinition
from drivers.errors import NotOurs
from drivers.marks import MAX_BYTES, DiskState
from tests.drivers.builders import disk_definition
from tests.drivers.kvm_backend import KVMBackend


def put_blank_mark(kvm: KVMBackend, pool: PoolDefinition, disk: str) -> None:
    # Through the host's own mount: the server's folder would be seen only after its attribute cache's second.
    xml = f"<volume><name>{disk}.json</name><capacity>{MAX_BYTES}</capacity></volume>"
    kvm.libvirt_pool(pool).createXML(xml, 0)
    assert (kvm.folder(pool) / f"{disk}.json").read_bytes() == bytes(MAX_BYTES)


@pytest.mark.cloud
def test_m2_a_blank_mark_without_its_disk_is_no_mark_and_the_disk_is_made(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    wanted = disk_definition()
    put_blank_mark(kvm, nfs, wanted.disk)
    assert node.storage.observe_disk(nfs, wanted.disk) is None
    assert node.storage.list_disks(nfs) == ()
    made = node.storage.create_disk(nfs, wanted)
    assert made.mark is not None
    assert made.mark.state is DiskState.READY


@pytest.mark.cloud
def test_m2_a_blank_mark_without_its_disk_goes_with_a_deletion(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    wanted = disk_definition()
    put_blank_mark(kvm, nfs, wanted.disk)
    node.storage.delete_disk(nfs, wanted.disk, wanted.mark.uid)
    assert not (kvm.folder(nfs) / f"{wanted.disk}.json").exists()


@pytest.mark.cloud
def test_m2_a_blank_mark_beside_a_disk_is_unreadable_and_held(
    kvm: KVMBackend, node: EndPoint, nfs: PoolDefinition
) -> None:
    wanted = disk_definition()
    node.storage.create_disk(nfs, wanted)
    kvm.lose_disk(nfs, f"{wanted.disk}.json")
    put_blank_mark(kvm, nfs, wanted.disk)
    found = node.storage.observe_disk(nfs, wanted.disk)
    assert found is not None
    assert found.unreadable
    with pytest.raises(NotOurs):
        node.storage.create_disk(nfs, wanted)
