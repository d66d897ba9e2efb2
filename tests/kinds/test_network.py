"""Networks: granted by their zone, one for each wire and VLAN, and counted."""

from tests.cluster import manifest, until
from tests.kinds.simcloud import SimCloud, managed


def nic(network: str = "lan", **more: object) -> dict[str, object]:
    return {"name": "lan", "networkRef": {"name": network}, **more}


def test_a_granted_network_counts_addresses_and_instances(cloud: SimCloud) -> None:
    cloud.build()
    cloud.network(first=50, last=59)
    cloud.instance("web", wait=True, networks=[nic()])

    def counted() -> bool:
        status = cloud.status("Network", "lan")
        return (status.get("summary"), status.get("instances")) == ("1/10", 1)

    until(counted, why=lambda: cloud.api.story("Network", "lan"))
    status = cloud.status("Network", "lan")
    assert status["subnets"] == [{"cidr": "10.91.0.0/24", "allocated": 1, "available": 9}]
    cloud.api.delete("Network", "lan")
    told = cloud.message("Network", "lan", "InUse", type_="Deleting", status="True")
    assert f"{cloud.namespace}/web" in told
    cloud.api.delete("Instance", "web")
    cloud.api.await_gone("Network", "lan")


def test_what_the_zone_does_not_grant_is_refused_until_it_does(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    cloud.network("missing", physical={"network": "wan"})
    cloud.network("tagged", vlan=200)
    told = cloud.message("Network", "missing", "NotGranted")
    assert f"Zone {cloud.zone} has no physical network wan; it has: lan" in told
    assert "it grants untagged, 100-199" in cloud.message("Network", "tagged", "NotGranted")
    wires = [
        {"name": "lan", "untagged": True, "vlans": ["200"], "namespaces": {"type": "All"}},
        {
            "name": "wan",
            "untagged": True,
            "namespaces": {"type": "Selector", "selector": {"matchLabels": {"wan": "yes"}}},
        },
    ]
    cloud.api.patch("Zone", cloud.zone, {"physicalNetworks": wires})
    cloud.api.await_condition("Network", "tagged", reason="Granted")
    until(lambda: f"grant wan to namespace {cloud.namespace}" in cloud.message("Network", "missing", "NotGranted"))
    cloud.api.kubectl.run("label", "namespace", cloud.namespace, "wan=yes")
    cloud.api.await_condition("Network", "missing", reason="Granted")


def test_the_oldest_has_the_wire_and_the_next_takes_over(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    cloud.network("first", vlan=120)
    cloud.api.await_condition("Network", "first")
    cloud.network("second", vlan=120)
    told = cloud.message("Network", "second", "VLANTaken")
    assert f"VLAN 120 of lan is Network {cloud.namespace}/first already" in told
    cloud.api.delete("Network", "first")
    cloud.api.await_gone("Network", "first")
    cloud.api.await_condition("Network", "second", deadline=15)


def test_one_that_was_not_granted_holds_no_wire(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    only = {"type": "Names", "names": [f"{cloud.namespace}-b"]}
    cloud.api.patch("Zone", cloud.zone, {"physicalNetworks": [{"name": "lan", "vlans": ["120"], "namespaces": only}]})
    cloud.network("squatter", vlan=120)
    cloud.message("Network", "squatter", "NotGranted")
    cloud.api.kubectl.run("create", "namespace", f"{cloud.namespace}-b")
    spec = {"zoneRef": {"name": cloud.zone}, "type": "Physical", "physical": {"network": "lan", "vlan": 120}}
    cloud.api.apply(manifest("Network", "rightful", spec, f"{cloud.namespace}-b"))

    def ready() -> bool:
        status = (cloud.api.get("Network", "rightful", f"{cloud.namespace}-b") or {}).get("status", {})
        return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))

    until(ready)


def test_backward_and_overlapping_ranges_are_named(cloud: SimCloud) -> None:
    cloud.build(hosts=0, wait=False)
    cloud.network(first=90, last=60)
    told = cloud.message("Network", "lan", "BadRanges")
    assert told == ("spec.ipam.subnets[10.91.0.0/24].ranges the range 10.91.0.90 - 10.91.0.60 ends before it starts.")
    assert cloud.api.condition("Network", "lan", "Stalled")["status"] == "True"
    cloud.network(first=60, last=90)
    cloud.api.await_condition("Network", "lan")
    assert cloud.api.condition("Network", "lan", "Stalled") == {}


def test_an_instance_waits_for_a_network_that_is_not_shared_with_it(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    other = f"{cloud.namespace}-b"
    cloud.api.kubectl.run("create", "namespace", other)
    spec = {"zoneRef": {"name": cloud.zone}, "type": "Simulated"}
    cloud.api.apply(manifest("Network", "theirs", spec, other))
    entry = {"name": "lan", "networkRef": {"name": "theirs", "namespace": other}}
    cloud.instance("web", volumes=[managed("root")], networks=[entry])
    told = cloud.message("Instance", "web", "NetworkNotFound")
    assert f"not visible to namespace {cloud.namespace}" in told
    cloud.api.apply(manifest("Network", "theirs", {**spec, "visibility": {"type": "All"}}, other))
    cloud.api.await_condition("Instance", "web")
