"""What happens to the watch and to what it missed: Kopf that ends, an API server that restarts, a wire that is cut."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from kopf._cogs.clients import api as kopf_api

from controllers import metrics
from controllers.engine.base import Key
from controllers.engine.queue import Priority
from controllers.engine.relist import Relist
from lab.controlplane import ControlPlane
from tests.engine.harness import FAST, Cluster, running, until
from tests.engine.proxy import Wire
from tests.engine.recorders import Widgets, only

#: The Lease outlives the outages of these tests.
PATIENT = replace(FAST, lease_duration=60.0, lease_margin=2.0)


@pytest.fixture
async def wire(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Wire]:
    async with Wire(cluster.kubeconfig, tmp_path) as wire:
        yield wire


async def make(cluster: Cluster, *names: str) -> None:
    await asyncio.gather(*(cluster.create("Widget", name, {}, namespace="team-a") for name in names))


async def ready(cluster: Cluster, name: str, deadline: float = 20.0) -> None:
    await cluster.until_condition("Widget", name, "Ready", "True", namespace="team-a", deadline=deadline)


async def test_when_kopf_ends_it_is_started_again_and_neither_queue_nor_tasks_are_lost(cluster: Cluster) -> None:
    widgets = Widgets()
    async with running(cluster, only(widgets)) as engine:
        await make(cluster, "one")
        await ready(cluster, "one")
        engine.queue.add_after(Key("Widget", "team-a", "one"), 1.0, Priority.RESYNC)
        before, seen = engine.watch.starts, widgets.seen["one"]
        engine.watch.restart()
        await until(lambda: engine.watch.starts > before)
        await until(lambda: widgets.seen["one"] > seen, what="what was queued")
        await make(cluster, "two")
        await ready(cluster, "two")
        assert engine.lease.holds()


async def test_each_watch_goes_on_from_a_list_of_ours(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seams in Kopf hold (controllers/engine/kopf_seams.py)."""
    begun: Counter[str] = Counter()
    begin = Relist.begin_watch

    async def noted(relist: Relist, kind: str) -> str:
        version = await begin(relist, kind)
        begun[kind] += 1
        return version

    monkeypatch.setattr(Relist, "begin_watch", noted)
    async with running(cluster, only(Widgets())) as engine:
        await until(lambda: set(begun) == {*cluster.kinds, "Namespace"}, what="every kind is watched")
        lines: list[bytes] = []
        assert kopf_api.json is orjson
        reader = SimpleNamespace(loads=lambda line: lines.append(line) or orjson.loads(line))
        monkeypatch.setattr(kopf_api, "json", reader)
        seen = engine.intake.events
        await make(cluster, "one")
        await until(lambda: engine.intake.events > seen, what="its event")
        assert lines
        assert set(begun.values()) == {1}


async def test_an_end_amid_a_flood_of_events_leaves_no_worker_of_kopfs_unawaited(
    cluster: Cluster, recwarn: pytest.WarningsRecorder
) -> None:
    widgets = Widgets()
    for turn in range(3):
        async with running(cluster, only(widgets)) as engine:
            await make(cluster, *(f"w{turn}-{n}" for n in range(60)))
            await until(lambda engine=engine: engine.intake.events > 0)
            engine.watch.restart()
            await until(lambda engine=engine: engine.watch.starts > 1)
    assert [str(w.message) for w in recwarn if "never awaited" in str(w.message)] == []


async def test_a_kopf_that_ends_by_itself_is_started_again(cluster: Cluster, plane: ControlPlane) -> None:
    """It ends when a watch is forbidden; here its rights go for a moment and come back."""
    account = Cluster(plane.operator_kubeconfig, cluster.kinds)
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "t-engine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "stratiform", "namespace": "stratiform-system"}],
    }
    await cluster.client.post(path, binding, kind="other")
    await until(lambda: account._served("/api/v1/namespaces"))
    try:
        async with running(account, only(Widgets()), settings=PATIENT, watch_server_timeout=1) as engine:
            await until(lambda: engine.watch.starts == 1)
            await make(cluster, "one")
            await ready(cluster, "one")
            await cluster.client.delete(f"{path}/t-engine", {}, kind="other")
            await until(lambda: engine.watch.starts > 1, 40.0, what="Kopf ended")
            await make(cluster, "two")
            await cluster.client.post(path, binding, kind="other")
            await ready(cluster, "two")
    finally:
        await cluster.client.delete(f"{path}/t-engine", {}, kind="other")
        await account.close()


