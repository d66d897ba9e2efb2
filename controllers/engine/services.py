"""What every reconciler and component is constructed with: `controllers.engine.base.Services` for real."""

import asyncio
from datetime import UTC, datetime

from controllers.config import Settings
from controllers.engine.base import Api, Cache, Key, Lanes
from controllers.engine.queue import Priority
from controllers.engine.wakes import Wakes


class LiveServices:
    """Made in the engine's loop, which is the one that `enqueue_threadsafe` hands over to."""

    def __init__(
        self, settings: Settings, installation: str, cache: Cache, api: Api, lanes: Lanes, wakes: Wakes
    ) -> None:
        self.settings = settings
        self.cache = cache
        self.api = api
        self.lanes = lanes
        self.installation = installation
        self.installations = (installation, *settings.take_over)
        self.namespace = settings.namespace
        self._wakes = wakes
        self._loop = asyncio.get_running_loop()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def enqueue(self, key: Key, *, after: float = 0.0, urgent: bool = False) -> None:
        self._wakes.enqueue(key, after, Priority.CHANGE if urgent else Priority.EVENT)

    def enqueue_threadsafe(self, key: Key) -> None:
        try:
            self._loop.call_soon_threadsafe(self.enqueue, key)
        except RuntimeError:
            return  # The loop is closed: the process ends.
