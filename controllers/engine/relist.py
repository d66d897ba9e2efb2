"""Listing: everything once at the start, and metadata every few minutes, to find what the watch lost (design.md §4).

The engine reconciles nothing before `fill` has listed every kind once, so that absence can be believed. A kind without
its CRD has no objects, and keeps nothing waiting: those of the other kinds may be there to be let go (N4).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import structlog

from controllers import metrics
from controllers.engine.base import ApiError, Key
from controllers.engine.cache import ObjectCache
from controllers.engine.client import JSON, METADATA_ONLY, Client, crd_path, path_of
from controllers.engine.intake import Intake
from controllers.engine.parsing import key_of
from crds.base import Kind

_MOST_GETS = 100
_RESTARTS = 3
_FRESH = 30.0
"""Seconds after a list for which the API server surely knows what came after it."""
log = structlog.get_logger(__name__)


class Relist:
    """Coroutines of the engine's loop; `fill` and `repair` are idempotent."""

    def __init__(
        self, client: Client, kinds: Mapping[str, Kind], cache: ObjectCache, intake: Intake, *, page: int, retry: float
    ) -> None:
        self._client, self._kinds, self._cache, self._intake = client, kinds, cache, intake
        self._page, self._retry = page, retry
        self._begun: dict[str, tuple[int, float]] = {}
        """Versions of whole lists from which no watch has gone on yet, and when they ended."""
        self._paths = {kind: path_of(entry) for kind, entry in kinds.items()} | {"Namespace": "/api/v1/namespaces"}

    async def fill(self) -> None:
        """List every kind whole; waits for as long as one cannot be listed that is installed."""
        await asyncio.gather(*(self._fill(kind) for kind in self._paths))

    async def begin_watch(self, kind: str) -> str:
        """The resource version from which a watch goes on without loss: of a whole list of just now, or of a new one.
        Waits for as long as the kind cannot be listed, also for its CRD."""
        version, ended = self._begun.pop(kind, (0, -_FRESH))
        while time.monotonic() - ended > _FRESH:
            if await self._fill(kind):
                version, ended = self._begun.pop(kind)
            else:
                await asyncio.sleep(self._retry)
        return str(version)

    async def repair_all(self) -> int:
        """Look for what was lost, kind by kind; how many objects differed. What could not be listed is tried next
        time."""
        return sum([await self.repair(kind) for kind in self._paths])

    async def repair(self, kind: str) -> int:
        """How many objects differed. Never raises."""
        found = 0
        try:
            # Namespaces are few and their labels are what we need of them.
            found = await (self._whole(kind) if kind == "Namespace" else self._by_metadata(kind))
            metrics.RELISTS.labels(kind, "OK").inc()
            if found:
                log.info("relist repaired the cache", kind=kind, objects=found)
        except ApiError as error:
            metrics.RELISTS.labels(kind, error.reason).inc()
            if not await self._uninstalled(kind, error):
                log.warning("relist failed", kind=kind, error=str(error))
        except Exception:
            metrics.RELISTS.labels(kind, "Bug").inc()
            log.exception("relist failed", kind=kind)
        return found

    async def _fill(self, kind: str) -> bool:
        """False when the kind is not installed."""
        said = ""
        while True:
            try:
                await self._whole(kind)
                return True
            except ApiError as error:
                if await self._uninstalled(kind, error):
                    return False
                if error.reason != said:
                    log.warning("cannot be listed yet", kind=kind, error=str(error))
                said = error.reason
                await asyncio.sleep(self._retry)

    async def _uninstalled(self, kind: str, error: ApiError) -> bool:
        """Whether the kind could not be listed because the API server has no CRD of it: then what was known of its
        objects is gone. A 404 for the kind is no proof."""
        if error.status != 404 or kind not in self._kinds:
            return False
        newest = max((version for _, version in self._cache.versions(kind).values()), default=0)
        try:
            await self._client.get(crd_path(self._kinds[kind]), kind="CustomResourceDefinition")
        except ApiError as answer:
            if answer.reason == "NotFound":
                gone = self._drop(kind, set(), newest)
                log.warning("not installed, so it has no objects", crd=self._kinds[kind].crd_name, gone=gone)
                return True
        return False

    async def _whole(self, kind: str) -> int:
        found, version = await self._walk(kind, JSON, self._take_whole)
        self._begun[kind] = version, time.monotonic()
        return found

    async def _by_metadata(self, kind: str) -> int:
        """Falls back to a whole list when many objects differ."""
        stale: list[Key] = []

        async def compare(kind: str, item: Mapping[str, Any], known: Mapping[Key, tuple[str, int]]) -> int:
            key, metadata = key_of(kind, item), item["metadata"]
            have = known.get(key)
            newer = have is None or int(metadata["resourceVersion"]) > have[1]
            if newer and not self._cache.is_gone(metadata["uid"]):
                stale.append(key)
            return 0

        found, _ = await self._walk(kind, METADATA_ONLY, compare)
        if len(stale) > _MOST_GETS:
            return found + await self._whole(kind)
        for key in stale:
            found += await self._read(key)
        return found

    async def _read(self, key: Key) -> int:
        try:
            raw = await self._client.get(path_of(self._kinds[key.kind], key.namespace, key.name), kind=key.kind)
        except ApiError as error:
            if error.reason == "NotFound":
                return 0
            raise
        return self._count(key.kind, "changed") if self._intake.seen(key.kind, raw) else 0

    async def _take_whole(self, kind: str, item: Mapping[str, Any], known: Mapping[Key, tuple[str, int]]) -> int:
        return self._count(kind, "changed") if self._intake.seen(kind, item) else 0

    async def _walk(self, kind: str, accept: str, take: Any) -> tuple[int, int]:
        """One whole list; an expired continuation starts it again. Afterwards, what is known and not newer than the
        list and was not in it is gone. Answers how many objects differed, and the list's version."""
        for _ in range(_RESTARTS):
            known = self._cache.versions(kind)
            listed: set[Key] = set()
            found, version = 0, 0
            try:
                async for at, items in self._pages(kind, accept):
                    version = at
                    for item in items:
                        key = key_of(kind, item)
                        # Another uid under the same name replaces the entry: `take` sees to that.
                        listed.add(key)
                        found += await take(kind, item, known)
                    await asyncio.sleep(0)
            except ApiError as error:
                if error.status != 410:
                    raise
                continue
            return found + self._drop(kind, listed, version), version
        raise ApiError(410, "Expired", f"list of {kind} expired {_RESTARTS} times before its end")

    def _drop(self, kind: str, listed: set[Key], version: int) -> int:
        found = 0
        for key, (uid, known_version) in self._cache.versions(kind).items():
            if key not in listed and known_version <= version and self._intake.gone(key, uid):
                found += self._count(kind, "gone")
        return found

    async def _pages(self, kind: str, accept: str) -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
        """Pages of one list: all have its version."""
        token = ""
        while True:
            params = {"limit": str(self._page)}
            if token:
                params["continue"] = token
            answer = await self._client.send("GET", self._paths[kind], kind=kind, params=params, accept=accept)
            document = await asyncio.to_thread(orjson.loads, answer)
            metadata = document["metadata"]
            yield int(metadata["resourceVersion"]), document.get("items") or []
            token = metadata.get("continue") or ""
            if not token:
                return

    def _count(self, kind: str, what: str) -> int:
        metrics.REPAIRS.labels(kind, what).inc()
        return 1
