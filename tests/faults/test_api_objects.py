"""Hands on the objects themselves: what people and other programs do to them while the operator works."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.cluster import until
from tests.engine.harness import Cluster as Fast
from tests.faults.apiworld import World, world
from tests.faults.declared import assert_as_declared
from tests.faults.proxy import Answer, LostAnswer, Silence, Slow
from tests.kinds.simcloud import SimCloud, managed

NIC = {"name": "lan", "networkRef": {"name": "lan"}}


@pytest.fixture(scope="module")
def shared_world(api_plane: ControlPlane, api_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    hurt = folder / "hurt"
    hurt.mkdir()
    with world(api_plane, api_state, folder, f"--folder={hurt}", "--page=500", module="tests.faults.hurt") as found:
        yield found


@pytest.fixture
def unchecked(api: World) -> Iterator[SimCloud]:
    """A namespace of the test's own that goes at its end, whatever is in it."""
    cloud = api.tenant()
    yield cloud
    api.kubectl.run("delete", "namespace", cloud.namespace, "--wait=false")


@pytest.fixture
def cloud(api: World) -> Iterator[SimCloud]:
    """A namespace of the test's own with a network; in the end what is left in it is as declared, and then goes."""
    cloud = api.tenant()
    yield cloud
    cloud.faults.release()
    assert_as_declared(cloud)
    api.kubectl.run("delete", "namespace", cloud.namespace, "--wait=false")


def test_an_object_whose_reconcile_always_raises_is_contained(api: World, cloud: SimCloud) -> None:
    cursed: Path = api.folder / "hurt" / "cursed"
    cursed.write_text("cursed")
    try:
        cloud.instance("cursed")
        cloud.api.await_condition("Instance", "cursed", "Synced", status="False", reason="InternalError")
        cloud.instance("other", wait=True)
        assert api.pod.metric("stratiform_bugs_total", kind="Instance") > 0
        before = api.pod.metric("stratiform_bugs_total", kind="Instance")
        time.sleep(3.0)  # What must not happen is a storm of tries.
        assert api.pod.metric("stratiform_bugs_total", kind="Instance") - before < 6
        assert api.pod.page("/livez")[0] == 200
    finally:
        cursed.unlink()
    cloud.api.await_condition("Instance", "cursed")


def test_an_object_edited_1000_times_in_a_row_is_reconciled_far_less_often(api: World, cloud: SimCloud) -> None:
    cloud.instance("web", wait=True)
    reconciles = api.pod.metric("stratiform_reconciles_total", kind="Instance")
    writes = api.pod.metric("stratiform_api_requests_total", kind="Instance", verb="PUT")

    async def edit() -> None:
        api_ = Fast(api.plane.kubeconfig)
        for n in range(1000):
            spec = {"spec": {"shutdown": {"gracePeriodSeconds": 30 + n % 7}}}
            await api_.patch("Instance", "web", spec, namespace=cloud.namespace)
        await api_.patch("Instance", "web", {"spec": {"runStrategy": "Halted"}}, namespace=cloud.namespace)
        await api_.close()

    asyncio.run(edit())
    cloud.api.await_condition("Instance", "web", reason="Stopped")
    assert cloud.api.get("Instance", "web")["metadata"]["generation"] > 1000  # type: ignore[index]
    assert api.pod.metric("stratiform_reconciles_total", kind="Instance") - reconciles < 2500
    assert api.pod.metric("stratiform_api_requests_total", kind="Instance", verb="PUT") - writes < 1100
    assert len([d for d in cloud.faults.domains() if d.uuid == cloud.status("Instance", "web")["uuid"]]) == 1


def test_every_status_wiped_by_hand_is_rebuilt_from_the_platform(api: World, cloud: SimCloud) -> None:  # M4, W2, D2
    cloud.instance("web", volumes=[managed("root"), managed("data")], networks=[NIC], wait=True)
    before = cloud.status("Instance", "web")
    disks = {name: cloud.disk(name) for name in ("web-root", "web-data")}
    for kind, name in (("Instance", "web"), ("Volume", "web-root"), ("Volume", "web-data")):
        cloud.wipe_status(kind, name)
    assert_as_declared(cloud)
    after = cloud.status("Instance", "web")
    assert [after[k] for k in ("uuid", "networks")] == [before[k] for k in ("uuid", "networks")]
    assert after["placement"]["host"] == before["placement"]["host"]
    assert {name: cloud.disk(name) for name in disks} == disks


