"""Pools and the life of a disk on every driver: claim, mark before disk, made anew or never, gone with companions."""

from dataclasses import replace

import pytest

from drivers.base import DiskFacts, EndPoint, PoolDefinition, Seed, Undefine
from drivers.errors import Busy, Invalid, NotOurs, WrongPool
from drivers.marks import DiskState
from tests.drivers.backend import Backend
from tests.drivers.builders import MIB, attachment, disk_definition, instance_mark, machine, new_uuid

SEED = Seed(meta_data="instance-id: i-1\n", user_data="#cloud-config\n", network_config="version: 2\n")


def state(facts: DiskFacts | None) -> DiskState | None:
    return facts.mark.state if facts is not None and facts.mark is not None else None


# ---------------------------------------------------------------- pools


def test_a_pool_is_connected_twice_and_observed(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    facts = endpoint.storage.connect_pool(pool)
    assert facts.uuid == pool.uuid
    assert facts.capacity > 0
    assert 0 < facts.available <= facts.capacity
    assert endpoint.storage.observe_pool(pool) is not None


def test_a_pool_that_is_not_connected_is_none(backend: Backend, endpoint: EndPoint) -> None:
    assert endpoint.storage.observe_pool(backend.pool(new_uuid())) is None


def test_a_pool_is_disconnected_twice_and_its_disks_stay(endpoint: EndPoint, pool: PoolDefinition) -> None:
    disk = endpoint.storage.create_disk(pool, disk_definition())
    endpoint.storage.disconnect_pool(pool)
    endpoint.storage.disconnect_pool(pool)
    assert endpoint.storage.observe_pool(pool) is None
    endpoint.storage.connect_pool(pool)
    assert endpoint.storage.observe_disk(pool, disk.disk) == disk


def test_h3_storage_claimed_by_one_pool_refuses_another(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    with pytest.raises(WrongPool):
        endpoint.storage.connect_pool(backend.pool(new_uuid(), like=pool))
    assert endpoint.storage.connect_pool(pool).uuid == pool.uuid


def test_h3_a_refused_pool_is_not_left_connected(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    stranger = backend.pool(new_uuid(), like=pool)
    with pytest.raises(WrongPool):
        endpoint.storage.connect_pool(stranger)
    assert endpoint.storage.observe_pool(stranger) is None


def test_h3_storage_that_was_claimed_and_has_no_claim_is_another(backend: Backend, endpoint: EndPoint) -> None:
    wanted = backend.pool(new_uuid())
    with pytest.raises(WrongPool, match=r"no claim.*emptied.*make another"):
        endpoint.storage.connect_pool(replace(wanted, claimed=True))
    assert endpoint.storage.observe_pool(wanted) is None
    endpoint.storage.connect_pool(wanted)
    assert endpoint.storage.connect_pool(replace(wanted, claimed=True)).uuid == wanted.uuid


def test_both_hosts_see_the_same_disks(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    made = endpoint.storage.create_disk(pool, disk_definition())
    other = backend.open(backend.hosts[1])
    other.storage.connect_pool(pool)
    assert other.storage.observe_disk(pool, made.disk) == made
    assert [d.disk for d in other.storage.list_disks(pool)] == [made.disk]


# ---------------------------------------------------------------- making


def test_i4_m2_a_blank_disk_is_ready_under_its_name(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition(n=2)
    facts = endpoint.storage.create_disk(pool, wanted)
    assert facts.disk == f"{wanted.mark.uuid}-2"
    assert facts.exists
    assert facts.size == 4 * MIB
    assert facts.mark == replace(wanted.mark, state=DiskState.READY)
    assert endpoint.storage.observe_disk(pool, facts.disk) == facts


def test_an_absent_disk_is_none(endpoint: EndPoint, pool: PoolDefinition) -> None:
    assert endpoint.storage.observe_disk(pool, f"{new_uuid()}-1") is None


def test_d2_a_ready_disk_is_returned_as_it_is(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    first = endpoint.storage.create_disk(pool, wanted)
    bigger = replace(wanted, size=8 * MIB)
    assert endpoint.storage.create_disk(pool, bigger) == first


def test_d3_a_retained_disk_is_returned_as_it_is(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    made = endpoint.storage.create_disk(pool, wanted)
    retained = replace(wanted.mark, state=DiskState.RETAINED)
    endpoint.storage.write_disk_mark(pool, made.disk, retained)
    again = endpoint.storage.create_disk(pool, wanted)
    assert (again.mark, again.exists) == (retained, True)


def test_m2_a_disk_still_creating_is_made_anew(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    endpoint.storage.write_disk_mark(pool, wanted.disk, replace(wanted.mark, state=DiskState.CREATING))
    assert state(endpoint.storage.observe_disk(pool, wanted.disk)) is DiskState.CREATING
    again = endpoint.storage.create_disk(pool, replace(wanted, size=8 * MIB))
    assert state(again) is DiskState.READY
    assert again.size == 8 * MIB


def test_d2_a_disk_that_was_ready_and_is_gone_is_never_made_again(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    backend.lose_disk(pool, wanted.disk)
    facts = endpoint.storage.observe_disk(pool, wanted.disk)
    assert facts is not None
    assert (facts.exists, state(facts)) == (False, DiskState.READY)
    assert not endpoint.storage.create_disk(pool, wanted).exists


def test_n1_another_owners_disk_is_refused(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    made = endpoint.storage.create_disk(pool, wanted)
    with pytest.raises(NotOurs):
        endpoint.storage.create_disk(pool, disk_definition(uuid=wanted.mark.uuid))
    assert endpoint.storage.observe_disk(pool, wanted.disk) == made


def test_n1_a_disk_without_a_mark_is_never_overwritten_nor_deleted(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    backend.put_foreign_disk(pool, wanted.disk)
    with pytest.raises(NotOurs):
        endpoint.storage.create_disk(pool, wanted)
    with pytest.raises(NotOurs):
        endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    found = endpoint.storage.observe_disk(pool, wanted.disk)
    assert found is not None
    assert (found.mark, found.unreadable) == (None, False)


def test_m2_an_unreadable_mark_is_held_and_reported_never_taken_for_creating(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    backend.damage_disk_mark(pool, wanted.disk)
    found = endpoint.storage.observe_disk(pool, wanted.disk)
    assert found is not None
    assert found.unreadable
    with pytest.raises(NotOurs):
        endpoint.storage.create_disk(pool, wanted)
    with pytest.raises(NotOurs):
        endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    assert endpoint.storage.observe_disk(pool, wanted.disk) == found


def test_m2_a_boot_disks_mark_carries_its_instances_mark(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    mark = replace(wanted.mark, state=DiskState.READY, owner=instance_mark())
    endpoint.storage.write_disk_mark(pool, wanted.disk, mark)
    found = endpoint.storage.observe_disk(pool, wanted.disk)
    assert found is not None
    assert found.mark == mark


def test_every_disk_is_listed_ours_or_not(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    ours = endpoint.storage.create_disk(pool, disk_definition())
    backend.put_foreign_disk(pool, "somebodys-disk")
    found = {d.disk: d.mark for d in endpoint.storage.list_disks(pool)}
    assert found == {ours.disk: ours.mark, "somebodys-disk": None}


# ---------------------------------------------------------------- clones


@pytest.mark.parametrize("provisioning", ["Thin", "Thick"])
def test_d4_a_clone_takes_the_size_it_asks_for(endpoint: EndPoint, pool: PoolDefinition, provisioning: str) -> None:
    base = endpoint.storage.create_disk(pool, disk_definition(kind="Template"))
    wanted = disk_definition(size=8 * MIB, provisioning=provisioning)
    thin = provisioning == "Thin"
    wanted = replace(wanted, mark=replace(wanted.mark, base=base.disk if thin else ""))
    clone = endpoint.storage.clone_disk(pool, wanted, base.disk)
    assert clone.size == 8 * MIB
    assert clone.mark is not None
    assert (clone.mark.state, clone.mark.base) == (DiskState.READY, base.disk if thin else "")
    assert endpoint.storage.clone_disk(pool, wanted, base.disk) == clone


def test_a_clone_without_its_base_is_invalid_and_leaves_nothing(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    with pytest.raises(Invalid):
        endpoint.storage.clone_disk(pool, disk_definition(), f"{new_uuid()}-1")
    assert backend.files(pool) == set()


def test_a_clone_smaller_than_its_base_is_invalid(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    base = endpoint.storage.create_disk(pool, disk_definition(size=8 * MIB, kind="Template"))
    wanted = disk_definition(size=4 * MIB)
    with pytest.raises(Invalid):
        endpoint.storage.clone_disk(pool, wanted, base.disk)
    assert endpoint.storage.observe_disk(pool, wanted.disk) is None


def test_d4_a_base_is_not_deleted_while_a_thin_clone_needs_it(endpoint: EndPoint, pool: PoolDefinition) -> None:
    image = disk_definition(kind="Template")
    base = endpoint.storage.create_disk(pool, image)
    wanted = disk_definition()
    endpoint.storage.clone_disk(pool, wanted, base.disk)
    with pytest.raises(Busy):
        endpoint.storage.delete_disk(pool, base.disk, image.mark.uid)
    endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    endpoint.storage.delete_disk(pool, base.disk, image.mark.uid)
    assert endpoint.storage.list_disks(pool) == ()


def test_m2_nothing_is_cloned_from_an_image_that_is_still_creating(endpoint: EndPoint, pool: PoolDefinition) -> None:
    image = disk_definition(kind="Template")
    base = endpoint.storage.create_disk(pool, image)
    endpoint.storage.write_disk_mark(pool, base.disk, replace(image.mark, state=DiskState.CREATING))
    with pytest.raises(Busy):
        endpoint.storage.clone_disk(pool, disk_definition(), base.disk)


def test_an_image_whose_bytes_are_gone_is_made_again_and_a_guests_disk_is_not(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    for kind, present in (("Template", True), ("Volume", False)):
        wanted = disk_definition(kind=kind)
        endpoint.storage.create_disk(pool, wanted)
        backend.lose_disk(pool, wanted.disk)
        assert endpoint.storage.create_disk(pool, wanted).exists is present


# ---------------------------------------------------------------- growing and going


def test_a_disk_grows_and_never_shrinks(endpoint: EndPoint, pool: PoolDefinition) -> None:
    made = endpoint.storage.create_disk(pool, disk_definition())
    assert endpoint.storage.resize_disk(pool, made.disk, 8 * MIB).size == 8 * MIB
    assert endpoint.storage.resize_disk(pool, made.disk, 8 * MIB).size == 8 * MIB
    assert endpoint.storage.resize_disk(pool, made.disk, 2 * MIB).size == 8 * MIB


def test_a_disk_that_a_guest_runs_on_grows_only_through_the_guest(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    made = endpoint.storage.create_disk(pool, disk_definition())
    machine(backend, endpoint, disks=(attachment(pool, made.disk),)).run()
    with pytest.raises(Busy):
        endpoint.storage.resize_disk(pool, made.disk, 8 * MIB)
    after = endpoint.storage.observe_disk(pool, made.disk)
    assert after is not None
    assert after.size == 4 * MIB


def test_a_pool_that_is_not_connected_is_busy_to_whoever_uses_it(backend: Backend, endpoint: EndPoint) -> None:
    with pytest.raises(Busy):
        endpoint.storage.create_disk(backend.pool(new_uuid()), disk_definition())


def test_a_deleted_disk_takes_its_mark_and_companions_and_twice_is_fine(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    name = endpoint.storage.write_seed(pool, wanted.disk, SEED)
    assert name == f"{wanted.disk}.seed"
    assert backend.files(pool) >= {wanted.disk, name}
    endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    assert backend.files(pool) == set()
    endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)


def test_a_seed_is_rewritten_in_place_and_is_no_disk(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    endpoint.storage.write_seed(pool, wanted.disk, SEED)
    before = backend.files(pool)
    endpoint.storage.write_seed(pool, wanted.disk, replace(SEED, user_data="#!/bin/sh\n"))
    assert backend.files(pool) == before
    assert [d.disk for d in endpoint.storage.list_disks(pool)] == [wanted.disk]


def test_n1_a_disk_of_another_uid_is_not_deleted(endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    made = endpoint.storage.create_disk(pool, wanted)
    with pytest.raises(NotOurs):
        endpoint.storage.delete_disk(pool, wanted.disk, new_uuid())
    assert endpoint.storage.observe_disk(pool, wanted.disk) == made


def test_d1_a_disk_that_a_domain_names_is_in_use_and_not_deleted(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    made = machine(backend, endpoint, disks=(attachment(pool, wanted.disk),)).define()
    found = endpoint.storage.observe_disk(pool, wanted.disk)
    assert found is not None
    assert found.in_use_by == (made.uuid,)
    assert [d.in_use_by for d in endpoint.storage.list_disks(pool)] == [(made.uuid,)]
    with pytest.raises(Busy):
        endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    with pytest.raises(Busy):
        endpoint.storage.disconnect_pool(pool)
    made.apply(Undefine())
    endpoint.storage.delete_disk(pool, wanted.disk, wanted.mark.uid)
    assert endpoint.storage.observe_disk(pool, wanted.disk) is None


def test_d5_undefining_keeps_disk_and_seed(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    wanted = disk_definition()
    endpoint.storage.create_disk(pool, wanted)
    endpoint.storage.write_seed(pool, wanted.disk, SEED)
    before = backend.files(pool)
    made = machine(backend, endpoint, disks=(attachment(pool, wanted.disk),)).define()
    made.apply(Undefine())
    assert backend.files(pool) == before
