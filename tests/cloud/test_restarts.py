"""The control plane's own faults: guests run on, and what was asked for meanwhile is done once it is back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.cloud import Cloud, guest, machine
from tests.cluster import until


@pytest.fixture(scope="module", autouse=True)
def runner(cloud: Cloud) -> Iterator[None]:
    cloud.cluster.apply(machine("runner"))
    cloud.await_instance("runner")
    yield
    cloud.cluster.remove("instance/runner", "instance/half", "instance/meanwhile")


def qemu_of(cloud: Cloud, name: str) -> str:
    """Pid and start time of an instance's QEMU, wherever it runs: another one after any restart of the guest."""
    uuid = cloud.instance(name)["uuid"]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
            if "-uuid" in words and words[words.index("-uuid") + 1] == uuid:
                return f"{path.parent.name} {(path.parent / 'stat').read_text().rpartition(')')[2].split()[19]}"
        except OSError:
            continue
    return ""


def test_a_guest_runs_on_while_the_api_server_is_away_and_changes_made_meanwhile_are_seen(cloud: Cloud) -> None:
    """The machine is stopped by hand and nobody can say so; what is deleted at once after the return is not missed."""
    before = cloud.await_instance("runner")
    untouched = qemu_of(cloud, "web-1")
    assert untouched
    cloud.plane.kill_apiserver()
    cloud.virsh(before["hostRef"]["name"], "destroy", before["uuid"])
    cloud.plane.start_apiserver()
    cloud.operator.start()  # As the kubelet does, where the return took longer than the Lease, which is short in tests.
    cloud.cluster.apply(machine("meanwhile"))
    cloud.until_status("runner", "one more run", lambda s: s["runCount"] == before["runCount"] + 1)
    cloud.await_instance("meanwhile")
    assert cloud.hosts_of(before["uuid"]) == [cloud.instance("runner")["hostRef"]["name"]]
    assert qemu_of(cloud, "web-1") == untouched
    cloud.cluster.remove("instance/meanwhile")


def test_what_is_changed_while_no_operator_runs_is_done_by_the_next(cloud: Cloud) -> None:
    untouched = qemu_of(cloud, "web-1")
    cloud.operator.kill()
    cloud.cluster.patch("instance", "runner", {"runStrategy": "Halted"})
    cloud.cluster.apply(machine("meanwhile"))
    cloud.operator.start()
    cloud.await_instance("runner", "Stopped")
    cloud.await_instance("meanwhile")
    assert qemu_of(cloud, "web-1") == untouched
    assert cloud.runs("web-1") == cloud.instance("web-1")["runCount"]


def test_an_operator_killed_in_the_middle_of_a_creation_makes_nothing_twice(cloud: Cloud) -> None:
    """Killed as soon as the volume's disk is being made, and again as soon as the domain is there."""
    primary = cloud.machines.state_dir / "nfs/primary"
    before = {p.name for p in primary.iterdir()}
    cloud.cluster.apply(guest("half"))
    until(lambda: {p.name for p in primary.iterdir()} - before, every=0.01)
    cloud.operator.kill()
    cloud.operator.start()
    uuid = until(lambda: cloud.instance("half").get("uuid"))
    until(lambda: cloud.hosts_of(uuid), 150, every=0.01, why=lambda: cloud.cluster.story("instance", "half"))
    cloud.operator.kill()
    cloud.operator.start()
    status = cloud.await_instance("half")
    assert cloud.hosts_of(uuid) == [status["hostRef"]["name"]]
    disks = [p.name for p in primary.iterdir() if p.name not in before and re.fullmatch(r"[-0-9a-f]{36}-\d+", p.name)]
    assert disks == [f"{cloud.volume_uuid('half-root')}-1"]
    assert cloud.shell("half", "cat /run/boots") == "1"
    cloud.cluster.remove("instance/half")
    cloud.cluster.await_gone("volume", "half-root")
    assert {p.name for p in primary.iterdir()} == before