def test_w2_a_status_wiped_while_its_host_is_unreachable_is_never_placed_a_second_time(
    api: World, cloud: SimCloud
) -> None:
    cloud.instance("web", networks=[NIC], wait=True)
    before = cloud.status("Instance", "web")
    host = before["placement"]["host"]
    cloud.faults.lose_host(host)
    cloud.api.await_condition("Host", host, status="False")
    cloud.wipe_status("Instance", "web")
    found = cloud.api.await_condition("Instance", "web", "Scheduled", status="Unknown", reason="LocationUnknown")
    assert host in found["message"]
    api.pod.restart()
    time.sleep(2.0)  # Time in which it could be placed elsewhere.
    assert cloud.faults.running(before["uuid"]) == (host,)
    cloud.faults.return_host(host)
    assert_as_declared(cloud)
    after = cloud.status("Instance", "web")
    assert (after["placement"]["host"], after["networks"]) == (host, before["networks"])


def test_n2_a_finalizer_removed_by_hand_leaves_an_orphan_that_is_reported_and_adopted(
    api: World, cloud: SimCloud
) -> None:
    cloud.instance("web", wait=True)
    uuid, host = cloud.status("Instance", "web")["uuid"], cloud.host_of("web")
    api.pod.stop()  # Else the deletion, which was asked for, would be done before the finalizer is away.
    _let_go(cloud, "Instance", "web")
    api.pod.start()
    until(lambda: any(o["uuid"] == uuid for o in cloud.status("Host", host).get("orphans", ())), 30.0)
    assert cloud.faults.running(uuid) == (host,)
    cloud.instance("web")
    assert uuid in cloud.message("Instance", "web", "OrphanExists")
    cloud.api.annotate("instance", "web", f"stratiform.dev/adopt={uuid}")
    cloud.api.await_condition("Instance", "web")
    assert cloud.status("Instance", "web")["uuid"] == uuid and cloud.faults.running(uuid) == (host,)


def test_deleted_while_it_is_being_created_it_leaves_nothing(api: World, cloud: SimCloud) -> None:
    for n in range(8):
        cloud.instance(f"brief-{n}", volumes=[managed("root"), managed("data")], networks=[NIC])
        time.sleep(n * 0.08)  # Each at another moment of its making.
        cloud.api.delete("instance", f"brief-{n}")
    for n in range(8):
        cloud.api.await_gone("Instance", f"brief-{n}")
    assert_as_declared(cloud)
    assert not [d for d in cloud.faults.domains() if d.title.startswith(f"{cloud.namespace}.")]


def test_a_volume_whose_creation_had_no_answer_goes_with_its_instance(api: World, cloud: SimCloud) -> None:
    """Made, the answer lost, and the instance deleted before the operator has heard of the volume otherwise."""
    watches, lists = r"/volumes\?.*watch=", r"/volumes\?(?!.*watch=)"
    with (
        api.proxy.during(Silence(), path=watches),
        api.proxy.during(Answer(503, "ServiceUnavailable"), path=lists, verb="GET"),
        api.proxy.during(LostAnswer(), path="/volumes$", verb="POST", times=1),
    ):
        cloud.instance("brief", volumes=[managed("root"), managed("data")])
        until(lambda: cloud.api.get("Volume", "brief-data"), 20.0)  # Made after root, whose answer was lost.
        cloud.api.delete("instance", "brief")
        cloud.api.await_gone("Instance", "brief")
    for name in ("brief-root", "brief-data"):
        cloud.api.await_gone("Volume", name)


def test_deleted_and_made_again_under_the_same_name_nothing_of_the_old_one_is_reused(
    api: World, cloud: SimCloud
) -> None:
    seen = []
    for _ in range(4):
        cloud.instance("web", networks=[NIC], wait=True)
        status = cloud.status("Instance", "web")
        seen.append((status["uuid"], status["networks"][0]["macAddress"], cloud.disk("web-root")))
        cloud.api.kubectl.run("delete", "instance", "web", "-n", cloud.namespace)
    for values in zip(*seen, strict=True):
        assert len(set(values)) == len(values)


def test_n2_made_again_under_its_name_unseen_the_new_one_does_not_take_the_old_ones_machine(
    api: World, unchecked: SimCloud
) -> None:
    """Let go, deleted and made again while no operator runs."""
    cloud = unchecked
    cloud.instance("web", wait=True)
    uuid = cloud.status("Instance", "web")["uuid"]
    api.pod.stop()
    _let_go(cloud, "Instance", "web")
    cloud.instance("web")
    api.pod.start()
    assert uuid in cloud.message("Instance", "web", "OrphanExists")
    assert len(cloud.faults.running(uuid)) == 1
    cloud.api.annotate("instance", "web", f"stratiform.dev/adopt={uuid}")
    cloud.api.await_condition("Instance", "web")
    assert_as_declared(cloud)
    assert len(cloud.faults.running(uuid)) == 1


