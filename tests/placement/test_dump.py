"""A dump is read as the live cloud is: the same records, nothing written, and what cannot be read is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controllers.host import inventory
from controllers.logic.capacity import Taken, host_capacity
from controllers.placement import __main__ as command
from controllers.placement import dump, records, whatif
from crds.host import Foreign, HostStatus
from drivers.base import CPUFacts, HostFacts
from tests.engine.server import Server, write_kubeconfig
from tests.placement.test_whatif import cloud, host, instance, obj

GI = 2**30
FACTS = HostFacts(
    host="node-1", machine_id="11111111-1111-4111-8111-111111111111", hostname="n1", architecture="x86_64",
    hypervisor="Simulated", version="1", cpus=24, memory=77 * GI + 4096,
    cpu=CPUFacts(model="Skylake", vendor="Intel", features=("avx", "avx2")), cpu_models=("EPYC", "Skylake"),
    max_instance_cpus=12, firmware=("BIOS", "UEFI"), machine_types=("pc-q35-7.2",), foreign_cpus=3,
    foreign_memory=5 * GI + 1,
)  # fmt: skip


def as_shown(facts: HostFacts, **spec: Any) -> dict[str, Any]:
    """A Host whose status the Host kind made of these facts."""
    found = host("node-1", **spec)
    (parsed,) = dump.build([*cloud(), found]).cache.all("Host")[:1]
    above = dump.build(cloud()).cache.get("HostCluster", "", "sim-1")
    assert above is not None
    capacity = host_capacity(facts, parsed.spec, above.spec.overcommit, above.spec.limits, Taken()).shown()
    foreign = Foreign(instances=1, running=1, cpus=facts.foreign_cpus, memory=facts.foreign_memory)
    status = HostStatus.model_validate({**inventory(facts, None), "capacity": capacity, "foreign": foreign})
    told = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**found, "status": {**told, "conditions": found["status"]["conditions"]}}


@pytest.mark.parametrize(
    "cpu", [{"mode": "Baseline"}, {"mode": "Named", "model": "EPYC"}, {"mode": "Named", "model": "Opteron"}]
)
def test_a_host_of_a_dump_is_judged_by_the_record_that_the_live_one_gives(cpu: dict[str, str]) -> None:
    cluster = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "cpu": cpu}
    known = {"cpu": {"mode": "Baseline", "features": ["avx", "avx512"], "computedAt": "2026-11-25T10:00:00Z"}}
    snapshot = dump.build([*cloud(), obj("HostCluster", "sim-1", cluster, known), as_shown(FACTS)])
    found = snapshot.cache.get("Host", "", "node-1")
    assert found is not None and not found.problem
    live = records.host_record(snapshot.cache, found, FACTS, "", frozenset())
    assert live.max_guest_cpus == 12
    assert bool(live.cpu) == (cpu.get("model") != "EPYC")
    assert snapshot.planner.hosts.records[snapshot.planner.hosts.row("node-1")] == live


def off(name: str, declared: str, valid: str) -> dict[str, Any]:
    lost = host(name, outOfService={"declaredAt": declared})
    conditions = [
        {"type": "Ready", "status": "False", "reason": "OutOfService"},
        {"type": "OutOfService", "status": valid, "reason": "Declared"},
    ]
    return {**lost, "status": {**lost["status"], "conditions": conditions}}


@pytest.mark.parametrize(
    ("declared", "valid", "free"),
    [
        ("2026-11-24T10:00:00Z", "True", True),
        ("2026-11-24T10:00:00Z", "False", False),
        ("2026-11-20T10:00:00Z", "True", False),
    ],
)
def test_h1_what_was_on_a_host_out_of_service_counts_no_more(declared: str, valid: str, free: bool) -> None:
    away = [{"topology": "Host", "required": True, "instanceSelector": {"matchLabels": {"app": "web"}}}]
    held = instance("a", "node-1", antiAffinity=away)
    held["status"]["placement"]["decidedAt"] = "2026-11-23T10:00:00Z"
    snapshot = dump.build([*cloud(), off("node-1", declared, valid), held])
    assert snapshot.skipped == ()
    assert ("uid-a" not in snapshot.planner.claims) == free


def test_a_host_where_the_start_just_failed_is_avoided_as_long_as_the_status_says() -> None:
    until = "2999-01-01T00:00:00Z"
    failed = instance("a")
    failed["status"]["failedStarts"] = [{"host": "node-1", "at": "2026-11-23T10:00:00Z", "until": until}]
    (answer,) = whatif.waiting(dump.build([*cloud(), failed]))
    assert answer.host == "node-2"
    failed["status"]["failedStarts"] = [{**failed["status"]["failedStarts"][0], "until": "2026-11-23T10:00:08Z"}]
    (answer,) = whatif.waiting(dump.build([*cloud(), failed]))
    assert answer.host == "node-1"


# ------------------------------------------------------------ reading the API


async def test_the_live_api_is_read_page_by_page_and_nothing_else_is_asked(server: Server, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/hosts"):
            last = "continue" in request.query
            page = {"items": [host("node-2" if last else "node-1")], "metadata": {} if last else {"continue": "more"}}
            return web.json_response(page)
        return web.json_response({"items": []})

    server.answer = answer
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "t")
    found = await dump.fetch(tmp_path / "kubeconfig")
    assert [raw["metadata"]["name"] for raw in found] == ["node-1", "node-2"]
    assert {request.method for request in server.requests} == {"GET"}


async def test_no_write_of_what_if_is_ever_sent(server: Server, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "t")
    client = dump.reader(tmp_path / "kubeconfig")
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(AssertionError, match="writes nothing"):
            await client.send(verb, "/x", kind="Host", body={})
    await client.close()
    assert server.requests == []


# ------------------------------------------------------------ what the command refuses


@pytest.mark.parametrize(
    ("given", "asked", "told"),
    [
        ("[", ("room",), "cannot be answered: while parsing"),
        (None, ("room",), "No such file or directory"),
        ("{}", ("fit", "HERE"), "There is no Instance in"),
        ("{kind: Instance, metadata: {namespace: a}}", ("fit", "HERE"), "Instance a/None: KeyError 'name'"),
        ("{}", ("fit", "nowhere.yaml"), "No such file or directory: 'nowhere.yaml'"),
        ("{}", ("without", "--html", "x.html"), "name the hosts that would be gone"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    given: str | None, asked: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dump.yaml"
    if given is not None:
        file.write_text(given)
    words = [str(file) if word == "HERE" else word for word in asked]
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    source = file if asked == ("room",) else empty
    assert command.main(["--dump", str(source), *words], print) == 2
    assert told in capsys.readouterr().err


def test_without_a_way_to_the_api_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--kubeconfig", str(tmp_path / "nowhere"), "room"], print) == 2
    assert "nowhere: No such file" in capsys.readouterr().err


def test_what_could_not_be_read_is_told_beside_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"items": [*cloud(), {"kind": "Host", "metadata": {}}]}))
    assert command.main(["--dump", str(file), "room"], print) == 0
    assert "not read: Host None: KeyError 'name'" in capsys.readouterr().err


def test_a_manifest_made_from_what_is_there_counts_as_it_was_edited(tmp_path: Path) -> None:
    there = instance("a", "node-1", cpus=1)
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(instance("a", "node-1", cpus=9)))
    (asked,) = command.added(dump.build([*cloud(), there]), [file])
    assert asked.spec.resources.cpus == 9


def test_namespaces_and_their_labels_are_read() -> None:
    namespace = {"kind": "Namespace", "metadata": {"name": "team-a", "uid": "n", "labels": {"team": "x"}}}
    snapshot = dump.build([namespace, *cloud()])
    assert snapshot.skipped == () and snapshot.cache.namespace_labels("team-a") == {"team": "x"}
