"""The control plane of the engine's tests: one for all of them, with two small kinds of their own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.engine.server import Server
from tests.engine.widgets import KINDS, crds


@pytest.fixture(scope="session")
def plane(lab_name: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(f"{lab_name}-engine")
    plane.down()
    plane.up()
    yield plane
    plane.down()


@pytest.fixture
async def cluster(plane: ControlPlane) -> AsyncIterator[Cluster]:
    cluster = Cluster(plane.kubeconfig, KINDS)
    await cluster.namespace("stratiform-system")
    await cluster.namespace("team-a")
    await cluster.install(crds())
    await cluster.wipe()
    await cluster.free_lease()
    yield cluster
    await cluster.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
