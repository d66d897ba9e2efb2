"""From objects to what the engine is fed with: uplinks by VLAN, and the CPU that a cluster gives its guests."""

import pytest

from controllers.placement import dump, records
from crds.hostcluster import BridgeUplink, OpenVSwitchUplink, Uplink
from drivers.base import CPUFacts, HostFacts
from tests.placement.test_whatif import obj

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
