"""Storage that is full or does not answer: guests run on, what needs it waits and says for what, and goes on by itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.errors import NoSpace
from lab.controlplane import ControlPlane
from tests.drivers.images import qcow2
from tests.engine.harness import until
from tests.faults.drvworld import QUICK, DriverCloud, cloud_of
from tests.instances.cloud import NAMESPACE, managed

FULL = "no space left on device: 0 of 1 TiB are free"


@pytest.fixture
async def cloud(
    wiped_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DriverCloud]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(name, seconds)
    async with cloud_of(wiped_plane, tmp_path / "cloud.db") as found:
        yield found


async def test_a_pool_that_is_full_while_disks_are_made_and_grown(cloud: DriverCloud) -> None:
    running = await cloud.make("runs", volumes=[managed("root")])
    await cloud.volume("data")
    await cloud.ready(name="runs")
    await cloud.says("Volume", "data", status="True")
    orders = [
        cloud.faults.fail(None, call=call, error=NoSpace, text=FULL)
        for call in ("create_disk", "resize_disk", "GrowDisk")
    ]
    await cloud.make("waits", volumes=[managed("root")])
    await cloud.api.patch("Volume", "data", {"spec": {"size": "2Gi"}}, namespace=NAMESPACE)
    await cloud.change("runs", volumes=[managed("root", "3Gi")])
    await cloud.says("Volume", "waits-root", FULL, "pool-1", reason="NoSpace")
    await cloud.says("Instance", "waits", "waits-root", FULL)
    await cloud.says("Volume", "data", FULL, type_="Synced", reason="NoSpace")
    await cloud.says("Volume", "runs-root", FULL, type_="Synced", reason="NoSpace")
    await cloud.says("Volume", "data", status="True"), "it is as usable as before"
    await cloud.says("Instance", "runs", status="True")
    for kind, name in (("volume", "waits-root"), ("instance", "waits"), ("volume", "data"), ("storagepool", "pool-1")):
        await cloud.describe(kind, name)
    assert cloud.faults.running(running)
    for order in orders:
        cloud.faults.release(order)
    await cloud.ready(name="waits", deadline=45.0)

    async def grown() -> bool:
        volumes = [(await cloud.get(name, "Volume"))["status"]["size"] for name in ("data", "runs-root")]
        return volumes == ["2Gi", "3Gi"]

    await until(grown, 45.0, what="both grew")


async def test_a_store_that_is_full_while_an_image_is_fetched(cloud: DriverCloud) -> None:
    scope = {"type": "Zone", "zoneRef": {"name": "zone-1"}}
    store = {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}}
    await cloud.api.create("ImageStore", "images-1", {**store, "allowedSources": {"cidrs": ["127.0.0.0/8"]}})
    await cloud.says("ImageStore", "images-1", status="True")
    order = cloud.faults.fail(None, call="import_image", error=NoSpace, text=FULL)
    source = cloud.images.put(qcow2())
    http = {"url": source.url, "checksum": source.checksum}
    spec = {"format": "QCOW2", "source": {"type": "HTTP", "http": http}, "zones": ["zone-1"]}
    await cloud.api.create("Template", "tiny", spec, namespace=NAMESPACE)
    await cloud.says("Template", "tiny", FULL, "images-1")
    await cloud.describe("template", "tiny")
    cloud.faults.release(order)
    await cloud.says("Template", "tiny", status="True", deadline=45.0)


async def test_storage_that_hangs_while_guests_run(cloud: DriverCloud) -> None:
    running = await cloud.make("runs", volumes=[managed("root")])
    await cloud.ready(name="runs")
    orders = [
        cloud.faults.hang(call=call)
        for call in ("connect_pool", "observe_pool", "list_disks", "observe_disk", "create_disk", "delete_disk")
    ]
    await cloud.make("waits", volumes=[managed("root")])
    await cloud.make("diskless")
    await cloud.ready(name="diskless")
    await cloud.says("Volume", "waits-root", "no answer", type_="Synced", reason="Unreachable")
    await cloud.says("StoragePool", "pool-1", "no answer", reason="Unreachable", deadline=50.0)
    await cloud.says("Instance", "waits", "waits-root")
    for kind, name in (("storagepool", "pool-1"), ("volume", "waits-root"), ("instance", "waits"), ("host", "node-1")):
        await cloud.describe(kind, name)
    assert cloud.faults.running(running), "the guest has its disk"
    for host in cloud.hosts:
        await cloud.says("Host", host, status="True")
    await cloud.ready(name="runs")
    for order in orders:
        cloud.faults.release(order)
    await cloud.says("StoragePool", "pool-1", status="True", deadline=45.0)
    await cloud.ready(name="waits", deadline=45.0)
