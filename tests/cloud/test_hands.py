"""An administrator works on the hosts with virsh: what is ours comes back as declared, what is not is left alone."""

from collections.abc import Iterator

import pytest

from tests.cloud.cloud import Cloud, machine
from tests.cluster import until


@pytest.fixture(scope="module", autouse=True)
def hand(cloud: Cloud) -> Iterator[None]:
    cloud.cluster.apply(machine("hand"))
    yield
    cloud.cluster.remove("instance/hand", "instance/lost")


@pytest.fixture
def at(cloud: Cloud) -> tuple[str, str]:
    """UUID of the machine and the host where it runs."""
    status = cloud.await_instance("hand")
    return status["uuid"], status["hostRef"]["name"]


def runs_again(cloud: Cloud, before: int) -> None:
    cloud.until_status("hand", "one more run", lambda s: s["runCount"] == before + 1 and s["state"] == "Running")


def event(cloud: Cloud, reason: str) -> None:
    until(
        lambda: reason in cloud.cluster.story("instance", "hand"), why=lambda: cloud.cluster.story("instance", "hand")
    )


def test_a_removed_domain_is_made_again_with_its_disk_and_addresses(cloud: Cloud) -> None:
    """The examples' guest, so that a file system and an address are there to be kept."""
    before = cloud.await_instance("web-1")
    host, disk = before["hostRef"]["name"], cloud.volume_uuid("web-1-root")
    boots = int(cloud.shell("web-1", "cat /run/boots"))
    cloud.virsh(host, f"undefine {before['uuid']}; destroy {before['uuid']}")
    runs = before["runCount"] + 1
    after = cloud.until_status("web-1", "one more run", lambda s: s["runCount"] == runs and s["state"] == "Running")
    assert cloud.hosts_of(before["uuid"]) == [after["hostRef"]["name"]]
    assert after["networks"][0]["macAddress"] == before["networks"][0]["macAddress"]
    assert after["primaryAddress"] == before["primaryAddress"]
    assert cloud.volume_uuid("web-1-root") == disk
    assert int(cloud.shell("web-1", "cat /run/boots")) == boots + 1


def test_a_domain_that_was_powered_off_is_started_again_under_always(cloud: Cloud, at: tuple[str, str]) -> None:
    found, host = at
    before = cloud.runs("hand")
    cloud.virsh(host, "destroy", found)
    runs_again(cloud, before)
    event(cloud, "PoweredOff")


RESTARTS, ENDS = "<on_reboot>restart</on_reboot>", "<on_reboot>destroy</on_reboot>"


def edit(cloud: Cloud, host: str, found: str) -> None:
    """Change its definition by hand: a reboot from inside would end it."""
    before = cloud.virsh(host, "dumpxml", "--inactive", found)
    assert RESTARTS in before
    cloud.virsh(host, "define", "/dev/stdin", text=before.replace(RESTARTS, ENDS))


def test_a_definition_that_was_changed_is_changed_back(cloud: Cloud, at: tuple[str, str]) -> None:
    found, host = at
    edit(cloud, host, found)
    event(cloud, "DriftCorrected")
    until(lambda: RESTARTS in cloud.virsh(host, "dumpxml", "--inactive", found))
    until(lambda: cloud.cluster.condition("instance", "hand", "Drifted") == {})


def test_drift_is_only_reported_where_the_policy_says_so(cloud: Cloud, at: tuple[str, str]) -> None:
    found, host = at
    cloud.cluster.patch("instance", "hand", {"driftPolicy": "Report"})
    cloud.virsh(host, "autostart", found)
    edit(cloud, host, found)  # Of autostart alone libvirt tells nobody: it is seen within half a minute.
    said = cloud.cluster.await_condition("instance", "hand", "Drifted")["message"]
    assert "autostart was switched on" in said
    assert found in cloud.domains(host, "--autostart")
    cloud.cluster.await_condition("instance", "hand")  # It is used all the same.
    cloud.cluster.patch("instance", "hand", {"driftPolicy": "Correct"})
    until(lambda: cloud.cluster.condition("instance", "hand", "Drifted") == {})
    assert found not in cloud.domains(host, "--autostart")


def test_a_guest_that_somebody_paused_is_left_alone(cloud: Cloud, at: tuple[str, str]) -> None:
    found, host = at
    cloud.virsh(host, "suspend", found)
    cloud.cluster.await_condition("instance", "hand", "GuestPaused")
    assert "paused by an administrator" in cloud.cluster.condition("instance", "hand", "Ready")["message"].lower()
    assert cloud.domains(host, "--state-paused") == {found}
    cloud.virsh(host, "resume", found)
    cloud.cluster.await_condition("instance", "hand", reason="Running")
    assert cloud.cluster.condition("instance", "hand", "GuestPaused") == {}


