"""What an Instance's fields ask of a host: one row for each field that becomes a demand."""

from collections.abc import Callable
from typing import Any

import pytest

from controllers.engine.base import Refused
from controllers.placement import dump, requests
from controllers.placement.core.asks import Ask, HostWish, TermKey, TermWant, VolumeWant
from tests.placement.test_whatif import cloud, host, instance, obj

GI = 2**30
HARDWARE = {"machine": "pc-q35-7.2", "firmware": "UEFI", "architecture": "aarch64"}


def ask(instance_: dict[str, Any], *more: dict[str, Any], avoid: frozenset[str] = frozenset()) -> Ask:
    snapshot = dump.build([*cloud(), *more, instance_])
    assert snapshot.skipped == ()
    metadata = instance_["metadata"]
    found = snapshot.cache.get("Instance", metadata["namespace"], metadata["name"])
    assert found is not None and not found.problem
    return requests.build(snapshot.cache, found, avoid)


def stopped(**hardware: Any) -> dict[str, Any]:
    """Ran on node-1, which is Simulated."""
    found = instance("a", "node-1")
    found["status"]["hardware"] = {**HARDWARE, **hardware}
    return found


def test_hardware_once_chosen_is_asked_of_every_later_host() -> None:
    shape = ask(stopped()).shape
    assert (shape.machine_type, shape.firmware) == ("pc-q35-7.2", "UEFI")
    assert (shape.architecture, shape.hypervisor) == ("aarch64", "Simulated")
    assert ask(stopped(architecture=None)).shape.architecture == "x86_64"


def test_before_the_first_start_any_hypervisor_and_architecture_will_do() -> None:
    shape = ask(instance("a")).shape
    assert (shape.machine_type, shape.firmware, shape.architecture, shape.hypervisor) == ("", "BIOS", "", "")


def test_a_guest_whose_host_is_gone_is_known_by_its_machine_type_alone() -> None:
    found = stopped()
    found["status"]["placement"]["host"] = "gone"
    shape = ask(found).shape
    assert (shape.hypervisor, shape.machine_type) == ("", "pc-q35-7.2")


def test_a_stopped_guest_goes_to_no_host_of_another_hypervisor() -> None:
    other = [
        obj("HostCluster", "kvm-1", {"hostPodRef": {"name": "rack-1"}, "hypervisor": "KVM"}),
        {**host("node-9"), "spec": {**host("node-9")["spec"], "hostClusterRef": {"name": "kvm-1"}}},
    ]
    other[1]["status"]["hypervisor"] = "KVM"
    snapshot = dump.build([*cloud(), *other, stopped(architecture="x86_64", firmware="BIOS")])
    found = snapshot.cache.get("Instance", "team-a", "a")
    assert found is not None
    result = snapshot.planner.decide(requests.build(snapshot.cache, found, frozenset({"node-1", "node-2"})))
    assert ("OtherHypervisor", 1) in [(lost.reason, lost.count) for lost in result.story.lost]
    assert ("node-9", "runs KVM, needed Simulated") in result.story.texts


# ------------------------------------------------------------ one row for each field


TEMPLATE = obj(
    "Template",
    "debian",
    {
        "format": "QCOW2", "architecture": "aarch64", "minimumSize": "3Gi", "guest": {"firmware": "UEFI"},
        "source": {"type": "HTTP", "http": {"url": "https://x.example/a", "checksum": f"sha256:{'0' * 64}"}},
    },
    {"virtualSize": "5Gi"}, "team-a",
)  # fmt: skip
TYPE = obj("InstanceType", "gpu", {
    "cpus": 3, "memory": "2Gi", "hostSelector": {"matchLabels": {"gpu": "true"}}, "storageTags": ["ssd"],
})  # fmt: skip
FAST = obj("VolumeType", "fast", {"storageTags": ["nvme"], "provisioning": "Thick"})
DATA = obj("Volume", "data", {
    "zoneRef": {"name": "zone-1"}, "size": "4Gi", "source": {"type": "Blank"}, "storagePoolRef": {"name": "nfs-1"},
}, {}, "team-a")  # fmt: skip
MOVING = obj("Volume", "moving", DATA["spec"], {"disk": {"pool": "nfs-2", "n": 1}}, "team-a")
LAN = obj("Network", "lan", {
    "zoneRef": {"name": "zone-1"}, "type": "Physical", "physical": {"network": "wire", "vlan": 120},
}, {}, "team-a")  # fmt: skip
SIMULATED = obj("Network", "sim", {"zoneRef": {"name": "zone-1"}, "type": "Simulated"}, {}, "team-a")
THERE = (TEMPLATE, TYPE, FAST, DATA, MOVING, LAN, SIMULATED)


