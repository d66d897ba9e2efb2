"""Who is reconciled when: turns what the cache noticed, and what kinds and the fleet ask for, into queue entries."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from controllers.engine.base import Key, Reconciler
from controllers.engine.cache import ObjectCache, Why
from controllers.engine.queue import Priority, WorkQueue

_COALESCE = 0.1
_MOST_PLANS = 10_000
_AT_FULL_RATE = 50
"""Parents whose children change all the time that are still summed up in each interval."""
_BY_REASON = {
    Why.CHANGED: Priority.CHANGE,
    Why.STATUS: Priority.RESYNC,
    Why.REFERRED: Priority.EVENT,
    Why.CHILD: Priority.EVENT,
    Why.LAST_CHILD: Priority.EVENT,
}


class Wakes:
    """Passes nothing on before `open`, which enqueues everything: until then the cache is not whole."""

    cache: ObjectCache

    def __init__(
        self,
        queue: WorkQueue,
        reconcilers: Mapping[str, Reconciler[Any, Any]],
        roll_up: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._clock = queue, clock
        self._reconcilers = reconcilers
        self._roll_up = roll_up
        self._open = False
        self._summed_up: dict[Key, float] = {}
        self._counted, self._busy = 0.0, 0

    def open(self) -> None:
        self._open = True
        for key in self.cache.known():
            self.enqueue(key, 0.0, Priority.RESYNC)

    def wake(self, key: Key, why: Why) -> None:
        """From the cache."""
        if why is not Why.CHILD:
            self.enqueue(key, 0.0, _BY_REASON[why])
            return
        now = self._clock()
        if len(self._summed_up) > _MOST_PLANS:
            self._summed_up = {key: planned for key, planned in self._summed_up.items() if planned > now}
        planned = self._summed_up.get(key, 0.0)
        if planned <= now:
            # The first after a quiet time goes soon; those that follow are one more, when the interval is over.
            planned = self._summed_up[key] = max(now + _COALESCE, planned + self._roll_up * self._stretch(now))
        self.enqueue(key, planned - now, Priority.EVENT)

    def _stretch(self, now: float) -> float:
        """Of the interval: beyond some parents at a time, all of them together are summed up as often as those."""
        if now - self._counted > 1.0:
            self._counted = now
            self._busy = sum(1 for planned in self._summed_up.values() if planned > now - self._roll_up)
        return max(1.0, self._busy / _AT_FULL_RATE)

    def enqueue(self, key: Key, after: float, priority: Priority) -> None:
        if self._open and key.kind in self._reconcilers:
            self._queue.add_after(key, after, self._raised(key, priority), hold=priority > Priority.CHANGE)

    def rank(self, key: Key) -> tuple[float, float]:
        """For the queue: what the kind says of an object that comes first."""
        obj = self.cache.at(key)
        try:
            return self._reconcilers[key.kind].rank(obj) if obj is not None else (0.0, 0.0)
        except Exception:
            return (0.0, 0.0)  # As in `_raised`.

    def _raised(self, key: Key, priority: Priority) -> Priority:
        obj = self.cache.at(key)
        if obj is None or priority is Priority.FIRST:
            return priority
        if obj.deleting:
            return min(priority, Priority.DELETE)
        try:
            first = self._reconcilers[key.kind].comes_first(obj)
        except Exception:
            return priority  # Its reconcile meets the same fault, and is contained there.
        return Priority.FIRST if first else priority