def test_w4_a_guest_that_somebody_moved_is_followed(cloud: Cloud, at: tuple[str, str]) -> None:
    found, host = at
    other = next(h.name for h in cloud.machines.hosts if h.name != host)
    sequence = cloud.instance("hand")["placement"]["sequence"]
    with_mark = cloud.virsh(host, "dumpxml", "--inactive", found)
    # The object rests meanwhile, as a careful administrator has it: else the operator starts what was stopped.
    cloud.cluster.annotate("instance", "hand", "stratiform.dev/paused=true")
    cloud.cluster.await_condition("instance", "hand", "ReconciliationPaused")
    cloud.virsh(host, "destroy", found)
    cloud.virsh(other, "define", "/dev/stdin", text=with_mark)
    cloud.virsh(other, "start", found)
    cloud.virsh(host, "undefine", found)
    cloud.cluster.annotate("instance", "hand", "stratiform.dev/paused-")
    after = cloud.until_status("hand", f"placed on {other}", lambda s: s["placement"]["host"] == other)
    assert after["placement"]["sequence"] == sequence
    cloud.until_status("hand", f"seen on {other}", lambda s: s["hostRef"]["name"] == other)
    cloud.cluster.await_condition("instance", "hand", reason="Running")
    assert cloud.hosts_of(found) == [other]
    assert cloud.cluster.condition("instance", "hand", "Drifted") == {}


FOREIGN = """<domain type='qemu'><name>by-hand</name><memory unit='MiB'>256</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


def test_n1_a_machine_that_is_not_ours_counts_as_used_and_is_never_touched(cloud: Cloud) -> None:
    cloud.virsh("node-3", "define", "/dev/stdin", text=FOREIGN)
    try:
        cloud.virsh("node-3", "start", "by-hand")

        def counted() -> object:
            host = (cloud.cluster.get("host", "node-3") or {})["status"]
            return host if host.get("foreign", {}).get("running") == 1 else None

        status = until(counted, why=lambda: cloud.cluster.story("host", "node-3"))
        assert status["foreign"]["names"] == ["by-hand"]
        assert status["foreign"]["cpus"] == 2
        assert status["orphanCount"] == 0
        assert cloud.virsh("node-3", "domstate", "by-hand").strip() == "running"
    finally:
        cloud.virsh("node-3", "destroy", "by-hand")
        cloud.virsh("node-3", "undefine", "by-hand")
    until(lambda: "foreign" not in (cloud.cluster.get("host", "node-3") or {})["status"])


def test_n2_a_machine_whose_object_was_lost_is_listed_and_left_until_it_is_adopted(cloud: Cloud) -> None:
    """Its finalizer is removed by hand while it is paused, so that nobody cleans up behind it."""
    cluster, wanted = cloud.cluster, machine("lost", placement={"hostRef": {"name": "node-2"}})
    cluster.apply(wanted)
    found = cloud.await_instance("lost")["uuid"]
    cluster.annotate("instance", "lost", "stratiform.dev/paused=true")
    cluster.await_condition("instance", "lost", "ReconciliationPaused")
    cluster.delete("instance", "lost")
    cluster.kubectl.run(
        "patch", "instance", "lost", "-n", cluster.namespace, "--type=json",
        "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]',
    )  # fmt: skip
    cluster.await_gone("instance", "lost")

    def listed() -> object:
        orphans = (cluster.get("host", "node-2") or {})["status"].get("orphans", [])
        return next((o for o in orphans if o["uuid"] == found), None)

    orphan = until(listed, why=lambda: cluster.story("host", "node-2"))
    assert (orphan["namespace"], orphan["name"], orphan["state"]) == ("team-a", "lost", "Running")
    cluster.apply(wanted)
    said = cluster.await_condition("instance", "lost", status="False", reason="OrphanExists")["message"]
    assert "stratiform.dev/adopt" in said
    assert found in said
    assert cloud.domains("node-2", "--state-running") >= {found}
    cluster.annotate("instance", "lost", f"stratiform.dev/adopt={found}")
    status = cloud.await_instance("lost")
    assert status["uuid"] == found
    assert cloud.hosts_of(found) == ["node-2"]
    until(lambda: not listed(), why=lambda: cluster.story("host", "node-2"))
    cluster.remove("instance/lost")
    assert cloud.hosts_of(found) == []
    cluster.await_gone("volume", "lost-root")  # It was its machine's, so it is its own.
