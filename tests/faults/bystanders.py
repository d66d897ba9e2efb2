"""What is in the cloud of every test of a fault and must not change: machines and disks that are not ours, and a neighbour.

Planted and recorded at a world's beginning (tests/faults/apiworld.py, drvworld.py), compared at the end of each test.
"""

import json
import uuid
from dataclasses import replace
from typing import Any

from drivers.base import Power, Why
from drivers.marks import DiskMark, DiskState, InstanceMark
from drivers.simulated.disks import Disk
from drivers.simulated.domains import Domain
from tests.faults.declared import (
    ELSEWHERE,
    Raw,
    assert_as_declared,
    differences,
    guests_write,
    instance_mark,
    objects_of,
    volume_mark,
)
from tests.kinds.simcloud import SimCloud, managed

KINDS = ("Instance", "Volume", "NetworkAddress", "Network")
KEPT = ("uuid", "placement", "hostRef", "runCount", "networks", "volumes", "disk", "attachments", "primaryAddress")
"""Of a neighbour's status."""


class Bystanders:
    """`cloud` is the tested one; the neighbour is another tenant on the same hosts, pool and wire."""

    def __init__(self, cloud: SimCloud, neighbour: SimCloud) -> None:
        self.cloud, self.neighbour = cloud, neighbour
        self._lost_power: set[str] = set()

    def plant(self) -> None:
        """Blocks until the neighbour's guest runs and has written on its disk."""
        faults, first, last = self.cloud.faults, self.cloud.hosts[0], self.cloud.hosts[-1]
        faults.make_unmarked(first, "by-hand", cpus=1, memory=1 << 28)
        faults.make_unmarked(last, "by-hand-off", cpus=1, memory=1 << 28, running=False)
        theirs = faults.make_unmarked(first, f"{self.cloud.namespace}.web-1.theirs", cpus=1, memory=1 << 28)
        name = {"installation": ELSEWHERE, "namespace": self.cloud.namespace, "uid": str(uuid.uuid4())}
        mark = InstanceMark(**name, name="web-1", uuid=theirs, sequence=1, run_count=1)
        faults.write_mark(first, theirs, mark)
        place, disk = self.cloud.storage(), str(uuid.uuid4())
        root = DiskMark(**name, kind="Volume", name="web-1-root", uuid=disk, n=1, state=DiskState.READY, size=1 << 30)
        for stranger, text in (("by-hand.img", ""), (f"{disk}-1", root)):
            faults.write_disk_mark(place, stranger, text)
            faults.write_data(place, stranger, f"somebody's {stranger}")
        self._declare()
        self.record()

    def record(self) -> None:
        """What is there now is what must be there at the end."""
        guests_write(self.neighbour)
        self._domains, self._disks, self._objects = self._see()

    def power_lost(self, host: str) -> None:
        """A test cut it: what is not ours there is off from now on, the neighbour's guest is started again."""
        self._lost_power.add(host)
        if host == self.cloud.hosts[-1]:
            self.neighbour.started_again.add("neighbour")

    def changed(self) -> list[str]:
        """Each difference in one sentence."""
        domains, disks, objects = self._see()
        found = differences(self.neighbour)
        for where, was in self._domains.items():
            found += self._domain_changed(was, domains.get(where))
        found += [f"somebody made domain {domains[where].title}" for where in domains.keys() - self._domains.keys()]
        for name in self._disks.keys() | disks.keys():
            if disks.get(name) != self._disks.get(name) and not (name in disks and self._restarted(disks[name])):
                found.append(f"disk {name} is {disks.get(name)} and was {self._disks.get(name)}")
        for name in self._objects.keys() | objects.keys():
            if objects.get(name) != self._objects.get(name) and not self.neighbour.started_again:
                found.append(f"{name} is {objects.get(name)} and was {self._objects.get(name)}")
        return found

    def adopt_again(self) -> None:
        """After the kinds were deleted with the word `orphan`: the guest ran on, and is the neighbour's again."""
        domains, disks, _ = self._see()
        assert domains == self._domains and disks == self._disks, "nothing was touched while its objects were away"
        machine = next(d for d in domains.values() if instance_mark(d, self.neighbour.namespace))
        self._declare(f"stratiform.dev/adopt={machine.uuid}")
        after = self._see()[0][machine.host, machine.uuid]
        assert replace(after, mark="") == replace(machine, mark=""), "adopted without a restart"
        assert_as_declared(self.neighbour)  # Its address is claimed anew once the claim of the old object is gone.
        self.record()

    def _declare(self, *annotations: str) -> None:
        self.neighbour.network(vlan=199)
        nic = {"name": "lan", "networkRef": {"name": "lan"}}
        pin = {"hostRef": {"name": self.cloud.hosts[-1]}}
        self.neighbour.instance("neighbour", volumes=[managed("root")], networks=[nic], placement=pin)
        if annotations:
            self.neighbour.api.annotate("instance", "neighbour", *annotations)
        self.neighbour.api.await_condition("Instance", "neighbour")

    def _see(self) -> tuple[dict[tuple[str, str], Domain], dict[str, Disk], dict[str, Any]]:
        """All but what is of the tested tenants: they have checks of their own."""
        faults, theirs = self.cloud.faults, self.neighbour.namespace
        domains = {
            (d.host, d.uuid): d
            for d in faults.domains()
            if d.host in self.cloud.hosts and (instance_mark(d, theirs) or _not_ours(d.mark))
        }
        disks = {
            d.disk: d for d in faults.disks(self.cloud.storage()) if volume_mark(d.mark, theirs) or _not_ours(d.mark)
        }
        objects = objects_of(self.neighbour, *KINDS)
        return domains, disks, {f"{k} {o['metadata']['name']}": _declared(o) for k in KINDS for o in objects[k]}

    def _domain_changed(self, was: Domain, now: Domain | None) -> list[str]:
        if now is None:
            return [f"domain {was.title} is gone from {was.host}"]
        if was.host in self._lost_power:
            if instance_mark(was, self.neighbour.namespace):
                was = replace(was, mark=now.mark)  # Its run count.
            else:
                was = replace(was, power=Power.OFF, why=Why.UNKNOWN, live=None, agent=False)
        return [] if now == was else [f"domain {was.title} is {now} and was {was}"]

    def _restarted(self, disk: Disk) -> bool:
        """The neighbour's boot disk, whose mark has a copy of the machine's: that one counts starts."""
        was = self._disks.get(disk.disk)
        return was is not None and bool(self.neighbour.started_again) and replace(was, mark=disk.mark) == disk


def beside(cloud: SimCloud, namespace: str) -> SimCloud:
    """Another tenant's view of the same cloud, in a namespace that is made."""
    cloud.api.kubectl.run("create", "namespace", namespace)
    other = SimCloud(replace(cloud.api, namespace=namespace), cloud.faults, cloud.images)
    other.hosts = cloud.hosts
    return other


def _not_ours(mark: str) -> bool:
    return not mark or ELSEWHERE in mark


def _declared(obj: Raw) -> str:
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {k: v for k, v in obj.get("status", {}).items() if k in KEPT}
    return json.dumps([metadata, obj["spec"], status], sort_keys=True)
