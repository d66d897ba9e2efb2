"""Clouds and requests of any size, for measurements: what `make bench` and the simulator ask the engine for."""

import random
from collections.abc import Iterator

from controllers.placement.core.asks import Ask, Shape, TermKey, TermWant, VolumeWant
from controllers.placement.core.hosts import HostRecord
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import PoolRecord

GI = 2**30
HOSTS_OF_CLUSTER, CLUSTERS_OF_RACK = 50, 4
SIZES = ((1, 2), (2, 4), (2, 8), (4, 8), (4, 16))
"""CPUs and GiB, one after the other."""
KINDS = (
    "plain",
    "anti-affinity 3",
    "anti-affinity 30",
    "anti-affinity 300",
    "preferred",
    "5 pools",
    "10% unschedulable",
)


def planner(hosts: int, kind: str = "plain") -> Planner:
    """`hosts` of 64 CPUs and 256 GiB in clusters of 50; with kind `5 pools` each cluster has 5 of its own."""
    made = Planner()
    for cluster in range((hosts + HOSTS_OF_CLUSTER - 1) // HOSTS_OF_CLUSTER):
        for name in pools(cluster, kind):
            made.put_pool(PoolRecord(name=name, free=2**50, capacity=2**50))
    for number in range(hosts):
        cluster = number // HOSTS_OF_CLUSTER
        made.put_host(
            HostRecord(
                name=f"host-{number}", zone="zone-1", cluster=f"cluster-{cluster}", pod=f"rack-{cluster // CLUSTERS_OF_RACK}",
                cpus=64, memory=256 * GI, pools=pools(cluster, kind),
            )
        )  # fmt: skip
    return made


def pools(cluster: int, kind: str) -> frozenset[str]:
    return frozenset(f"pool-{cluster}-{n}" for n in range(5)) if kind == "5 pools" else frozenset()


def asks(count: int, kind: str = "plain") -> Iterator[Ask]:
    """Of five sizes; groups of an anti-affinity kind are of that many members, one group after the other."""
    for number in range(count):
        cpus, memory = SIZES[number % len(SIZES)]
        if kind == "10% unschedulable" and number % 10 == 0:
            cpus = 100
        volumes = (VolumeWant(entry="root", size=10 * GI),) if kind == "5 pools" else ()
        shape = Shape(namespace="team", zone="zone-1", cpus=cpus, memory=memory * GI, volumes=volumes)
        group = int(kind.rsplit(" ", 1)[1]) if kind.startswith("anti") else 30
        labels = frozenset({("app", f"group-{number // group}")})
        terms: tuple[TermWant, ...] = ()
        if kind.startswith("anti"):
            terms = (TermWant(TermKey("team", labels, "Host"), True),)
        elif kind == "preferred":
            near, away = TermKey("team", labels, "HostCluster"), TermKey("team", labels, "Host")
            terms = (TermWant(away, True, 50), TermWant(near, False, 50))
        yield Ask(uid=f"uid-{number}", name=f"vm-{number}", shape=shape, labels=labels, terms=terms)


def shuffled(count: int, kind: str, seed: int = 1) -> list[Ask]:
    listed = list(asks(count, kind))
    random.Random(seed).shuffle(listed)
    return listed
