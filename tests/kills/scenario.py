"""What one tenant does: makes an instance with two volumes and a NIC, changes it, deletes it. And what must be so then.

The user is not killed: each step waits until what was declared is what runs, however often the operator dies meanwhile.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from controllers.logic.identity import mac_address, managed_volume_uuid, object_uuid
from drivers.base import Power
from drivers.simulated.disks import Disk
from drivers.simulated.domains import Domain
from tests.kills.world import Obj, Place

GUEST_WROTE = "what the guest wrote"


class Tenant:
    """`number` gives the namespace and the wire."""

    def __init__(self, world: Place, number: int, *, deadline: float) -> None:
        self.world, self.number, self.deadline = world, number, deadline
        self.namespace = f"kill-{number}"
        self.step = "not begun"
        self.uuid = ""
        self.addresses: dict[str, set[str]] = {}
        """NIC → the address that was claimed for it, which it keeps."""
        self._generation = 1
        self.written: set[str] = set()
        """Disks that its guest has written to: they are never replaced by others."""

    async def run(self) -> None:
        """From nothing to nothing. Raises AssertionError with the step."""
        try:
            await self.create()
            await self.change()
            await self.restart()
            await self.delete()
        except AssertionError as error:
            raise AssertionError(f"{self.namespace}, {self.step}: {error}") from None

    # ------------------------------------------------------------ steps

    async def create(self) -> None:
        self.step, terms = "create", self.world.terms
        await self.world.api.namespace(self.namespace)
        source = {"type": "HTTP", "http": self.world.image()}
        await self._make("Template", "tiny", {"format": "QCOW2", "source": source, "zones": [terms.zone]})
        ranges = [{"start": "10.91.0.50", "end": "10.91.0.250"}]
        subnets = [{"cidr": "10.91.0.0/24", "gateway": "10.91.0.1", "ranges": ranges}]
        network = {"zoneRef": {"name": terms.zone}, "type": "Physical", "physical": self.world.physical(self.number)}
        await self._make("Network", "lan", {**network, "ipam": {"subnets": subnets}})
        await self._volume("data")
        made = await self._make("Instance", "web", {
            "zoneRef": {"name": terms.zone}, "resources": {"cpus": 1, "memory": terms.memory},
            "volumes": [_root(terms.size), _attached("data")], "networks": [_nic("lan")],
            "cloudInit": {"hostname": "web"}, **terms.spec,
        })  # fmt: skip
        self.uuid = object_uuid(None, made["metadata"]["uid"])
        await self._runs(disks={"root", "data"}, nics={"lan"}, cpus=1, runs=1)

    async def change(self) -> None:
        """Hot: a volume and a NIC come, a volume goes where guests let go of one, one grows."""
        self.step, terms = "change", self.world.terms
        await self._volume("extra")
        kept = [] if terms.unplugs else ["data"]
        volumes = [_root(terms.grown), *map(_attached, kept), _attached("extra")]
        await self._patch(volumes=volumes, networks=[_nic("lan"), _nic("second")])
        await self._runs(disks={"root", "extra", *kept}, nics={"lan", "second"}, cpus=1, runs=1)
        await self._until(lambda: self._disk("web-root").size == terms.grown_bytes, f"root has grown to {terms.grown}")

    async def restart(self) -> None:
        """With another size, without the second NIC and what did not let go."""
        self.step, terms = "restart", self.world.terms
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        power = {"action": "Restart", "requestedAt": moment}
        await self._patch(
            resources={"cpus": 2, "memory": terms.more_memory}, power=power, networks=[_nic("lan")],
            volumes=[_root(terms.grown), _attached("extra")],
        )  # fmt: skip
        await self._runs(disks={"root", "extra"}, nics={"lan"}, cpus=2, runs=2)

    async def delete(self) -> None:
        """The instance, with the volume that it made; then everything else."""
        self.step = "delete"
        await self._delete("Instance", "web")
        await self._until(lambda: not self._get("Instance", "web"), "Instance web gone")
        gone = [d.title for d in self.world.domains(self.namespace)]
        assert not gone, f"the instance is gone and its domain is there: {gone}"
        for kind, name in (("Volume", "data"), ("Volume", "extra"), ("Network", "lan"), ("Template", "tiny")):
            await self._delete(kind, name)
        await self._until(lambda: not self.world.mirror.of(self.namespace), "every object gone")
        self.nothing_left()

    # ------------------------------------------------------------ what must be so

    def note(self) -> None:
        """At the moment of the kill: the addresses that it has, which it keeps; and its guest writes on its disks."""
        for kind, name in self.world.mirror.of(self.namespace):
            obj = self._get(kind, name) or {}
            if kind == "NetworkAddress" and not obj["metadata"].get("deletionTimestamp"):
                spec = obj["spec"]
                if spec["claim"]["type"] == "Instance":
                    nic = spec["claim"]["instance"]["interface"]
                    self.addresses.setdefault(nic, set()).add(spec["address"])
        for disk in self.world.volumes_disks(self.namespace):
            if disk.present and '"ready"' in disk.mark:
                self.world.write(disk, GUEST_WROTE)
                self.written.add(disk.disk)

    def nothing_left(self) -> None:
        domains, disks = self.world.domains(self.namespace), self.world.disks(self.namespace)
        assert not domains and not disks, f"left: {[d.title for d in domains]} {[(d.disk, d.mark) for d in disks]}"
        names = [f"{uuid}-1.{end}" for uuid in self._volume_uuids() for end in ("seed", "nvram")]
        left = [name for name in names if self.world.companion(name)]
        assert not left, f"left beside the disks: {left}"

    async def _runs(self, *, disks: set[str], nics: set[str], cpus: int, runs: int) -> None:
        """Wait until the instance is Ready as declared and nothing about it is in the making; then compare."""
        await self._until(lambda: self._settled(runs), f"Instance web Ready as declared in its run {runs}")
        wanted = disks | {"_seed"}

        def as_declared() -> bool:
            found = self.world.domains(self.namespace)
            return (
                len(found) == 1
                and found[0].power is Power.RUNNING
                and {d.name for d in _live(found[0]).disks} == wanted
            )

        await self._until(as_declared, f"one running domain with {sorted(wanted)}")
        domain = self.world.domains(self.namespace)[0]
        live = _live(domain)
        status = (self._get("Instance", "web") or {})["status"]
        assert domain.uuid == self.uuid == status["uuid"], f"{domain.uuid}, {self.uuid}, {status['uuid']}"
        assert (live.cpus, status["runCount"]) == (cpus, runs), f"{live.cpus} CPUs, run {status['runCount']}"
        macs = {n.name: n.mac for n in live.nics}
        assert macs == {name: mac_address(self.uuid, name) for name in nics}, f"NICs {macs}"
        assert domain.host == status["placement"]["host"] == status["hostRef"]["name"], f"on {domain.host}: {status}"
        self._addresses_kept(status, nics)
        volumes = [name for kind, name in self.world.mirror.of(self.namespace) if kind == "Volume"]
        there = self.world.volumes_disks(self.namespace)
        assert sorted(d.disk for d in there) == sorted(map(self._disk_name, volumes)), f"{volumes}: {there}"
        replaced = [d.disk for d in there if d.disk in self.written and d.content != GUEST_WROTE]
        assert not replaced, f"disks that held data and are others now: {replaced}"
        for attachment in live.disks:
            if attachment.name != "_seed":
                holders = self._volume_of(attachment.name)["status"].get("attachments", [])
                assert [(h["instance"], h["hosts"]) for h in holders] == [("web", [domain.host])], holders

    def _addresses_kept(self, status: Obj, nics: set[str]) -> None:
        shown = {n["name"]: set(n["addresses"]) for n in status["networks"]}
        assert set(shown) == nics and all(len(found) == 1 for found in shown.values()), shown
        for nic, found in shown.items():
            before = self.addresses.setdefault(nic, found)
            assert found == before, f"NIC {nic} had {before}, has {found}"
        for nic in set(self.addresses) - nics:
            del self.addresses[nic]

    # ------------------------------------------------------------ small things

    def _settled(self, runs: int) -> bool:
        obj = self._get("Instance", "web")
        if obj is None or obj["metadata"]["generation"] < self._generation:
            return False
        status, generation = obj.get("status", {}), obj["metadata"]["generation"]
        conditions = {c["type"]: c for c in status.get("conditions", ())}
        ready = conditions.get("Ready", {})
        return (
            (ready.get("status"), ready.get("observedGeneration")) == ("True", generation)
            and conditions.get("Synced", {}).get("status") == "True"
            and not {"RestartRequired", "Drifted", "Stalled"} & set(conditions)
            and all(v.get("attached") for v in status.get("volumes", ()))
            and {v["name"] for v in status.get("volumes", ())} == {v["name"] for v in obj["spec"]["volumes"]}
            and {n["name"] for n in status.get("networks", ())} == {n["name"] for n in obj["spec"]["networks"]}
            and status.get("runCount", 0) >= runs
        )

    def _volume_of(self, entry: str) -> Obj:
        return self._get("Volume", "web-root" if entry == "root" else entry) or {}

    def _disk_name(self, volume: str) -> str:
        status = (self._get("Volume", volume) or {}).get("status", {})
        return f"{status.get('uuid')}-{status.get('disk', {}).get('n')}"

    def _disk(self, volume: str) -> Disk:
        return next(d for d in self.world.disks(self.namespace) if d.disk == self._disk_name(volume))

    def _volume_uuids(self) -> list[str]:
        return [managed_volume_uuid(self.uuid, "root")] if self.uuid else []

    def _get(self, kind: str, name: str) -> Obj | None:
        return self.world.mirror.get(kind, self.namespace, name)

    async def _make(self, kind: str, name: str, spec: Obj) -> Obj:
        return await self.world.api.create(kind, name, spec, namespace=self.namespace)

    async def _volume(self, name: str) -> None:
        terms = self.world.terms
        spec = {"zoneRef": {"name": terms.zone}, "size": terms.size, "storagePoolRef": {"name": terms.pool}}
        await self._make("Volume", name, spec)

    async def _patch(self, **spec: Any) -> None:
        patched = await self.world.api.patch("Instance", "web", {"spec": spec}, namespace=self.namespace)
        self._generation = patched["metadata"]["generation"]

    async def _delete(self, kind: str, name: str) -> None:
        await self.world.api.delete(kind, name, namespace=self.namespace)

    async def _until(self, what: Callable[[], Any], told: str) -> None:
        await self.world.mirror.until(what, self.deadline, lambda: f"{told}; {self.story()}")

    def story(self) -> str:
        """What a person would look at."""
        lines = []
        for kind, name in self.world.mirror.of(self.namespace):
            obj = self._get(kind, name) or {}
            found = obj.get("status", {}).get("conditions", ())
            said = "; ".join(f"{c['type']}={c['status']} {c['reason']} {c.get('message', '')[:160]}" for c in found)
            lines.append(f"{kind} {name}{' (going)' if obj['metadata'].get('deletionTimestamp') else ''}: {said}")
        lines += [f"domain {d.title} on {d.host} {d.power} {d.why}" for d in self.world.domains(self.namespace)]
        return "\n  ".join(["", *lines])


def _root(size: str) -> Obj:
    managed = {"templateRef": {"name": "tiny"}, "size": size}
    return {"name": "root", "bootOrder": 1, "type": "Managed", "managed": managed}


def _attached(volume: str) -> Obj:
    return {"name": volume, "type": "Volume", "volume": {"volumeRef": {"name": volume}}}


def _nic(name: str) -> Obj:
    return {"name": name, "networkRef": {"name": "lan"}, "primary": name == "lan"}


def _live(domain: Domain) -> Any:
    assert domain.live is not None
    return domain.live
