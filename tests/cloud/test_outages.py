"""Hosts and storage that go and come: nothing runs twice, nothing is lost, and only what needs them waits."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.cloud import Cloud, guest, machine

LOST = 15.0
"""Within so many seconds a host that died is told to be not Ready."""


@pytest.fixture(scope="module", autouse=True)
def instances(cloud: Cloud) -> Iterator[None]:
    """A guest with data on node-3, and machines without a guest there and on node-2."""
    cloud.cluster.apply(
        guest("sailor", host="node-3", shutdown={"gracePeriodSeconds": 5}),
        machine("mate", placement={"hostSelector": {"matchLabels": {"boat": "3"}}}),
        machine("ashore", placement={"hostRef": {"name": "node-2"}}),
    )
    cloud.cluster.kubectl.run("label", "host", "node-3", "boat=3", "--overwrite")
    for name in ("sailor", "mate", "ashore"):
        cloud.await_instance(name)
    yield
    cloud.cluster.kubectl.run("label", "host", "node-3", "node-2", "boat-")
    cloud.cluster.remove("instance/sailor", "instance/mate", "instance/ashore")


def lost(cloud: Cloud, host: str, began: float) -> dict[str, Any]:
    """Its Ready condition, False in time."""
    condition = cloud.cluster.await_condition("host", host, status="False", deadline=60)
    assert time.monotonic() - began < LOST
    return condition


def test_a_frozen_libvirtd_makes_only_its_own_guests_wait(cloud: Cloud) -> None:
    cloud.machines.host("node-3").freeze_libvirtd()
    began = time.monotonic()
    try:
        lost(cloud, "node-3", began)
        cloud.await_instance("sailor", "HostUnreachable", ready="False")
        before = cloud.runs("ashore")
        cloud.virsh("node-2", "destroy", cloud.instance("ashore")["uuid"])
        cloud.until_status("ashore", "one more run", lambda s: s["runCount"] == before + 1, 20)
        assert cloud.shell("sailor", "cat /run/boots") == "1"  # The guest itself runs on.
    finally:
        cloud.machines.host("node-3").thaw_libvirtd()
    cloud.cluster.await_condition("host", "node-3")
    cloud.await_instance("sailor")
    assert cloud.runs("sailor") == 1


def test_a_libvirtd_that_died_and_came_back_finds_its_guests_running(cloud: Cloud) -> None:
    host = cloud.machines.host("node-3")
    host.kill_libvirtd()
    lost(cloud, "node-3", time.monotonic())
    host.start_libvirtd()
    cloud.cluster.await_condition("host", "node-3")
    cloud.await_instance("sailor")
    cloud.await_instance("mate")
    assert (cloud.runs("sailor"), cloud.runs("mate")) == (1, 1)
    assert cloud.shell("sailor", "cat /run/boots") == "1"


def test_guests_stand_still_while_the_nfs_server_is_away_and_go_on_after(cloud: Cloud) -> None:
    cloud.machines.nfs.kill()
    cloud.cluster.await_condition("storagepool", "nfs-1", status="False", deadline=90)
    assert cloud.cluster.condition("host", "node-3", "Ready")["status"] == "True"
    cloud.machines.nfs.revive()
    cloud.cluster.await_condition("storagepool", "nfs-1", deadline=90)
    cloud.shell("sailor", "echo after | dd of=/dev/disk/by-id/virtio-root bs=512 seek=100000 conv=notrunc,fsync")
    cloud.await_instance("sailor")
    assert cloud.runs("sailor") == 1


def test_w5_guests_of_a_dead_host_wait_and_run_again_once_when_it_returns(cloud: Cloud) -> None:
    host, uuid = cloud.machines.host("node-3"), cloud.instance("sailor")["uuid"]
    host.kill(silent=True)
    condition = lost(cloud, "node-3", time.monotonic())
    assert condition["reason"] == "Unreachable"
    assert host.uri in condition["message"]
    cloud.await_instance("sailor", "HostUnreachable", ready="False")
    assert "outOfService" in cloud.cluster.condition("instance", "sailor", "Ready")["message"]
    assert cloud.hosts_of(uuid) == []
    host.revive()
    cloud.cluster.await_condition("host", "node-3")
    after = cloud.until_status("sailor", "a second run", lambda s: s["runCount"] == 2 and s["state"] == "Running")
    assert after["hostRef"]["name"] == "node-3"
    assert cloud.shell("sailor", "cat /run/boots") == "2"
    assert cloud.runs("sailor") == 2


def test_h1_what_a_host_out_of_service_held_runs_elsewhere_exactly_once(cloud: Cloud) -> None:
    """The host comes back with its old domain, which is destroyed before the host is Ready."""
    host, before = cloud.machines.host("node-3"), cloud.await_instance("mate")
    uuid = before["uuid"]
    host.kill(silent=True)
    lost(cloud, "node-3", time.monotonic())
    cloud.cluster.kubectl.run("label", "host", "node-2", "boat=3")
    declared = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    cloud.cluster.patch("host", "node-3", {"outOfService": {"declaredAt": declared}})
    after = cloud.until_status("mate", "running on node-2", lambda s: s.get("hostRef") == {"name": "node-2"})
    assert after["placement"]["sequence"] > before["placement"]["sequence"]  # W1
    cloud.await_instance("mate")
    assert cloud.hosts_of(uuid) == ["node-2"]
    assert cloud.cluster.condition("instance", "sailor", "Ready")["status"] == "False"  # Pinned to the dead host.
    host.revive()
    cloud.cluster.await_condition("host", "node-3")
    assert uuid not in cloud.domains("node-3")  # Gone by the time that it is Ready (H1).
    assert cloud.hosts_of(uuid, "--state-running") == ["node-2"]
    assert cloud.cluster.condition("host", "node-3", "OutOfServiceVoid")["reason"] == "HostAnswers"
    cloud.cluster.patch("host", "node-3", {"outOfService": None})
    cloud.await_instance("sailor")
    assert cloud.cluster.condition("host", "node-3", "OutOfServiceVoid") == {}
