"""The one door into the cache: watch, relist and our own writes all come through here, in the engine's loop.

While a write of ours is under way, what the watch says about that object waits for the answer: else the watch, which is
often faster, would make our own write look like somebody else's and cost a needless reconcile.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from controllers import metrics
from controllers.engine.base import Key
from controllers.engine.cache import ObjectCache
from controllers.engine.parsing import key_of

log = structlog.get_logger(__name__)


class Intake:
    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache
        self.events = 0
        """How many the watch has reported."""
        self._writing: dict[Key, list[tuple[str, Mapping[str, Any]]]] = {}

    def event(self, kind: str, type_: str, raw: Mapping[str, Any]) -> None:
        """What the watch reported: ADDED, MODIFIED or DELETED. Never raises."""
        self.events += 1
        metrics.WATCH_EVENTS.labels(kind).inc()
        try:
            held = self._writing.get(key_of(kind, raw)) if self._writing else None
            if held is not None:
                held.append((type_, raw))
            else:
                self._take(kind, type_, raw)
        except Exception:
            log.exception("event cannot be read", kind=kind, type=type_)

    def seen(self, kind: str, raw: Mapping[str, Any]) -> bool:
        """A version that was listed, read or made by us. True if it was news."""
        return self._cache.apply(kind, raw)

    def gone(self, key: Key, uid: str) -> bool:
        """An object that is known to be gone. True if that was news."""
        return self._cache.remove(key, uid)

    @contextmanager
    def writing(self, key: Key) -> Iterator[None]:
        """While a write of the object's own turn is under way (one at a time per object)."""
        held = self._writing[key] = []
        try:
            yield
        finally:
            del self._writing[key]
            for type_, raw in held:
                self._take(key.kind, type_, raw)

    def written(self, kind: str, raw: Mapping[str, Any]) -> None:
        """The answer to such a write."""
        self._cache.apply(kind, raw, own=True)

    def _take(self, kind: str, type_: str, raw: Mapping[str, Any]) -> None:
        if type_ == "DELETED":
            self._cache.remove(key_of(kind, raw), raw["metadata"]["uid"])
        else:
            self._cache.apply(kind, raw)
