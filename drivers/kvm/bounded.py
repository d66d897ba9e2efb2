"""Storage calls that give up in time. With a dead server libvirt's storage calls hang as long as the mount does, and
would take the host's whole lane with them. Used by `pools.py` and `disks.py`.

The hung call itself cannot be ended: it keeps one thread here and one worker of libvirtd, so per pool only one may be
in that state, and further calls are refused at once.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from drivers.errors import Unreachable

T = TypeVar("T")

STORAGE_SECONDS = 30.0


class Bounded:
    """Per connection. Thread-safe."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._hung: dict[str, str] = {}

    def call(self, pool: str, what: str, run: Callable[[], T], seconds: float = STORAGE_SECONDS) -> T:
        """`run()`'s value or exception. Raises Unreachable after `seconds`, or at once while an earlier call on the
        same pool is still hanging."""
        with self._lock:
            hung = self._hung.get(pool)
        if hung is not None:
            raise Unreachable(
                f"Host {self._host}: pool {pool} does not answer: it still hangs in an earlier call, to {hung}"
            )
        outcome: list[T] = []
        failure: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                outcome.append(run())
            except BaseException as error:
                failure.append(error)
            finally:
                with self._lock:
                    done.set()
                    if self._hung.get(pool) == what:
                        del self._hung[pool]

        threading.Thread(target=work, name=f"storage-{self._host}", daemon=True).start()
        done.wait(seconds)
        with self._lock:
            if not done.is_set():
                self._hung[pool] = what
                raise Unreachable(
                    f"Host {self._host}: pool {pool} did not answer within {seconds:g} s, asked to {what}"
                )
        if failure:
            raise failure[0]
        return outcome[0]
