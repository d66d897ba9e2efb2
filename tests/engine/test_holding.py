"""Objects on which nothing is done, and why they say so: the CRD goes (N4), a field is not honoured, a spec is odd."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crds.base import ALLOW_DELETION, FINALIZER
from crds.kinds import KINDS as ALL_KINDS
from crds.schema import custom_resource_definition
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Widgets, only
from tests.engine.widgets import crds

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.stratiform.dev"


@pytest.fixture
async def passing_crd(cluster: Cluster) -> AsyncIterator[None]:
    """The Widgets' CRD may be deleted in this test; it is there again for the next one."""
    yield
    for widget in await _widgets(cluster):
        await cluster.patch("Widget", widget, {"metadata": {"finalizers": None}}, namespace="team-a")

    async def gone() -> bool:
        try:
            return not (await cluster.client.get(CRD, kind="crd"))["metadata"].get("deletionTimestamp")
        except Exception as error:
            return getattr(error, "status", 0) == 404

    await until(gone, 30.0)
    await cluster.install(crds())


async def _widgets(cluster: Cluster) -> list[str]:
    try:
        return [item["metadata"]["name"] for item in await cluster.all("Widget")]
    except Exception as error:
        assert getattr(error, "status", 0) == 404
        return []


async def ready(cluster: Cluster) -> None:
    await cluster.until_condition("Widget", "one", "Ready", "True", namespace="team-a")


async def test_n4_while_its_crd_goes_an_object_is_held_until_the_crd_says_orphan_and_nothing_is_destroyed(
    cluster: Cluster, passing_crd: None
) -> None:
    widgets = Widgets(finalizer=True)
    async with running(cluster, only(widgets), resync=0.5):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await ready(cluster)
        await cluster.client.delete(CRD, {}, kind="crd")
        held = await cluster.until_condition(
            "Widget", "one", "Deleting", "True", "CRDTerminating", namespace="team-a", deadline=20.0
        )
        assert "stratiform.dev/allow-deletion=orphan" in held["message"]
        live = await cluster.get("Widget", "one", namespace="team-a") or {}
        assert live["metadata"]["finalizers"] == [FINALIZER]
        await cluster.client.patch(CRD, {"metadata": {"annotations": {ALLOW_DELETION: "orphan"}}}, kind="crd")

        async def gone() -> bool:
            return not await _widgets(cluster)

        await until(gone, 20.0)
    assert widgets.released == []


async def test_a_deletion_with_the_crd_in_place_goes_its_way(cluster: Cluster) -> None:
    widgets = Widgets(finalizer=True)
    async with running(cluster, only(widgets)):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await ready(cluster)
        await cluster.delete("Widget", "one", namespace="team-a")
        await until(lambda: widgets.released == ["one"])


async def test_a_field_that_is_not_honoured_is_named_and_the_kind_never_sees_the_object(cluster: Cluster) -> None:
    kinds = {"Snapshot": ALL_KINDS["Snapshot"]}
    real = Cluster(cluster.kubeconfig, kinds)

    class Snapshots(Widgets):
        kind = "Snapshot"
        indexes: Any = {}

        def references(self, obj: Any) -> Any:
            return []

    snapshots = Snapshots()
    await real.install([custom_resource_definition(kinds["Snapshot"])])
    await real.wipe()
    async with running(real, only(snapshots)):
        source = {"type": "Volume", "volumeRef": {"name": "web-data"}}
        await real.create("Snapshot", "one", {"source": source, "imageStoreRef": {"name": "i"}}, namespace="team-a")
        no = await real.until_condition("Snapshot", "one", "Ready", "False", "Unsupported", namespace="team-a")
        assert no["message"].startswith("spec")
        await real.until_condition("Snapshot", "one", "Stalled", "True", "Unsupported", namespace="team-a")
    assert not snapshots.seen
    await real.wipe()
    await real.close()


async def test_a_spec_that_this_version_cannot_read_is_said_to_be_so(cluster: Cluster) -> None:
    """A newer version's schema allows what our model does not."""
    for crd in crds():
        if crd["metadata"]["name"] == "widgets.stratiform.dev":
            properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            properties["spec"]["properties"]["size"] = {"x-kubernetes-int-or-string": True}
            await cluster.client.patch(CRD, {"spec": crd["spec"]}, kind="crd")
    widgets = Widgets()
    try:
        async with running(cluster, only(widgets)):

            async def accepted() -> bool:
                try:
                    await cluster.create("Widget", "one", {"size": "vast"}, namespace="team-a")
                except Exception:
                    return False
                return True

            await until(accepted)
            no = await cluster.until_condition("Widget", "one", "Ready", "False", "SpecUnreadable", namespace="team-a")
            assert "size" in no["message"]
            await cluster.create("Widget", "two", {"size": 1}, namespace="team-a")
            await cluster.until_condition("Widget", "two", "Ready", "True", namespace="team-a")
        assert "one" not in widgets.seen
    finally:
        await cluster.wipe()
        for crd in crds():
            if crd["metadata"]["name"] == "widgets.stratiform.dev":
                await cluster.client.patch(CRD, {"spec": crd["spec"]}, kind="crd")
