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
from lab.controlplane import ControlPlane
from lab.machines import Machines
from tests.engine.harness import Cluster, running
from tests.kills.operators import settings
from tests.kills.world import Mirror
from tests.soak.kvm_guests import Guest

CALLS = ("create_disk", "Define", "StartPaused", "Resume", "AttachDisk", "Destroy", "delete_disk")
pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900), pytest.mark.takes(60)]


class Restarts:
    """libvirtd's restart at the first of each of the calls: `done` False before it, True after it and in its answer's
    stead."""

    def __init__(self, machines: Machines, *, done: bool) -> None:
        self._machines, self._done = machines, done
        self.left = set(CALLS)
        self._lock = threading.Lock()

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        return RecordingEndPoint(registry.open_endpoint(connection, timeout), connection.host, self._hook)

    def _hook(self, call: Call) -> None:
        with self._lock:
            if call.name not in self.left or call.done != self._done:
                return
            self.left.remove(call.name)
            host = self._machines.host(call.host)
            host.kill_libvirtd()
            host.start_libvirtd()
        if self._done:
            raise Unreachable(f"libvirtd of {call.host} died before it answered")


@pytest.mark.parametrize("done", [False, True], ids=["before it is done", "before its answer"])
async def test_libvirtd_restarted_in_the_middle_of_each_call_changes_nothing_of_the_end(
    api: Cluster, plane: ControlPlane, machines: Machines, quiet: None, tmp_path: Path, done: bool
) -> None:
    restarts = Restarts(machines, done=done)
    config = replace(settings(plane.kubeconfig, tmp_path / "none.db"), listing_interval=2.0)
    wiring = Wiring(config, open_endpoint=restarts.open)
    await api.free_lease()
    async with running(api, wiring.reconcilers, components=wiring.components, settings=config):
        for host in machines.hosts:
            await api.until_condition("Host", host.name, "Ready", "True", deadline=90.0)
        await api.until_condition("StoragePool", "nfs-1", "Ready", "True", deadline=90.0)
        mirror = Mirror(api)
        try:
            await asyncio.wait_for(Guest(api, mirror, machines, 100 + done).run(), 600.0)
        finally:
            await mirror.close()
    assert not restarts.left, f"never called: {restarts.left}"
