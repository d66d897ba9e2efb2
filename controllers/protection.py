"""Keeps the label `stratiform.dev/protected` on namespaces that hold a protected Instance (design.md §3).

A policy refuses deleting a namespace that carries it, because a namespace's deletion would take other objects first
and stop at the protected one. Runs as a component of the engine while we are leader; reads the cache only, and writes
only where the label is not what it shall be.
"""

import asyncio
from collections.abc import Mapping

import structlog

from controllers.engine.base import ApiError, NotLeader, Services
from crds.base import PROTECTED

PERIOD = 2.0
"""Seconds between two looks."""
log = structlog.get_logger(__name__)


class NamespaceProtection:
    """One task; a namespace that cannot be labelled is tried again at the next look."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="namespace-protection")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for namespace, value in self.wanted().items():
                try:
                    body = {"metadata": {"labels": {PROTECTED: value}}}
                    await self._services.api.merge_patch(f"/api/v1/namespaces/{namespace}", body, "Namespace")
                except (ApiError, NotLeader) as error:
                    log.warning("namespace not labelled", namespace=namespace, error=str(error))
            await asyncio.sleep(PERIOD)

    def wanted(self) -> Mapping[str, str | None]:
        """Namespaces whose label is wrong, with the value it shall have; None takes it away."""
        cache = self._services.cache
        changes: dict[str, str | None] = {}
        for namespace, labels in cache.namespaces().items():
            protected = any(cache.indexed("protected in", namespace))
            if protected != (PROTECTED in labels):
                changes[namespace] = "true" if protected else None
        return changes
