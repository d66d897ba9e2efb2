"""The hypervisor's daemon is restarted in the middle of each call of a creation and of a deletion: before the call was
done, after it was done but before its answer, and half way through. The end is always what was declared."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.recording import Call, RecordingEndPoint
from lab.controlplane import ControlPlane
from tests.engine.harness import until
from tests.faults.drvworld import DriverCloud, cloud_of
from tests.instances.cloud import managed, nic

LIFE = (
    "create_disk",
    "write_seed",
    "write_disk_mark",
    "Define",
    "StartPaused",
    "Resume",
    "WriteMark",
    "Destroy",
    "delete_disk",
)
"""Every call that changes something between the creation of an instance with a disk and a NIC and its end; a test below
compares it with what is really called."""


class Restarts:
    """The daemon's restart at one call: every connection to every host breaks just there, once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._lock = threading.Lock()
        self._at: tuple[str, bool] = ("", False)
        self.cloud: DriverCloud | None = None

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        inner = registry.open_endpoint(connection, timeout)
        return RecordingEndPoint(inner, connection.host, self._hook)

    def at(self, call: str, *, done: bool) -> None:
        self._at = (call, done)

    @property
    def happened(self) -> bool:
        return self._at == ("", False)

    def _hook(self, call: Call) -> None:
        self.calls.append(call.name)
        with self._lock:
            if (call.name, call.done) != self._at or self.cloud is None:
                return
            self._at = ("", False)
        for host in self.cloud.hosts:
            self.cloud.faults.cut_connections(host)


@pytest.fixture
def restarts() -> Restarts:
    return Restarts()


@pytest.fixture
async def cloud(wiped_plane: ControlPlane, tmp_path: Path, restarts: Restarts) -> AsyncIterator[DriverCloud]:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", open_endpoint=restarts.open) as found:
        restarts.cloud = found
        yield found


async def live(cloud: DriverCloud, name: str) -> None:
    """Made, running, deleted, gone with everything."""
    await cloud.make(name, volumes=[managed("root")], networks=[nic()])
    await cloud.ready(name=name, deadline=30.0)
    await cloud.delete(name)
    await cloud.gone(name, deadline=30.0)
    await until(lambda: not cloud.disks(), 30.0, what="no disk is left")
    assert cloud.guests() == []


async def test_the_calls_of_a_life_are_these(cloud: DriverCloud, restarts: Restarts) -> None:
    restarts.calls.clear()
    await live(cloud, "web-1")
    assert set(restarts.calls) - {"connect_pool", "Shutdown"} == set(LIFE)


@pytest.mark.parametrize("done", [False, True], ids=["before it is done", "before its answer"])
async def test_a_restart_in_the_middle_of_each_call_changes_nothing_of_the_end(
    cloud: DriverCloud, restarts: Restarts, done: bool
) -> None:
    for number, call in enumerate(LIFE):
        if done:
            cloud.faults.lose_answer(1, call=call)
        else:
            restarts.at(call, done=False)
        await live(cloud, f"web-{number}")
        assert restarts.happened, call
        for host in cloud.hosts:
            await cloud.up(host)


async def test_a_restart_half_way_through_the_making_of_a_disk(cloud: DriverCloud) -> None:  # M2
    cloud.faults.break_midway(1, call="create_disk")
    await live(cloud, "web-1")
