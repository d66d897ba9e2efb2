"""A small cloud in virtual time: what its people, its hardware and its operator do to it.

Used by the machine, one world an example. Every method may be called at any moment; what makes no sense just then (a
guest crashes that does not run) is nothing.
"""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from controllers.logic.identity import object_uuid
from drivers.base import Power, Why
from drivers.simulated.disks import Disk
from drivers.simulated.domains import Domain
from drivers.simulated.faults import Faults
from tests.drivers.images import ImageServer, qcow2
from tests.model.clock import Clock
from tests.model.operator import Life, Network
from tests.model.store import Obj, Store

TEAM = "team-a"
HOSTS = ("node-1", "node-2", "node-3")
CPUS, MEMORY = 4, 8
"""Of each host, in GiB."""
QUIET = 15.0
"""Seconds without any write or change: at rest."""
PATIENCE = 900.0
"""Seconds in which it comes to rest, whatever is broken."""
IGNORES_ORPHAN = "stratiform.dev/ignore-orphan"


class World:
    def __init__(self, folder: Path, images: ImageServer, seed: int) -> None:
        random.seed(seed)
        self.clock, self.network = Clock(), Network()
        self.store = Store(self.clock)
        self.state = folder / "cloud.db"
        self.faults = Faults(str(self.state))
        self.images = images
        self.life: Life | None = None
        self.lives = 0
        self.lost: set[str] = set()
        """Hosts that do not answer."""
        self.dark: set[str] = set()
        """Those of them whose power is gone."""
        self.frozen: set[str] = set()
        self.unpowered: set[str] = set()
        """Hosts that lost their power since the last look: with them whatever ran there, ours or not."""
        self.hanging = False
        self.lost_disks: set[str] = set()
        """By the hand of an administrator."""
        self.doubled: set[str] = set()
        """UUIDs of which an administrator made a second copy."""
        self.torn: set[str] = set()
        """uids of objects whose finalizer somebody took away."""
        self.by_hand: set[str] = set()
        """UUIDs of machines that somebody moved or started by hand: they count wherever that was."""
        self.adopted: set[str] = set()
        """uids of Volumes that took over a disk of another."""
        self.pool = ""

    # ------------------------------------------------------------ begin and end

    def begin(self) -> None:
        for name in ("kube-system", "stratiform-system", "default", TEAM):
            self.store.namespace(name)
        create = self.store.create
        create("Region", "default", {})
        physical = [{"name": "lan", "untagged": True, "namespaces": {"type": "All"}}]
        create("Zone", "zone-1", {"regionRef": {"name": "default"}, "physicalNetworks": physical})
        create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        uplinks = [{"name": "lan", "type": "Simulated"}]
        create(
            "HostCluster", "sim-1", {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "uplinks": uplinks}
        )
        for host in HOSTS:
            simulated = {"type": "Simulated", "simulated": {"cpus": CPUS, "memory": f"{MEMORY}Gi"}}
            spec = {"hostClusterRef": {"name": "sim-1"}, "connection": simulated, "reserved": {"memory": "0"}}
            create("Host", host, spec)
        kind = {"type": "Simulated", "simulated": {"capacity": "100Gi"}}
        create("StoragePool", "pool-1", {"scope": {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}}, **kind})
        scope = {"type": "Zone", "zoneRef": {"name": "zone-1"}}
        create("ImageStore", "images-1", {"scope": scope, **kind, "allowedSources": {"cidrs": ["127.0.0.0/8"]}})
        ranges = [{"start": "10.91.0.50", "end": "10.91.0.61"}]
        subnet = {"cidr": "10.91.0.0/24", "gateway": "10.91.0.1", "ranges": ranges}
        network = {"zoneRef": {"name": "zone-1"}, "type": "Physical", "physical": {"network": "lan"}}
        create("Network", "lan", {**network, "ipam": {"subnets": [subnet]}}, TEAM)
        source = self.images.put(qcow2())
        self.image = {"type": "HTTP", "http": {"url": source.url, "checksum": source.checksum}}
        self.make_template()
        self.start()
        self.run_until(lambda: all(self.ready("Host", host) for host in HOSTS), 60.0, "hosts ready")
        self.run_until(lambda: self.ready("StoragePool", "pool-1"), 60.0, "pool ready")
        self.run_until(lambda: self.ready("Template", "tiny", TEAM), 60.0, "template ready")
        self.pool = str((self.store.get("StoragePool", "pool-1") or {})["status"]["uuid"])

    def end(self) -> None:
        self.faults.release()
        for host in HOSTS:
            self.faults.thaw(host)
        if self.life is not None:
            self.life.kill()
        self.faults.close()

    # ------------------------------------------------------------ the operator

    def start(self) -> None:
        if self.life is None:
            self.lives += 1
            self.life = Life(
                self.clock, self.store, self.network, self.state, lambda: self.hanging or bool(self.frozen), self.lives
            )

    def kill(self) -> None:
        if self.life is not None:
            self.life.kill()
            self.life = None

    def stop(self) -> None:
        if self.life is not None:
            self.life.stop()
            self.life = None

    def run(self, seconds: float) -> None:
        """Time passes. An operator that dies meanwhile is down afterwards."""
        if self.life is None:
            self.clock.passed += seconds
            return
        end = self.clock.passed + seconds
        self.life.run(seconds)
        assert not self.life.faults, self.life.faults
        if self.life.dead:
            self.kill()
            self.clock.passed = max(self.clock.passed, end)

    def run_until(self, what: Callable[[], Any], patience: float, told: str) -> None:
        end = self.clock.passed + patience
        while not what():
            assert self.clock.passed < end, f"not within {patience:g} s: {told}{self.story()}"
            self.run(0.5)

    def rest(self, *, healed: bool = False) -> None:
        """Until nothing is written any more, nor, when all is well, any driver asked to change something; what is
        broken is asked for again and again. Raises AssertionError when that does not come."""
        assert self.life is not None
        end, quiet_since, seen = self.clock.passed + PATIENCE, self.clock.passed, (-1, -1)
        while self.clock.passed - quiet_since < QUIET or not self.life.idle:
            assert self.clock.passed < end, f"no rest within {PATIENCE:g} s: {self.story()}"
            self.run(1.0)
            assert self.life is not None, "the operator died at rest"
            now = (self.network.writes, self.life.changes if healed and not self.orphans() else 0)
            if now != seen:
                quiet_since, seen = self.clock.passed, now

    # ------------------------------------------------------------ the API server

    def api_fails(self) -> None:
        self.network.down = True

    def api_returns(self) -> None:
        was, self.network.down, self.network.deaf = self.network.down or self.network.deaf, False, False
        if was and self.life is not None and self.life.engine.started.is_set():
            self.life.loop.call_soon(self.life.engine.watch.restart)

    # ------------------------------------------------------------ people and their objects

    def instance(self, name: str) -> Obj | None:
        return self.store.get("Instance", name, TEAM)

    def make(self, name: str, spec: Obj) -> None:
        if self.instance(name) is None:
            self.store.create("Instance", name, {"zoneRef": {"name": "zone-1"}, **spec}, TEAM)

    def make_template(self) -> None:
        if self.store.get("Template", "tiny", TEAM) is None:
            self.store.create("Template", "tiny", {"format": "QCOW2", "source": self.image}, TEAM)

    def make_clone(self, name: str) -> None:
        """A Volume made from that Template."""
        source = {"type": "Template", "template": {"templateRef": {"name": "tiny"}}}
        if self.store.get("Volume", name, TEAM) is None:
            self.store.create("Volume", name, {"zoneRef": {"name": "zone-1"}, "size": "1Gi", "source": source}, TEAM)

    def runs(self, name: str) -> None:
        """Wait until it is Ready as running."""
        self.run_until(lambda: condition(self.instance(name), "Ready").get("reason") == "Running", 60.0, f"{name} runs")

    def edit(self, name: str, **spec: Any) -> None:
        if self.instance(name) is not None:
            self.store.patch("Instance", name, {"spec": spec}, TEAM)

    def annotate(self, kind: str, name: str, annotation: str, value: str | None, namespace: str = TEAM) -> None:
        if self.store.get(kind, name, namespace) is not None:
            self.store.patch(
                kind, name, {"metadata": {"annotations": {f"stratiform.dev/{annotation}": value}}}, namespace
            )

    def delete(self, kind: str, name: str, namespace: str = TEAM) -> None:
        if self.store.get(kind, name, namespace) is not None:
            self.store.delete(kind, name, namespace)

    def tear(self, kind: str, name: str) -> None:
        """Somebody takes the finalizer away and deletes it."""
        obj = self.store.get(kind, name, TEAM)
        if obj is None:
            return
        self.torn.add(obj["metadata"]["uid"])
        self.store.delete(kind, name, TEAM)
        if self.store.get(kind, name, TEAM) is not None:
            self.store.patch(kind, name, {"metadata": {"finalizers": None}}, TEAM)

    def wipe(self, kind: str, name: str) -> None:
        if self.store.get(kind, name, TEAM) is not None:
            self.store.wipe_status(kind, name, TEAM)

    def moment(self) -> str:
        return self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def ready(self, kind: str, name: str, namespace: str = "") -> bool:
        return condition(self.store.get(kind, name, namespace), "Ready").get("status") == "True"

    # ------------------------------------------------------------ machines and those who look after them

    def domains(self, name: str) -> list[Domain]:
        """Of the Instance of that name, wherever they are."""
        uuid = self.uuid(name)
        return [d for d in self.faults.domains() if d.uuid == uuid]

    def uuid(self, name: str) -> str:
        obj = self.instance(name)
        return object_uuid(None, obj["metadata"]["uid"]) if obj else ""

    def with_domain(self, name: str, deed: Callable[[Domain], None], *powers: Power) -> None:
        """The deed on the first of its machines that is in one of these states (any)."""
        for domain in self.domains(name):
            if not powers or domain.power in powers:
                deed(domain)
                return

    def double(self, name: str, target: str) -> None:
        """An administrator copies the definition, or the running machine, to another host; not to one that is powered
        off, or said to be (H1)."""
        off = target in self.dark or "outOfService" in (self.store.get("Host", target) or {})["spec"]

        def copy(domain: Domain) -> None:
            if not off and target != domain.host and all(d.host != target for d in self.domains(name)):
                self.doubled.add(domain.uuid)
                self.by_hand.add(domain.uuid)
                self.faults.duplicate(domain.uuid, domain.host, target)

        self.with_domain(name, copy)

    def move(self, name: str, target: str) -> None:
        """By hand, only onto hosts that are well (what safety.md assumes of administrators)."""
        well = (
            target not in self.lost | self.frozen
            and self.ready("Host", target)
            and "outOfService" not in (self.store.get("Host", target) or {})["spec"]
        )

        def migrate(domain: Domain) -> None:
            if (
                well
                and target != domain.host
                and domain.host not in self.lost
                and all(d.host != target for d in self.domains(name))
            ):
                self.by_hand.add(domain.uuid)
                self.faults.move(domain.uuid, domain.host, target)

        self.with_domain(name, migrate, Power.RUNNING)

    def lose_host(self, host: str, *, power_loss: bool) -> None:
        self.faults.lose_host(host, power_loss=power_loss)
        self.lost.add(host)
        self.frozen.discard(host)
        if power_loss:
            self.dark.add(host)
            self.unpowered.add(host)

    def reboot(self, host: str) -> None:
        if host not in self.lost:
            self.faults.reboot_host(host)
            self.frozen.discard(host)
            self.unpowered.add(host)

    def return_host(self, host: str) -> None:
        """Its declaration stays, as one in Git would."""
        if host in self.lost:
            self.faults.return_host(host)
            self.lost.discard(host)
            self.dark.discard(host)

    def freeze(self, host: str) -> None:
        if host not in self.lost:
            self.faults.freeze(host, keepalive=6.0)
            self.frozen.add(host)

    def thaw(self, host: str) -> None:
        if host in self.frozen:
            self.faults.thaw(host)
            self.frozen.discard(host)

    def declare_off(self, host: str) -> None:
        """Only what is true."""
        if host in self.dark:
            self.store.patch("Host", host, {"spec": {"outOfService": {"declaredAt": self.moment()}}})

    def hang(self, host: str, call: str) -> None:
        self.faults.hang(1, host=host, call=call)
        self.hanging = True

    def release(self) -> None:
        self.faults.release()
        self.hanging = False

    def disks(self) -> list[Disk]:
        return list(self.faults.disks(self.pool))

    # ------------------------------------------------------------ all is well again

    def heal(self) -> None:
        """Everything is repaired that only people or time repair; what was declared is left as it is."""
        self.release()
        for host in HOSTS:
            self.return_host(host)
            self.thaw(host)
            self.store.patch("Host", host, {"spec": {"outOfService": None, "maintenance": False}})
        self.faults.storage_down(self.pool, False)
        self.network.lost_answers = 0
        self.api_returns()
        self.faults.guest()
        for obj in self.store.all("Instance"):
            self.annotate("Instance", obj["metadata"]["name"], "paused", None)
        self.start()

    def tidy(self) -> None:
        """What an administrator does whom the conditions ask for something."""
        for obj in self.store.all("Instance"):
            name = obj["metadata"]["name"]
            match condition(obj, "Ready").get("reason"):
                case "GuestPaused":
                    self.with_domain(
                        name, lambda d: self.faults.set_power(d.host, d.uuid, Power.RUNNING, Why.BOOTED), Power.PAUSED
                    )
                case "RunsTwice":
                    self.with_domain(name, lambda d: self.faults.remove(d.host, d.uuid), Power.RUNNING, Power.PAUSED)
        self.make_template()
        self._ignore_orphans()

    def _ignore_orphans(self) -> None:
        for kind in ("Instance", "Volume"):
            for obj in self.store.all(kind):
                ready = condition(obj, "Ready")
                if ready.get("reason") == "OrphanExists":
                    found = next((w.strip("().,:;") for w in str(ready["message"]).split() if w.count("-") == 4), "")
                    self.annotate(kind, obj["metadata"]["name"], "ignore-orphan", found)

    def remove_orphans(self) -> None:
        """By hand."""
        for domain in self.orphans():
            self.faults.remove(domain.host, domain.uuid)

    def orphans(self) -> list[Domain]:
        """Machines whose objects are gone: what waits for them, waits for people."""
        known = {self.uuid(obj["metadata"]["name"]) for obj in self.store.all("Instance")}
        return [d for d in self.faults.domains() if d.mark and d.uuid not in known]

    # ------------------------------------------------------------ for failures

    def story(self) -> str:
        lines = [
            f"{self.clock.passed:.1f} s; lost {self.lost or '-'}, frozen {self.frozen or '-'}, hanging {self.hanging}"
        ]
        for kind in ("Host", "StoragePool", "Volume", "Instance"):
            for obj in self.store.all(kind):
                lines.append(_line(kind, obj))
        lines += [f"domain {d.title} on {d.host}: {d.power} {d.why} {d.mark[60:400]}" for d in self.faults.domains()]
        lines += [f"disk {d.disk} present={d.present} {d.mark[60:300]}" for d in (self.disks() if self.pool else ())]
        if self.life is not None:
            lines += ["the operator's last calls:", *self.life.recent]
        return "\n  ".join(["", *lines])


def condition(obj: Obj | None, type_: str) -> dict[str, Any]:
    """{} when it, or the object, is not there."""
    found: Iterable[dict[str, Any]] = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == type_), {})


def _line(kind: str, obj: Obj) -> str:
    found = (obj.get("status") or {}).get("conditions") or ()
    said = "; ".join(f"{c['type']}={c['status']} {c['reason']} {c.get('message', '')[:200]}" for c in found)
    going = " (going)" if obj["metadata"].get("deletionTimestamp") else ""
    placement = (obj.get("status") or {}).get("placement", {})
    where = f" on {placement.get('host')}/{placement.get('sequence')}" if placement else ""
    return f"{kind} {obj['metadata']['name']}{going}{where} {obj['spec'].get('runStrategy', '')}: {said}"
