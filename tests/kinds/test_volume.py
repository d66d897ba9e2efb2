"""A Volume's disk: made, refused, found again, never replaced, grown, kept and deleted."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from drivers.marks import DiskMark, DiskState, decode, encode
from lab.operator import Operator
from tests.cluster import manifest, until
from tests.kinds.simcloud import GI, MI, SimCloud, attached, from_template


def mark_of(text: str) -> DiskMark:
    mark = decode(text)
    assert isinstance(mark, DiskMark)
    return mark


def lose_object(cloud: SimCloud, name: str) -> None:
    """Removed behind the operator's back: the disk stays."""
    cloud.api.annotate("Volume", name, "stratiform.dev/paused=true")
    cloud.api.delete("Volume", name)
    patch = ("--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    cloud.api.kubectl.run("patch", "volume", name, "-n", cloud.namespace, *patch)
    cloud.api.await_gone("Volume", name)


# ------------------------------------------------------------ made


def test_a_blank_volume_gets_a_disk_on_the_pool_that_it_names(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data", "2Gi")
    cloud.api.await_condition("Volume", "data", reason="Available")
    disk = cloud.disks()[cloud.disk("data")]
    assert disk.size == 2 * GI
    mark = mark_of(disk.mark)
    assert (mark.state, mark.namespace, mark.name) == (DiskState.READY, cloud.namespace, "data")
    status = cloud.status("Volume", "data")
    assert (status["size"], status["state"], status["madeFrom"]["type"]) == ("2Gi", "Available", "Blank")


def test_placement_finds_a_pool_with_the_tags_and_room_and_says_why_not(cloud: SimCloud) -> None:
    cloud.build()
    cloud.api.apply(
        manifest("VolumeType", cloud.name("fast"), {"storageTags": ["ssd"]}),
        cloud.pool_manifest(cloud.name("z-ssd"), "10Gi", tags=["ssd"]),
    )
    cloud.until_reached("StoragePool", cloud.name("z-ssd"))
    cloud.volume("quick", storagePoolRef=None, volumeTypeRef={"name": cloud.name("fast")})
    cloud.volume("huge", "20Gi", storagePoolRef=None, volumeTypeRef={"name": cloud.name("fast")})
    cloud.api.await_condition("Volume", "quick")
    assert cloud.status("Volume", "quick")["disk"]["pool"] == cloud.name("z-ssd")
    told = cloud.message("Volume", "huge", "NoStoragePool")
    assert f"{cloud.pool} lacks tags ssd" in told
    assert "of the 20Gi needed" in told


def test_what_it_refers_to_may_come_later(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("typed", volumeTypeRef={"name": cloud.name("late")})
    cloud.volume("zoned", zoneRef={"name": cloud.name("nowhere")})
    cloud.volume("pooled", storagePoolRef={"name": cloud.name("later")})
    told = cloud.message("Volume", "typed", "VolumeTypeNotFound")
    assert told == f"spec.volumeTypeRef: VolumeType {cloud.name('late')} does not exist."
    assert "spec.zoneRef" in cloud.message("Volume", "zoned", "ZoneNotFound")
    assert "spec.storagePoolRef" in cloud.message("Volume", "pooled", "StoragePoolNotFound")
    cloud.api.apply(manifest("VolumeType", cloud.name("late")), cloud.pool_manifest(cloud.name("later")))
    cloud.api.await_condition("Volume", "typed")
    cloud.api.await_condition("Volume", "pooled")


def test_a_volume_from_a_template_is_a_clone_of_the_one_copy_on_its_pool(cloud: SimCloud) -> None:
    cloud.build(store=True)
    cloud.template("tiny")
    for n in range(5):
        cloud.volume(f"clone-{n}", "1Gi", source=from_template("tiny"))
    for n in range(5):
        cloud.api.await_condition("Volume", f"clone-{n}")
    disks = cloud.disks()
    bases = {disks[cloud.disk(f"clone-{n}")].base for n in range(5)}
    assert len(bases) == 1
    assert len(disks) == 6
    origin = cloud.status("Volume", "clone-0")["madeFrom"]
    assert (origin["type"], origin["name"]) == ("Template", "tiny")
    assert origin["checksum"].startswith("sha256:")


def test_a_template_that_cannot_be_used_is_named_with_the_reason(cloud: SimCloud) -> None:
    cloud.build(store=True)
    cloud.template("tiny", minimumSize="16Mi")
    cloud.template("disc", b"\0" * MI, declared="Raw", type="ISO")
    cloud.template("stuck", url="http://127.0.0.1:9/nothing")
    for name in ("tiny", "disc"):
        cloud.api.await_condition("Template", name)
    for name in ("tiny", "disc", "stuck", "absent"):
        cloud.volume(f"from-{name}", "8Mi", source=from_template(name))
    small = cloud.message("Volume", "from-tiny", "SizeTooSmall")
    assert small.startswith(f"spec.size: 8Mi is less than the 16Mi that Template {cloud.namespace}/tiny needs")
    assert "is an ISO" in cloud.message("Volume", "from-disc", "TemplateIsISO")
    assert "is not Ready" in cloud.message("Volume", "from-stuck", "TemplateNotReady")
    gone = cloud.message("Volume", "from-absent", "TemplateNotFound")
    assert gone == (
        f"spec.source.template.templateRef: Template {cloud.namespace}/absent does not exist or is not visible to "
        f"namespace {cloud.namespace}."
    )


def test_a_template_of_another_namespace_must_be_shared(cloud: SimCloud) -> None:
    cloud.build(hosts=1, store=True)
    other = f"{cloud.namespace}-images"
    cloud.api.kubectl.run("create", "namespace", other)
    cloud.template("shared", namespace=other)
    cloud.volume("data", source=from_template("shared", other))
    assert f"not visible to namespace {cloud.namespace}" in cloud.message("Volume", "data", "TemplateNotFound")
    cloud.template("shared", namespace=other, visibility={"type": "Names", "names": [cloud.namespace]})
    cloud.api.await_condition("Volume", "data")


# ------------------------------------------------------------ identity


def test_d2_a_lost_disk_is_lost_and_never_made_again(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    disk = cloud.disk("data")
    cloud.faults.lose_disk(cloud.storage(), disk)
    cloud.api.annotate("Volume", "data", "note=looked-at")
    cloud.wipe_status("Volume", "data")
    told = cloud.message("Volume", "data", "Lost")
    assert disk in told
    assert "not made again empty" in told
    assert not cloud.disks()[disk].present


def test_d2_a_wiped_status_is_rebuilt_with_the_same_disk(cloud: SimCloud, operator: Operator) -> None:
    cloud.build()
    cloud.volume("data", storagePoolRef=None)
    cloud.api.await_condition("Volume", "data")
    disk = cloud.disk("data")
    operator.stop()
    cloud.wipe_status("Volume", "data")
    operator.start()
    until(lambda: cloud.status("Volume", "data").get("disk"), why=lambda: cloud.api.story("Volume", "data"))
    cloud.api.await_condition("Volume", "data")
    assert cloud.disk("data") == disk
    assert len(cloud.disks()) == 1
    assert cloud.status("Volume", "data")["madeFrom"]["type"] == "Blank"


def test_d2_a_wiped_status_makes_nothing_until_every_pool_was_searched(cloud: SimCloud, operator: Operator) -> None:
    cloud.build(hosts=1)
    cloud.volume("data", storagePoolRef=None)
    cloud.api.await_condition("Volume", "data")
    disk = cloud.disk("data")
    operator.stop()
    cloud.wipe_status("Volume", "data")
    cloud.faults.lose_host(cloud.hosts[0])
    operator.start()
    told = cloud.message("Volume", "data", "PoolsNotSearched")
    assert cloud.pool in told
    cloud.faults.return_host(cloud.hosts[0])
    cloud.api.await_condition("Volume", "data")
    assert cloud.disk("data") == disk


def test_n3_a_uuid_belongs_to_the_older_volume(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    wanted = str(uuid.uuid4())
    cloud.volume("first", uuid=wanted)
    cloud.api.await_condition("Volume", "first")
    cloud.volume("second", uuid=wanted)
    told = cloud.message("Volume", "second", "UUIDTaken")
    assert f"held by Volume {cloud.namespace}/first" in told
    cloud.api.delete("Volume", "first")
    cloud.api.await_gone("Volume", "first")
    cloud.api.await_condition("Volume", "second")


def test_n3_a_disk_of_another_volumes_name_is_not_taken_by_its_uuid(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("theirs")
    cloud.api.await_condition("Volume", "theirs")
    theirs = cloud.disks()[cloud.disk("theirs")]
    wanted = str(uuid.uuid4())
    stranger = replace(mark_of(theirs.mark), uuid=wanted, uid=str(uuid.uuid4()), name="somebody", namespace="else")
    cloud.faults.write_disk_mark(cloud.storage(), f"{wanted}-1", stranger)
    cloud.volume("thief", uuid=wanted)
    assert "belongs to Volume else/somebody" in cloud.message("Volume", "thief", "UUIDTaken")


def test_n1_an_unmarked_or_foreign_disk_under_our_name_is_left_alone(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("probe")
    cloud.api.await_condition("Volume", "probe")
    ours = mark_of(cloud.disks()[cloud.disk("probe")].mark)
    unmarked, foreign = str(uuid.uuid4()), str(uuid.uuid4())
    cloud.faults.write_disk_mark(cloud.storage(), f"{unmarked}-1", "")
    other = replace(ours, uuid=foreign, name="foreign", uid="x", installation="another")
    cloud.faults.write_disk_mark(cloud.storage(), f"{foreign}-1", other)
    cloud.volume("unmarked", uuid=unmarked)
    cloud.volume("foreign", uuid=foreign)
    assert "bears no mark" in cloud.message("Volume", "unmarked", "NotOurs")
    assert "installation another" in cloud.message("Volume", "foreign", "NotOurs")
    assert cloud.disks()[f"{foreign}-1"].mark == encode(other)


def test_n2_an_orphan_of_its_name_is_waited_for_adopted_or_ignored(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    for name in ("data", "other"):
        cloud.volume(name)
        cloud.api.await_condition("Volume", name)
    orphans = {name: cloud.status("Volume", name)["uuid"] for name in ("data", "other")}
    for name in orphans:
        lose_object(cloud, name)
    until(
        lambda: cloud.status("StoragePool", cloud.pool).get("orphanCount") == 2,
        120,
        why=lambda: cloud.api.story("StoragePool", cloud.pool),
    )
    for name in orphans:
        cloud.volume(name)
        assert orphans[name] in cloud.message("Volume", name, "OrphanExists")
    cloud.api.annotate("Volume", "data", f"stratiform.dev/adopt={orphans['data']}")
    cloud.api.annotate("Volume", "other", f"stratiform.dev/ignore-orphan={orphans['other']}")
    cloud.api.await_condition("Volume", "data")
    cloud.api.await_condition("Volume", "other")
    assert cloud.status("Volume", "data")["uuid"] == orphans["data"]
    assert cloud.status("Volume", "other")["uuid"] != orphans["other"]
    assert len(cloud.disks()) == 3
    cloud.instance("web", wait=True, volumes=[attached("data", "data")])
    assert cloud.holders("data") == ["web"]


# ------------------------------------------------------------ kept and deleted


def test_d3_a_retained_disk_is_taken_again_by_its_namespace_only(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data", "2Gi", deletionPolicy="Retain")
    cloud.api.await_condition("Volume", "data")
    kept, disk = cloud.status("Volume", "data")["uuid"], cloud.disk("data")
    cloud.api.delete("Volume", "data")
    cloud.api.await_gone("Volume", "data")
    assert mark_of(cloud.disks()[disk].mark).state is DiskState.RETAINED
    source = {"type": "Existing", "existing": {"storagePoolRef": {"name": cloud.pool}}}
    elsewhere = f"{cloud.namespace}-b"
    cloud.api.kubectl.run("create", "namespace", elsewhere)
    spec = {"zoneRef": {"name": cloud.zone}, "uuid": kept, "source": source}
    cloud.api.apply(manifest("Volume", "thief", spec, elsewhere))
    thief = until(
        lambda: [
            c for c in ((cloud.api.get("Volume", "thief", elsewhere) or {}).get("status") or {}).get("conditions", ())
            if c["type"] == "Ready" and c["status"] == "False"
        ]
    )  # fmt: skip
    assert thief[0]["reason"] == "NotOurs"
    cloud.api.kubectl.run("delete", "volume", "thief", "-n", elsewhere)
    cloud.volume("again", None, uuid=kept, source=source, storagePoolRef=None)
    cloud.api.await_condition("Volume", "again")
    status = cloud.status("Volume", "again")
    assert (status["size"], status["madeFrom"]["name"], cloud.disk("again")) == ("2Gi", "data", disk)
    assert mark_of(cloud.disks()[disk].mark).state is DiskState.READY


def test_n3_after_a_rebuild_an_existing_disk_is_taken_by_the_volume_of_its_name_only(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("data", "2Gi", deletionPolicy="Retain")
    cloud.api.await_condition("Volume", "data")
    kept = cloud.status("Volume", "data")["uuid"]
    cloud.api.delete("Volume", "data")
    cloud.api.await_gone("Volume", "data")
    source = {"type": "Existing", "existing": {"storagePoolRef": {"name": cloud.pool}}}
    cloud.volume("again", None, uuid=kept, source=source, storagePoolRef=None)
    cloud.api.await_condition("Volume", "again")
    disk = cloud.disk("again")
    lose_object(cloud, "again")
    cloud.volume("other", None, uuid=kept, source=source, storagePoolRef=None)
    assert "Volume again has it" in cloud.message("Volume", "other", "UUIDTaken")
    cloud.api.delete("Volume", "other")
    cloud.api.await_gone("Volume", "other")
    cloud.volume("again", None, uuid=kept, source=source, storagePoolRef=None)
    cloud.api.await_condition("Volume", "again")
    assert cloud.disk("again") == disk


def test_a_deleted_volumes_disk_goes_and_waits_for_its_pool(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    cloud.faults.lose_host(cloud.hosts[0])
    cloud.api.await_condition("Host", cloud.hosts[0], status="False")
    cloud.api.delete("Volume", "data")
    told = until(lambda: cloud.api.condition("Volume", "data", "Deleting").get("message"))
    assert cloud.pool in told or cloud.hosts[0] in told
    cloud.faults.return_host(cloud.hosts[0])
    cloud.api.await_gone("Volume", "data")
    assert cloud.disks() == {}


def test_h1_a_volume_on_a_local_pool_of_a_host_out_of_service_is_lost_and_may_go(cloud: SimCloud) -> None:
    cloud.build()
    lost, local = cloud.hosts[0], cloud.name("local")
    cloud.api.apply(cloud.pool_manifest(local, scope={"type": "Host", "hostRef": {"name": lost}}))
    cloud.until_reached("StoragePool", local, 1)
    cloud.volume("data", storagePoolRef={"name": local})
    cloud.volume("shared")
    cloud.api.await_condition("Volume", "data")
    cloud.api.await_condition("Volume", "shared")
    cloud.faults.lose_host(lost, power_loss=True)
    cloud.api.await_condition("Host", lost, status="False")
    declared = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cloud.api.patch("Host", lost, {"outOfService": {"declaredAt": declared}})
    assert lost in cloud.message("Volume", "data", "Lost")
    assert cloud.api.condition("Volume", "shared", "Ready")["status"] == "True"
    cloud.api.delete("Volume", "data")
    cloud.api.await_gone("Volume", "data", 15)


def test_a_volume_that_was_never_made_goes_at_once(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.volume("data", volumeTypeRef={"name": cloud.name("never")})
    cloud.message("Volume", "data", "VolumeTypeNotFound")
    cloud.api.delete("Volume", "data")
    cloud.api.await_gone("Volume", "data", 10)


# ------------------------------------------------------------ grown and moved


def test_it_grows_on_the_pool_and_through_a_running_guest(cloud: SimCloud) -> None:
    cloud.build()
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    cloud.api.patch("Volume", "data", {"size": "2Gi"})
    until(lambda: cloud.status("Volume", "data").get("size") == "2Gi", why=lambda: cloud.api.story("Volume", "data"))
    cloud.instance("web", wait=True, volumes=[attached("data", "data")])
    cloud.api.patch("Volume", "data", {"size": "3Gi"})
    until(lambda: cloud.status("Volume", "data").get("size") == "3Gi", why=lambda: cloud.api.story("Volume", "data"))
    assert cloud.disks()[cloud.disk("data")].size == 3 * GI


def test_a_move_is_refused_by_name_and_nothing_else_changes(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.api.apply(cloud.pool_manifest(cloud.name("other")))
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    cloud.api.patch("Volume", "data", {"storagePoolRef": {"name": cloud.name("other")}})
    told = cloud.message("Volume", "data", "Unsupported")
    assert "spec.storagePoolRef" in told
    assert cloud.pool in told
    cloud.api.patch("Volume", "data", {"storagePoolRef": {"name": cloud.pool}})
    cloud.api.await_condition("Volume", "data")


def test_a_kill_between_mark_and_disk_leaves_one_disk(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.faults.break_midway(host=cloud.hosts[0], call="create_disk")
    cloud.volume("data")
    cloud.api.await_condition("Volume", "data")
    assert [d.present for d in cloud.disks().values()] == [True]
