"""One thread per process that turns the log of changes into events and notices connections that died.

Started by the first end-point of a state file and ended with the last. What this process did is delivered at once;
what another process did within POLL seconds: SQLite's `data_version` tells cheaply that somebody wrote.
"""

import logging
import math
import threading
import time
from typing import Protocol

from drivers.base import Event, EventKind
from drivers.simulated import domains
from drivers.simulated.state import HOST_CHANGED, State

POLL = 0.15
"""Seconds between looks at a file that nobody in this process wrote to."""

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What the watcher needs of an end-point."""

    @property
    def host(self) -> str: ...

    def look(self) -> None:
        """Find out whether the connection still lives."""

    def die(self, reason: str) -> None: ...

    def deliver(self, event: Event) -> None: ...

    def deliver_closed(self) -> None:
        """Tell the subscriber once, if the connection died."""


class Watcher:
    """Of one state file in this process."""

    _all: dict[str, "Watcher"] = {}
    _lock = threading.Lock()

    def __init__(self, state: State) -> None:
        self._state = state
        self._watched: dict[str, list[Watched]] = {}
        self._wake = threading.Event()
        self._ended = False
        with state.read() as tx:
            self._last = self._delivered = int(tx.row("SELECT coalesce(max(id), 0) FROM changes")[0])
        state.on_write(self._wake.set)
        threading.Thread(target=self._run, name="simulated-watch", daemon=True).start()

    @classmethod
    def add(cls, state: State, watched: Watched) -> "Watcher":
        """Watch for `watched` from now on."""
        with cls._lock:
            watcher = cls._all.get(state.path)
            if watcher is None:
                watcher = cls._all[state.path] = cls(state)
            mine = watcher._watched
            mine[watched.host] = [*mine.get(watched.host, ()), watched]
            return watcher

    def remove(self, watched: Watched) -> None:
        """Idempotent. Does not wait for the thread, so that a subscriber may close from inside its own event."""
        with self._lock:
            left = [w for w in self._watched.get(watched.host, ()) if w is not watched]
            if left:
                self._watched[watched.host] = left
            else:
                self._watched.pop(watched.host, None)
            if not self._watched and not self._ended:
                self._ended = True
                self._all.pop(self._state.path, None)
                self._state.on_write(None)
                self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    @classmethod
    def caught_up(cls, path: str) -> bool:
        """Whether everything that was written has been delivered: for tests whose time stands still meanwhile."""
        watcher = cls._all.get(path)
        if watcher is None or watcher._ended:
            return True
        with watcher._state.read() as tx:
            last = int(tx.row("SELECT coalesce(max(id), 0) FROM changes")[0])
        return watcher._delivered >= last

    def _run(self) -> None:
        connection = self._state.connect()
        try:
            seen, due = -1, math.inf
            while not self._ended:
                woken = self._wake.wait(min(POLL, max(0.0, due - time.time())))
                self._wake.clear()
                version = connection.execute("PRAGMA data_version").fetchone()[0]
                try:
                    if woken or version != seen or time.time() >= due:
                        due = self._round()
                except Exception:
                    if self._over():
                        return  # The file went with its last end-point.
                    log.exception("the simulated platform's watcher failed; it tries again")
                    time.sleep(POLL)
                seen = version
                time.sleep(0.002)  # Under load many changes make one round.
        finally:
            connection.close()

    def _round(self) -> float:
        """Deliver what is new; returns when something is due (time.time())."""
        now = time.time()
        with self._state.read() as tx:
            first = tx.row("SELECT coalesce(min(id), 0) FROM changes")[0]
            changes = tx.rows("SELECT id, kind, host, uuid, detail FROM changes WHERE id > ? ORDER BY id", self._last)
            due = tx.row("SELECT min(due) FROM domains WHERE due IS NOT NULL")[0]
            frozen = tx.rows("SELECT name, frozen_at + keepalive FROM hosts WHERE frozen_at IS NOT NULL")
        missed = bool(changes) and first > self._last + 1
        if changes:
            self._last = changes[-1][0]
        if missed:
            for watched in self._each():
                watched.die("events were lost")
        stirred = {host for _, kind, host, *_ in changes if kind == HOST_CHANGED}
        for name in stirred | {host for host, breaks in frozen if breaks <= now}:
            for watched in tuple(self._watched.get(name, ())):
                watched.look()
        for _, kind, host, uuid, detail in changes:
            if kind != HOST_CHANGED:
                event = Event(kind=EventKind(kind), host=host, uuid=uuid, detail=detail)
                for watched in tuple(self._watched.get(host, ())):
                    watched.deliver(event)
        for watched in self._each():
            watched.deliver_closed()
        self._delivered = max(self._delivered, changes[-1][0] if changes else 0)
        if due is not None and due <= now:
            with self._state.write(cause="guest") as tx:
                domains.settle(tx)
        times = (due, *(breaks for _, breaks in frozen))
        return min((float(t) for t in times if t is not None and t > now), default=math.inf)

    def _over(self) -> bool:
        return self._ended

    def _each(self) -> list[Watched]:
        return [w for several in tuple(self._watched.values()) for w in several]
