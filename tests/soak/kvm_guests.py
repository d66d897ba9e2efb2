"""Machines on real hosts that boot nothing, for long runs: each tenant makes one, gives it a second disk, deletes it, and
says what must be so then. Used by tests/soak/test_kvm_*."""

import asyncio
from typing import Any

from controllers.logic.identity import object_uuid
from lab.machines import Machines
from tests.engine.harness import Cluster
from tests.kills.world import Mirror

DEADLINE = 240.0


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
