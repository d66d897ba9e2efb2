"""A hypervisor that says one thing and does another: what was declared comes about all the same, or the condition says why
not, and nothing runs twice."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.base import Connection, EndPoint, HostFacts
from lab.controlplane import ControlPlane
from tests.engine.harness import until
from tests.faults.drvworld import DriverCloud, cloud_of
from tests.instances.cloud import managed


@pytest.fixture
async def cloud(wiped_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[DriverCloud]:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db") as found:
        yield found


@pytest.mark.parametrize("calls", [1, 3])
async def test_success_is_believed_only_when_it_is_seen(cloud: DriverCloud, calls: int) -> None:
    """Each call of a start and of an end lies `calls` times."""
    for call in ("create_disk", "Define", "StartPaused", "Resume", "WriteMark"):
        cloud.faults.lie(calls, call=call)
    await cloud.make(volumes=[managed("root")])
    await cloud.ready()
    await cloud.as_declared()
    for call in ("Shutdown", "Destroy", "delete_disk"):
        cloud.faults.lie(calls, call=call)
    await cloud.change(shutdown={"gracePeriodSeconds": 1})
    await cloud.delete()
    await cloud.gone(deadline=30.0)
    await until(lambda: not cloud.disks(), 30.0, what="no disk is left")
    assert cloud.guests() == []


async def test_w6_a_definition_that_was_only_said_to_be_written_is_not_started(cloud: DriverCloud) -> None:
    """Found by random faults: the old definition was started, whose mark had no `starting`: it stayed paused for good."""
    uuid = await cloud.make()
    await cloud.until_runs(uuid)
    cloud.faults.lie(1, call="Define")
    cloud.faults.power_off_guest(await cloud.host_of(), uuid)

    async def again() -> bool:
        return int((await cloud.status())["runCount"]) == 2

    await until(again, 30.0, what="a second run")
    cloud.view.started_again.add("web-1")
    await cloud.ready()


async def test_a_start_that_is_always_a_lie_is_told_and_makes_no_storm(cloud: DriverCloud) -> None:
    order = cloud.faults.lie(None, call="StartPaused")
    uuid = await cloud.make()
    await cloud.says("Instance", "web-1", "was started", "Off", reason="NoEffect")
    await cloud.settle(1.0)
    before = await cloud.version("Instance", "web-1")
    await cloud.settle(4.0)
    assert await cloud.version("Instance", "web-1") == before, "the same news is not written again"
    await cloud.describe("instance", "web-1")
    cloud.faults.release(order)
    await cloud.until_runs(uuid, 60.0)


async def test_a_machine_that_appears_twice_is_told_and_neither_is_touched(cloud: DriverCloud) -> None:  # W4
    uuid = await cloud.make(volumes=[managed("root")])
    await cloud.ready()
    home = await cloud.host_of()
    other = next(h for h in cloud.hosts if h != home)
    cloud.faults.duplicate(uuid, home, other)
    await cloud.says("Instance", "web-1", home, other, reason="RunsTwice")
    await cloud.describe("instance", "web-1")
    assert set(cloud.faults.running(uuid)) == set(cloud.hosts)
    cloud.faults.remove(other, uuid)
    await cloud.ready()


class _Fickle:
    """Every second answer about the host differs, and every second listing has another amount of memory."""

    def __init__(self, inner: EndPoint) -> None:
        self._inner, self._turn = inner, itertools.count()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def observe_host(self, host: str) -> HostFacts:
        facts, turn = self._inner.observe_host(host), next(self._turn)
        return replace(facts, memory=facts.memory - (turn % 2) * 2**30, version=f"1.{turn % 2}")

    def list_instances(self, host: str) -> Any:
        listing, turn = self._inner.list_instances(host), next(self._turn)
        return replace(listing, instances=tuple(replace(f, agent_connected=bool(turn % 2)) for f in listing.instances))


async def test_facts_that_change_between_two_reads_change_nothing_that_runs(
    wiped_plane: ControlPlane, tmp_path: Path
) -> None:
    def open_endpoint(connection: Connection, timeout: float) -> EndPoint:
        return _Fickle(registry.open_endpoint(connection, timeout))

    async with cloud_of(wiped_plane, tmp_path / "cloud.db", open_endpoint=open_endpoint) as cloud:
        uuid = await cloud.make(volumes=[managed("root")])
        await cloud.ready()
        events = len(await cloud.told("web-1"))
        for host in cloud.hosts:
            cloud.faults.cut_connections(host)
        await cloud.settle(4.0)
        await cloud.ready()
        assert (await cloud.status())["runCount"] == 1
        assert cloud.domain(uuid).active
        assert len(await cloud.told("web-1")) <= events + 4
