"""On real hosts: the operator's process is killed with SIGKILL around the calls that make, start, change and end a
guest, and started once again. The machines have blank disks and boot nothing, so that sixteen fit.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.logic.identity import object_uuid
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.machines import Machines, render
from lab.operator import CHECKOUT
from tests.engine.harness import Cluster
from tests.kills.killing import all_there
from tests.kills.operators import ProcessOperator, settings
from tests.kills.seam import Point
from tests.kills.world import Mirror

CALLS = (
    "create_disk web-root", "Define web", "StartPaused web", "Resume web", "WriteMark web", "AttachDisk web",
    "Destroy web", "delete_disk web-root",
)  # fmt: skip
POINTS = tuple(Point(call, 1, done) for call in CALLS for done in (False, True))
DEADLINE = 240.0
pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900)]


class Guest:
    """One tenant with one machine."""

    def __init__(self, api: Cluster, mirror: Mirror, machines: Machines, number: int) -> None:
        self.api, self.mirror, self.machines = api, mirror, machines
        self.namespace = f"kill-kvm-{number}"
        self.uuid = ""
        self._volumes: set[str] = set()

    async def run(self) -> None:
        await self.api.namespace(self.namespace)
        root = {
            "name": "root",
            "bootOrder": 1,
            "type": "Managed",
            "managed": {"size": "8Mi", "storagePoolRef": {"name": "nfs-1"}},
        }
        spec = {
            "zoneRef": {"name": "zone-1"}, "resources": {"cpus": 1, "memory": "16Mi"}, "volumes": [root],
            "shutdown": {"gracePeriodSeconds": 0},
        }  # fmt: skip
        made = await self.api.create("Instance", "web", spec, namespace=self.namespace)
        self.uuid = object_uuid(None, made["metadata"]["uid"])
        await self._until(lambda: self._runs({"root"}), "runs with its disk")
        blank = {"zoneRef": {"name": "zone-1"}, "size": "8Mi", "storagePoolRef": {"name": "nfs-1"}}
        await self.api.create("Volume", "extra", blank, namespace=self.namespace)
        more = [root, {"name": "extra", "type": "Volume", "volume": {"volumeRef": {"name": "extra"}}}]
        await self.api.patch("Instance", "web", {"spec": {"volumes": more}}, namespace=self.namespace)
        await self._until(lambda: self._runs({"root", "extra"}), "has the second disk")
        await asyncio.to_thread(self._is_once)
        await self.api.delete("Instance", "web", namespace=self.namespace)
        await self._until(lambda: self.mirror.get("Instance", self.namespace, "web") is None, "is gone")
        await self.api.delete("Volume", "extra", namespace=self.namespace)
        await self._until(lambda: not self.mirror.of(self.namespace), "everything is gone")
        await asyncio.to_thread(self._is_nowhere)

    def _runs(self, disks: set[str]) -> bool:
        obj = self.mirror.get("Instance", self.namespace, "web") or {}
        status: dict[str, Any] = obj.get("status", {})
        ready: dict[str, Any] = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
        attached = {v["name"] for v in status.get("volumes", ()) if v.get("attached")}
        return ready.get("status") == "True" and status.get("runCount") == 1 and attached == disks

    def _is_once(self) -> None:
        """It runs on one host, and nowhere else is it known; each volume has one disk."""
        volumes = [self.mirror.get("Volume", self.namespace, name) or {} for name in ("web-root", "extra")]
        self._volumes = {volume["status"]["uuid"] for volume in volumes}
        known = [h.name for h in self.machines.hosts if self.uuid in self._virsh(h.name, "--all")]
        running = [h.name for h in self.machines.hosts if self.uuid in self._virsh(h.name, "--state-running")]
        assert len(running) == 1 and known == running, f"known on {known}, running on {running}"
        for uuid in self._volumes:
            files = self._files(uuid)
            assert sorted(f for f in files if f.endswith("-1")) == [f"{uuid}-1"], f"disks: {files}"
            assert not [f for f in files if "-2" in f.removeprefix(uuid)], f"a second copy: {files}"

    def _is_nowhere(self) -> None:
        known = [h.name for h in self.machines.hosts if self.uuid in self._virsh(h.name, "--all")]
        files = [file for uuid in self._volumes for file in self._files(uuid)]
        assert not known and not files, f"left on {known}: {files}"

    def _virsh(self, host: str, what: str) -> set[str]:
        return set(self.machines.host(host).exec(["virsh", "list", "--uuid", what]).stdout.split())

    def _files(self, uuid: str) -> list[str]:
        return sorted(path.name for path in (self.machines.state_dir / "nfs/primary").rglob(f"{uuid}*"))

    async def _until(self, what: Any, told: str) -> None:
        def why() -> str:
            obj = self.mirror.get("Instance", self.namespace, "web") or {}
            said = [
                f"{c['type']}={c['status']} {c['reason']} {c['message'][:200]}"
                for c in obj.get("status", {}).get("conditions", ())
            ]
            return f"{self.namespace} {told}; {said}"

        await self.mirror.until(what, DEADLINE, why)


@pytest.fixture
async def api(plane: ControlPlane, machines: Machines, kubectl_program: Kubectl) -> AsyncIterator[Cluster]:
    """The examples' hosts and storage, without their tenants."""
    folder = render(CHECKOUT / "examples", plane.layout.state / "examples", machines.plan, machines.template_checksum)
    for path in sorted(folder.glob("0[0-7]-*.yaml")):
        kubectl_program.run("apply", "-f", str(path))
    api = Cluster(plane.kubeconfig)
    yield api
    await api.close()


async def test_killed_around_the_calls_of_a_real_guest_it_runs_once_and_goes_whole(
    api: Cluster, plane: ControlPlane, machines: Machines, quiet: None, tmp_path: Path
) -> None:
    config = replace(settings(plane.operator_kubeconfig, tmp_path / "none.db"), listing_interval=2.0)
    folders = (tmp_path / f"operator-{number}" for number in itertools.count(1))
    mirror = Mirror(api)
    guests = [Guest(api, mirror, machines, number) for number in range(len(POINTS))]
    plan = {guest.namespace: point for guest, point in zip(guests, POINTS, strict=True)}
    first = ProcessOperator(config, next(folders), plan)
    await asyncio.to_thread(first.start)
    for host in machines.hosts:
        await api.until_condition("Host", host.name, "Ready", "True", deadline=90.0)
    await api.until_condition("StoragePool", "nfs-1", "Ready", "True", deadline=90.0)
    runs = {guest.namespace: asyncio.create_task(guest.run()) for guest in guests}
    await all_there(first, runs, quiet=90.0)
    await asyncio.to_thread(first.kill)
    held = first.held
    await api.free_lease()
    second = ProcessOperator(config, next(folders))
    await asyncio.to_thread(second.start)
    try:
        await asyncio.wait(runs.values())
    finally:
        await asyncio.to_thread(second.stop)
        await mirror.close()
    failures = [f"{plan[name]}: {error}" for name, run in runs.items() if (error := run.exception()) is not None]
    print(f"{len(held)} of {len(POINTS)} points killed, {len(failures)} failed")
    assert not failures, "\n".join(failures)
    assert set(plan) == held, [str(plan[name]) for name in set(plan) - held]
