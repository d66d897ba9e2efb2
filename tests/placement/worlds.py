"""Random clouds, small enough to be judged by hand and odd enough to meet every filter."""

import random
from dataclasses import replace

from controllers.placement.core.asks import Ask, Claim, HostWish, Shape, TermKey, TermWant, VolumeWant
from controllers.placement.core.hosts import Audience, HostRecord
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import PoolRecord
from tests.placement.reference import World

GI = 2**30
ZONES, PODS, CLUSTERS = ("z1", "z2"), ("p1", "p2", "p3"), ("c1", "c2", "c3", "c4")
NAMESPACES = ("a", "b")
TOPOLOGIES = ("Host", "Host", "HostCluster", "HostPod", "Zone")
AUDIENCES = (
    Audience("Names", frozenset({"a"})), Audience("Selector", selector=frozenset({("team", "x")})),
    Audience("None"), Audience("All"), Audience("Names", frozenset({"a", "b"})),
)  # fmt: skip


class Both:
    """The same cloud, told to the engine and to the reference."""

    def __init__(self, seed: int, *, odd: float = 0.08) -> None:
        self.random = random.Random(seed)
        self.odd = odd
        """How likely each oddity is."""
        self.planner, self.world = Planner(), World()
        self.serial = 0
        for name in NAMESPACES:
            if self.random.random() < 0.7:
                self.label_namespace(name)
        for n in range(self.random.randint(0, 4)):
            self.put_pool(f"pool-{n}")
        for n in range(self.random.randint(0, 12)):
            self.put_host(f"h{n}")

    def often(self, chance: float) -> bool:
        return self.random.random() < chance

    def label_namespace(self, name: str) -> None:
        labels = {"team": self.random.choice("xy")}
        self.world.namespaces[name] = labels
        self.planner.put_namespace(name, labels)

    def put_pool(self, name: str) -> None:
        r = self.random
        capacity = r.choice((0, 50 * GI, 400 * GI))
        pool = PoolRecord(
            name=name, type=r.choice(("NFS", "NFS", "ISCSI", "XenSR")), tags=frozenset(r.sample(("ssd", "raid"), r.randint(0, 2))),
            free=r.choice((0, 5 * GI, 40 * GI, 300 * GI)), capacity=capacity,
            closed="is closed" if self.often(self.odd) else "",
            templates=frozenset({"debian"}) if self.often(0.3) else frozenset(),
        )  # fmt: skip
        self.world.pools[name] = pool
        self.planner.put_pool(pool)

    def remove_pool(self, name: str) -> None:
        self.world.pools.pop(name, None)
        self.planner.remove_pool(name)

    def put_host(self, name: str) -> None:
        r, odd = self.random, self.odd
        pools = [f"pool-{n}" for n in range(5)]
        host = HostRecord(
            name=name, zone=r.choice(ZONES) if self.often(0.2) else "z1", pod=r.choice((*PODS, "")) if self.often(0.3) else "p1",
            cluster=r.choice(CLUSTERS), labels={"gpu": r.choice(("true", "false")), **({"disk": "fast"} if self.often(0.5) else {})},
            hypervisor="Xen" if self.often(odd) else "KVM", architecture="aarch64" if self.often(odd) else "x86_64",
            firmware=frozenset({"BIOS", "UEFI"}) if self.often(0.7) else frozenset({"BIOS"}),
            machine_types=frozenset({r.choice(("q35-7", "q35-9"))}) if self.often(0.5) else frozenset(),
            down="not reachable" if self.often(odd) else "", disabled="disabled: it is" if self.often(odd) else "",
            closed="is in maintenance" if self.often(odd) else "",
            dedicated=tuple(r.sample(AUDIENCES, r.randint(1, 2))) if self.often(odd * 2) else (),
            cpus=r.choice((0, 4, 8, 16)), memory=r.choice((0, 8, 16, 64)) * GI,
            foreign_cpus=r.choice((0, 0, 3)), foreign_memory=r.choice((0, 0, 7)) * GI,
            max_guest_cpus=r.choice((0, 0, 3)), max_instances=r.choice((0, 0, 2)),
            pools=frozenset(r.sample(pools, r.randint(0, 4))), cpu="cannot give the CPU model" if self.often(odd / 2) else "",
            networks=frozenset(r.sample((("lan", False), ("lan", True), ("dmz", False)), r.randint(1, 3))),
            policy=r.choice(("Balanced", "Packed", "Spread")),
        )  # fmt: skip
        self.world.put(host)
        self.planner.put_host(host)

    def remove_host(self, name: str) -> None:
        self.world.hosts.pop(name, None)
        self.planner.remove_host(name)

    def close_host(self, name: str) -> None:
        if name in self.world.hosts:
            host = replace(self.world.hosts[name], closed=self.random.choice(("", "is in maintenance")))
            self.world.put(host)
            self.planner.put_host(host)

    def ask(self) -> Ask:
        r = self.random
        self.serial += 1
        shape = Shape(
            namespace=r.choice(NAMESPACES), zone="z1", cpus=r.choice((1, 2, 4)), memory=r.choice((1, 2, 8)) * GI,
            architecture="x86_64" if self.often(0.5) else "", hypervisor="KVM" if self.often(0.3) else "",
            firmware="UEFI" if self.often(0.2) else "BIOS", machine_type="q35-7" if self.often(0.1) else "",
            ignore_disabled=self.often(0.1),
            selector=frozenset({("gpu", "true")}) if self.often(0.15) else frozenset(),
            volumes=tuple(self._volume(n) for n in range(r.choice((0, 0, 0, 1, 2)))),
            bound=(("data", f"pool-{r.randint(0, 4)}"),) if self.often(0.15) else (),
            networks=(("eth", *r.choice((("lan", 0), ("lan", 7), ("dmz", 0)))),) if self.often(0.3) else (),
        )  # fmt: skip
        return Ask(
            uid=f"u{self.serial}" if self.often(0.8) or not self.world.claims else r.choice(sorted(self.world.claims)),
            shape=shape, labels=self.labels(),
            terms=tuple(self._term(shape.namespace) for _ in range(r.choice((0, 0, 1, 1, 2)))),
            wishes=tuple(self._wish() for _ in range(r.choice((0, 0, 0, 1, 2)))),
            pinned=self.host_name() if self.often(0.07) else "",
            avoid=frozenset({self.host_name()}) if self.often(0.1) else frozenset(),
            prefer=self.host_name() if self.often(0.2) else "",
        )  # fmt: skip

    def host_name(self) -> str:
        return f"h{self.random.randint(0, 13)}"

    def labels(self) -> frozenset[tuple[str, str]]:
        r = self.random
        return frozenset({("app", r.choice(("web", "db"))), *([("tier", "front")] if self.often(0.3) else [])})

    def _volume(self, n: int) -> VolumeWant:
        r = self.random
        return VolumeWant(
            entry=f"v{n}", size=r.choice((1, 4, 30)) * GI, tags=frozenset({"ssd"}) if self.often(0.2) else frozenset(),
            pool=f"pool-{r.randint(0, 3)}" if self.often(0.1) else "", provisioning=r.choice(("", "Thin", "Thick")),
            template="debian" if self.often(0.5) else "", format=r.choice(("", "", "QCOW2", "Raw")),
        )  # fmt: skip

    def _term(self, namespace: str) -> TermWant:
        r = self.random
        selector = frozenset({("app", r.choice(("web", "db")))}) if self.often(0.85) else frozenset[tuple[str, str]]()
        key = TermKey(namespace, selector, r.choice(TOPOLOGIES))
        return TermWant(key, self.often(0.7), r.choice((0, 0, 50, 100)))

    def _wish(self) -> HostWish:
        pairs = [pair for pair in (("gpu", "true"), ("disk", "fast")) if self.often(0.6)]
        return HostWish(frozenset(pairs), self.random.choice((1, 50, 100)))

    def claim(self, uid: str, claim: Claim) -> None:
        self.world.claims[uid] = claim
        self.planner.claim(uid, claim)

    def release(self, uid: str) -> None:
        self.world.claims.pop(uid, None)
        self.planner.release(uid)

    def foreign_claim(self) -> None:
        """As the cache shows one: running, stopped, or moving."""
        r = self.random
        self.serial += 1
        running = self.often(0.7)
        namespace = r.choice(NAMESPACES)
        terms = [t for t in (self._term(namespace) for _ in range(r.choice((0, 1)))) if t.anti and not t.weight]
        hosts = {self.host_name() for _ in range(r.choice((1, 1, 1, 2)))}
        self.claim(
            f"u{self.serial}",
            Claim(
                namespace=namespace, labels=self.labels(), hosts=tuple(sorted(hosts)), cpus=running * r.choice((1, 2)),
                memory=running * r.choice((1, 2)) * GI, starting=running and self.often(0.3),
                carried=tuple(t.key for t in terms),
            ),
        )  # fmt: skip

    def shake(self) -> None:
        """Something happens in the cloud."""
        r = self.random
        what = r.randint(0, 9)
        if what <= 3:
            self.foreign_claim()
        elif what <= 5 and self.world.claims:
            self.release(r.choice(sorted(self.world.claims)))
        elif what == 6:
            self.put_host(self.host_name())
        elif what == 7:
            self.close_host(self.host_name())
        elif what == 8:
            r.choice((self.remove_host, self.put_host))(self.host_name())
        elif self.often(0.7):
            self.put_pool(f"pool-{r.randint(0, 4)}")
        else:
            self.remove_pool(f"pool-{r.randint(0, 4)}")
        if self.often(0.02):
            self.label_namespace(r.choice(NAMESPACES))
        if self.often(0.05):
            self.planner.terms.prune()
