"""What an Instance's fields ask of a host: one row for each field that becomes a demand."""

from typing import Any

from controllers.placement import dump, requests
from controllers.placement.core.asks import Ask
from tests.placement.test_whatif import cloud, host, instance, obj

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
