"""A slow, obviously right placement, straight from the words of docs/placement.md: every host asked, one by one, from
plain records. The engine is compared with it; nothing of the engine but its records is used here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.placement.core.asks import Ask, Claim, TermKey, VolumeWant
from controllers.placement.core.hosts import HostRecord
from controllers.placement.core.pools import PoolRecord

WEIGHTS = {
    "Balanced": {"left": 0.0, "imbalance": 0.0, "lost": -1.0, "starting": -0.05, "storage": 0.1, "last": 0.5},
    "Packed": {"left": -0.1, "imbalance": 0.0, "lost": -1.0, "starting": -0.01, "storage": 0.1, "last": 0.2},
    "Spread": {"left": 1.0, "imbalance": -0.6, "lost": 0.0, "starting": -0.1, "storage": 0.1, "last": 0.5},
}
COMMON = [(cpus, cpus * each * 2**30) for cpus in (1, 2, 4, 8) for each in (2, 4, 8)]


@dataclass
class World:
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    pools: dict[str, PoolRecord] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    remembered: dict[str, HostRecord] = field(default_factory=dict)
    """Hosts as they were last seen, gone or not: what is claimed on one that is gone stays where it was."""

    def put(self, host: HostRecord) -> None:
        self.hosts[host.name] = self.remembered[host.name] = host

    def free(self, host: HostRecord) -> tuple[int, int]:
        held = [claim for claim in self.claims.values() for name in claim.hosts if name == host.name]
        cpus = host.cpus - host.foreign_cpus - sum(claim.cpus for claim in held)
        return cpus, host.memory - host.foreign_memory - sum(claim.memory for claim in held)

    def pool_free(self, name: str) -> int:
        return max(self.pools[name].free - sum(c.volumes.get(name, 0) for c in self.claims.values()), 0)

    def domain(self, name: str, topology: str) -> str:
        if topology == "Host":
            return name
        host = self.remembered.get(name)
        if host is None:
            return ""
        return {"HostCluster": host.cluster, "HostPod": host.pod, "Zone": host.zone}[topology]


def reason(world: World, host: HostRecord, ask: Ask) -> str:
    """The first filter that says no; "" when the host does."""
    shape = ask.shape
    free_cpus, free_memory = world.free(host)
    there = sum(1 for c in world.claims.values() for name in c.hosts if name == host.name and (c.cpus or c.memory))
    labels = world.namespaces.get(shape.namespace)
    rules = (
        ("OtherZone", host.zone != shape.zone),
        ("Closed", host.closed != ""),
        ("NotReachable", host.down != ""),
        ("Disabled", host.disabled != "" and not shape.ignore_disabled),
        ("Dedicated", any(not audience.admits(shape.namespace, labels) for audience in host.dedicated)),
        ("OtherHypervisor", shape.hypervisor not in ("", host.hypervisor)),
        ("OtherArchitecture", shape.architecture not in ("", host.architecture)),
        ("NoFirmware", shape.firmware not in host.firmware),
        ("OtherHardware", _other_hardware(host, ask)),
        ("OtherCPU", host.cpu != ""),
        ("HostSelector", any(host.labels.get(key) != value for key, value in shape.selector)),
        ("NoUplink", any((network, vlan > 0) not in host.networks for _, network, vlan in shape.networks)),
        ("VolumeElsewhere", any(pool not in host.pools for _, pool in shape.bound)),
        ("GuestTooLarge", host.max_guest_cpus > 0 and shape.cpus > host.max_guest_cpus),
        ("NoStoragePool", pick(world, host, ask) is None),
        ("TooManyInstances", host.max_instances > 0 and there >= host.max_instances),
        ("InsufficientCPU", shape.cpus > free_cpus),
        ("InsufficientMemory", shape.memory > free_memory),
        ("NotPinnedHost", ask.pinned not in ("", host.name)),
        ("FailedToStart", host.name in ask.avoid),
        ("Affinity", not _affinity(world, host, ask)),
    )
    return next((name for name, broken in rules if broken), "")


def _other_hardware(host: HostRecord, ask: Ask) -> bool:
    return (
        ask.shape.machine_type != "" and bool(host.machine_types) and ask.shape.machine_type not in host.machine_types
    )


def members(world: World, ask: Ask, key: TermKey) -> list[str]:
    """Domains of the term's members, one for each member and domain."""
    found = []
    for uid, claim in world.claims.items():
        if uid != ask.uid and claim.namespace == key.namespace and key.selector <= claim.labels:
            found += sorted({world.domain(host, key.topology) for host in claim.hosts})
    return found


