"""The work queue: each object once, the urgent first, never two reconciles of one object at a time, waits in one heap.

Pure but for its clock, timer and dice, which tests control. Used by the engine's workers in one loop.
"""

import asyncio
import contextlib
import enum
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from controllers import metrics
from controllers.engine.base import Key

_CONFLICTS = 5
_STALE = 1024
"""Moments of the heap that no longer count and may be kept: each reconcile leaves the one that was set before it."""
Rank = tuple[float, float]
_NO_RANK: Rank = (0.0, 0.0)


class Priority(enum.IntEnum):
    """Lower goes first."""

    FIRST = 0
    """Waits to be placed: comes before other work."""
    DELETE = 1
    CHANGE = 2
    """A person, or a program of theirs, changed the object."""
    EVENT = 3
    """A hypervisor or another object has news."""
    RESYNC = 4


class Alarm(Protocol):
    def cancel(self) -> None: ...


class Clock:
    """The loop's time and its one timer."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, call: Callable[[], None]) -> Alarm:
        return asyncio.get_running_loop().call_at(when, call)


@dataclass(frozen=True, slots=True)
class _Timer:
    key: Key
    own: bool
    """Set by the object's own last reconcile (again, resync, back-off), not asked for by others."""


@dataclass(slots=True)
class _Waiting:
    priority: Priority
    since: float
    number: int


