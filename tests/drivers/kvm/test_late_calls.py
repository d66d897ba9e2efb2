"""Calls about disks that go on after another host, or nobody any more, has taken their place: nothing is lost by them."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drivers.base import EndPoint, PoolDefinition
from drivers.errors import Busy, DriverError, Unreachable
from drivers.kvm import storage as kvm_storage
from drivers.kvm.bounded import Bounded
from drivers.kvm.mounts import Mounts
from drivers.marks import DiskState
from tests.drivers.builders import disk_definition, until
from tests.drivers.kvm_backend import KVMBackend

pytestmark = pytest.mark.cloud


@pytest.fixture
def other(kvm: KVMBackend, nfs: PoolDefinition) -> EndPoint:
    """Another host on which the pool is connected."""
    endpoint = kvm.open("node-2")
    endpoint.storage.connect_pool(nfs)
    return endpoint


@pytest.fixture
def after_next_listing(node: EndPoint, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something at the end of node-1's next look at a pool: what it goes on with is older."""
    storage: Any = node.storage
    refresh, deeds = Mounts.refresh, list[Callable[[], object]]()

    def listed(self: Mounts, there: Any) -> None:
        refresh(self, there)
        if deeds and self is storage._disks.mounts:
            deeds.pop()()

    monkeypatch.setattr(Mounts, "refresh", listed)
    return deeds.append


def test_a_disk_that_another_host_made_since_the_pool_was_listed_is_left_alone(
    kvm: KVMBackend, node: EndPoint, other: EndPoint, nfs: PoolDefinition,
    after_next_listing: Callable[[Callable[[], object]], None],
) -> None:  # fmt: skip
    wanted = disk_definition()
    after_next_listing(lambda: other.storage.create_disk(nfs, wanted))
    with pytest.raises(Busy, match="begun by another call"):
        node.storage.create_disk(nfs, wanted)
    found = other.storage.observe_disk(nfs, wanted.disk)
    assert found is not None and found.exists and found.mark is not None and found.mark.state is DiskState.READY
    assert node.storage.create_disk(nfs, wanted).exists


def test_a_disk_that_is_there_when_it_is_to_be_made_is_not_deleted_for_it(
    kvm: KVMBackend, node: EndPoint, other: EndPoint, nfs: PoolDefinition
) -> None:
    """The other host came between the mark and the disk."""
    wanted = disk_definition()

    disks: Any = node.storage._disks  # type: ignore[attr-defined]
    make = disks.make

    def interrupted(pool: Any, definition: Any, what: str, blank: Any) -> Any:
        def meanwhile(raw: Any, there: Any) -> Any:
            other.storage.create_disk(nfs, wanted)
            return blank(raw, there)

        return make(pool, definition, what, meanwhile)

    disks.make = interrupted
    with pytest.raises(DriverError):
        node.storage.create_disk(nfs, wanted)
    found = other.storage.observe_disk(nfs, wanted.disk)
    assert found is not None and found.exists and found.mark is not None and found.mark.state is DiskState.READY


def test_a_call_that_was_given_up_changes_nothing_when_it_goes_on(
    kvm: KVMBackend, node: EndPoint, other: EndPoint, nfs: PoolDefinition, monkeypatch: pytest.MonkeyPatch,
    after_next_listing: Callable[[Callable[[], object]], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(kvm_storage, "_seconds", lambda _: 0.2)
    wanted, goes_on, ended = disk_definition(), threading.Event(), threading.Event()
    after_next_listing(goes_on.wait)
    work = Bounded.call

    def call(self: Bounded, subject: str, what: str, run: Callable[[], Any], seconds: float = 30.0) -> Any:
        def noted() -> Any:
            try:
                return run()
            finally:
                ended.set()

        return work(self, subject, what, noted, seconds)

    monkeypatch.setattr(Bounded, "call", call)
    with pytest.raises(Unreachable, match="did not answer"):
        node.storage.create_disk(nfs, wanted)
    monkeypatch.setattr(Bounded, "call", work)
    goes_on.set()
    until(ended.is_set)
    assert kvm.files(nfs) == set()


def test_a_mark_is_not_written_by_a_call_that_was_given_up(
    kvm: KVMBackend, node: EndPoint, other: EndPoint, nfs: PoolDefinition
) -> None:
    wanted = disk_definition()
    node.storage.create_disk(nfs, wanted)
    storage: Any = node.storage
    goes_on, ended = threading.Event(), threading.Event()

    def late() -> None:
        goes_on.wait()
        try:
            storage._disks.write_mark(nfs, wanted.disk, replace(wanted.mark, state=DiskState.RETAINED))
        finally:
            ended.set()

    with pytest.raises(Unreachable, match="did not answer"):
        storage._bounded.call("a subject of its own", "mark it", late, 0.2)
    goes_on.set()
    until(ended.is_set)
    found = other.storage.observe_disk(nfs, wanted.disk)
    assert found is not None and found.mark is not None and found.mark.state is DiskState.READY
