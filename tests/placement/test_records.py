"""From objects to what the engine is fed with: uplinks by VLAN, the CPU that a cluster gives its guests, pools, limits."""

import pytest

from controllers.placement import dump, records, whatif
from controllers.placement.core.pools import PoolRecord
from crds.hostcluster import BridgeUplink, OpenVSwitchUplink, Uplink
from drivers.base import CPUFacts, HostFacts
from tests.placement.test_whatif import cloud, instance, obj

GI = 2**30

BRIDGE = Uplink(name="lan", type="Bridge", bridge=BridgeUplink(name="br-lan"))
SIMULATED = Uplink(name="lan", type="Simulated")
SWITCH = Uplink(name="lan", type="OpenVSwitch", open_vswitch=OpenVSwitchUplink(bridge="ovs-lan"))


def test_a_bridge_carries_untagged_networks_and_a_simulated_uplink_both() -> None:
    assert records.reached((), (BRIDGE,)) == {("lan", False)}
    assert records.reached((), (SIMULATED,)) == {("lan", False), ("lan", True)}


def test_a_hosts_uplink_of_a_name_wins_over_its_clusters_and_what_is_not_honoured_reaches_nothing() -> None:
    assert records.reached((BRIDGE,), (SIMULATED,)) == {("lan", False)}
    assert records.reached((SWITCH,), (BRIDGE,)) == frozenset()


def facts(*features: str, models: tuple[str, ...] = ()) -> HostFacts:
    return HostFacts(
        host="node-1", machine_id="m", hostname="node-1", architecture="x86_64", hypervisor="KVM", version="9", cpus=4,
        memory=2**34, cpu=CPUFacts(model="Skylake", features=features), cpu_models=models,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "known", "found", "told"),
    [
        ({"mode": "Named", "model": "EPYC"}, {}, facts(models=("Skylake",)), "cannot give the CPU model EPYC"),
        ({"mode": "Named", "model": "EPYC"}, {}, facts(models=("EPYC",)), ""),
        ({"mode": "Named", "model": "EPYC"}, {}, facts(), ""),
        ({"mode": "Baseline"}, {"mode": "Baseline", "features": ["avx", "avx2"]}, facts("avx"), "CPU features avx2 of"),
        ({"mode": "Baseline"}, {"mode": "Baseline", "features": ["avx"]}, facts("avx", "avx2"), ""),
        (
            {"mode": "Baseline"},
            {"mode": "Baseline", "model": "EPYC"},
            facts(models=("Skylake",)),
            "cannot give the CPU model EPYC of HostCluster kvm-1 (status.cpu)",
        ),
        ({"mode": "Baseline"}, {"mode": "Baseline", "model": "EPYC"}, facts(models=("EPYC",)), ""),
        ({"mode": "Baseline"}, {"mode": "Baseline", "model": "EPYC"}, facts(), ""),
        ({"mode": "HostPassthrough"}, {"mode": "Baseline", "features": ["avx"]}, facts("sse"), ""),
    ],
)
def test_the_cpu_of_a_cluster_is_asked_of_its_hosts(
    spec: dict[str, str], known: dict[str, object], found: HostFacts, told: str
) -> None:
    status = {"cpu": {**known, "computedAt": "2026-11-25T10:00:00Z"}} if known else {}
    cluster = obj("HostCluster", "kvm-1", {"hostPodRef": {"name": "r"}, "hypervisor": "KVM", "cpu": spec}, status)
    snapshot = dump.build([cluster])
    assert snapshot.skipped == ()
    (kept,) = snapshot.cache.all("HostCluster")
    assert not kept.problem
    assert (told in records.why_other_cpu(found, kept)) if told else records.why_other_cpu(found, kept) == ""


# ------------------------------------------------------------ pools and limits


def pool(used: str = "0", **spec: object) -> PoolRecord:
    """Of 100 GiB, with 20 GiB of volumes."""
    kind = {
        "scope": {"type": "Zone", "zoneRef": {"name": "zone-1"}},
        "type": "Simulated",
        "simulated": {"capacity": "100Gi"},
    }
    status = {"capacity": {"storage": {"total": "100Gi", "allocatable": "200Gi", "allocated": "0", "used": used}}}
    snapshot = dump.build([obj("StoragePool", "pool-1", {**kind, **spec}, status)])
    (found,) = snapshot.cache.all("StoragePool")
    assert snapshot.skipped == () and not found.problem
    return records.pool_record(found, 20 * GI, frozenset({"images/debian"}))


def test_a_pool_gives_what_its_allocated_limit_leaves_of_what_may_be_promised() -> None:
    found = pool(limits={"allocatedPercent": 50, "usedPercent": 85}, tags=["ssd"])
    assert (found.capacity, found.free) == (100 * GI, 80 * GI)
    assert (found.tags, found.templates, found.type) == ({"ssd"}, {"images/debian"}, "Simulated")


@pytest.mark.parametrize(("used", "free"), [("84Gi", 150), ("85Gi", 0), ("99Gi", 0)])
def test_a_pool_whose_bytes_are_used_up_to_its_limit_takes_no_disk_at_all(used: str, free: int) -> None:
    assert pool(used, limits={"allocatedPercent": 85, "usedPercent": 85}).free == free * GI


def test_a_pool_that_promised_more_than_its_limit_has_nothing_and_not_less() -> None:
    assert pool(limits={"allocatedPercent": 1, "usedPercent": 85}).free == 0


def test_a_pool_that_is_disabled_or_was_never_reached_says_so() -> None:
    assert pool(allocationState="Disabled").closed == "is closed: StoragePool pool-1 is Disabled"


@pytest.mark.parametrize(("limits", "most"), [({}, 0), ({"instances": 2}, 2)])
def test_the_most_instances_of_a_host_are_its_clusters_limit(limits: dict[str, int], most: int) -> None:
    spec = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "limits": limits}
    snapshot = dump.build([*cloud(), obj("HostCluster", "sim-1", spec)])
    found = snapshot.planner.hosts.records[snapshot.planner.hosts.row("node-1")]
    assert found.max_instances == most


def test_a_cluster_that_limits_instances_is_full_by_their_number() -> None:
    spec = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "limits": {"instances": 1}}
    there = [instance("a", "node-1", cpus=1), instance("b", "node-2", cpus=1), instance("c", cpus=1)]
    (waits,) = whatif.waiting(dump.build([*cloud(), obj("HostCluster", "sim-1", spec), *there]))
    assert "has its 1 instances, more are not allowed" in waits.why