def _affinity(world: World, host: HostRecord, ask: Ask) -> bool:
    for want in ask.terms:
        if not want.weight:
            domains = members(world, ask, want.key)
            inside = _domain(host, want.key.topology) in [d for d in domains if d]
            if want.anti and inside:
                return False
            if not want.anti and domains and not inside:
                return False
    for uid, claim in world.claims.items():
        for key in claim.carried:
            if uid != ask.uid and key.namespace == ask.shape.namespace and key.selector <= ask.labels:
                domains = [world.domain(name, key.topology) for name in claim.hosts]
                if _domain(host, key.topology) in [d for d in domains if d]:
                    return False
    return True


def _domain(host: HostRecord, topology: str) -> str:
    return {"Host": host.name, "HostCluster": host.cluster, "HostPod": host.pod, "Zone": host.zone}[topology]


def pick(world: World, host: HostRecord, ask: Ask) -> tuple[dict[str, str], float] | None:
    """The best pool for each volume, and how good they are; None when one has none."""
    used: dict[str, int] = {}
    chosen: dict[str, str] = {}
    total = 0.0
    order = sorted(ask.shape.volumes, key=lambda w: (0 if w.pool else 1, -len(w.tags), -w.size, w.entry))
    for want in order:
        best: tuple[float, str] | None = None
        for name in sorted(host.pools):
            pool = world.pools.get(name)
            if pool is None or not _takes(pool, want, world.pool_free(name) - used.get(name, 0)):
                continue
            score = _pool_score(pool, want, world.pool_free(name))
            if best is None or score > best[0]:
                best = (score, name)
        if best is None:
            return None
        chosen[want.entry] = best[1]
        used[best[1]] = used.get(best[1], 0) + want.size
        total += best[0]
    return chosen, total / len(order) if order else 0.0


def _takes(pool: PoolRecord, want: VolumeWant, free: int) -> bool:
    thin_at_all = pool.type != "ISCSI" or want.provisioning != "Thin"
    return (
        want.pool in ("", pool.name)
        and not pool.closed
        and want.tags <= pool.tags
        and thin_at_all
        and (want.format in ("", "Raw") or pool.type != "XenSR")
        and want.size <= free
    )


def _pool_score(pool: PoolRecord, want: VolumeWant, free: int) -> float:
    cached = 0.5 if want.template and want.template in pool.templates else 0.0
    room = min((32 * free // pool.capacity) / 32, 1.0) if pool.capacity else 0.5
    return cached + 0.3 * room + (0.2 if not pool.tags - want.tags else 0.0)


def score(world: World, host: HostRecord, ask: Ask) -> float:
    weights = WEIGHTS[host.policy]
    free_cpus, free_memory = world.free(host)
    cpus = (free_cpus - ask.shape.cpus) / max(host.cpus, 1)
    memory = (free_memory - ask.shape.memory) / max(host.memory, 1)
    starting = sum(1 for c in world.claims.values() for name in c.hosts if name == host.name and c.starting)
    total = weights["left"] * (cpus + memory) / 2 + weights["imbalance"] * abs(cpus - memory)
    total += weights["starting"] * starting / (starting + 4)
    total += weights["lost"] * room_lost(free_cpus, free_memory, ask)
    picked = pick(world, host, ask)
    total += weights["storage"] * (picked[1] if picked else 0.0)
    if ask.prefer == host.name:
        total += weights["last"]
    for wish in ask.wishes:
        if all(host.labels.get(key) == value for key, value in wish.selector):
            total += wish.weight / 100
    for want in ask.terms:
        if want.weight:
            times = members(world, ask, want.key).count(_domain(host, want.key.topology) or "-")
            total += (-1 if want.anti else 1) * want.weight / 100 * times / (times + 1)
    return total


def room_lost(free_cpus: int, free_memory: int, ask: Ask) -> float:
    """Guests of the common sizes that fit before and not after, by the most that it could be."""
    asked_cpus, asked_memory = ask.shape.cpus, ask.shape.memory
    lost = most = 0
    for cpus, memory in COMMON:
        before = min(free_cpus // cpus, free_memory // memory)
        after = min((free_cpus - asked_cpus) // cpus, (free_memory - asked_memory) // memory)
        lost += before - after
        most += max(math.ceil(asked_cpus / cpus), math.ceil(asked_memory / memory))
    return lost / most


def short(world: World, host: HostRecord, ask: Ask) -> float:
    """The bigger of the missing parts, for hosts that lack room."""
    free_cpus, free_memory = world.free(host)
    cpus = (ask.shape.cpus - free_cpus) / max(ask.shape.cpus, 1)
    return min(max(cpus, (ask.shape.memory - free_memory) / max(ask.shape.memory, 1)), 1.0)
