"""Disks, CD-ROMs and NICs of an instance on every driver: to the definition and, hot, to the running guest."""

from dataclasses import replace

import pytest

from drivers.base import (
    AttachDisk,
    AttachNic,
    ChangeMedia,
    DetachDisk,
    DetachNic,
    DiskAttachment,
    EndPoint,
    ForceOff,
    GrowDisk,
    PoolDefinition,
    Resume,
    StartPaused,
)
from drivers.errors import Busy, DriverError, Retryable, Unsupported
from tests.drivers.backend import Backend
from tests.drivers.builders import MIB, Machine, attachment, disk_definition, machine, nic, until


def new_disk(endpoint: EndPoint, pool: PoolDefinition, name: str = "data", slot: int = 3) -> DiskAttachment:
    made = endpoint.storage.create_disk(pool, disk_definition())
    return attachment(pool, made.disk, name, slot)


def disks_of(made: Machine) -> dict[str, str]:
    return {d.name: d.disk for d in made.facts().disks}


def nics_of(made: Machine) -> dict[str, str]:
    return {n.name: n.mac for n in made.facts().nics}


def test_a_definition_shows_its_disks_and_nics(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    disk = new_disk(endpoint, pool, "root", 1)
    made = machine(backend, endpoint, disks=(disk,)).define()
    assert disks_of(made) == {"root": disk.disk}
    assert nics_of(made) == {"lan": "02:00:00:00:00:01"}


def test_a_start_whose_disk_is_not_there_is_refused(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    disk = new_disk(endpoint, pool, "root", 1)
    made = machine(backend, endpoint, disks=(disk,)).define()
    backend.lose_disk(pool, disk.disk)
    with pytest.raises(DriverError):
        made.apply(StartPaused())


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_a_disk_is_attached_once_and_detached_once(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, running: bool
) -> None:
    made = machine(backend, endpoint)
    made = made.run() if running else made.define()
    disk = new_disk(endpoint, pool)
    made.apply(AttachDisk(disk))
    made.apply(AttachDisk(disk))
    assert disks_of(made) == {"data": disk.disk}
    if running:
        # A guest without a system never lets go of a device: what the definition says counts after the run.
        made.apply(ForceOff())
        assert disks_of(made) == {"data": disk.disk}
    made.apply(DetachDisk("data"))
    made.apply(DetachDisk("data"))
    assert disks_of(made) == {}


def test_detaching_from_a_running_guest_is_busy_until_it_has_let_go(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    made = machine(backend, endpoint).run()
    made.apply(AttachDisk(new_disk(endpoint, pool)))

    def gone() -> bool:
        try:
            made.apply(DetachDisk("data"))
        except Busy:
            made.apply(ForceOff())
        return disks_of(made) == {}

    until(gone)


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_a_nic_is_attached_once(backend: Backend, endpoint: EndPoint, running: bool) -> None:
    made = machine(backend, endpoint)
    made = made.run() if running else made.define()
    second = nic(backend, "back", 9, "02:00:00:00:00:02")
    made.apply(AttachNic(second))
    made.apply(AttachNic(second))
    assert nics_of(made) == {"lan": "02:00:00:00:00:01", "back": "02:00:00:00:00:02"}


def test_a_nic_is_detached_once(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    made.apply(DetachNic("lan"))
    made.apply(DetachNic("lan"))
    assert nics_of(made) == {}


def test_an_uplink_that_the_platform_does_not_have_is_unsupported(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    with pytest.raises(Unsupported):
        made.apply(AttachNic(replace(nic(backend, "back", 9), uplink_type="Telegraph")))
    assert set(nics_of(made)) == {"lan"}


def change_media(made: Machine, media: DiskAttachment | None) -> None:
    """As the engine does it, which asks again: the guest may close the tray in the moment in which it was opened."""

    def changed() -> bool:
        try:
            made.apply(ChangeMedia("tools", media))
        except Retryable:
            return False
        return True

    until(changed, 30.0)


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_media_are_changed_and_ejected(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, running: bool
) -> None:
    first, second = (replace(new_disk(endpoint, pool, "tools", 0), device="cdrom", read_only=True) for _ in range(2))
    made = machine(backend, endpoint, disks=(first,))
    made = made.run() if running else made.define()
    assert disks_of(made) == {"tools": first.disk}
    change_media(made, second)
    change_media(made, second)
    assert disks_of(made) == {"tools": second.disk}
    change_media(made, None)
    change_media(made, None)
    assert disks_of(made) == {"tools": ""}


def test_a_running_guests_disk_grows_and_never_shrinks(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    disk = new_disk(endpoint, pool, "root", 1)
    made = machine(backend, endpoint, disks=(disk,)).run()
    made.apply(GrowDisk("root", 8 * MIB))
    made.apply(GrowDisk("root", 8 * MIB))
    made.apply(GrowDisk("root", 4 * MIB))
    made.apply(ForceOff())
    facts = endpoint.storage.observe_disk(pool, disk.disk)
    assert facts is not None
    assert facts.size == 8 * MIB


def test_a_guest_with_a_disk_runs(backend: Backend, endpoint: EndPoint, pool: PoolDefinition) -> None:
    made = machine(backend, endpoint, disks=(new_disk(endpoint, pool, "root", 1),)).start_paused()
    made.apply(Resume())
    assert disks_of(made).keys() == {"root"}