def test_a_spec_changed_in_the_middle_of_an_operation_ends_as_it_was_declared_last(api: World, cloud: SimCloud) -> None:
    cloud.faults.slow(0.3)
    cloud.started_again.add("web")
    cloud.instance("web", volumes=[managed("root"), managed("data")], networks=[NIC])
    for n, spec in enumerate(
        (
            {"runStrategy": "Halted"},
            {"runStrategy": "Always", "resources": {"cpus": 2, "memory": "1Gi"}},
            {"volumes": [managed("root")]},
            {"volumes": [managed("root"), managed("more")], "networks": []},
            {"runStrategy": "Halted", "resources": {"cpus": 3, "memory": "2Gi"}},
            {"runStrategy": "Always", "networks": [NIC]},
        )
    ):
        time.sleep(0.25 + 0.2 * n)  # Each in the middle of what the one before began.
        cloud.api.patch("Instance", "web", spec)
    cloud.faults.release()
    assert_as_declared(cloud)


def test_a_namespace_that_is_deleted_goes_and_takes_nothing_else_with_it(api: World, cloud: SimCloud) -> None:
    doomed = api.tenant()
    for n in range(3):
        doomed.instance(f"web-{n}", volumes=[managed("root"), managed("data")], networks=[NIC], wait=n == 2)
    doomed.volume("loose")
    cloud.instance("stays", wait=True)
    api.kubectl.run("delete", "namespace", doomed.namespace, "--wait=false")
    until(lambda: not api.kubectl.attempt("get", "namespace", doomed.namespace).stdout, 60.0, every=0.5)
    assert not [d for d in cloud.faults.domains() if d.title.startswith(f"{doomed.namespace}.")]
    until(lambda: not [d for d in cloud.disks().values() if f'"{doomed.namespace}"' in d.mark], 10.0)


def many_instances(api: World, count: int) -> None:
    """So many are there, halted, when the operator starts; work goes on meanwhile, and a second start only reads."""
    cloud, patience = api.tenant(), 60.0 + count / 10
    api.pod.stop()
    fast = "--request-timeout=20"
    api.pod.arguments = [*[a for a in api.pod.arguments if a != fast], fast]
    resources = {"cpus": 1, "memory": "1Gi"}
    spec = {"zoneRef": {"name": cloud.zone}, "runStrategy": "Halted", "resources": resources}

    async def create() -> None:
        api_ = Fast(api.plane.kubeconfig)
        todo = iter(range(count))

        async def some() -> None:
            for n in todo:
                await api_.create("Instance", f"many-{n:05d}", spec, namespace=cloud.namespace)

        await asyncio.gather(*(some() for _ in range(32)))
        await api_.close()

    asyncio.run(create())
    api.pod.start(wait=False)
    api.pod.until_ready(patience)
    api.traffic()
    api.settle(patience)
    where = ("get", "instances.stratiform.dev", "-n", cloud.namespace)

    def ready() -> bool:
        jsonpath = "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].reason}"
        return api.kubectl.run(*where, jsonpath).split().count("Stopped") == count

    until(ready, patience, every=2.0)
    api.pod.restart(wait=False)
    api.pod.until_ready(patience)
    until(lambda: api.pod.metric("stratiform_reconciles_total", kind="Instance") >= count, patience)
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.pod.metric("stratiform_api_requests_total", kind="Instance", verb=verb) == 0.0
    api.kubectl.run("delete", "namespace", cloud.namespace, "--wait=false")
    until(lambda: not api.kubectl.run(*where, "-o", "name", "--ignore-not-found"), patience, every=2.0)


def test_500_instances_at_start_are_taken_in_and_a_restart_only_reads(api: World) -> None:
    """5,000 of them in the long tests."""
    many_instances(api, 500)


def test_d4_a_template_that_goes_while_its_last_clone_is_going_leaves_no_image(api: World, cloud: SimCloud) -> None:
    """The Volume has looked whether its image is needed still, and until it is gone it is on record as attached."""
    cloud.api.apply(cloud.store_manifest(cloud.store))
    cloud.template()
    cloud.instance("web", volumes=[managed("root", templateRef={"name": "tiny"})], wait=True)
    held = api.proxy.add(Slow(2.0), verb="PATCH", path="/volumes/web-root", times=1)
    cloud.api.delete("Instance", "web")
    until(lambda: held.hits)
    cloud.api.delete("Template", "tiny")
    cloud.api.await_gone("Template", "tiny")
    cloud.api.await_gone("Volume", "web-root")
    assert [d.mark for d in cloud.disks().values() if cloud.namespace in d.mark] == []


def _let_go(cloud: SimCloud, kind: str, name: str) -> None:
    """Delete it and take its finalizer away by hand."""
    cloud.api.delete(kind, name)
    patch = json.dumps({"metadata": {"finalizers": None}})
    cloud.api.kubectl.attempt("patch", kind, name, "-n", cloud.namespace, "--type=merge", "-p", patch)
    until(lambda: cloud.api.get(kind, name) is None)
