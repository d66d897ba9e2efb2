"""Where instances go, and in which words they are told that they go nowhere."""

from typing import Any

from tests.cluster import manifest, until
from tests.kinds.simcloud import SimCloud, managed

ALL = {"limits": {"cpuPercent": 100, "memoryPercent": 100}}


def refusal(cloud: SimCloud, name: str) -> str:
    return cloud.message("Instance", name, "NoHostFits", type_="Scheduled")


def placed(cloud: SimCloud, name: str) -> str:
    cloud.api.await_condition("Instance", name, "Scheduled")
    return cloud.host_of(name)


def anti(topology: str = "Host", **labels: str) -> dict[str, Any]:
    term = {"topology": topology, "required": True, "instanceSelector": {"matchLabels": labels}}
    return {"placement": {"antiAffinity": [term]}}


# ------------------------------------------------------------ capacity


def test_overcommit_widens_and_limits_narrow_what_is_given_out(cloud: SimCloud) -> None:
    cloud.build(hosts=1, cpus=4, overcommit={"cpuPercent": 200, "memoryPercent": 100}, limits={"cpuPercent": 50})
    (host,) = cloud.hosts
    for n in range(4):
        cloud.instance(f"fits-{n}")
        assert placed(cloud, f"fits-{n}") == host
    cloud.instance("over")
    told = refusal(cloud, "over")
    assert told == f"0 of 1 hosts fit: {host} needs 1 CPUs, 0 free. Nearest: {host}, short of 1 CPU."
    explanation = cloud.status("Instance", "over")["placement"]["explanation"]
    assert (explanation["candidates"], explanation["nearest"][0]["host"]) == (1, host)
    assert cloud.api.condition("Instance", "over", "Ready")["reason"] == "NoHostFits"


def test_many_at_once_never_take_more_than_there_is(cloud: SimCloud) -> None:
    cloud.build(hosts=2, cpus=5, **ALL)
    spec = {
        "zoneRef": {"name": cloud.zone}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "128Mi"},
        "volumes": [managed("root", "16Mi")],
    }  # fmt: skip
    names = [f"web-{n}" for n in range(24)]
    cloud.api.apply(*(manifest("Instance", name, spec, cloud.namespace) for name in names))

    def decided() -> bool:
        conditions = [cloud.api.condition("Instance", name, "Scheduled") for name in names]
        return all(c.get("status") in ("True", "False") for c in conditions)

    until(decided, every=1.0)
    hosts = [cloud.status("Instance", name).get("placement", {}).get("host") for name in names]
    assert [hosts.count(host) for host in cloud.hosts] == [5, 5]


