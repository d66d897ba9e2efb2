"""Templates: fetched, verified or refused, copied once for each pool, and gone when nothing needs them (D4)."""

import hashlib

from lab.operator import Operator
from tests.cluster import manifest, until
from tests.drivers.images import qcow2
from tests.kinds.simcloud import MI, SimCloud, from_template


def test_an_image_is_fetched_verified_and_described(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("tiny")
    told = cloud.message("Template", "tiny", "Verified", status="True")
    assert told == f"Verified on {cloud.store}."
    status = cloud.status("Template", "tiny")
    assert (status["virtualSize"], status["format"], status["state"], status["percent"]) == (
        "8Mi",
        "QCOW2",
        "Ready",
        100,
    )
    assert status["checksum"] == f"sha256:{hashlib.sha256(qcow2()).hexdigest()}"
    assert [(s["imageStore"], s["state"]) for s in status["stores"]] == [(cloud.store, "Ready")]


def test_the_loopback_is_no_source_unless_the_store_allows_it(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.api.apply(cloud.store_manifest(cloud.store, cidrs=()))
    cloud.template("tiny")
    told = cloud.message("Template", "tiny", "SourceRefused")
    assert "loopback" in told
    assert "allowedSources" in told
    cloud.api.apply(cloud.store_manifest(cloud.store))
    cloud.api.await_condition("Template", "tiny")


def test_without_a_store_it_says_what_to_make_and_goes_on_when_there_is_one(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.template("tiny", zones=[cloud.zone])
    assert cloud.zone in cloud.message("Template", "tiny", "NoImageStore")
    cloud.api.apply(cloud.store_manifest(cloud.store))
    cloud.api.await_condition("Template", "tiny", deadline=8)


def test_a_wrong_checksum_is_never_ready_and_stalls(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("forged", checksum=f"sha256:{'0' * 64}")
    told = cloud.message("Template", "forged", "ImageRefused")
    assert "sha256" in told
    stalled = cloud.message("Template", "forged", "ImageRefused", type_="Stalled", status="True")
    assert "make another Template" in stalled
    assert cloud.disks(cloud.store, "ImageStore") == {}


def test_other_bytes_than_declared_and_images_that_reach_outside_are_refused(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("raw", qcow2(), declared="Raw")
    cloud.template("not-qcow2", b"\0" * MI)
    cloud.template("backed", qcow2(backing=b"/etc/shadow"))
    cloud.template("outside", qcow2(external_data=True))
    for name in ("raw", "not-qcow2", "backed", "outside"):
        assert cloud.message("Template", name, "ImageRefused")
        assert cloud.api.condition("Template", name, "Stalled")["status"] == "True"
    assert cloud.disks(cloud.store, "ImageStore") == {}


def test_many_volumes_make_one_copy_on_their_pool(cloud: SimCloud) -> None:
    cloud.build(store=True)
    cloud.template("tiny")
    cloud.api.apply(
        *(
            manifest(
                "Volume", f"v-{n}",
                {
                    "zoneRef": {"name": cloud.zone}, "storagePoolRef": {"name": cloud.pool},
                    "source": from_template("tiny"),
                },
                cloud.namespace,
            )
            for n in range(20)
        )
    )  # fmt: skip
    for n in range(20):
        cloud.api.await_condition("Volume", f"v-{n}")
    disks = cloud.disks()
    assert len(disks) == 21
    assert sum(1 for d in disks.values() if not d.base) == 1
    pools = cloud.status("Template", "tiny")["pools"]
    assert [(p["pool"], p["state"]) for p in pools] == [(cloud.pool, "Ready")]


def test_d4_it_goes_while_volumes_live_on_and_its_base_with_the_last_clone(cloud: SimCloud) -> None:
    cloud.build(store=True)
    cloud.template("tiny")
    for name in ("one", "two"):
        cloud.volume(name, source=from_template("tiny"))
        cloud.api.await_condition("Volume", name)
    base = cloud.disks()[cloud.disk("one")].base
    cloud.api.delete("Template", "tiny")
    cloud.api.await_gone("Template", "tiny")
    assert cloud.disks(cloud.store, "ImageStore") == {}
    assert base in cloud.disks()
    cloud.api.await_condition("Volume", "one")
    cloud.api.delete("Volume", "one")
    cloud.api.await_gone("Volume", "one")
    assert base in cloud.disks()
    cloud.api.delete("Volume", "two")
    cloud.api.await_gone("Volume", "two")
    assert cloud.disks() == {}


def test_d4_deletion_waits_only_for_what_is_in_the_making(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("tiny")
    cloud.api.await_condition("Template", "tiny")
    order = cloud.faults.hang(host=cloud.hosts[0], call="clone_disk")
    cloud.volume("early", source=from_template("tiny"))
    until(lambda: [p["state"] for p in cloud.status("Template", "tiny").get("pools", ())] == ["Ready"])
    cloud.api.delete("Template", "tiny")
    told = cloud.message("Template", "tiny", "InUse", type_="Deleting", status="True")
    assert f"{cloud.namespace}/early" in told
    cloud.faults.release(order)
    cloud.api.await_condition("Volume", "early")
    cloud.api.await_gone("Template", "tiny")


def test_a_killed_operators_half_copy_is_made_again(cloud: SimCloud, operator: Operator) -> None:
    cloud.build(hosts=1, store=True)
    order = cloud.faults.slow(30.0, host=cloud.hosts[0], call="import_image")
    cloud.template("tiny")
    told = cloud.message("Template", "tiny", "Fetching")
    assert cloud.store in told
    operator.kill()
    cloud.faults.release(order)
    operator.start()
    cloud.api.await_condition("Template", "tiny")
    assert [d.present for d in cloud.disks(cloud.store, "ImageStore").values()] == [True]


def test_a_lost_base_is_copied_again_for_the_next_volume(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("tiny")
    cloud.volume("one", source=from_template("tiny"))
    cloud.api.await_condition("Volume", "one")
    base = cloud.disks()[cloud.disk("one")].base
    cloud.faults.lose_disk(cloud.storage(), base, mark_too=True)
    cloud.volume("two", source=from_template("tiny"))
    cloud.api.await_condition("Volume", "two")
    assert cloud.disks()[base].present


def test_a_store_that_goes_gives_its_copy_up_when_another_has_one(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    cloud.template("tiny")
    cloud.api.await_condition("Template", "tiny")
    cloud.api.delete("ImageStore", cloud.store)
    told = cloud.message("ImageStore", cloud.store, "InUse", type_="Deleting", status="True")
    assert f"{cloud.namespace}/tiny" in told
    other = cloud.name("more-images")
    cloud.api.apply(cloud.store_manifest(other))
    cloud.api.await_gone("ImageStore", cloud.store, 90)
    assert cloud.message("Template", "tiny", "Verified", status="True") == f"Verified on {other}."