async def test_a_kopf_that_cannot_log_in_is_tried_again(cluster: Cluster, wire: Wire) -> None:
    async with running(cluster, only(Widgets()), settings=PATIENT, kubeconfig=wire.kubeconfig) as engine:
        await wire.cut()
        engine.watch.restart()
        before = engine.watch.starts
        await until(lambda: engine.watch.starts > before)
        await wire.mend()
        await make(cluster, "one")
        await ready(cluster, "one")


async def test_objects_that_vanished_while_the_watch_was_down_are_found_gone(
    cluster: Cluster, wire: Wire, plane: ControlPlane
) -> None:
    names = [f"w{number}" for number in range(30)]
    async with running(cluster, only(Widgets()), settings=PATIENT, kubeconfig=wire.kubeconfig) as engine:
        await make(cluster, "stays", *names)
        await until(lambda: sum(obj.is_true("Ready") for obj in engine.cache.all("Widget")) == 31)
        await wire.cut()
        await asyncio.gather(*(cluster.delete("Widget", name, namespace="team-a") for name in names))
        # After this the API server does not know any more what the watch has missed.
        await asyncio.to_thread(plane.kill_apiserver)
        await asyncio.to_thread(plane.start_apiserver)
        repaired = metrics.REPAIRS.labels("Widget", "gone")
        before = repaired._value.get()
        await wire.mend()
        await until(lambda: len(list(engine.cache.all("Widget"))) == 1, 20.0, what="the gone are found")
        assert repaired._value.get() == before + 30, "Kopf told of none of them"
        await make(cluster, "new")
        await ready(cluster, "new")


async def test_after_a_restart_of_the_api_server_it_goes_on(cluster: Cluster, plane: ControlPlane) -> None:
    widgets = Widgets()
    async with running(cluster, only(widgets), settings=PATIENT) as engine:
        await make(cluster, "one")
        await ready(cluster, "one")
        await asyncio.to_thread(plane.outage, 0.3)
        await cluster.patch("Widget", "one", {"spec": {"size": 5}}, namespace="team-a")

        async def followed() -> bool:
            return bool((await cluster.get("Widget", "one", namespace="team-a") or {})["status"].get("made") == 5)

        await until(followed, 20.0)
        assert engine.lease.holds()


async def test_a_relist_finds_what_is_new_changed_gone_or_another_by_now(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())) as engine:
        await make(cluster, "changed", "gone", "replaced")
        await until(lambda: len(list(engine.cache.all("Widget"))) == 3)
        await engine.watch.stop()
        replaced = engine.cache.get("Widget", "team-a", "replaced")
        await make(cluster, "new")
        await cluster.patch("Widget", "changed", {"spec": {"size": 5}}, namespace="team-a")
        await cluster.delete("Widget", "gone", namespace="team-a")
        await cluster.delete("Widget", "replaced", namespace="team-a")
        await make(cluster, "replaced")
        await cluster.namespace("team-late", {"tier": "gold"})
        await engine.relist.repair_all()
        found = {obj.name: obj for obj in engine.cache.all("Widget")}
        assert sorted(found) == ["changed", "new", "replaced"]
        assert found["changed"].spec.size == 5
        assert replaced is not None
        assert found["replaced"].uid != replaced.uid
        assert (engine.cache.namespace_labels("team-late") or {})["tier"] == "gold"
        await ready(cluster, "new")


async def test_a_relist_goes_page_by_page(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets()), page=3) as engine:
        await engine.watch.stop()
        await make(cluster, *(f"w{number}" for number in range(10)))
        await engine.relist.repair("Widget")
        assert len(list(engine.cache.all("Widget"))) == 10


async def test_nothing_is_reconciled_before_every_kind_was_listed(cluster: Cluster) -> None:
    counted: list[int] = []

    async def count(turn: object) -> None:
        counted.append(len(list(widgets.services.cache.all("Widget"))))

    await make(cluster, *(f"w{number}" for number in range(25)))
    widgets = Widgets(count)
    async with running(cluster, only(widgets), page=2):
        await until(lambda: len(counted) >= 25)
    assert set(counted) == {25}


async def test_labels_of_namespaces_are_known_and_their_change_is_seen(cluster: Cluster) -> None:
    await cluster.namespace("team-b", {"tier": "gold"})
    async with running(cluster, only(Widgets())) as engine:
        assert (engine.cache.namespace_labels("team-b") or {}).get("tier") == "gold"
        path = "/api/v1/namespaces/team-b"
        await cluster.client.patch(path, {"metadata": {"labels": {"tier": "silver"}}}, kind="Namespace")
        await until(lambda: (engine.cache.namespace_labels("team-b") or {}).get("tier") == "silver")
        await cluster.client.patch(path, {"metadata": {"labels": {"tier": "gold"}}}, kind="Namespace")
        assert engine.cache.namespace_labels("nowhere") is None
