"""What kinds may ask of the API server besides their own status."""

import base64

import pytest

from controllers.engine.base import Conflict, Refused
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Widgets, only


async def secret(cluster: Cluster, namespace: str, name: str, labels: dict[str, str]) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": {"tls.key": base64.b64encode(b"hunter2").decode()},
    }
    await cluster._create_if_missing(f"/api/v1/namespaces/{namespace}/secrets", body)


async def test_of_the_operators_own_secrets_only_labelled_ones_are_read(cluster: Cluster) -> None:
    await secret(cluster, "stratiform-system", "good", {"stratiform.dev/credential": "true"})
    await secret(cluster, "stratiform-system", "bad", {})
    await secret(cluster, "team-a", "userdata", {})
    async with running(cluster, only(Widgets())) as engine:
        assert await engine.api.secret("stratiform-system", "good") == {"tls.key": b"hunter2"}
        assert await engine.api.secret("team-a", "userdata") == {"tls.key": b"hunter2"}
        assert await engine.api.secret("team-a", "absent") is None
        with pytest.raises(Refused, match="kubectl -n stratiform-system label secret bad") as refused:
            await engine.api.secret("stratiform-system", "bad")
        assert refused.value.reason == "CredentialNotLabelled"


async def test_what_we_create_is_known_at_once_and_a_name_is_taken_once(cluster: Cluster) -> None:
    widgets = Widgets()
    async with running(cluster, only(widgets)) as engine:
        body = {"metadata": {"name": "one"}, "spec": {"size": 5}}
        made = await engine.api.create("Widget", "team-a", body)
        assert made is not None
        found = engine.cache.get("Widget", "team-a", "one")
        assert found is not None
        assert found.spec.size == 5
        assert await engine.api.create("Widget", "team-a", body) is None
        await until(lambda: widgets.seen["one"], what="it is reconciled")


async def test_a_deletion_spares_a_namesake(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())) as engine:
        body = await cluster.create("Widget", "one", {}, namespace="team-a")
        with pytest.raises(Conflict):  # The caller looked at a cache that is behind: it shall decide again.
            await engine.api.delete("Widget", "team-a", "one", "11111111-2222-3333-4444-555555555555")
        assert await engine.api.get_live("Widget", "team-a", "one") is not None
        await engine.api.delete("Widget", "team-a", "one", body["metadata"]["uid"])
        assert await engine.api.get_live("Widget", "team-a", "one") is None
        await engine.api.delete("Widget", "team-a", "one", body["metadata"]["uid"])


async def test_crds_are_read_live(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())) as engine:
        assert not await engine.api.crd_going("Widget")
        assert not await engine.api.crd_orphans("Widget")


async def test_in_a_namespace_that_goes_the_event_is_about_the_namespace(cluster: Cluster) -> None:
    class Protected(Widgets):
        async def reconcile(self, turn: object) -> None:
            obj = turn.obj  # type: ignore[attr-defined]
            if obj.deleting:
                raise Refused(
                    "DeletionProtected", "spec.deletionProtection is true: set it to false.", type_="Deleting"
                )
            await turn.ensure_finalizer()  # type: ignore[attr-defined]
            turn.conditions.set("Ready", "True", "Made")  # type: ignore[attr-defined]

    await cluster.namespace("team-gone")
    async with running(cluster, only(Protected())):
        await cluster.create("Widget", "stays", {}, namespace="team-gone")
        await cluster.until_condition("Widget", "stays", "Ready", "True", namespace="team-gone")
        await cluster.client.delete("/api/v1/namespaces/team-gone", {}, kind="Namespace")

        async def told() -> list[dict[str, object]]:
            # What was said of it before may come late, and is about the namespace too then.
            return [e for e in await cluster.events("team-gone") if "deletionProtection" in e["note"]]

        found = await until(told)
    assert found[0]["regarding"]["kind"] == "Namespace"
    assert found[0]["note"] == "Widget stays: spec.deletionProtection is true: set it to false."
    await cluster.patch("Widget", "stays", {"metadata": {"finalizers": None}}, namespace="team-gone")
