"""What-if on a dump: fits, counts, lost hosts, what blocks; and the dump is as it was afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.placement import __main__ as command
from controllers.placement import dump, whatif
from crds.base import API_VERSION

GI = 2**30


def obj(
    kind: str,
    name: str,
    spec: dict[str, Any],
    status: dict[str, Any] | None = None,
    namespace: str = "",
    **metadata: Any,
) -> dict[str, Any]:
    given = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "generation": 1, **metadata}
    if namespace:
        given["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": given, "spec": spec, "status": status or {}}


def host(name: str, cpus: int = 8, **spec: Any) -> dict[str, Any]:
    amounts = {"total": cpus, "allocatable": cpus, "allocated": 0, "used": 0}
    memory = {"total": "32Gi", "allocatable": "31Gi", "allocated": "0", "used": "0"}
    status = {
        "capacity": {"cpus": amounts, "memory": memory}, "firmwares": ["BIOS"], "hypervisor": "Simulated",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
    }  # fmt: skip
    connection = {"type": "Simulated", "simulated": {"cpus": cpus, "memory": "32Gi"}}
    return obj("Host", name, {"hostClusterRef": {"name": "sim-1"}, "connection": connection, **spec}, status)


def instance(name: str, on: str = "", cpus: int = 4, **placement: Any) -> dict[str, Any]:
    status: dict[str, Any] = {}
    if on:
        status = {
            "placement": {"host": on, "sequence": 1}, "resources": {"cpus": cpus, "memory": "1Gi", "overhead": "0"},
            "lastRun": {"startedAt": "2026-11-23T10:00:00Z"},
        }  # fmt: skip
    spec = {
        "zoneRef": {"name": "zone-1"},
        "resources": {"cpus": cpus, "memory": "1Gi"},
        "runStrategy": "Always",
        "placement": placement,
    }
    return obj(
        "Instance", name, spec, status, "team-a", labels={"app": "web"}, creationTimestamp="2026-11-23T09:00:00Z"
    )


def cloud(*more: dict[str, Any]) -> list[dict[str, Any]]:
    limits = {"cpuPercent": 100, "memoryPercent": 100}
    return [
        obj("Zone", "zone-1", {"regionRef": {"name": "default"}}),
        obj("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}}),
        obj("HostCluster", "sim-1", {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "limits": limits}),
        obj("InstanceType", "small", {"cpus": 2, "memory": "1Gi"}),
        host("node-1"), host("node-2"), *more,
    ]  # fmt: skip


def test_a_dump_is_the_cloud_that_its_statuses_show() -> None:
    snapshot = dump.build(cloud(instance("a", "node-1")))
    hosts = snapshot.planner.hosts
    assert [int(hosts.free_cpus[hosts.row(name)]) for name in ("node-1", "node-2")] == [4, 8]
    assert snapshot.skipped == ()


def test_each_is_judged_as_if_those_before_it_were_there() -> None:
    snapshot = dump.build(cloud(*(instance(name) for name in "abcde")))
    answers = whatif.fit(snapshot, [snapshot.cache.get("Instance", "team-a", n) for n in "abcde"])  # type: ignore[misc]
    assert sorted(a.host for a in answers) == ["", "node-1", "node-1", "node-2", "node-2"]
    assert "needs 4 CPUs, 0 free" in answers[-1].why
    assert snapshot.planner.claims == {}


def test_how_many_of_these() -> None:
    snapshot = dump.build(cloud(instance("a", cpus=3)))
    found = snapshot.cache.get("Instance", "team-a", "a")
    assert found is not None
    number, hosts, why = whatif.how_many(snapshot, found)
    assert (number, dict(hosts)) == (4, {"node-1": 2, "node-2": 2})
    assert why.startswith("0 of 2 hosts fit")
    assert whatif.room(snapshot) == {"small": {"sim-1": 8}}


def test_what_if_a_host_were_gone() -> None:
    snapshot = dump.build(cloud(instance("a", "node-1"), instance("b", "node-1"), instance("c", "node-2", cpus=1)))
    found = whatif.without(snapshot, ["node-1"])
    assert [a.instance for a in found.homeless] == ["team-a/b"] or [a.instance for a in found.homeless] == ["team-a/a"]
    assert [(a.was, a.host) for a in found.moved] == [("node-1", "node-2")]
    assert [w.holds for w in whatif.each_without(snapshot)] == [False, False]
    hosts = snapshot.planner.hosts
    assert [int(hosts.free_cpus[hosts.row(name)]) for name in ("node-1", "node-2")] == [0, 7]


def test_what_blocks() -> None:
    snapshot = dump.build(cloud(host("node-3", maintenance=True), instance("big", cpus=16)))
    assert [(b.host, b.why) for b in whatif.blocks(snapshot)] == [("node-3", "Closed: is in maintenance")]
    (waits,) = whatif.waiting(snapshot)
    assert waits.instance == "team-a/big"
    assert "node-3 is in maintenance" in waits.why


def test_one_that_may_not_start_where_it_was_waits_too() -> None:
    stopped = instance("stopped", "node-1", cpus=8)
    stopped["status"] |= {
        "lastRun": {"startedAt": "2026-11-23T10:00:00Z", "endedAt": "2026-11-23T11:00:00Z", "reason": "GuestShutdown"},
        "conditions": [{"type": "Scheduled", "status": "False", "reason": "NoHostFits"}],
    }
    stopped["spec"]["runStrategy"] = "RerunOnFailure"
    snapshot = dump.build(cloud(stopped, instance("a", "node-1"), instance("b", "node-2")))
    (waits,) = whatif.waiting(snapshot)
    assert (waits.instance, waits.host) == ("team-a/stopped", "") and "needs 8 CPUs, 4 free" in waits.why


def test_one_that_does_not_want_to_run_waits_for_nothing() -> None:
    halted, manual = instance("halted", cpus=99), instance("manual", cpus=99)
    halted["spec"]["runStrategy"], manual["spec"]["runStrategy"] = "Halted", "Manual"
    manual["status"]["conditions"] = [{"type": "Scheduled", "status": "Unknown", "reason": "NotStarted"}]
    assert whatif.waiting(dump.build(cloud(halted, manual))) == []


def run(tmp_path: Path, *asked: str) -> tuple[int, str]:
    file = tmp_path / "dump.yaml"
    file.write_text(yaml.safe_dump({"kind": "List", "items": cloud(instance("a", "node-1"))}))
    printed: list[str] = []
    return command.main(["--dump", str(file), *asked], printed.append), "\n".join(printed)


def test_the_command_answers_in_tables_and_json(tmp_path: Path) -> None:
    manifest = tmp_path / "new.yaml"
    manifest.write_text(yaml.safe_dump_all([instance("new", cpus=2), instance("huge", cpus=99)]))
    code, text = run(tmp_path, "fit", str(manifest))
    assert code == command.NO
    assert "team-a/new" in text and "team-a/huge" in text
    code, text = run(tmp_path, "-o", "json", "without", "node-1")
    assert code == 0
    assert json.loads(text)[0]["moved"][0]["host"] == "node-2"
    code, text = run(tmp_path, "room")
    assert (code, text.split()) == (0, ["INSTANCETYPE", "CLUSTER", "MORE", "small", "sim-1", "6"])


def test_the_map_is_bars_and_one_html_file(tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    code, text = run(tmp_path, "map", "--html", str(page))
    assert code == 0
    assert "node-1  cpu ██████████··········  50%" in text
    assert page.read_text().count("<a style") == 2


def test_the_heat_map_of_what_would_be_without_a_host(tmp_path: Path) -> None:
    page = tmp_path / "without.html"
    assert run(tmp_path, "without", "node-1", "--html", str(page))[0] == 0
    text = page.read_text()
    assert "Without node-1" in text and "node-2: CPU 50%" in text and "node-1: " not in text
    assert run(tmp_path, "without", "--html", str(page))[0] == 2


def test_a_question_that_makes_no_sense_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "without", "node-9")[0] == 2
    assert "There is no Host node-9; there are node-1, node-2." in capsys.readouterr().err
