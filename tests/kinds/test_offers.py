"""InstanceType and VolumeType: ready at once, counted, and kept while something refers to them."""

from tests.cluster import manifest, until
from tests.kinds.simcloud import SimCloud, managed


def test_offers_are_counted_and_wait_for_their_referrers(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    small, fast = cloud.name("small"), cloud.name("fast")
    cloud.api.apply(
        manifest("InstanceType", small, {"cpus": 1, "memory": "256Mi"}),
        manifest("VolumeType", fast, {"provisioning": "Thick"}),
    )
    cloud.api.await_condition("InstanceType", small, reason="Offered")
    cloud.api.await_condition("VolumeType", fast, reason="Offered")
    cloud.instance(
        "web", wait=True, resources=None, instanceTypeRef={"name": small},
        volumes=[managed("root", "8Mi", volumeTypeRef={"name": fast})],
    )  # fmt: skip
    assert cloud.disks()[cloud.disk("web-root")].allocated == 8 * 2**20
    until(lambda: cloud.status("InstanceType", small).get("instances") == 1)
    until(lambda: cloud.status("VolumeType", fast).get("volumes") == 1)
    for kind, name in (("InstanceType", small), ("VolumeType", fast)):
        cloud.api.delete(kind, name)
        told = cloud.message(kind, name, "InUse", type_="Deleting", status="True")
        assert f"{cloud.namespace}/web" in told
    cloud.api.delete("Instance", "web")
    cloud.api.await_gone("InstanceType", small)
    cloud.api.await_gone("VolumeType", fast)


def test_a_new_volume_does_not_take_an_offer_that_goes(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    fast = cloud.name("fast")
    cloud.api.apply(manifest("VolumeType", fast))
    cloud.volume("kept", volumeTypeRef={"name": fast})
    cloud.api.await_condition("Volume", "kept")
    cloud.api.delete("VolumeType", fast)
    cloud.message("VolumeType", fast, "InUse", type_="Deleting", status="True")
    cloud.volume("late", volumeTypeRef={"name": fast})
    assert "is being deleted" in cloud.message("Volume", "late", "VolumeTypeNotFound")
    cloud.api.await_condition("Volume", "kept")
