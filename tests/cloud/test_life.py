"""One guest's life with its disks: written, attached and grown while it runs, resized, moved while off, deleted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.cloud import BOOT, Cloud, blank, guest
from tests.cluster import until

DISK = "/dev/disk/by-id/virtio-"
DATA = {"name": "data", "type": "Volume", "volume": {"volumeRef": {"name": "life-data"}}}
EXTRA = {"name": "extra", "type": "Volume", "volume": {"volumeRef": {"name": "life-extra"}}}
LAN = {"name": "lan", "networkRef": {"name": "lan"}, "primary": True}
SECOND = {"name": "second", "networkRef": {"name": "lan"}}


@pytest.fixture(scope="module", autouse=True)
def life(cloud: Cloud) -> Iterator[dict[str, Any]]:
    """A guest on node-2 with a volume of its own life beside its root disk."""
    wanted = guest("life", host="node-2", volumes=[DATA], networks=[LAN])
    cloud.cluster.apply(blank("life-data", deletionPolicy="Retain"), blank("life-extra"), wanted)
    yield wanted
    cloud.cluster.remove("instance/life", "volume/life-data", "volume/life-extra", "volume/life-again")


def size_of(cloud: Cloud, disk: str) -> int:
    """Bytes of a disk as the guest sees it; 0 while it does not."""
    command = f"d=$(readlink {DISK}{disk}) && cat /sys/block/${{d##*/}}/size 2>/dev/null || echo 0"
    return 512 * int(cloud.shell("life", command))


def memory_of(cloud: Cloud) -> int:
    """KiB that the guest has for itself."""
    return int(cloud.shell("life", "awk '/MemTotal/ { print $2 }' /proc/meminfo"))


def test_data_is_written_on_a_volume(cloud: Cloud) -> None:
    status = cloud.await_instance("life")
    assert status["hostRef"]["name"] == "node-2"
    assert status["steps"][-1]["name"] in ("Started", "AgentConnected")
    cloud.shell("life", f"echo written in the first boot | dd of={DISK}data conv=fsync")
    attachments = (cloud.cluster.get("volume", "life-data") or {})["status"]["attachments"]
    assert [(a["instance"], a["hosts"], a["access"]) for a in attachments] == [("life", ["node-2"], "ReadWrite")]  # D1


def test_a_volume_is_attached_to_the_running_guest_and_detached_again(cloud: Cloud, life: dict[str, Any]) -> None:
    volumes = life["spec"]["volumes"]
    cloud.cluster.patch("instance", "life", {"volumes": [*volumes, EXTRA]})
    until(lambda: size_of(cloud, "extra") == 32 * 2**20, why=lambda: cloud.cluster.story("instance", "life"))
    cloud.shell("life", f"echo kept | dd of={DISK}extra conv=fsync")
    cloud.cluster.await_condition("volume", "life-extra", reason="InUse")
    cloud.cluster.patch("instance", "life", {"volumes": volumes})
    until(lambda: size_of(cloud, "extra") == 0, why=lambda: cloud.cluster.story("instance", "life"))
    cloud.cluster.await_condition("volume", "life-extra", reason="Available")
    file = cloud.disk_files(cloud.volume_uuid("life-extra"))[0]
    assert b"kept" in (cloud.machines.state_dir / "nfs/primary" / file).read_bytes()  # D3: detached, never deleted.


def test_a_volume_grows_under_the_running_guest(cloud: Cloud) -> None:
    cloud.cluster.patch("volume", "life-data", {"size": "64Mi"})
    until(lambda: size_of(cloud, "data") == 64 * 2**20, why=lambda: cloud.cluster.story("volume", "life-data"))
    # The guest makes the link anew when it hears of the size.
    until(lambda: "written in the first boot" in cloud.shell("life", f"head -n 1 {DISK}data"))


def test_a_nic_is_attached_to_the_running_guest_and_detached_again(cloud: Cloud, life: dict[str, Any]) -> None:
    cloud.cluster.patch("instance", "life", {"networks": [LAN, SECOND]})
    status = cloud.until_status("life", "two NICs", lambda s: len([n for n in s["networks"] if n.get("attached")]) == 2)
    second = next(n for n in status["networks"] if n["name"] == "second")
    until(lambda: second["macAddress"] in cloud.shell("life", "cat /sys/class/net/*/address"))
    claim = "lan." + second["addresses"][0].replace(".", "-")
    cloud.cluster.await_condition("networkaddress", claim, reason="Claimed")
    cloud.cluster.patch("instance", "life", {"networks": life["spec"]["networks"]})
    until(lambda: second["macAddress"] not in cloud.shell("life", "cat /sys/class/net/*/address"))
    cloud.cluster.await_gone("networkaddress", claim)


def test_a_resize_waits_for_the_restart_that_is_asked_for(cloud: Cloud) -> None:
    before, less = cloud.instance("life"), memory_of(cloud)
    cloud.cluster.patch("instance", "life", {"resources": {"cpus": 1, "memory": "112Mi"}})
    said = cloud.cluster.await_condition("instance", "life", "RestartRequired")["message"]
    assert "96Mi" in said
    assert "112Mi" in said
    cloud.request("life", "Restart")
    after = cloud.until_status(
        "life", "a second run", lambda s: s["runCount"] == before["runCount"] + 1 and s["state"] == "Running"
    )
    assert after["resources"]["memory"] == "112Mi"
    assert after["lastPowerRequest"]["action"] == "Restart"
    until(lambda: cloud.cluster.condition("instance", "life", "RestartRequired") == {})
    assert memory_of(cloud) == less + 16 * 1024


def test_data_is_read_after_a_stop_on_another_host(cloud: Cloud) -> None:
    before = cloud.instance("life")
    cloud.cluster.patch("instance", "life", {"runStrategy": "Halted"})
    cloud.await_instance("life", "Stopped")
    assert cloud.hosts_of(before["uuid"], "--state-shutoff") == ["node-2"]  # M3
    assert "disable" in cloud.virsh("node-2", "dominfo", before["uuid"]).partition("Autostart:")[2].splitlines()[0]
    cloud.cluster.patch("instance", "life", {"runStrategy": "Always", "placement": {"hostRef": {"name": "node-3"}}})
    after = cloud.await_instance("life")
    assert after["hostRef"]["name"] == "node-3"
    assert after["placement"]["sequence"] > before["placement"]["sequence"]  # W1
    assert cloud.hosts_of(before["uuid"]) == ["node-3"]  # W7: the old domain is undefined first.
    assert [n["macAddress"] for n in after["networks"]] == [n["macAddress"] for n in before["networks"]]  # I2
    assert after["primaryAddress"] == before["primaryAddress"]
    assert "written in the first boot" in cloud.shell("life", f"head -n 1 {DISK}data", BOOT)


def test_deletion_leaves_nothing_but_what_is_retained(cloud: Cloud) -> None:
    status = cloud.instance("life")
    root, data = cloud.volume_uuid("life-root"), cloud.volume_uuid("life-data")
    claim = "lan." + status["primaryAddress"].replace(".", "-")
    assert cloud.disk_files(root)
    cloud.cluster.delete("instance", "life")
    cloud.cluster.await_gone("instance", "life")
    cloud.cluster.await_gone("volume", "life-root")
    cloud.cluster.await_gone("networkaddress", claim)
    assert cloud.hosts_of(status["uuid"]) == []
    assert cloud.disk_files(root) == []
    cloud.cluster.delete("volume", "life-data")
    cloud.cluster.await_gone("volume", "life-data")
    assert cloud.disk_files(data) == [f"{data}-1", f"{data}-1.json"]
    text = (cloud.machines.state_dir / "nfs/primary" / f"{data}-1.json").read_text().rstrip("\0 \n")
    assert json.loads(text)["mark"]["state"] == "retained"  # M2


def test_d3_a_retained_disk_is_taken_again_and_goes_when_that_is_declared(cloud: Cloud) -> None:
    def retained() -> str | None:
        orphans = (cloud.cluster.get("storagepool", "nfs-1") or {})["status"].get("orphans", [])
        return next((o["uuid"] for o in orphans if o["name"] == "life-data"), None)

    disk = until(retained, 90, why=lambda: cloud.cluster.story("storagepool", "nfs-1"))
    again = blank(
        "life-again", uuid=disk, source={"type": "Existing", "existing": {"storagePoolRef": {"name": "nfs-1"}}}
    )
    del again["spec"]["size"]
    cloud.cluster.apply(again)
    cloud.cluster.await_condition("volume", "life-again", reason="Available")
    assert b"written in the first boot" in (cloud.machines.state_dir / f"nfs/primary/{disk}-1").read_bytes()
    cloud.cluster.remove("volume/life-again")
    assert cloud.disk_files(disk) == []
