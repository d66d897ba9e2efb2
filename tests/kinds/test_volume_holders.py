"""Who has a Volume (safety.md D1): one at a time, in words, also when what was known is lost."""

from lab.operator import Operator
from tests.cluster import until
from tests.kinds.simcloud import SimCloud, attached, managed


def test_d1_of_two_instances_one_waits_and_gets_it_after_the_other_let_go(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.instance("one", wait=True, volumes=[managed("root"), attached("data", "data")])
    cloud.instance("two", volumes=[managed("root"), attached("data", "data")])
    told = cloud.message("Instance", "two", "WaitingForVolume")
    assert "until Instance one has let go of it" in told
    assert cloud.holders("data") == ["one"]
    cloud.api.await_condition("Volume", "data", reason="InUse")
    cloud.api.patch("Instance", "one", {"volumes": [managed("root")]})
    cloud.api.await_condition("Instance", "two")
    assert cloud.holders("data") == ["two"]


def test_d1_a_shareable_volume_goes_to_both(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data", shareable=True)
    for name in ("one", "two"):
        cloud.instance(name, volumes=[managed("root"), attached("data", "data")])
    for name in ("one", "two"):
        cloud.api.await_condition("Instance", name)
    assert cloud.holders("data") and sorted(cloud.holders("data")) == ["one", "two"]


def test_deleting_a_volume_waits_for_its_instances_and_names_them(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.instance("web", wait=True, volumes=[managed("root"), attached("data", "data")])
    cloud.api.delete("Volume", "data")
    told = cloud.message("Volume", "data", "InUse", type_="Deleting", status="True")
    assert f"1 Instance ({cloud.namespace}/web)" in told
    cloud.api.patch("Instance", "web", {"volumes": [managed("root")]})
    cloud.api.await_gone("Volume", "data")
    cloud.api.await_condition("Instance", "web")


def test_a_managed_volume_goes_with_its_instance_and_a_removed_one_stays(cloud: SimCloud) -> None:
    cloud.build()
    cloud.instance("web", wait=True, volumes=[managed("root"), managed("extra")])
    cloud.api.patch("Instance", "web", {"volumes": [managed("root")]})
    until(lambda: cloud.holders("web-extra") == [])
    cloud.api.delete("Instance", "web")
    cloud.api.await_gone("Instance", "web")
    cloud.api.await_gone("Volume", "web-root")
    assert cloud.status("Volume", "web-extra")["state"] == "Available"  # D3


def test_d1_wiped_attachments_are_rebuilt_from_what_the_hosts_show(cloud: SimCloud, operator: Operator) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.instance("one", wait=True, volumes=[managed("root"), attached("data", "data")])
    cloud.instance("two", volumes=[managed("root"), attached("data", "data")])
    cloud.message("Instance", "two", "WaitingForVolume")
    operator.stop()
    cloud.wipe_status("Volume", "data")
    cloud.wipe_status("Instance", "one")
    operator.start()
    until(lambda: cloud.holders("data") == ["one"], why=lambda: cloud.api.story("Volume", "data"))
    cloud.api.await_condition("Instance", "one")
    cloud.message("Instance", "two", "WaitingForVolume")


def test_d1_with_nothing_known_no_instance_gets_it_until_every_host_has_answered(
    cloud: SimCloud, operator: Operator
) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    operator.stop()
    cloud.faults.lose_host(cloud.hosts[1])
    operator.start()
    cloud.instance("web", volumes=[managed("root"), attached("data", "data")])
    told = until(
        lambda: (
            (m := cloud.api.condition("Volume", "data", "Ready").get("message", "")) and "does not get it" in m and m
        ),
        why=lambda: cloud.api.story("Volume", "data"),
    )
    assert cloud.hosts[1] in told
    cloud.faults.return_host(cloud.hosts[1])
    cloud.api.await_condition("Instance", "web")


def test_d1_a_domain_whose_object_was_removed_by_hand_keeps_its_disk(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.instance("ghost", wait=True, volumes=[managed("root"), attached("data", "data")])
    uuid, host = cloud.status("Instance", "ghost")["uuid"], cloud.host_of("ghost")
    cloud.api.annotate("Instance", "ghost", "stratiform.dev/paused=true")
    cloud.api.delete("Instance", "ghost")
    cloud.api.kubectl.run(
        "patch", "instance", "ghost", "-n", cloud.namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    cloud.api.await_gone("Instance", "ghost")
    cloud.instance("next", volumes=[managed("root"), attached("data", "data")])
    assert "ghost" in cloud.message("Instance", "next", "WaitingForVolume")
    cloud.faults.remove(host, uuid)
    cloud.api.await_condition("Instance", "next")
    assert cloud.holders("data") == ["next"]