def test_disks_of_many_at_once_never_promise_more_than_the_pool_has(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    small = cloud.name("a-small")
    limits = {"allocatedPercent": 100, "usedPercent": 100}
    cloud.api.apply(cloud.pool_manifest(small, "4Gi", limits=limits, tags=["tiny"]))
    cloud.until_reached("StoragePool", small)
    offer = cloud.name("tiny")
    cloud.api.apply(manifest("VolumeType", offer, {"storageTags": ["tiny"]}))
    spec = {"zoneRef": {"name": cloud.zone}, "size": "1Gi", "volumeTypeRef": {"name": offer}}
    names = [f"v-{n}" for n in range(8)]
    cloud.api.apply(*(manifest("Volume", name, spec, cloud.namespace) for name in names))

    def decided() -> bool:
        conditions = [cloud.api.condition("Volume", name, "Ready") for name in names]
        return all(c.get("reason") in ("Available", "NoStoragePool") for c in conditions)

    until(decided, every=1.0)
    assert len(cloud.disks(small)) == 4


def test_w7_a_stopped_instance_gives_its_room_away_and_goes_elsewhere_when_it_starts(cloud: SimCloud) -> None:
    cloud.build(hosts=2, cpus=1, **ALL)
    first, second = cloud.hosts
    cloud.instance("one", wait=True)
    assert cloud.host_of("one") == first
    cloud.api.patch("Instance", "one", {"runStrategy": "Halted"})
    cloud.api.await_condition("Instance", "one", reason="Stopped", deadline=90)
    cloud.instance("two", wait=True)
    assert cloud.host_of("two") == first, cloud.status("Instance", "two")["placement"]
    cloud.api.patch("Instance", "one", {"runStrategy": "Always"})
    cloud.api.await_condition("Instance", "one", reason="Running", deadline=90)
    assert cloud.host_of("one") == second
    uuid = cloud.status("Instance", "one")["uuid"]
    assert [d.host for d in cloud.faults.domains() if d.uuid == uuid] == [second]


# ------------------------------------------------------------ where it may go


def test_a_pin_and_ignoring_the_allocation_state(cloud: SimCloud) -> None:
    cloud.build(hosts=2)
    first, second = cloud.hosts
    cloud.instance("pinned", placement={"hostRef": {"name": second}})
    assert placed(cloud, "pinned") == second
    cloud.api.kubectl.run("patch", "host", second, "--type=merge", "-p", '{"spec":{"allocationState":"Disabled"}}')
    until(lambda: cloud.api.condition("Host", second, "Ready"))
    cloud.instance("strict", placement={"hostRef": {"name": second}})
    told = refusal(cloud, "strict")
    assert f"{second} disabled: Host {second} is Disabled" in told
    assert f"{first} is not the pinned host {second}" in told
    cloud.instance("urgent", placement={"hostRef": {"name": second}, "ignoreAllocationState": True})
    assert placed(cloud, "urgent") == second


def test_what_is_disabled_above_a_host_counts_for_it(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    for kind, name in (("Zone", cloud.zone), ("HostPod", cloud.rack), ("HostCluster", cloud.hosts_of)):
        cloud.api.kubectl.run("patch", kind, name, "--type=merge", "-p", '{"spec":{"allocationState":"Disabled"}}')
        cloud.instance(f"under-{kind.lower()}")
        assert f"disabled: {kind} {name} is Disabled" in refusal(cloud, f"under-{kind.lower()}")
        cloud.api.kubectl.run("patch", kind, name, "--type=merge", "-p", '{"spec":{"allocationState":"Enabled"}}')
        placed(cloud, f"under-{kind.lower()}")


def test_hosts_are_chosen_by_their_labels(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.instance("render", placement={"hostSelector": {"matchLabels": {"gpu": "true"}}})
    assert "needs label gpu=true, has no such label" in refusal(cloud, "render")
    cloud.api.apply(cloud.host_manifest("z-gpu", labels={"gpu": "true"}))
    assert placed(cloud, "render") == cloud.name("z-gpu")


def test_a_rack_that_is_dedicated_to_others_takes_nobody_else(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    dedicated = '{"spec":{"dedicatedTo":{"type":"Names","names":["somebody-else"]}}}'
    cloud.api.kubectl.run("patch", "hostpod", cloud.rack, "--type=merge", "-p", dedicated)
    cloud.instance("web")
    assert f"is dedicated to other namespaces than {cloud.namespace}" in refusal(cloud, "web")
    cloud.api.kubectl.run(
        "patch", "hostpod", cloud.rack, "--type=merge", "-p", '{"spec":{"dedicatedTo":{"type":"All","names":null}}}'
    )
    placed(cloud, "web")


def test_w7_anti_affinity_counts_stopped_members(cloud: SimCloud) -> None:
    cloud.build(hosts=2)
    cloud.instance("one", labels={"app": "web"}, wait=True, **anti(app="web"))
    cloud.api.patch("Instance", "one", {"runStrategy": "Halted"})
    cloud.api.await_condition("Instance", "one", reason="Stopped", deadline=90)
    cloud.instance("two", labels={"app": "web"}, **anti(app="web"))
    assert placed(cloud, "two") != cloud.host_of("one")
    cloud.instance("three", labels={"app": "web"}, **anti(app="web"))
    told = refusal(cloud, "three")
    assert told.count("already holds a member of antiAffinity Host app=web") == 2


def test_members_that_arrive_together_keep_apart(cloud: SimCloud) -> None:
    cloud.build(hosts=3)
    spec = {
        "zoneRef": {"name": cloud.zone}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "128Mi"},
        "volumes": [managed("root", "16Mi")], **anti(app="db"),
    }  # fmt: skip
    names = ["db-1", "db-2", "db-3"]
    cloud.api.apply(*(manifest("Instance", n, spec, cloud.namespace, labels={"app": "db"}) for n in names))
    assert {placed(cloud, name) for name in names} == set(cloud.hosts)


def test_who_keeps_others_away_keeps_a_later_one_away_too(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.instance("quiet", wait=True, **anti(noisy="true"))
    cloud.instance("loud", labels={"noisy": "true"})
    assert "already holds Instance quiet, whose antiAffinity this one matches" in refusal(cloud, "loud")


def test_an_unreachable_host_and_one_in_maintenance_say_so(cloud: SimCloud) -> None:
    cloud.build(hosts=2)
    first, second = cloud.hosts
    cloud.faults.lose_host(first)
    cloud.api.await_condition("Host", first, status="False")
    cloud.api.kubectl.run("patch", "host", second, "--type=merge", "-p", '{"spec":{"maintenance":true}}')
    cloud.instance("web")
    told = refusal(cloud, "web")
    assert f"{first} not reachable since " in told
    assert f"{second} is in maintenance" in told


# ------------------------------------------------------------ waiting, wishes, policies


def test_of_fifty_at_once_with_room_for_twenty_exactly_twenty_run(cloud: SimCloud) -> None:
    cloud.build(hosts=2, cpus=10, **ALL)
    spec = {"zoneRef": {"name": cloud.zone}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "128Mi"}}
    names = [f"web-{n}" for n in range(50)]
    cloud.api.apply(*(manifest("Instance", name, spec, cloud.namespace) for name in names))

    def reasons() -> list[str]:
        return [str(cloud.api.condition("Instance", name, "Ready").get("reason")) for name in names]

    until(lambda: (r := reasons()).count("Running") == 20 and r.count("NoHostFits") == 30, every=2.0)
    uuids = {cloud.status("Instance", name)["uuid"] for name in names if cloud.status("Instance", name).get("uuid")}
    running = [d for d in cloud.faults.domains() if d.uuid in uuids and d.host in cloud.hosts]
    assert sorted(d.host for d in running) == [host for host in cloud.hosts for _ in range(10)]


def test_room_that_becomes_free_is_given_to_the_first_who_waits(cloud: SimCloud) -> None:
    cloud.build(hosts=1, cpus=1, **ALL)
    cloud.instance("one", wait=True, volumes=None)
    cloud.instance("later", volumes=None)
    refusal(cloud, "later")
    cloud.instance("urgent", volumes=None, placement={"priority": 10})
    refusal(cloud, "urgent")
    cloud.api.patch("Instance", "one", {"runStrategy": "Halted"})
    assert placed(cloud, "urgent") == cloud.hosts[0]
    assert cloud.api.condition("Instance", "later", "Scheduled")["status"] == "False"


def test_a_wish_is_followed_where_it_can_be_and_never_keeps_one_from_running(cloud: SimCloud) -> None:
    cloud.build(hosts=2)
    away = {"topology": "Host", "weight": 100, "instanceSelector": {"matchLabels": {"app": "web"}}}
    for name in ("one", "two", "three"):
        cloud.instance(name, labels={"app": "web"}, volumes=None, placement={"antiAffinity": [away]})
    hosts = [placed(cloud, name) for name in ("one", "two", "three")]
    assert set(hosts) == set(cloud.hosts)


def test_preferred_hosts_come_first_and_the_explanation_tells_so(cloud: SimCloud) -> None:
    cloud.build(hosts=2, cpus=2, **ALL)
    fast = cloud.hosts[1]
    cloud.api.kubectl.run("label", "hosts.stratiform.dev", fast, "disk=fast")
    until(lambda: cloud.api.get("Host", fast)["metadata"].get("labels", {}).get("disk") == "fast")
    wish = {"hostSelector": {"matchLabels": {"disk": "fast"}}, "weight": 100}
    for number in range(2):
        cloud.instance(f"m{number}", volumes=None, placement={"preferredHosts": [wish]})
        assert placed(cloud, f"m{number}") == fast
    told = cloud.status("Instance", "m0")["placement"]["explanation"]
    assert {"name": "Preferred", "score": 1000} in told["scores"]
    cloud.instance("beyond", volumes=None, placement={"preferredHosts": [wish]})
    assert placed(cloud, "beyond") == cloud.hosts[0]


def test_packed_fills_one_host_and_spread_takes_the_emptiest(cloud: SimCloud) -> None:
    cloud.build(hosts=2, placement={"policy": "Spread"})
    for name in ("one", "two"):
        cloud.instance(name, volumes=None, wait=True)
    assert {cloud.host_of("one"), cloud.host_of("two")} == set(cloud.hosts)
    cloud.api.kubectl.run(
        "patch", "hostcluster", cloud.hosts_of, "--type=merge", "-p", '{"spec":{"placement":{"policy":"Packed"}}}'
    )
    until(lambda: cloud.api.condition("HostCluster", cloud.hosts_of, "Ready").get("observedGeneration") == 2)
    for name in ("three", "four"):
        cloud.instance(name, volumes=None, wait=True)
    assert cloud.host_of("three") == cloud.host_of("four")


def test_a_cluster_tells_how_many_more_of_each_type_fit(cloud: SimCloud) -> None:
    offer = cloud.name("offer")
    cloud.api.apply(manifest("InstanceType", offer, {"cpus": 2, "memory": "512Mi"}))
    cloud.build(hosts=2, cpus=7, **ALL)

    def told(kind: str, name: str) -> int:
        return next((r["more"] for r in cloud.status(kind, name).get("room", ()) if r["type"] == offer), -1)

    until(lambda: told("HostCluster", cloud.hosts_of) == 6 and told("Zone", cloud.zone) == 6)
    cloud.instance("one", wait=True, volumes=None, resources=None, instanceTypeRef={"name": offer})
    until(lambda: told("HostCluster", cloud.hosts_of) == 5)
