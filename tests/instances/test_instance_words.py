"""What people read of an instance that is not where it should be: in words that name what to do, and never lie."""

from datetime import UTC, datetime

from tests.instances.cloud import NAMESPACE, Cloud, managed, nic, other


async def test_a_pin_to_a_host_that_does_not_exist_says_so(cloud: Cloud) -> None:
    await cloud.make(placement={"hostRef": {"name": "node-9"}})
    said = await cloud.condition("Scheduled", "HostNotFound", "False")
    assert said["message"] == "spec.placement.hostRef: Host node-9 does not exist."


async def test_scheduled_is_always_there(cloud: Cloud) -> None:
    await cloud.make(instanceTypeRef={"name": "none"})
    await cloud.ready("InstanceTypeNotFound", "False")
    assert (await cloud.condition("Scheduled", status="Unknown"))["reason"] == "NotStarted"


async def test_an_address_kept_for_another_instance_names_it(cloud: Cloud) -> None:
    claim = {"type": "Reserved", "reserved": {"namespace": NAMESPACE, "name": "other"}}
    spec = {"networkRef": {"name": "lan"}, "address": "10.91.0.60", "claim": claim}
    await cloud.api.create("NetworkAddress", "lan.10-91-0-60", spec, namespace=NAMESPACE)
    await cloud.make(networks=[nic(addresses=["10.91.0.60"])])
    assert "reserves it for Instance team-a/other" in (await cloud.ready("AddressTaken", "False"))["message"]


async def test_the_state_and_the_host_of_what_nobody_sees_are_not_shown_as_if_they_were_known(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.api.patch("Host", other(host), {"spec": {"maintenance": True}})
    cloud.faults.lose_host(host, power_loss=True)
    await cloud.api.until_condition("Host", host, "Ready", "False", deadline=20.0)
    await cloud.ready("HostUnreachable", "False")
    assert (await cloud.status())["state"] == "Unknown"
    declared = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    await cloud.api.patch("Host", host, {"spec": {"outOfService": {"declaredAt": declared}}})
    await cloud.ready("NoHostFits", "False", deadline=20.0)
    assert "hostRef" not in await cloud.status()


async def test_a_volume_that_is_being_made_makes_no_event(cloud: Cloud) -> None:
    await cloud.make("quiet", volumes=[managed("root")])
    await cloud.ready(name="quiet")
    notes = [event["note"] for event in await cloud.api.events("quiet")]
    assert not [note for note in notes if "Pending" in note or "looked at" in note or "about to be made" in note]


async def test_a_new_leader_says_nothing_of_an_instance_before_it_has_asked_its_host(cloud: Cloud) -> None:
    await cloud.make("calm")
    await cloud.ready(name="calm")
    before = (await cloud.get("calm"))["metadata"]["resourceVersion"]
    for _ in range(2):
        await cloud.operator_restarts()
        await cloud.settle(1.0)
    assert (await cloud.get("calm"))["metadata"]["resourceVersion"] == before
