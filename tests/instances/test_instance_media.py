"""Drives with discs that are changed and ejected, templates, and machines adopted with their volumes (N2, D4)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.engine.harness import until
from tests.instances.cloud import Cloud, managed, nic

ISO = b"\0" * 32768 + b"\x01CD001\x01\0" + b"\0" * 65536


@pytest.fixture
async def web() -> AsyncIterator[str]:
    """Serves one image; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ISO) + ISO)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def _template(cloud: Cloud, web: str, name: str) -> None:
    if not await cloud.api.get("ImageStore", "images-1"):
        scope = {"type": "Zone", "zoneRef": {"name": "zone-1"}}
        allowed = {"cidrs": ["127.0.0.0/8"]}
        await cloud.api.create(
            "ImageStore",
            "images-1",
            {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}, "allowedSources": allowed},
        )
        await cloud.api.until_condition("ImageStore", "images-1", "Ready", "True", deadline=20.0)
    checksum = f"sha256:{hashlib.sha256(ISO).hexdigest()}"
    source = {"type": "HTTP", "http": {"url": f"http://{web}/{name}.iso", "checksum": checksum}}
    await cloud.api.create("Template", name, {"type": "ISO", "format": "Raw", "source": source}, namespace="team-a")
    await cloud.api.until_condition("Template", name, "Ready", "True", namespace="team-a", deadline=30.0)


def _disc(cloud: Cloud, uuid: str) -> str:
    live = cloud.domain(uuid).live
    return next((d.disk for d in live.disks if d.name == "tools"), "no drive") if live else "off"


async def test_a_disc_is_put_in_changed_and_ejected_while_the_guest_runs(cloud: Cloud, web: str) -> None:
    await _template(cloud, web, "drivers")
    await _template(cloud, web, "extras")
    root = {**managed("root"), "bootOrder": 1}

    def drive(template: str | None) -> dict[str, object]:
        return {"name": "tools", "type": "CDROM", "cdrom": {"templateRef": {"name": template}} if template else {}}

    uuid = await cloud.make(volumes=[root, drive("drivers")])
    await cloud.ready(deadline=20.0)
    await until(lambda: _disc(cloud, uuid) not in ("", "no drive"), 20.0, what="disc in the drive")
    first = _disc(cloud, uuid)
    await cloud.change(volumes=[root, drive("extras")])
    await until(lambda: _disc(cloud, uuid) not in ("", first), 20.0, what="disc changed")
    await cloud.change(volumes=[root, drive(None)])
    await until(lambda: _disc(cloud, uuid) == "", 20.0, what="disc ejected")
    assert (await cloud.status())["runCount"] == 1


async def test_n2_a_machine_is_adopted_with_the_volumes_that_its_mark_names(cloud: Cloud) -> None:
    root = {**managed("root"), "bootOrder": 1}
    uuid = await cloud.make(volumes=[root], networks=[nic()])
    await cloud.ready(deadline=20.0)
    disk = next(d.disk for d in cloud.domain(uuid).shape.disks if d.name == "root")
    await cloud.operator_stops()
    for kind, name in (("Instance", "web-1"), ("Volume", "web-1-root")):
        await cloud.api.patch(kind, name, {"metadata": {"finalizers": None}}, namespace="team-a")
        await cloud.delete(name, kind)
        await cloud.gone(name, kind)
    await cloud.operator_starts()
    await cloud.make(volumes=[root], networks=[nic()], annotations={"stratiform.dev/adopt": uuid})
    await cloud.ready(deadline=30.0)

    async def found() -> str:
        status = (await cloud.get("web-1-root", "Volume")).get("status", {})
        return f"{status['uuid']}-{status['disk']['n']}" if "disk" in status else ""

    assert await until(found, 30.0, what="the Volume knows its disk") == disk
    status = await cloud.status()
    assert status["runCount"] == 1 and len(cloud.faults.domains()) == 1
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")
