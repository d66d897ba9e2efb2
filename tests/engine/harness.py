"""An engine in the test's own loop against a real API server, and what tests need to look at both.

Used by tests/engine and by every test that runs reconcilers (tests/kinds, tests/conftest.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from controllers.config import Settings
from controllers.engine.base import ApiError, Reconciler, Services
from controllers.engine.client import Client, path_of
from controllers.engine.credentials import CredentialSource
from controllers.engine.engine import Component, Engine
from crds.base import API_VERSION, GROUP, Kind
from crds.kinds import KINDS

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

#: Everything scaled down; no kernel timer, because it would kill the test runner.
FAST = Settings(
    namespace="stratiform-system",
    lease_duration=3.0,
    lease_renew=0.3,
    lease_margin=0.6,
    kernel_timer=False,
    resync=60.0,
    relist=60.0,
    relist_delay=0.3,
    roll_up=0.5,
    backoff_first=0.1,
    backoff_most=1.0,
    request_timeout=5.0,
    watch_backoff_most=1.0,
    lane_hang=2.0,
    health_port=0,
)


_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{FAST.namespace}/leases"


async def until(
    predicate: Callable[[], Any] | Callable[[], Awaitable[Any]], deadline: float = 10.0, *, what: str = ""
) -> Any:
    """Wait until the predicate (plain or a coroutine function) is true and return what it gave.

    Asks every 20 ms; AssertionError after `deadline` seconds, with `what` and the last value.
    """
    end = time.monotonic() + deadline
    while True:
        value: Any = predicate()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what or predicate}; last: {value!r}")
        await asyncio.sleep(0.02)


class Cluster:
    """The API server as an administrator sees it. Use one per test: its connections belong to the test's loop."""

    def __init__(self, kubeconfig: Path, kinds: Mapping[str, Kind] = KINDS) -> None:
        self.kubeconfig = kubeconfig
        self.kinds = kinds
        self.client = Client(CredentialSource(kubeconfig), timeout=10.0, connections=64)

    async def install(self, crds: Iterable[Mapping[str, Any]]) -> None:
        """Create the CRDs that are not there and wait until they are served."""
        wanted = list(crds)
        for crd in wanted:
            await self._create_if_missing(_CRDS, crd)
        for crd in wanted:
            plural = crd["spec"]["names"]["plural"]
            await until(lambda path=f"/apis/{API_VERSION}/{plural}": self._served(path), 20.0, what=f"{plural} served")

    async def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Create it if it is not there."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}
        await self._create_if_missing("/api/v1/namespaces", body)

    async def create(
        self, kind: str, name: str, spec: Mapping[str, Any], *, namespace: str = "", **metadata: Any
    ) -> dict[str, Any]:
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata},
            "spec": dict(spec),
        }
        return await self.client.post(path_of(self.kinds[kind], namespace), body, kind=kind)

    async def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        try:
            return await self.client.get(path_of(self.kinds[kind], namespace, name), kind=kind)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def all(self, kind: str) -> list[dict[str, Any]]:
        answer = await self.client.get(path_of(self.kinds[kind]), kind=kind)
        return list(answer["items"])

    async def patch(self, kind: str, name: str, body: Mapping[str, Any], *, namespace: str = "", sub: str = "") -> Any:
        """A merge patch, of the status with sub="status"."""
        return await self.client.patch(path_of(self.kinds[kind], namespace, name, sub), body, kind=kind)

    async def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        await self.client.delete(path_of(self.kinds[kind], namespace, name), {}, kind=kind)

    async def condition(self, kind: str, name: str, type_: str, *, namespace: str = "") -> dict[str, Any]:
        """The condition, {} while it (or the object) is not there."""
        found = await self.get(kind, name, namespace=namespace)
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == type_), {})

    async def until_condition(
        self,
        kind: str,
        name: str,
        type_: str,
        status: str,
        reason: str = "",
        *,
        namespace: str = "",
        deadline: float = 10.0,
    ) -> dict[str, Any]:
        """Wait until the condition has that status (and reason); returns it."""

        async def holds() -> dict[str, Any]:
            found = await self.condition(kind, name, type_, namespace=namespace)
            return found if found.get("status") == status and reason in ("", found.get("reason")) else {}

        answer: dict[str, Any] = await until(holds, deadline, what=f"{kind} {name}: {type_}={status} {reason}")
        return answer

    async def events(self, name: str) -> list[dict[str, Any]]:
        """Events about the object of that name, oldest first."""
        answer = await self.client.get("/apis/events.k8s.io/v1/events", kind="Event")
        found = [event for event in answer["items"] if event["regarding"]["name"] == name]
        return sorted(found, key=lambda event: str(event["eventTime"]))

    async def wipe(self) -> None:
        """Remove every object of our kinds, finalizers and all, and what is on record of their hosts' contacts.

        A contact on record outlives its Host, and may lie ahead: a declaration dated ahead that was voided (H1).
        """
        for kind in self.kinds:
            for item in await self.all(kind):
                metadata = item["metadata"]
                path = path_of(self.kinds[kind], metadata.get("namespace") or "", metadata["name"])
                try:
                    if metadata.get("finalizers"):
                        await self.client.patch(path, {"metadata": {"finalizers": None}}, kind=kind)
                    await self.client.delete(path, {}, kind=kind)
                except ApiError as error:
                    if error.reason != "NotFound":
                        raise
        for lease in (await self.client.get(_LEASES, kind="Lease"))["items"]:
            if lease["metadata"]["name"].startswith("host-"):
                await self._delete_lease(lease["metadata"]["name"])

    async def free_lease(self) -> None:
        """Take the Lease away from whoever had it last, so that an engine starts at once."""
        await self._delete_lease(FAST.lease_name)

    async def _delete_lease(self, name: str) -> None:
        try:
            await self.client.delete(f"{_LEASES}/{name}", {}, kind="Lease")
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    async def close(self) -> None:
        await self.client.close()

    async def _create_if_missing(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self.client.post(path, body, kind="other")
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _served(self, path: str) -> bool:
        try:
            await self.client.get(path, kind="other", params={"limit": "1"})
        except ApiError:
            return False
        return True


@asynccontextmanager
async def running(
    cluster: Cluster,
    reconcilers: Callable[[Services], Iterable[Reconciler[Any, Any]]],
    *,
    components: Callable[[Services], Iterable[Component]] = lambda services: (),
    settings: Settings = FAST,
    **changes: Any,
) -> AsyncIterator[Engine]:
    """An engine that reconciles, until the block ends. `changes` are settings that differ (resync=5.0)."""
    settings = replace(settings, **{"kubeconfig": cluster.kubeconfig, **changes})
    engine = Engine(settings, reconcilers=reconcilers, components=components, kinds=cluster.kinds)
    task = asyncio.create_task(engine.run())
    try:
        started = asyncio.create_task(engine.started.wait())
        await asyncio.wait([task, started], timeout=30.0, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if task.done():
            task.result()
        assert engine.started.is_set(), f"the engine did not start: {engine.pulse.ready}"
        yield engine
    finally:
        engine.stop()
        await task


__all__ = ["FAST", "GROUP", "Cluster", "running", "until"]
