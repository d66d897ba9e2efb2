"""Three parts of Kopf that are ours instead, in the whole process. Installed by `controllers.engine.watch`.

Kopf lists a kind before it watches it, parses all of it once more and starts a task for each object, and for each event
it makes three loggers and several views of the object before a handler is asked: with 10,000 objects that was half of
the operator's CPU. Here the list is the engine's own, and an event goes straight from the watch to the engine
(docs/decisions/0023). And its lines are read by orjson, in a quarter of the time. Kopf is pinned; a test fails when it
does not call these any more.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol

import kopf
import orjson
from kopf._cogs.clients import api, fetching
from kopf._core.reactor import processing


class Receiver(Protocol):
    """Of one operator of Kopf's. Called in its thread and loop."""

    async def begin(self, group: str, plural: str) -> str | None:
        """List a kind, and answer the resource version from which it shall be watched. None for kinds of no concern."""

    def event(self, group: str, plural: str, type_: str, raw: Mapping[str, Any]) -> None:
        """An event of the watch: ADDED, MODIFIED or DELETED."""


class SeamSettings(kopf.OperatorSettings):
    """By them the functions know whose operator calls."""

    receiver: Receiver


async def _process(*, settings: Any, resource: Any, raw_event: Any, **_: Any) -> None:
    settings.receiver.event(resource.group, resource.plural, raw_event["type"], raw_event["object"])


_fetch = fetching.fetch_objs


async def _list(*, settings: Any, resource: Any, **others: Any) -> AsyncIterator[tuple[Collection[Any], str]]:
    version = await settings.receiver.begin(resource.group, resource.plural)
    if version is not None:
        yield [], version
        return
    async for page in _fetch(settings=settings, resource=resource, **others):
        yield page


def install() -> None:
    """Idempotent."""
    fetching.fetch_objs = _list
    processing.process_resource_event = _process  # type: ignore[assignment]
    api.json = orjson  # type: ignore[attr-defined]
