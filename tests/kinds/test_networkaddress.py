"""Addresses: claimed by objects, so that no two instances get one, reserved by people, given back by themselves."""

import uuid

from tests.cluster import manifest, until
from tests.kinds.simcloud import SimCloud, managed


def nic(*addresses: str) -> dict[str, object]:
    return {"name": "lan", "networkRef": {"name": "lan"}, **({"addresses": list(addresses)} if addresses else {})}


def address_of(cloud: SimCloud, instance: str) -> str:
    return str(cloud.status("Instance", instance)["networks"][0]["addresses"][0])


def test_twenty_instances_at_once_get_twenty_addresses(cloud: SimCloud) -> None:
    cloud.build(cpus=32)
    cloud.network(first=50, last=69)
    spec = {
        "zoneRef": {"name": cloud.zone}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "128Mi"},
        "volumes": [managed("root", "16Mi")], "networks": [nic()],
    }  # fmt: skip
    names = [f"web-{n}" for n in range(20)]
    cloud.api.apply(*(manifest("Instance", name, spec, cloud.namespace) for name in names))
    for name in names:
        cloud.api.await_condition("Instance", name)
    addresses = {address_of(cloud, name) for name in names}
    assert len(addresses) == 20
    cloud.instance("late", networks=[nic()])
    assert "no free address left" in cloud.message("Instance", "late", "NoFreeAddress")


def test_a_claim_goes_with_its_instance_and_not_before(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.network()
    cloud.instance("web", wait=True, networks=[nic("10.91.0.60")])
    claim = "lan.10-91-0-60"
    cloud.api.await_condition("NetworkAddress", claim, reason="Claimed")
    cloud.api.delete("NetworkAddress", claim)
    told = cloud.message("NetworkAddress", claim, "InUse", type_="Deleting", status="True")
    assert f"Instance {cloud.namespace}/web uses 10.91.0.60 on its NIC lan" in told
    cloud.api.delete("Instance", "web")
    cloud.api.await_gone("Instance", "web")
    cloud.api.await_gone("NetworkAddress", claim)


def test_a_reservation_is_honoured_and_shows_who_uses_it(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.network()
    name = cloud.reserve("10.91.0.60", name="web")
    told = cloud.message("NetworkAddress", name, "Reserved", status="True")
    assert told == f"10.91.0.60 is kept for Instance {cloud.namespace}/web."
    cloud.instance("thief", networks=[nic("10.91.0.60")])
    assert "is taken" in cloud.message("Instance", "thief", "AddressTaken")
    cloud.instance("web", wait=True, networks=[nic("10.91.0.60")])
    cloud.api.await_condition("NetworkAddress", name, reason="InUse")
    assert cloud.status("NetworkAddress", name)["usedBy"]["name"] == "web"
    cloud.api.delete("Instance", "web")
    cloud.api.await_condition("NetworkAddress", name, reason="Reserved")


def test_a_claim_of_an_instance_that_does_not_exist_is_removed(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    cloud.network()
    nobody = {"namespace": cloud.namespace, "name": "nobody", "uid": str(uuid.uuid4()), "interface": "lan"}
    spec = {"networkRef": {"name": "lan"}, "address": "10.91.0.77", "claim": {"type": "Instance", "instance": nobody}}
    cloud.api.apply(manifest("NetworkAddress", "lan.10-91-0-77", spec, cloud.namespace))
    cloud.api.await_gone("NetworkAddress", "lan.10-91-0-77")


def test_addresses_outside_and_the_gateway_are_refused(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    cloud.network()
    outside, gateway = cloud.reserve("10.92.0.5"), cloud.reserve("10.91.0.1")
    lost = cloud.reserve("10.91.0.9", "nowhere")
    told = cloud.message("NetworkAddress", outside, "AddressOutsideNetwork")
    assert told == "spec.address: 10.92.0.5 lies in no subnet of Network lan (10.91.0.0/24)."
    assert "gateway address of 10.91.0.0/24" in cloud.message("NetworkAddress", gateway, "AddressNotUsable")
    assert "nowhere does not exist" in cloud.message("NetworkAddress", lost, "NetworkNotFound")


def test_an_address_that_was_given_back_is_given_out_again(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.network(first=50, last=50)
    cloud.instance("one", wait=True, networks=[nic()])
    cloud.instance("two", networks=[nic()])
    cloud.message("Instance", "two", "NoFreeAddress")
    cloud.api.delete("Instance", "one")
    cloud.api.await_condition("Instance", "two", deadline=15)
    assert address_of(cloud, "two") == "10.91.0.50"
    until(lambda: cloud.status("Network", "lan").get("summary") == "1/1")
