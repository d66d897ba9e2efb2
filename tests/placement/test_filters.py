"""Each filter alone, and the words in which it says no."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from controllers.placement.cloud import HostRow, PoolRow, Request, Term, VolumeWant
from controllers.placement.explain import explain, message
from controllers.placement.firstfit import Fit, NoFit, first_fit, judge

GI = 2**30
HOST = HostRow(
    name="node-1", zone="z", pod="r", cluster="c", labels={"gpu": "true"}, cpus=8, memory=8 * GI, max_guest_cpus=6,
    machine_types=frozenset({"pc-q35-7.2"}), cpu_features=frozenset({"avx"}),
    pools=frozenset({"nfs-1", "ssd-1"}), networks=frozenset({"lan"}),
)  # fmt: skip
POOLS = {
    "nfs-1": PoolRow(name="nfs-1", free=10 * GI),
    "ssd-1": PoolRow(name="ssd-1", free=4 * GI, tags=frozenset({"ssd"})),
}
REQUEST = Request(uid="u", namespace="team-a", zone="z", cpus=2, memory=2 * GI)


def term(anti: bool, *domains: str, topology: str = "Host") -> Term:
    return Term(topology=topology, domains=frozenset(domains), anti=anti, text="a member of antiAffinity Host app=web")


@pytest.mark.parametrize(
    ("request_", "host", "reason", "text"),
    [
        ({"pinned": "node-2"}, {}, "NotPinnedHost", "is not the pinned host node-2"),
        ({"zone": "other"}, {}, "OtherZone", "is in zone z, not other"),
        ({}, {"closed": "is in maintenance"}, "Closed", "is in maintenance"),
        ({}, {"down": "not reachable since 10:41"}, "NotReachable", "not reachable since 10:41"),
        ({}, {"disabled": "disabled: Zone z is Disabled"}, "Disabled", "disabled: Zone z is Disabled"),
        ({}, {"dedicated": {"team-a": False}}, "Dedicated", "is dedicated to other namespaces than team-a"),
        ({"hypervisor": "Xen"}, {}, "OtherHypervisor", "runs KVM, needed Xen"),
        ({"architecture": "aarch64"}, {}, "OtherArchitecture", "is x86_64, the template aarch64"),
        ({"firmware": "UEFI"}, {}, "NoFirmware", "has no UEFI firmware"),
        ({"machine_type": "pc-q35-9.0"}, {}, "OtherHardware", "does not know machine type pc-q35-9.0"),
        ({"cpu_features": frozenset({"avx512"})}, {}, "OtherHardware", "lacks CPU features avx512"),
        ({"selector": {"gpu": "false"}}, {}, "HostSelector", "needs label gpu=false, has gpu=true"),
        ({"selector": {"disk": "fast"}}, {}, "HostSelector", "needs label disk=fast, has no such label"),
        ({"terms": (term(True, "node-1"),)}, {}, "Affinity", "already holds a member of antiAffinity Host app=web"),
        (
            {"terms": (term(False, "node-9"),)},
            {},
            "Affinity",
            "is not where a member of antiAffinity Host app=web runs",
        ),
        ({"terms": (term(True, "r", topology="HostPod"),)}, {}, "Affinity", "already holds a member"),
        ({"networks": {"eth": "dmz"}}, {}, "NoUplink", "has no uplink to physical network dmz (networks[eth])"),
        ({"bound": {"data": "far"}}, {}, "VolumeElsewhere", "does not reach pool far, where volumes[data] lies"),
        (
            {"volumes": (VolumeWant(entry="root", size=20 * GI),)},
            {},
            "NoStoragePool",
            "nfs-1 has 10Gi of the 20Gi needed",
        ),
        (
            {"volumes": (VolumeWant(entry="root", size=5 * GI, tags=frozenset({"ssd"})),)},
            {},
            "NoStoragePool",
            "lacks tags ssd",
        ),
        ({"volumes": (VolumeWant(entry="root", size=GI, pool="x"),)}, {}, "NoStoragePool", "nfs-1 is not x"),
        (
            {"volumes": (VolumeWant(entry="root", size=GI),)},
            {"pools": frozenset()},
            "NoStoragePool",
            "it reaches no storage pool",
        ),
        ({"cpus": 7}, {}, "GuestTooLarge", "gives a guest at most 6 CPUs, 7 asked"),
        ({"avoid": frozenset({"node-1"})}, {}, "FailedToStart", "just failed to start it"),
        ({}, {"cpus_used": 7}, "InsufficientCPU", "needs 2 CPUs, 1 free"),
        ({"memory": 4 * GI}, {"memory_used": 7 * GI}, "InsufficientMemory", "needs 4Gi memory, 1Gi free"),
    ],
)
def test_a_filter_says_why_not(request_: dict[str, Any], host: dict[str, Any], reason: str, text: str) -> None:
    miss = judge(replace(REQUEST, **request_), replace(HOST, **host), POOLS)
    assert miss is not None
    assert miss.reason == reason
    assert text in miss.shortfall.text


def test_a_pin_overrides_disabled_only_where_that_is_said() -> None:
    host = replace(HOST, disabled="disabled: Host node-1 is Disabled")
    assert judge(replace(REQUEST, pinned="node-1"), host, POOLS) is not None
    assert judge(replace(REQUEST, pinned="node-1", ignore_disabled=True), host, POOLS) is None


def test_a_pin_never_overrides_an_unreachable_host() -> None:
    host = replace(HOST, down="not reachable since 10:41")
    assert judge(replace(REQUEST, pinned="node-1", ignore_disabled=True), host, POOLS) is not None


def test_volumes_of_one_request_count_against_each_other() -> None:
    wants = (VolumeWant(entry="a", size=6 * GI), VolumeWant(entry="b", size=6 * GI))
    miss = judge(replace(REQUEST, volumes=wants), HOST, POOLS)
    assert miss is not None
    assert "volumes[b]" in miss.shortfall.text


def test_a_closed_pool_is_passed_over_for_the_next() -> None:
    pools = {**POOLS, "nfs-1": replace(POOLS["nfs-1"], closed="is closed: StoragePool nfs-1 is Disabled")}
    fit = first_fit(replace(REQUEST, volumes=(VolumeWant(entry="root", size=GI),)), [HOST], pools)
    assert isinstance(fit, Fit)
    assert fit.pools == {"root": "ssd-1"}


def test_hosts_are_asked_in_their_order_and_none_after_the_first_that_fits() -> None:
    def hosts() -> Iterator[HostRow]:
        yield replace(HOST, name="node-3", cpus_used=8)
        yield replace(HOST, name="node-1")
        raise AssertionError("a host was asked after the first that fits")

    fit = first_fit(REQUEST, hosts(), POOLS)
    assert isinstance(fit, Fit)
    assert (fit.host, [miss.host for miss in fit.misses]) == ("node-1", ["node-3"])


def test_a_refusal_reads_as_the_manual_says() -> None:
    hosts = [
        replace(HOST, memory_used=HOST.memory - 1288490189),
        replace(HOST, name="node-2", disabled="disabled: Host node-2 is Disabled"),
        replace(HOST, name="node-3", down="not reachable since 10:41"),
    ]
    result = first_fit(replace(REQUEST, memory=4 * GI), hosts, POOLS)
    assert isinstance(result, NoFit)
    assert message(result.misses, 3) == (
        "0 of 3 hosts fit: node-1 needs 4Gi memory, 1.2Gi free; node-2 disabled: Host node-2 is Disabled; "
        "node-3 not reachable since 10:41. Nearest: node-1, short of 2.8Gi memory."
    )
    explanation = explain(result, 3)
    assert [(r.reason, r.count) for r in explanation.rejected] == [
        ("InsufficientMemory", 1),
        ("Disabled", 1),
        ("NotReachable", 1),
    ]
    assert explanation.nearest[0].shortfall == "2.8Gi memory"


def test_many_hosts_are_told_by_reason_and_the_story_stays_short() -> None:
    hosts = [replace(HOST, name=f"node-{n}", cpus_used=8) for n in range(5000)]
    result = first_fit(REQUEST, hosts, POOLS)
    assert isinstance(result, NoFit)
    told = message(result.misses, len(hosts))
    assert told.startswith("0 of 5000 hosts fit: 5000 InsufficientCPU (node-0, node-1, …: needs 2 CPUs, 0 free).")
    assert len(told) < 300
    assert len(explain(result, len(hosts)).model_dump_json()) < 2000


def test_without_any_host_it_says_what_to_make() -> None:
    assert message((), 0) == "No host is there yet: make a Host in a HostCluster of this zone."
