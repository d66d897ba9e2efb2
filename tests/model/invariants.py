"""What must hold after each step, and what must hold at rest. Each check has a name, which its failure begins with.

Looked at are the platform (`drivers.simulated.faults`, past every fault) and the API's objects; never the operator.
"""

import json
from collections import Counter
from collections.abc import Iterator

from controllers.logic.identity import object_uuid
from drivers.base import Power
from drivers.marks import DiskMark, DiskState, InstanceMark
from drivers.simulated.disks import Disk, read_mark
from drivers.simulated.domains import Domain
from drivers.simulated.domains import read_mark as read_instance_mark
from tests.model.around import around
from tests.model.operator import INSTALLATION
from tests.model.store import Obj
from tests.model.world import CPUS, HOSTS, MEMORY, World, condition

GI = 1 << 30
LIMIT = 85
"""Percent of a host that is given out (the HostCluster's default limits)."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Remembers what was ever seen: disks that were ready, what is not ours, generations."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._written: dict[tuple[str, str], str] = {}
        """(disk, uid of its owner) → what a guest wrote on it."""
        self._strangers: dict[str, str] = {}
        self._foreign_disks: dict[str, Disk] = {}

    def note_strangers(self) -> None:
        """What is there now and is nobody's of ours stays as it is."""
        self._strangers = {d.uuid: _shape(d) for d in self.world.faults.domains() if not _ours(_mark(d))}
        self._foreign_disks = {d.disk: d for d in self.world.disks() if not _ours(read_mark(d.mark)[0])}

    def always(self) -> None:
        """After each step. Raises Broken."""
        domains, disks = self.world.faults.domains(), self.world.disks()
        for name, found in (
            ("one_running_domain", self._runs_once()),
            ("disks_are_kept", self._disks_are_kept(disks)),
            ("one_writer", self._one_writer()),
            ("capacity", self._capacity()),
            ("no_address_twice", self._addresses(domains)),
            ("strangers_untouched", self._untouched(domains, disks)),
        ):
            self._require(name, found)
        self._write(disks)

    def at_rest(self, *, healed: bool) -> None:
        """Once nothing is written any more; `healed`: nothing is broken either."""
        for name, found in (
            ("generations", self._generations()),
            ("conditions_agree", self._conditions_agree(healed=healed)),
            ("parents_agree", self._parents_agree() if healed else iter(())),
        ):
            self._require(name, found)

    def unsettled(self) -> list[str]:
        """What is not yet as declared although nothing is in its way, when all is healed."""
        return [*self._unsettled(), *around(self.world)]

    def nothing_left(self) -> None:
        """After everything was deleted."""
        self._require("nothing_left", self._left())

    def _require(self, name: str, found: Iterator[str]) -> None:
        if wrong := list(found):
            raise Broken(f"{name}: " + "; ".join(wrong) + self.world.story())

    # ------------------------------------------------------------ always

    def _runs_once(self) -> Iterator[str]:
        """As the platform recorded it at each moment, not only now."""
        yield from self.world.faults.violations()

    def _write(self, disks: list[Disk]) -> None:
        """Guests write on every disk that is ready for the first time."""
        for disk in disks:
            mark, _ = read_mark(disk.mark)
            if mark and _ours(mark) and mark.kind == "Volume" and mark.state is DiskState.READY and disk.present:
                key = (disk.disk, mark.uid)
                if key not in self._written:
                    self._written[key] = f"written by the guest of {mark.name}, {len(self._written)}"
                    self.world.faults.write_data(disk.address, disk.disk, self._written[key])

    def _disks_are_kept(self, disks: list[Disk]) -> Iterator[str]:
        there = {disk.disk: disk for disk in disks}
        volumes = {v["metadata"]["uid"]: v for v in self.world.store.all("Volume")}
        for (name, uid), content in list(self._written.items()):
            disk, volume = there.get(name), volumes.get(uid)
            if disk is not None and disk.present:
                mark, _ = read_mark(disk.mark)
                if mark and mark.uid != uid and mark.uid in self.world.adopted:
                    del self._written[name, uid]
                    self._written[name, mark.uid] = content
                elif disk.content != content and (mark is None or mark.uid == uid):
                    yield f"disk {name} of {uid} held data and is another now"
            elif (
                volume is not None
                and not volume["metadata"].get("deletionTimestamp")
                and name not in self.world.lost_disks
            ):
                yield f"disk {name} is gone and its Volume {volume['metadata']['name']} is not being deleted"
            elif volume is None:
                del self._written[name, uid]

    def _one_writer(self) -> Iterator[str]:
        for volume in self.world.store.all("Volume"):
            holders = [
                a["instance"] for a in (volume.get("status") or {}).get("attachments", ()) if a["access"] == "ReadWrite"
            ]
            if len(holders) > 1 and not volume["spec"].get("shareable"):
                yield f"Volume {volume['metadata']['name']} is attached to {holders}"

    def _capacity(self) -> Iterator[str]:
        for host in HOSTS:
            obj = self.world.store.get("Host", host) or {}
            shown = (obj.get("status") or {}).get("capacity") or {}
            for what, amounts in shown.items():
                if any(str(value).startswith("-") for value in amounts.values()):
                    yield f"Host {host}: {what} {amounts}"
            cpus, memory = self._taken(host)
            if cpus > CPUS * LIMIT // 100 or memory > MEMORY * GI * LIMIT // 100:
                yield f"Host {host} is given out beyond its limits: {cpus} CPUs, {memory / GI:.2f}Gi"
        pool = (self.world.store.get("StoragePool", "pool-1") or {}).get("status") or {}
        storage = (pool.get("capacity") or {}).get("storage") or {}
        if any(str(value).startswith("-") for value in storage.values()):
            yield f"StoragePool pool-1: {storage}"

    def _taken(self, host: str) -> tuple[int, int]:
        """By guests that we started there and nobody moved by hand."""
        placed = {
            self._uuid(obj) for obj in self.world.store.all("Instance")
            if ((obj.get("status") or {}).get("placement") or {}).get("host") == host
        }  # fmt: skip
        running = [
            d for d in self.world.faults.domains(host)
            if d.power is Power.RUNNING and d.live and d.uuid in placed and d.uuid not in self.world.by_hand
        ]  # fmt: skip
        return sum(d.live.cpus for d in running if d.live), sum(d.live.memory for d in running if d.live)

    def _addresses(self, domains: tuple[Domain, ...]) -> Iterator[str]:
        macs: dict[str, set[str]] = {}
        for domain in domains:
            for nic in (domain.live or domain.shape).nics:
                macs.setdefault(nic.mac, set()).add(domain.uuid)
        yield from (f"MAC {mac} is that of {uuids}" for mac, uuids in macs.items() if len(uuids) > 1)
        given: Counter[str] = Counter()
        for obj in self.world.store.all("Instance"):
            for network in (obj.get("status") or {}).get("networks", ()):
                given.update(network.get("addresses", ()))
        yield from (f"address {address} is given to {count} NICs" for address, count in given.items() if count > 1)

    def _untouched(self, domains: tuple[Domain, ...], disks: list[Disk]) -> Iterator[str]:
        there = {d.uuid: _shape(d) for d in domains}
        for host in self.world.unpowered:
            self._strangers.update({d.uuid: _shape(d) for d in domains if d.uuid in self._strangers and d.host == host})
        self.world.unpowered.clear()
        yield from (
            f"domain {uuid} is not ours and was changed"
            for uuid, was in self._strangers.items()
            if there.get(uuid) != was
        )
        found = {d.disk: d for d in disks}
        yield from (
            f"disk {name} is not ours and was changed"
            for name, was in self._foreign_disks.items()
            if found.get(name) != was
        )

    # ------------------------------------------------------------ at rest

    def _generations(self) -> Iterator[str]:
        for kind in (
            "Zone",
            "HostPod",
            "HostCluster",
            "Host",
            "StoragePool",
            "ImageStore",
            "Network",
            "Template",
            "Volume",
            "Instance",
        ):
            for obj in self.world.store.all(kind):
                seen, is_ = (obj.get("status") or {}).get("observedGeneration"), obj["metadata"]["generation"]
                if seen != is_:
                    yield f"{kind} {obj['metadata']['name']}: generation {is_}, observed {seen}"

    def _conditions_agree(self, *, healed: bool) -> Iterator[str]:
        for obj in self.world.store.all("Instance"):
            yield from (
                f"Instance {obj['metadata']['name']}: {text}" for text in self._instance_agrees(obj, healed=healed)
            )
        for obj in self.world.store.all("Volume"):
            yield from (f"Volume {obj['metadata']['name']}: {text}" for text in self._volume_agrees(obj))
        for host in HOSTS:
            up = host not in self.world.lost | self.world.frozen
            found = condition(self.world.store.get("Host", host), "Ready")
            if (found.get("status") == "True") and not up:
                yield f"Host {host} is said to be Ready and does not answer"
            if found.get("status") != "True" and healed:
                yield f"Host {host} answers, and {found}"

    def _instance_agrees(self, obj: Obj, *, healed: bool) -> Iterator[str]:
        ready = condition(obj, "Ready")
        uuid, host = self._uuid(obj), ((obj.get("status") or {}).get("hostRef") or {}).get("name")
        running = {d.host for d in self.world.faults.domains() if d.uuid == uuid and d.power is Power.RUNNING}
        unseen = self.world.lost | self.world.frozen
        if ready.get("status") != "True":
            if not ready.get("message"):
                yield f"not Ready ({ready.get('reason')}) and does not say why"
            return
        if obj["metadata"].get("deletionTimestamp"):
            yield "is being deleted and Ready"
        if ready["reason"] == "Running" and running - unseen != {host} and not (host in unseen and not healed):
            yield f"is said to run on {host}, runs on {sorted(running)}"
            return
        if ready["reason"] != "Running" and running - unseen:
            yield f"is said to be {ready['reason']}, runs on {sorted(running)}"
        if obj["spec"]["runStrategy"] == "Always" and ready["reason"] != "Running":
            yield f"shall always run, and is Ready as {ready['reason']}"
        if obj["spec"]["runStrategy"] == "Halted" and running - unseen:
            yield f"shall be halted, runs on {sorted(running)} and is Ready"
        if healed and ready["reason"] == "Running":
            yield from self._as_declared(obj, uuid)

    def _as_declared(self, obj: Obj, uuid: str) -> Iterator[str]:
        """What is live is as the spec says; sizes and addresses take a restart."""
        domain = next(d for d in self.world.faults.domains() if d.uuid == uuid and d.power is Power.RUNNING)
        mark = _mark(domain)
        if mark is None or mark.starting is not None:
            yield f"runs, and its mark says {mark}"
        shape = domain.live or domain.shape
        disks = {d.name for d in shape.disks} - {"_seed"}
        nics = {n.name for n in shape.nics}
        attached = {v["name"] for v in obj["status"].get("volumes", ()) if v.get("attached")}
        if disks != attached:
            yield f"has the disks {sorted(disks)} and says {sorted(attached)}"
        if nics != {n["name"] for n in obj["spec"].get("networks", ())}:
            yield f"has the NICs {sorted(nics)}"
        declared = obj["spec"].get("resources", {}).get("cpus")
        if shape.cpus != declared and not condition(obj, "RestartRequired"):
            yield f"has {shape.cpus} CPUs, {declared} are declared, and no restart is asked for"

    def _volume_agrees(self, obj: Obj) -> Iterator[str]:
        status = obj.get("status") or {}
        if condition(obj, "Ready").get("status") != "True" or "disk" not in status:
            return
        name = f"{status['uuid']}-{status['disk']['n']}"
        disk = next((d for d in self.world.disks() if d.disk == name), None)
        mark = read_mark(disk.mark)[0] if disk else None
        if name in self.world.lost_disks:
            return  # Found out at the next check, which is minutes away.
        if disk is None or not disk.present or mark is None or mark.state is not DiskState.READY:
            yield f"is Ready, its disk {name} is {disk}"
        elif mark.uid != obj["metadata"]["uid"]:
            yield f"is Ready, its disk {name} is that of {mark.uid}"

    def _parents_agree(self) -> Iterator[str]:
        known = {obj["metadata"]["uid"] for obj in self.world.store.all("Instance")}
        for host in HOSTS:
            left = {d.uuid for d in self.world.faults.domains(host) if _ours(_mark(d)) and _uid(d) not in known}
            status = (self.world.store.get("Host", host) or {})["status"]
            told = {o["uuid"] for o in status.get("orphans", ())}
            if left != told:
                yield f"Host {host} has the orphans {sorted(left)} and tells of {sorted(told)}"

    def _unsettled(self) -> Iterator[str]:
        """Every reason that is left when all is well needs a fact that justifies it."""
        for obj in self.world.store.all("Instance"):
            name, ready = obj["metadata"]["name"], condition(obj, "Ready")
            if obj["metadata"].get("deletionTimestamp"):
                yield f"Instance {name} is still being deleted"
            elif ready.get("status") != "True" and not self._justified(obj, ready):
                yield f"Instance {name}: {ready.get('reason')} {ready.get('message')}"
        for obj in self.world.store.all("Volume"):
            name, ready = obj["metadata"]["name"], condition(obj, "Ready")
            if obj["metadata"].get("deletionTimestamp"):
                held = [i["metadata"]["name"] for i in self.world.store.all("Instance") if _names(i, name)]
                if not held and not self._left_machine(obj):
                    yield f"Volume {name} is still being deleted"
            elif ready.get("status") != "True" and ready.get("reason") != "OrphanExists":
                lost = any(disk in str(ready.get("message")) for disk in self.world.lost_disks)
                if ready.get("reason") != "Lost" or not lost:
                    yield f"Volume {name}: {ready.get('reason')} {ready.get('message')}"

    def _left_machine(self, volume: Obj) -> bool:
        """A machine whose object is gone names its disk: an administrator has to remove that."""
        known = {obj["metadata"]["uid"] for obj in self.world.store.all("Instance")}
        uuid = (volume.get("status") or {}).get("uuid", "-")
        left = [d for d in self.world.faults.domains() if _ours(_mark(d)) and _uid(d) not in known]
        return any(uuid in repr(d.shape) + repr(d.live) for d in left)

    def _justified(self, obj: Obj, ready: Obj) -> bool:
        strategy, reason = obj["spec"]["runStrategy"], ready.get("reason")
        volumes = {v["metadata"]["name"]: v for v in self.world.store.all("Volume")}
        named = [_volume(obj, entry) for entry in obj["spec"].get("volumes", ())]
        match reason:
            case "Failed" | "Ended":
                return strategy in ("Once", "Manual") or (strategy == "RerunOnFailure" and reason == "Ended")
            case "NoHostFits":
                return not self._room(obj)
            case _ if any(n not in volumes or volumes[n]["metadata"].get("deletionTimestamp") for n in named):
                return True
            case _ if any(condition(volumes[n], "Ready").get("status") != "True" for n in named):
                return True
            case "VolumeNameTaken":
                return any(
                    (volumes[n]["spec"].get("madeBy") or {}).get("uid") not in (None, obj["metadata"]["uid"])
                    or "madeBy" not in volumes[n]["spec"]
                    for n in named
                )
        if any(self._left_machine(volumes[n]) for n in named):
            return True
        holders = {n: [a["uid"] for a in volumes[n]["status"].get("attachments", ())] for n in named}
        return any(found and obj["metadata"]["uid"] not in found for found in holders.values())

    def _room(self, obj: Obj) -> bool:
        """Whether a host has room for it, as we count: machines whose objects are gone take theirs."""
        taken = {host: self._taken_by_placement(host) for host in HOSTS}
        for domain in self.world.orphans():
            taken[domain.host] += domain.live.cpus if domain.live and _ours(_mark(domain)) else 0
        return any(cpus + obj["spec"]["resources"]["cpus"] <= CPUS * LIMIT // 100 for cpus in taken.values())

    def _taken_by_placement(self, host: str) -> int:
        cpus = sum(
            d.shape.cpus for d in self.world.faults.domains(host) if not _ours(_mark(d)) and d.power is Power.RUNNING
        )
        for other in self.world.store.all("Instance"):
            status = other.get("status") or {}
            if (status.get("placement") or {}).get("host") == host:
                cpus += (status.get("resources") or {}).get("cpus", 0)
        return cpus

    def _left(self) -> Iterator[str]:
        yield from (f"Instance {i['metadata']['name']} is there" for i in self.world.store.all("Instance"))
        yield from (f"Volume {v['metadata']['name']} is there" for v in self.world.store.all("Volume"))
        yield from (f"address {a['metadata']['name']} is there" for a in self.world.store.all("NetworkAddress"))
        torn = self.world.torn
        yield from (
            f"domain {d.title} on {d.host} is left" for d in self.world.faults.domains()
            if _ours(_mark(d)) and _uid(d) not in torn
        )  # fmt: skip
        marks = {disk.disk: mark for disk in self.world.disks() if (mark := read_mark(disk.mark)[0]) and _ours(mark)}
        bases = {mark.base for mark in marks.values()}
        for disk, mark in marks.items():
            if (mark.kind == "Template" and disk not in bases) or (
                mark.kind == "Volume" and mark.uid not in torn and mark.made_by not in torn
            ):
                yield f"disk {disk} of {mark.kind} {mark.name} is left"

    def _uuid(self, obj: Obj) -> str:
        return object_uuid(None, obj["metadata"]["uid"])


def _volume(instance: Obj, entry: Obj) -> str:
    if entry["type"] == "Managed":
        return f"{instance['metadata']['name']}-{entry['name']}"
    return str(entry["volume"]["volumeRef"]["name"])


def _names(instance: Obj, volume: str) -> bool:
    return any(_volume(instance, entry) == volume for entry in instance["spec"].get("volumes", ()))


def _shape(domain: Domain) -> str:
    return json.dumps([domain.host, domain.title, domain.mark, domain.power, repr(domain.shape)])


def _mark(domain: Domain) -> InstanceMark | None:
    return read_instance_mark(domain.mark)[0]


def _ours(mark: InstanceMark | DiskMark | None) -> bool:
    return mark is not None and mark.installation == INSTALLATION


def _uid(domain: Domain) -> str:
    mark = _mark(domain)
    return mark.uid if mark else ""
