"""The check at the end of every test of a fault sees what it is there to see."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from drivers.base import Power, Why
from drivers.marks import InstanceMark, decode
from drivers.simulated import domains
from drivers.simulated.domains import Domain
from lab.controlplane import ControlPlane
from tests.faults.declared import differences
from tests.faults.drvworld import DriverCloud, cloud_of
from tests.instances.cloud import managed, nic


def domain(cloud: DriverCloud, title: str) -> Domain:
    return next(d for d in cloud.faults.domains() if title in d.title)


def sees(cloud: DriverCloud, check: Callable[[], list[str]], text: str, undo: Callable[[], object]) -> None:
    """The text is in what the check says, and nothing any more once it is undone."""
    said = check()
    assert any(text in line for line in said), said
    undo()
    assert check() == []


async def test_bystanders_that_are_changed_are_told(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=1) as cloud:
        await cloud.operator_stops()
        faults, host, check = cloud.faults, cloud.hosts[0], cloud.bystanders.changed
        for title in ("by-hand", ".theirs", "neighbour."):
            was = domain(cloud, title)
            faults.set_power(host, was.uuid, Power.PAUSED, Why.STARTED_PAUSED)
            sees(cloud, check, was.title, lambda was=was: faults.set_power(host, was.uuid, was.power, was.why))
        made = faults.make_unmarked(host, "made")
        sees(cloud, check, "made", lambda: faults.remove(host, made))
        neighbours = cloud.bystanders.neighbour.disk("neighbour-root")
        for disk in ("by-hand.img", neighbours):
            was = next(d for d in faults.disks(cloud.pool) if d.disk == disk).content
            faults.write_data(cloud.pool, disk, "overwritten")
            sees(cloud, check, disk, lambda disk=disk, was=was: faults.write_data(cloud.pool, disk, was))
        cloud.view.api.kubectl.run("label", "inst", "neighbour", "-n", cloud.bystanders.neighbour.namespace, "x=y")
        assert any("Instance neighbour" in line for line in check())
        cloud.view.api.kubectl.run("label", "inst", "neighbour", "-n", cloud.bystanders.neighbour.namespace, "x-")
        await cloud.operator_starts()


async def test_what_runs_otherwise_than_declared_is_told(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=1) as cloud:
        await cloud.make(volumes=[managed("root")], networks=[nic()])
        await cloud.ready()
        await cloud.operator_stops()
        faults, host = cloud.faults, cloud.hosts[0]
        check = lambda: differences(cloud.view)  # noqa: E731
        (was,) = cloud.guests()
        mark = decode(was.mark)
        assert check() == [] and isinstance(mark, InstanceMark)
        faults.write_mark(host, mark.uuid, replace(mark, run_count=2))
        sees(cloud, check, "its mark", lambda: faults.write_mark(host, mark.uuid, mark))
        disk = cloud.view.disk("web-1-root")
        faults.write_data(cloud.pool, disk, "")
        sees(cloud, check, "on its disk", lambda: faults.write_data(cloud.pool, disk, cloud.view.written[disk]))
        assert was.live is not None
        live, root = was.live, was.live.disks[0]
        for shape, text in (
            (replace(live, memory=live.memory + 1), "bytes of memory"),
            (replace(live, nics=(replace(live.nics[0], mac="02:00:00:00:00:01"),)), "NICs"),
            (replace(live, nics=(replace(live.nics[0], name="wan"),)), "NICs"),
            (replace(live, disks=(*live.disks, replace(root, name="extra", disk="extra"))), "disks"),
        ):
            _reshape(cloud, replace(was, live=shape))
            sees(cloud, check, text, lambda: _reshape(cloud, was))
        await cloud.operator_starts()


def _reshape(cloud: DriverCloud, domain: Domain) -> None:
    """No hand of an administrator changes what is live; a faulty driver might."""
    with cloud.faults._state.write("administrator") as tx:
        domains.save(tx, domain, "reshaped by a test")
