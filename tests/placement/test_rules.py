"""Each rule of placement by an example: what is asked, what the host is, and what is said, with the figures.

A row is one sentence of what placement promises (docs/placement.md), by its id: `F` for filters, `W` for weighers, `C` for
capacity, `A` for affinity. The first row of an id shows the refusal, a row with "" shows what passes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from controllers.placement.core.asks import Ask, Claim, HostWish, Shape, TermKey, TermWant, VolumeWant
from controllers.placement.core.filters import FILTERS, OF_INSTANCE
from controllers.placement.core.hosts import Audience, HostRecord
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import PoolRecord
from controllers.placement.core.story import Lost, Near, Placed, Story, Unplaced
from controllers.placement.core.weighers import NAMES
from controllers.placement.explain import explain, message

GI = 2**30
SHAPE = Shape(namespace="team-a", zone="zone-1", cpus=2, memory=4 * GI)
HOST = HostRecord(name="node-1", zone="zone-1", pod="rack-1", cluster="kvm-1", cpus=8, memory=32 * GI)
POOL = PoolRecord(name="nfs-1", free=100 * GI, capacity=200 * GI, tags=frozenset({"ssd"}))
WEB = frozenset({("app", "web")})
ROOT = VolumeWant(entry="root", size=10 * GI)


@dataclass(frozen=True)
class Row:
    id: str
    rule: str
    reason: str
    """"": it is placed."""
    told: str = ""
    shape: Mapping[str, object] = field(default_factory=dict)
    host: Mapping[str, object] = field(default_factory=dict)
    ask: Mapping[str, object] = field(default_factory=dict)
    pool: Mapping[str, object] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()


def on(host: str, cpus: int = 0, memory: int = 0, **more: object) -> Claim:
    return Claim(namespace="team-a", hosts=(host,), cpus=cpus, memory=memory, **more)  # type: ignore[arg-type]


def term(topology: str, *, anti: bool = True, selector: frozenset[tuple[str, str]] = WEB) -> TermWant:
    return TermWant(TermKey("team-a", selector, topology), anti)


POOLS = {"pools": frozenset({"nfs-1"})}
NEAR = (term("Host", anti=False),)
ROWS = (
    Row("F1", "the host is in the instance's zone", "no candidate", "No host is there yet", host={"zone": "zone-2"}),
    Row("F2", "a host in maintenance or being deleted takes nothing", "Closed", "is in maintenance",
        host={"closed": "is in maintenance"}),
    Row("F2", "a pin does not open it", "Closed", host={"closed": "is in maintenance"},
        ask={"pinned": "node-1"}, shape={"ignore_disabled": True}),
    Row("F3", "a host that is not Ready takes nothing", "NotReachable", "not reachable since 10:41",
        host={"down": "not reachable since 10:41"}),
    Row("F4", "the allocation state of zone, rack, cluster and host", "Disabled", "disabled: Zone zone-1 is Disabled",
        host={"disabled": "disabled: Zone zone-1 is Disabled"}),
    Row("F4", "a pin alone does not override it", "Disabled", host={"disabled": "disabled"}, ask={"pinned": "node-1"}),
    Row("F4", "the explicit field does", "", host={"disabled": "disabled"}, ask={"pinned": "node-1"},
        shape={"ignore_disabled": True}),
    Row("F5", "not dedicated to others", "Dedicated", "is dedicated to other namespaces than team-a",
        host={"dedicated": (Audience("Names", frozenset({"team-b"})),)}),
    Row("F5", "dedicated to this namespace", "", host={"dedicated": (Audience("Names", frozenset({"team-a"})),)}),
    Row("F6", "the hypervisor that is needed", "OtherHypervisor", "runs KVM, needed Xen", shape={"hypervisor": "Xen"}),
    Row("F7", "the architecture of the template", "OtherArchitecture", "is x86_64, needed aarch64",
        shape={"architecture": "aarch64"}),
    Row("F8", "the firmware", "NoFirmware", "has no UEFI firmware", shape={"firmware": "UEFI"}),
    Row("F8", "a host with both", "", shape={"firmware": "UEFI"}, host={"firmware": frozenset({"BIOS", "UEFI"})}),
    Row("F9", "the machine type that the instance was first started with", "OtherHardware",
        "does not know machine type pc-q35-9.0", shape={"machine_type": "pc-q35-9.0"},
        host={"machine_types": frozenset({"pc-q35-7.2"})}),
    Row("F9", "a host that knows it", "", shape={"machine_type": "pc-q35-7.2"},
        host={"machine_types": frozenset({"pc-q35-7.2"})}),
    Row("F10", "the CPU that the cluster gives its guests", "OtherCPU", "cannot give the CPU model EPYC",
        host={"cpu": "cannot give the CPU model EPYC (spec.cpu of HostCluster kvm-1)"}),
    Row("F10", "and its features", "OtherCPU", "lacks CPU features avx2 of HostCluster kvm-1",
        host={"cpu": "lacks CPU features avx2 of HostCluster kvm-1 (status.cpu)"}),
    Row("F11", "host labels and selectors", "HostSelector", "needs label gpu=true, has gpu=false",
        shape={"selector": frozenset({("gpu", "true")})}, host={"labels": {"gpu": "false"}}),
    Row("F11", "a host without the label", "HostSelector", "has no such label",
        shape={"selector": frozenset({("gpu", "true")})}),
    Row("F11", "a host with all labels", "", shape={"selector": frozenset({("gpu", "true")})},
        host={"labels": {"gpu": "true", "disk": "fast"}}),
    Row("F12", "networks reachable by the host's uplinks", "NoUplink", "has no uplink to physical network lan",
        shape={"networks": (("eth0", "lan", 0),)}),
    Row("F12", "a tagged network needs an uplink that carries VLANs", "NoUplink",
        "reaches physical network lan untagged only, networks[eth0] has VLAN 120",
        shape={"networks": (("eth0", "lan", 120),)}, host={"networks": frozenset({("lan", False)})}),
    Row("F12", "an untagged one needs one that carries it", "NoUplink", "by VLAN only, networks[eth0] is untagged",
        shape={"networks": (("eth0", "lan", 0),)}, host={"networks": frozenset({("lan", True)})}),
    Row("F12", "both at once", "", shape={"networks": (("eth0", "lan", 0), ("eth1", "lan", 7))},
        host={"networks": frozenset({("lan", True), ("lan", False)})}),
    Row("F13", "volumes that exist pull the instance to where they are", "VolumeElsewhere",
        "does not reach pool nfs-2, where volumes[data] lies", shape={"bound": (("data", "nfs-2"),)}, host=POOLS),
    Row("F13", "the host reaches their pool", "", shape={"bound": (("data", "nfs-1"),)}, host=POOLS),
    Row("F14", "the biggest guest that a host can hold", "GuestTooLarge", "gives a guest at most 1 CPUs, 2 asked",
        host={"max_guest_cpus": 1}),
    Row("F15", "a pool in scope and reachable", "NoStoragePool", "it reaches no storage pool",
        shape={"volumes": (ROOT,)}),
    Row("F15", "the allocation state of pools", "NoStoragePool", "nfs-1 is closed: StoragePool nfs-1 is Disabled",
        shape={"volumes": (ROOT,)}, host=POOLS, pool={"closed": "is closed: StoragePool nfs-1 is Disabled"}),
    Row("F15", "all required tags", "NoStoragePool", "nfs-1 lacks tags raid", host=POOLS,
        shape={"volumes": (replace(ROOT, tags=frozenset({"ssd", "raid"})),)}),
    Row("F15", "allocated and used limits of pools", "NoStoragePool", "nfs-1 has 5Gi of the 10Gi needed",
        shape={"volumes": (ROOT,)}, host=POOLS, pool={"free": 5 * GI}),
    Row("F15", "volumes of one request count against each other", "NoStoragePool", "volumes[data] (nfs-1 has 3Gi of the 8Gi",
        shape={"volumes": (ROOT, replace(ROOT, entry="data", size=8 * GI))}, host=POOLS, pool={"free": 13 * GI}),
    Row("F15", "the format that the pool can take", "NoStoragePool",
        "nfs-1 takes images of format Raw, the template is QCOW2", host=POOLS, pool={"type": "XenSR"},
        shape={"volumes": (replace(ROOT, format="QCOW2"),)}),
    Row("F15", "the provisioning that the pool can do", "NoStoragePool", "nfs-1 has no thin volumes", host=POOLS,
        shape={"volumes": (replace(ROOT, provisioning="Thin"),)}, pool={"type": "ISCSI"}),
    Row("F15", "a pool that takes it all", "", shape={"volumes": (replace(ROOT, tags=frozenset({"ssd"})),)}, host=POOLS),
    Row("F16", "maximum instances per host", "TooManyInstances", "has its 1 instances, more are not allowed",
        host={"max_instances": 1}, claims=(on("node-1", 1, GI),)),
    Row("F16", "a stopped one is none", "", host={"max_instances": 1}, claims=(on("node-1"),)),
    Row("F17", "CPUs below the limit", "InsufficientCPU", "needs 2 CPUs, 1 free. Nearest: node-1, short of 1 CPU.",
        claims=(on("node-1", 7, GI),)),
    Row("F17", "foreign domains' use counts", "InsufficientCPU", "needs 2 CPUs, 0 free", host={"foreign_cpus": 8}),
    Row("F18", "memory below the limit", "InsufficientMemory", "needs 4Gi memory, 1Gi free. Nearest: node-1, short of 3Gi",
        claims=(on("node-1", 1, 31 * GI),)),
    Row("F18", "foreign domains' memory counts", "InsufficientMemory", "needs 4Gi memory, 2Gi free",
        host={"foreign_memory": 30 * GI}),
    Row("F19", "pinned host", "NotPinnedHost", "is not the pinned host node-9", ask={"pinned": "node-9"}),
    Row("F20", "hosts where this instance just failed to start", "FailedToStart", "just failed to start it",
        ask={"avoid": frozenset({"node-1"})}),
    Row("A1", "required anti-affinity over hosts, also against one that is being placed", "Affinity",
        "already holds a member of antiAffinity Host app=web", ask={"terms": (term("Host"),)},
        claims=(on("node-1", 1, GI, labels=WEB, starting=True),)),
    Row("A1", "against one that is stopped and keeps its claim", "Affinity", ask={"terms": (term("Host"),)},
        claims=(on("node-1", labels=WEB),)),
    Row("A2", "over clusters", "Affinity", "HostCluster app=web", ask={"terms": (term("HostCluster"),)},
        claims=(on("node-2", labels=WEB),)),
    Row("A3", "over racks", "Affinity", "HostPod app=web", ask={"terms": (term("HostPod"),)},
        claims=(on("node-2", labels=WEB),)),
    Row("A4", "over zones", "Affinity", "Zone app=web", ask={"terms": (term("Zone"),)},
        claims=(on("node-2", labels=WEB),)),
    Row("A5", "in its own namespace only", "", ask={"terms": (term("Host"),)},
        claims=(replace(on("node-1", labels=WEB), namespace="team-b"),)),
    Row("A6", "who keeps others away keeps a later one away too", "Affinity", "whose antiAffinity this one matches",
        ask={"labels": WEB}, claims=(on("node-1", name="quiet", carried=(TermKey("team-a", WEB, "Host"),)),)),
    Row("A7", "required affinity", "Affinity", "is not where a member of affinity Host app=web runs",
        ask={"terms": NEAR}, claims=(on("node-2", labels=WEB),)),
    Row("A7", "the first member goes anywhere", "", ask={"terms": NEAR}),
    Row("A8", "a wish keeps nobody from running", "", ask={"terms": (replace(term("Host"), weight=100),)},
        claims=(on("node-1", labels=WEB),)),
)  # fmt: skip


def decide(row: Row) -> Placed | Unplaced:
    """On one host; node-2, of the same cluster, is in maintenance."""
    planner = Planner()
    planner.put_pool(replace(POOL, **row.pool))  # type: ignore[arg-type]
    planner.put_host(replace(HOST, **row.host))  # type: ignore[arg-type]
    for number, claim in enumerate(row.claims):
        planner.claim(f"uid-{number}", claim)
        for name in claim.hosts:
            if name != HOST.name:
                planner.put_host(replace(HOST, name=name, closed="is in maintenance"))
    shape = replace(SHAPE, **row.shape)  # type: ignore[arg-type]
    return planner.decide(Ask(uid="new", name="new", shape=shape, **row.ask))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.id}: {row.rule}")
def test_rules(row: Row) -> None:
    result = decide(row)
    if not row.reason:
        assert isinstance(result, Placed) and result.host == "node-1"
        return
    assert isinstance(result, Unplaced)
    assert row.reason in [lost.reason for lost in result.story.lost] or row.reason == "no candidate"
    assert row.told in message(result.story)


def test_every_filter_has_a_row_that_is_refused_for_it() -> None:
    shown = {row.reason for row in ROWS}
    assert {f.reason for f in FILTERS} - {"OtherZone"} | set(OF_INSTANCE) <= shown


# ------------------------------------------------------------ weighers


@dataclass(frozen=True)
class Better:
    """Of node-1 and node-2 the second wins."""

    id: str
    rule: str
    part: str
    first: Mapping[str, object] = field(default_factory=dict)
    second: Mapping[str, object] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    policy: str = "Balanced"
    ask: Mapping[str, object] = field(default_factory=dict)
    volumes: tuple[VolumeWant, ...] = ()


def starting(count: int) -> tuple[Claim, ...]:
    return tuple(on("node-1", starting=True, name=f"s{n}") for n in range(count))


BETTER = (
    Better("W1", "Spread takes the emptier host", "Leftover", policy="Spread", claims=(on("node-1", 1, 4 * GI),)),
    Better("W2", "Spread keeps CPU and memory in balance", "Imbalance", policy="Spread",
           claims=(on("node-1", 4, 0), on("node-2", 2, 8 * GI))),
    Better("W3", "Balanced takes the host where less room is lost: it has no CPUs for its memory", "RoomLost",
           claims=(on("node-2", 6, 4 * GI),)),
    Better("W3", "Packed too", "RoomLost", policy="Packed", claims=(on("node-2", 6, 4 * GI),)),
    Better("W4", "fewer instances that are starting there now", "Starting", claims=starting(3)),
    Better("W5", "the pool has the template already", "Storage", first={"pools": frozenset({"nfs-1"})},
           second={"pools": frozenset({"nfs-2"})}, volumes=(replace(ROOT, template="images/debian"),)),
    Better("W6", "the pool has more free space", "Storage", first={"pools": frozenset({"nfs-3"})},
           second={"pools": frozenset({"nfs-4"})}, volumes=(ROOT,)),
    Better("W7", "the host where it ran last", "LastHost", ask={"prefer": "node-2"}),
    Better("W8", "preferred affinity", "Preferred", ask={"terms": (replace(term("Host", anti=False), weight=50),)},
           claims=(on("node-2", labels=WEB),)),
    Better("W9", "preferred anti-affinity", "Preferred", ask={"terms": (replace(term("Host"), weight=50),)},
           claims=(on("node-1", labels=WEB),)),
    Better("W10", "preferred hosts", "Preferred", second={"labels": {"disk": "fast"}},
           ask={"wishes": (HostWish(frozenset({("disk", "fast")}), 50),)}),
    Better("W11", "of two wishes the one that weighs more", "Preferred", first={"labels": {"disk": "fast"}},
           second={"labels": {"gpu": "true"}},
           ask={"wishes": (HostWish(frozenset({("disk", "fast")}), 30), HostWish(frozenset({("gpu", "true")}), 60))}),
    Better("W12", "two small wishes that one host fulfils both", "Preferred", first={"labels": {"disk": "fast"}},
           second={"labels": {"gpu": "true", "row": "a"}},
           ask={"wishes": (HostWish(frozenset({("disk", "fast")}), 50), HostWish(frozenset({("gpu", "true")}), 30),
                           HostWish(frozenset({("row", "a")}), 30))}),
    Better("W13", "a host with some of the labels that a wish names is no better", "Preferred",
           first={"labels": {"disk": "fast"}}, second={"labels": {"gpu": "true"}},
           ask={"wishes": (HostWish(frozenset({("disk", "fast"), ("row", "a")}), 90),
                           HostWish(frozenset({("gpu", "true")}), 1))}),
)  # fmt: skip


@pytest.mark.parametrize("row", BETTER, ids=lambda row: f"{row.id}: {row.rule}")
def test_weighers(row: Better) -> None:
    planner = Planner()
    free = {"nfs-1": 100, "nfs-2": 100, "nfs-3": 40, "nfs-4": 160}
    for name, many in free.items():
        templates = frozenset({"images/debian"}) if name == "nfs-2" else frozenset[str]()
        planner.put_pool(replace(POOL, name=name, free=many * GI, tags=frozenset(), templates=templates))
    for name, more in (("node-1", row.first), ("node-2", row.second)):
        planner.put_host(replace(HOST, name=name, policy=row.policy, **more))  # type: ignore[arg-type]
    for number, claim in enumerate(row.claims):
        planner.claim(f"uid-{number}", claim)
    result = planner.decide(Ask(uid="new", shape=replace(SHAPE, volumes=row.volumes), **row.ask))  # type: ignore[arg-type]
    assert isinstance(result, Placed)
    assert result.host == "node-2"
    assert row.part in dict(result.story.parts)


def test_every_weigher_has_a_row() -> None:
    assert {*NAMES, "LastHost", "Preferred"} == {row.part for row in BETTER}


def test_c1_one_decision_covers_the_host_and_a_pool_for_every_volume_that_has_none() -> None:
    row = Row("C1", "", "", shape={"volumes": (ROOT, replace(ROOT, entry="data"))}, host=POOLS)
    result = decide(row)
    assert isinstance(result, Placed)
    assert result.pools == {"root": "nfs-1", "data": "nfs-1"}


def test_c2_room_is_a_near_miss_only_where_all_else_would_do() -> None:
    lacking = on("node-1", 7, 31 * GI)
    result = decide(Row("C2", "", "", claims=(lacking,)))
    assert isinstance(result, Unplaced)
    (near,) = result.story.near
    assert (near.host, near.missing) == ("node-1", "1 CPU and 3Gi memory")
    assert result.story.helps == ("free 1 CPU and 3Gi memory on node-1",)
    closed = decide(Row("C2", "", "", claims=(lacking,), host={"closed": "is in maintenance"}))
    assert isinstance(closed, Unplaced) and closed.story.near == ()


def test_c2_a_host_that_is_too_small_at_all_is_not_to_be_emptied() -> None:
    result = decide(Row("C2", "", "", shape={"cpus": 99}))
    assert isinstance(result, Unplaced)
    assert result.story.helps == ("add a host with 99 CPUs and 4Gi memory free (none is so big)",)
    assert "Or add a host with 99 CPUs" in message(result.story)


def test_c4_an_explanation_is_bounded_in_bytes_whatever_the_hosts_say() -> None:
    names = tuple(f"{'n' * 60}{n:03}" for n in range(8))
    lost = tuple(Lost(f"{'Reason' * 5}{n:02}", 1000, names, "x" * 5000) for n in range(30))
    near = tuple(Near(name, "InsufficientMemory", "y" * 5000, "z" * 5000) for name in names[:3])
    story = Story(candidates=10_000, fitting=0, lost=lost, near=near, helps=("h" * 5000,) * 9)
    assert len(explain(Unplaced(story)).model_dump_json(by_alias=True)) < 16 * 1024


def test_c3_what_helps_is_told_in_words_that_can_be_done() -> None:
    disabled = decide(Row("C3", "", "", host={"disabled": "disabled: Host node-1 is Disabled"}))
    assert isinstance(disabled, Unplaced) and disabled.story.helps == ("enable node-1",)
    labelled = decide(Row("C3", "", "", shape={"selector": frozenset({("gpu", "true")})}))
    assert isinstance(labelled, Unplaced)
    assert labelled.story.helps == ("label node-1 (needs label gpu=true, has no such label)",)


@pytest.mark.parametrize("number", [2, 100])
def test_a_host_that_is_claimed_before_it_is_known_is_in_no_zone_yet(number: int) -> None:
    """However many hosts there are: its claims count against nobody's anti-affinity over the zone."""
    planner = Planner()
    for n in range(number):
        planner.put_host(replace(HOST, name=f"node-{n}"))
    planner.claim("early", Claim(namespace="team-a", labels=WEB, hosts=("unknown",), cpus=1, memory=GI))
    apart = TermWant(TermKey("team-a", WEB, "Zone"), anti=True)
    assert isinstance(planner.decide(Ask(uid="late", shape=SHAPE, terms=(apart,))), Placed)
