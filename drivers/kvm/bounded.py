"""Calls that give up in time. With a dead storage server libvirt hangs as long as the mount does: every call on its
pool, and with `dynamic_ownership` (libvirt's default) also powering off a guest on it, which then blocks every listing
of the host. Without a bound each would take a place of the host's lane for ever. Used by `storage.py`, `pools.py`,
`pool_paths.py` for pools and by `endpoint.py` for domains.

The hung call itself cannot be ended: it keeps one thread here and one worker of libvirtd, so of one subject only one
may be in that state, and further calls are refused at once. When it goes on after all, it changes nothing any more.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from drivers.errors import Unreachable

T = TypeVar("T")

STORAGE_SECONDS = 30.0
EVERYTHING = ""
"""The subject of a call about all domains or pools of a host."""


_calls = threading.local()


def require_awaited() -> None:
    """For calls that change something, before they do: raises Unreachable in one that was given up meanwhile. What it
    was to do may have been done through another host since, and undone."""
    given_up: threading.Event | None = getattr(_calls, "given_up", None)
    if given_up is not None and given_up.is_set():
        raise Unreachable("this call was given up before it came to change anything")


class Bounded:
    """Of one connection and one kind of subject (pool, instance). Thread-safe."""

    def __init__(self, host: str, kind: str, silent: type[Unreachable] = Unreachable) -> None:
        """`silent`: what is raised when a subject does not answer."""
        self._host = host
        self._kind = kind
        self._silent = silent
        self._lock = threading.Lock()
        self._hung: dict[str, str] = {}

    def call(self, subject: str, what: str, run: Callable[[], T], seconds: float = STORAGE_SECONDS) -> T:
        """`run()`'s value or exception. Raises `silent` after `seconds`, or at once while an earlier call about the
        same subject is still hanging."""
        name = f"Host {self._host}: {f'{self._kind} {subject}' if subject else 'libvirt'}"
        with self._lock:
            hung = self._hung.get(subject)
        if hung is not None:
            raise self._silent(f"{name} does not answer: it still hangs in an earlier call, to {hung}")
        outcome: list[T] = []
        failure: list[BaseException] = []
        done, given_up = threading.Event(), threading.Event()

        def work() -> None:
            _calls.given_up = given_up
            try:
                outcome.append(run())
            except BaseException as error:
                failure.append(error)
            finally:
                with self._lock:
                    done.set()
                    if self._hung.get(subject) == what:
                        del self._hung[subject]

        threading.Thread(target=work, name=f"bounded-{self._host}", daemon=True).start()
        done.wait(seconds)
        with self._lock:
            if not done.is_set():
                self._hung[subject] = what
                given_up.set()
                raise self._silent(f"{name} did not answer within {seconds:.3g} s, asked to {what}")
        if failure:
            raise failure[0]
        return outcome[0]
