"""On real hosts: libvirtd dies and comes back in the middle of the calls of a machine's life, before each was done and
before its answer came. Guests run on, and the end is what was declared."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from controllers.kinds import Wiring
from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.errors import Unreachable
from drivers.recording import Call, RecordingEndPoint
from tests.engine.harness import running
from tests.kills.operators import settings
from tests.kills.scenario import Tenant
from tests.soak.kvm_world import KvmWorld

CALLS = ("create_disk", "Define", "StartPaused", "Resume", "AttachDisk", "Destroy", "delete_disk")
pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900), pytest.mark.takes(60)]


class Restarts:
    """libvirtd's restart at the first of each of the calls: `done` False before it, True after it and in its answer's
    stead."""

    def __init__(self, world: KvmWorld, *, done: bool) -> None:
        self._world, self._done = world, done
        self.left = set(CALLS)
        self._lock = threading.Lock()

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        return RecordingEndPoint(registry.open_endpoint(connection, timeout), connection.host, self._hook)

    def _hook(self, call: Call) -> None:
        with self._lock:
            if call.name not in self.left or call.done != self._done:
                return
            host = self._world.host(call.host)
            host.kill_libvirtd()
            host.start_libvirtd()
            self.left.remove(call.name)
        if self._done:
            raise Unreachable(f"libvirtd of {call.host} died before it answered")


@pytest.mark.parametrize("done", [False, True], ids=["before it is done", "before its answer"])
async def test_libvirtd_restarted_in_the_middle_of_each_call_changes_nothing_of_the_end(
    kvm: KvmWorld, tmp_path: Path, done: bool
) -> None:
    restarts = Restarts(kvm, done=done)
    config = replace(settings(kvm.api.kubeconfig, tmp_path / "none.db"), listing_interval=2.0)
    wiring = Wiring(config, open_endpoint=restarts.open)
    async with running(kvm.api, wiring.reconcilers, components=wiring.components, settings=config):
        await kvm.settled()
        await asyncio.wait_for(Tenant(kvm, 0, deadline=240.0).run(), 600.0)
    assert not await kvm.found_wrong()
    assert not restarts.left, f"never called: {restarts.left}"
