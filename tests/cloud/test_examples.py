"""What the README promises: the examples, applied last file first, become a cloud with a guest that answers."""

from typing import Any

from lab import guests, progress
from tests.cloud.cloud import BOOT, Cloud, columns
from tests.cluster import until


def test_applied_in_reverse_order_everything_becomes_ready(cloud: Cloud) -> None:
    kubectl = cloud.cluster.kubectl
    wanted = progress.names(kubectl, cloud.folder)

    def waiting() -> list[progress.View]:
        views = {view.name: view for item in kubectl.objects(progress.KINDS, "-A") for view in [progress.view(item)]}
        return [views[name] for name in wanted if views[name].ready != "True" or not views[name].current]

    until(lambda: not waiting(), BOOT, every=0.5, why=lambda: "\n".join(f"{v.line} {v.message}" for v in waiting()))


def test_the_console_shows_the_boot_and_the_host_name_from_cloud_init(cloud: Cloud) -> None:
    def console() -> str:
        text = cloud.console("web-1")
        return text if "ready web-1" in text else ""

    assert "boots=1" in until(console, BOOT, why=lambda: cloud.console("web-1"))


def test_the_guest_answers_at_the_address_in_the_table(cloud: Cloud) -> None:
    assert guests.answer(cloud.address("web-1"), BOOT) == "web-1"


def test_a_second_apply_changes_nothing_and_diff_is_empty(cloud: Cloud) -> None:
    kubectl = cloud.cluster.kubectl
    said = kubectl.run("apply", "-f", str(cloud.folder)).splitlines()
    assert [line for line in said if not line.endswith(" unchanged")] == []
    diff = kubectl.attempt("diff", "-f", str(cloud.folder))
    assert (diff.returncode, diff.stdout) == (0, "")


def test_the_tables_have_the_columns_that_people_know(cloud: Cloud) -> None:
    kubectl = cloud.cluster.kubectl
    table = kubectl.run("get", "inst", "-A")
    assert columns(table) == ["NAMESPACE", "NAME", "TYPE", "STATE", "HOST", "ADDRESS", "READY", "REASON", "AGE"]
    row = next(line.split() for line in table.splitlines() if line.split()[:2] == ["team-a", "web-1"])
    assert row[:4] == ["team-a", "web-1", "small", "Running"]
    assert row[4].startswith("node-")
    assert row[5].startswith(cloud.machines.guest_prefix)
    assert row[6:8] == ["True", "Running"]
    hosts = kubectl.run("get", "hst")
    assert columns(hosts) == ["NAME", "CLUSTER", "STATE", "CPUS", "MEMORY", "INSTANCES", "READY", "REASON", "AGE"]
    assert hosts.splitlines()[1].split()[:3] == ["node-1", "kvm-1", "Up"]


def test_capacity_is_rolled_up_to_the_zone(cloud: Cloud) -> None:
    def counted() -> dict[str, Any] | None:
        found = (cloud.cluster.get("zone", "zone-1") or {}).get("status", {})
        return found if found.get("instances") == 1 and found.get("hosts", {}).get("total") == 3 else None

    capacity = until(counted, why=lambda: cloud.cluster.story("zone", "zone-1"))["capacity"]
    hosts = [cloud.cluster.get("host", h.name) or {} for h in cloud.machines.hosts]
    assert sum(int(h["status"]["capacity"]["cpus"]["total"]) for h in hosts) == int(capacity["cpus"]["total"])
    assert int(capacity["cpus"]["allocated"]) == 1