class WorkQueue:
    """Not thread-safe. `ready` is the only coroutine."""

    def __init__(
        self,
        *,
        backoff_first: float,
        backoff_most: float,
        clock: Clock | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._first, self._most = backoff_first, backoff_most
        self._clock = clock or Clock()
        self._dice = dice
        self._numbers = itertools.count()
        self._waiting: dict[Key, _Waiting] = {}
        self._ready: list[tuple[Priority, Rank, int, Key]] = []
        self.rank: Callable[[Key], Rank] = lambda key: _NO_RANK
        """Who of those that come first goes first: the least."""
        self._running: dict[Key, float] = {}
        self._dirty: dict[Key, tuple[Priority, bool]] = {}
        self._failures: dict[Key, int] = {}
        self._held_until: dict[Key, float] = {}
        self._due: dict[_Timer, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, _Timer]] = []
        self._timer: Alarm | None = None
        self._timer_at = 0.0
        self._conflicts: dict[Key, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._first_waiting = 0
        self._calm = asyncio.Event()
        self._calm.set()

    def add(self, key: Key, priority: Priority, *, hold: bool | None = None) -> None:
        """It should be reconciled as soon as its turn comes. While it is being reconciled: once more afterwards.

        `hold`: wait for the back-off of a failing object to end; unset: all but what a person changed or deleted does.
        """
        hold = priority > Priority.CHANGE if hold is None else hold
        if key in self._running:
            before = self._dirty.get(key, (priority, hold))
            self._dirty[key] = (min(priority, before[0]), hold and before[1])
            return
        held = self._held_until.get(key, 0.0)
        if hold and held > self._clock.now():
            self._schedule(_Timer(key, own=True), held, priority)
            return
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.priority <= priority:
            return
        if priority is Priority.FIRST:
            self._first_waiting += 1
            self._calm.clear()
        now = self._clock.now()
        number = next(self._numbers)
        self._waiting[key] = _Waiting(priority, waiting.since if waiting else now, number)
        rank = self.rank(key) if priority is Priority.FIRST else _NO_RANK
        heapq.heappush(self._ready, (priority, rank, number, key))
        self._wake_one()

    def add_after(self, key: Key, delay: float, priority: Priority, *, hold: bool | None = None) -> None:
        """It should be reconciled in so many seconds, or earlier if it already is to be."""
        if delay <= 0:
            self.add(key, priority, hold=hold)
        else:
            self._schedule(_Timer(key, own=False), self._clock.now() + delay, priority)

    async def ready(self) -> None:
        """Wait until `pop` has something. For one waiter at a time."""
        while not self._waiting:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def calm(self, most: float) -> None:
        """Wait until nothing of priority FIRST is waiting, for so many seconds at most."""
        if not self._calm.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(most):
                    await self._calm.wait()

    def pop(self) -> Key | None:
        """The next one, which counts as being reconciled until `done`, `failed`, `conflicted` or `forget`; or None."""
        while self._ready:
            _, _, number, key = heapq.heappop(self._ready)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.number != number:
                continue
            del self._waiting[key]
            if waiting.priority is Priority.FIRST:
                self._first_waiting -= 1
                if not self._first_waiting:
                    self._calm.set()
            # The moment that its last reconcile set speaks of an older state: the one that starts decides anew. What
            # others asked for stands.
            self._due.pop(_Timer(key, own=True), None)
            self._held_until.pop(key, None)
            self._running[key] = self._clock.now()
            return key
        return None

    def done(self, key: Key, again: float | None) -> None:
        """It went well; again in so many seconds."""
        self._failures.pop(key, None)
        self._conflicts.pop(key, None)
        self._end(key)
        if again is not None:
            if again > 0:
                self._schedule(_Timer(key, own=True), self._clock.now() + again, Priority.RESYNC)
            else:
                self.add(key, Priority.EVENT)

    def failed(self, key: Key, at_least: float = 0.0) -> float:
        """It failed: again after its back-off (doubled each time, with jitter). Returns the wait in seconds."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        ceiling = min(self._most, self._first * 2.0 ** min(count, 30))
        wait = max(at_least, ceiling * (0.5 + 0.5 * self._dice()))
        self._held_until[key] = self._clock.now() + wait
        self._end(key)
        self._schedule(_Timer(key, own=True), self._clock.now() + wait, Priority.EVENT)
        return wait

    def conflicted(self, key: Key) -> None:
        """It changed while it was reconciled: once more, at once; as a failure only when that goes on and on."""
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        if self._conflicts[key] > _CONFLICTS:
            self.failed(key)
            return
        self._dirty.setdefault(key, (Priority.EVENT, False))
        self._end(key)

    def forget(self, key: Key) -> None:
        """The object is gone: nothing of it is kept, but a namesake that came meanwhile is not lost."""
        self._failures.pop(key, None)
        self._conflicts.pop(key, None)
        self._held_until.pop(key, None)
        for own in (True, False):
            self._due.pop(_Timer(key, own), None)
        self._end(key)

    def depth(self) -> dict[Priority, int]:
        depth = dict.fromkeys(Priority, 0)
        for waiting in self._waiting.values():
            depth[waiting.priority] += 1
        return depth

    def oldest(self) -> float:
        """For how many seconds the oldest ready object has been waiting."""
        return max((self._clock.now() - waiting.since for waiting in self._waiting.values()), default=0.0)

    def running(self) -> dict[Key, float]:
        """What is being reconciled, and for how many seconds."""
        now = self._clock.now()
        return {key: now - since for key, since in self._running.items()}

    def idle(self) -> bool:
        """Whether nothing is ready and nothing is being reconciled."""
        return not self._waiting and not self._running

    def measure(self) -> None:
        """Set the gauges of /metrics."""
        for priority, count in self.depth().items():
            metrics.QUEUE_DEPTH.labels(priority.name).set(count)
        metrics.QUEUE_AGE.set(self.oldest())
        metrics.QUEUE_TIMERS.set(len(self._due))
        metrics.RECONCILING.set(len(self._running))
        metrics.RECONCILE_OLDEST.set(max(self.running().values(), default=0.0))

    def _end(self, key: Key) -> None:
        self._running.pop(key, None)
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self.add(key, dirty[0], hold=dirty[1])

    def _schedule(self, timer: "_Timer", when: float, priority: Priority) -> None:
        due = self._due.get(timer)
        if due is not None and due[0] <= when:
            self._due[timer] = (due[0], min(due[1], priority))
            return
        self._due[timer] = (when, min(due[1], priority) if due else priority)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        if len(self._heap) > 2 * len(self._due) + _STALE:
            self._heap = [(at, next(self._numbers), each) for each, (at, _) in self._due.items()]
            heapq.heapify(self._heap)
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer of the loop, for the earliest."""
        while self._heap and self._due.get(self._heap[0][2], (None,))[0] != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap or (self._timer is not None and self._timer_at <= self._heap[0][0]):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._heap[0][0]
        self._timer = self._clock.call_at(self._timer_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            when, _, timer = heapq.heappop(self._heap)
            due = self._due.get(timer)
            if due is not None and due[0] == when:
                del self._due[timer]
                self.add(timer.key, due[1], hold=True)
        self._set_timer()

    def _wake_one(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
