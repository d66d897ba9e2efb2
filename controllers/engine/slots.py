"""How many reconciles work at once. One that waits for a driver does not count, so that frozen hosts take no workers.

Used by the engine around each reconcile and, through `outside`, by the lanes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any


class _Places:
    """A semaphore with two queues, served in turns: hundreds of reconciles that come back from drivers shall not hold
    up the one that begins, or the end of a burst waits for its placement until all that was placed was started."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queues: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())
        self._turn = 0

    async def acquire(self, queue: int) -> None:
        """`queue` is _BEGINS or _COMES_BACK."""
        if self._free > 0 and not any(self._queues):
            self._free -= 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[queue].append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.release()  # It was given in the same moment.
            raise

    def release(self) -> None:
        self._free += 1
        while self._free > 0 and (given := self._next()) is not None:
            self._free -= 1
            given.set_result(None)

    def locked(self) -> bool:
        return self._free <= 0 or any(self._queues)

    def _next(self) -> "asyncio.Future[None] | None":
        for _ in self._queues:
            self._turn = 1 - self._turn
            queue = self._queues[self._turn]
            while queue:
                given = queue.popleft()
                if not given.done():
                    return given
        return None


_BEGINS, _COMES_BACK = 0, 1


class Slot:
    """One reconcile's place, given back while it, or a task that it started, waits outside."""

    def __init__(self, places: _Places) -> None:
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
                await self._places.acquire(_COMES_BACK)
                self._held = True

    def end(self) -> None:
        self._ended = True
        if self._held:
            self._held = False
            self._places.release()


_slot: ContextVar[Slot | None] = ContextVar("slot", default=None)


class Slots:
    def __init__(self, count: int) -> None:
        self._places = _Places(count)

    async def acquire(self) -> None:
        """For a reconcile that begins."""
        await self._places.acquire(_BEGINS)

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