def spec(**fields: Any) -> dict[str, Any]:
    found = instance("a")
    found["spec"] |= fields
    if "instanceTypeRef" in fields:
        del found["spec"]["resources"]
    return found


def volume(name: str, **managed: Any) -> dict[str, Any]:
    return {"name": name, "type": "Managed", "managed": managed}


def want(found: Ask) -> VolumeWant:
    (only,) = found.shape.volumes
    return only


def by_type(**fields: Any) -> dict[str, Any]:
    return spec(instanceTypeRef={"name": "gpu"}, **fields)


ROOT = {"templateRef": {"name": "debian"}}
AWAY = {"topology": "HostPod", "instanceSelector": {"matchLabels": {"app": "db"}}}
FAST_DISK = {"hostSelector": {"matchLabels": {"disk": "fast"}}}
DB = TermKey("team-a", frozenset({("app", "db")}), "HostPod")
ROWS: tuple[tuple[str, dict[str, Any], Callable[[Ask], object], object], ...] = (
    ("zoneRef", spec(), lambda a: a.shape.zone, "zone-1"),
    ("namespace", spec(), lambda a: a.shape.namespace, "team-a"),
    ("resources.cpus", spec(), lambda a: a.shape.cpus, 4),
    ("resources.memory, with the overhead", spec(), lambda a: a.shape.memory, GI + requests.overhead(4, GI)),
    ("instanceTypeRef", by_type(), lambda a: (a.shape.cpus, a.shape.memory), (3, 2 * GI + requests.overhead(3, 2 * GI))),
    ("the type's hostSelector", by_type(), lambda a: a.shape.selector, {("gpu", "true")}),
    ("placement.hostSelector, beside the type's", by_type(placement={"hostSelector": {"matchLabels": {"disk": "fast"}}}),
     lambda a: a.shape.selector, {("gpu", "true"), ("disk", "fast")}),
    ("placement.hostSelector does not undo the type's", by_type(placement={"hostSelector": {"matchLabels": {"gpu": "no"}}}),
     lambda a: a.shape.selector, {("gpu", "true"), ("gpu", "no")}),
    ("placement.hostRef", spec(placement={"hostRef": {"name": "node-2"}}), lambda a: a.pinned, "node-2"),
    ("placement.ignoreAllocationState", spec(placement={"hostRef": {"name": "node-2"}, "ignoreAllocationState": True}),
     lambda a: a.shape.ignore_disabled, True),
    ("placement.antiAffinity, preferred unless it says required", spec(placement={"antiAffinity": [AWAY]}),
     lambda a: a.terms, (TermWant(DB, True, 50),)),
    ("placement.antiAffinity, its weight", spec(placement={"antiAffinity": [{**AWAY, "weight": 7}]}),
     lambda a: a.terms, (TermWant(DB, True, 7),)),
    ("placement.affinity, required", spec(placement={"affinity": [{**AWAY, "required": True}]}),
     lambda a: a.terms, (TermWant(DB, False, 0),)),
    ("placement.preferredHosts, and their weight", spec(placement={"preferredHosts": [FAST_DISK, {**FAST_DISK, "weight": 7}]}),
     lambda a: a.wishes, (HostWish(frozenset({("disk", "fast")}), 50), HostWish(frozenset({("disk", "fast")}), 7))),
    ("labels", spec(), lambda a: a.labels, {("app", "web")}),
    ("firmware", spec(firmware={"type": "UEFI"}), lambda a: a.shape.firmware, "UEFI"),
    ("the template's firmware", spec(volumes=[volume("root", **ROOT)]), lambda a: a.shape.firmware, "UEFI"),
    ("the template's architecture", spec(volumes=[volume("root", **ROOT)]), lambda a: a.shape.architecture, "aarch64"),
    ("managed.templateRef: its image and format", spec(volumes=[volume("root", **ROOT)]),
     lambda a: (want(a).template, want(a).format), ("team-a/debian", "QCOW2")),
    ("managed.templateRef: its size", spec(volumes=[volume("root", **ROOT)]), lambda a: want(a).size, 5 * GI),
    ("managed.size", spec(volumes=[volume("root", size="7Gi", **ROOT)]), lambda a: want(a).size, 7 * GI),
    ("managed.storagePoolRef", spec(volumes=[volume("root", size="1Gi", storagePoolRef={"name": "nfs-9"})]),
     lambda a: want(a).pool, "nfs-9"),
    ("managed.volumeTypeRef: tags", spec(volumes=[volume("root", size="1Gi", volumeTypeRef={"name": "fast"})]),
     lambda a: want(a).tags, {"nvme"}),
    ("managed.volumeTypeRef: provisioning", spec(volumes=[volume("root", size="1Gi", volumeTypeRef={"name": "fast"})]),
     lambda a: want(a).provisioning, "Thick"),
    ("the type's storageTags, beside the VolumeType's",
     by_type(volumes=[volume("root", size="1Gi", volumeTypeRef={"name": "fast"})]), lambda a: want(a).tags, {"nvme", "ssd"}),
    ("volumes that are there: the pool they name", spec(volumes=[{"name": "d", "type": "Volume", "volume": {"volumeRef": {"name": "data"}}}]),
     lambda a: a.shape.bound, (("d", "nfs-1"),)),
    ("volumes that are there: where their disk is", spec(volumes=[{"name": "d", "type": "Volume", "volume": {"volumeRef": {"name": "moving"}}}]),
     lambda a: a.shape.bound, (("d", "nfs-2"),)),
    ("a drive asks for nothing", spec(volumes=[{"name": "cd", "type": "CDROM", "cdrom": {}}]),
     lambda a: (a.shape.volumes, a.shape.bound), ((), ())),
    ("networks: physical network and VLAN", spec(networks=[{"name": "eth", "networkRef": {"name": "lan"}}]),
     lambda a: a.shape.networks, (("eth", "wire", 120),)),
    ("a simulated network asks for nothing", spec(networks=[{"name": "eth", "networkRef": {"name": "sim"}}]),
     lambda a: a.shape.networks, ()),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_field_becomes_a_demand(row: tuple[str, dict[str, Any], Callable[[Ask], object], object]) -> None:
    _, asked, look, expected = row
    assert look(ask(asked, *THERE)) == expected


def test_the_last_host_is_preferred_and_the_ones_that_failed_are_avoided() -> None:
    found = ask(instance("a", "node-2"), avoid=frozenset({"node-1"}))
    assert (found.prefer, found.avoid) == ("node-2", {"node-1"})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"instanceTypeRef": {"name": "none"}}, "InstanceTypeNotFound"),
        ({"volumes": [volume("root", templateRef={"name": "none"})]}, "TemplateNotFound"),
        ({"volumes": [volume("root", size="1Gi", volumeTypeRef={"name": "none"})]}, "VolumeTypeNotFound"),
        ({"volumes": [{"name": "d", "type": "Volume", "volume": {"volumeRef": {"name": "none"}}}]}, "VolumeNotFound"),
        ({"networks": [{"name": "eth", "networkRef": {"name": "none"}}]}, "NetworkNotFound"),
    ],
)
def test_what_is_named_and_not_there_is_refused_in_the_words_of_ready(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(spec(**fields), *THERE)
    assert refused.value.reason == reason
