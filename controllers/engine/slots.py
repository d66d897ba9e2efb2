"""How many reconciles work at once. One that waits for a driver does not count, so that frozen hosts take no workers.

Used by the engine around each reconcile and, through `outside`, by the lanes.
"""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any


class Slot:
    """One reconcile's place, given back while it, or a task that it started, waits outside."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._held = True
        self._outside = 0
        self._ended = False

    async def wait(self, waiting: Awaitable[Any]) -> Any:
        if self._ended:
            return await waiting
        self._outside += 1
        if self._held:
            self._held = False
            self._places.release()
        try:
            return await waiting
        finally:
            self._outside -= 1
            if self._outside == 0 and not self._ended:
                await self._places.acquire()
                self._held = True

    def end(self) -> None:
        self._ended = True
        if self._held:
            self._held = False
            self._places.release()


_slot: ContextVar[Slot | None] = ContextVar("slot", default=None)


class Slots:
    def __init__(self, count: int) -> None:
        self._places = asyncio.Semaphore(count)

    async def acquire(self) -> None:
        await self._places.acquire()

    def release(self) -> None:
        self._places.release()

    def free(self) -> bool:
        return not self._places.locked()

    def enter(self) -> Slot:
        """In the reconcile's own task, which takes over an acquired place; it calls `end` when it ends."""
        slot = Slot(self._places)
        _slot.set(slot)
        return slot


async def outside(waiting: Awaitable[Any]) -> Any:
    """Wait for something without holding the reconcile's place meanwhile."""
    slot = _slot.get()
    return await (slot.wait(waiting) if slot is not None else waiting)
