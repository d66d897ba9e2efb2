"""Opening a connection in a time-out of our own, and what it is called when that fails. Used by a host's session."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from controllers.engine.base import ApiError, NotLeader
from controllers.fleet.base import Link
from drivers.base import Connection, EndPoint, Event
from drivers.errors import DriverError, Rejected, Unreachable

OPEN_TIMEOUT = 5.0
OPENED_AT_ONCE = 32
"""Connections that are being opened at the same time: hundreds at once, at a start, would make each other late."""


class Stranger(Exception):
    """Another machine answers at the host's address."""

    def __init__(self, machine_id: str, message: str) -> None:
        super().__init__(message)
        self.machine_id = machine_id


class MachineTaken(Exception):
    """The machine that answers is another Host object's."""


class Opening:
    """Closes a connection that comes into being after everybody stopped waiting for it."""

    def __init__(self, connection: Connection, open_endpoint: Callable[[Connection, float], EndPoint]) -> None:
        self._connection, self._open = connection, open_endpoint
        self._lock = threading.Lock()
        self._given_up = False
        self._endpoint: EndPoint | None = None

    def __call__(self) -> EndPoint:
        endpoint = self._open(self._connection, OPEN_TIMEOUT)
        with self._lock:
            if not self._given_up:
                self._endpoint = endpoint
                return endpoint
        endpoint.close()
        raise Unreachable("opened too late")

    def give_up(self) -> EndPoint | None:
        with self._lock:
            self._given_up = True
            return self._endpoint


def words(error: Exception, host: str, address: str) -> tuple[Link, str, str]:
    """(link, reason, text) of why there is no connection: what was tried, what was answered."""
    said = str(error).removeprefix(f"Host {host}: ")
    text = said if address in said else f"{address}: {said}"
    match error:
        case Stranger():
            return Link.STRANGER, "HostIdentityChanged", str(error)
        case MachineTaken():
            return Link.REFUSED, "MachineTaken", str(error)
        case Rejected():
            return Link.REFUSED, error.reason, text
        case DriverError():
            return Link.DOWN, error.reason, text
        case ApiError() | NotLeader():
            return Link.DOWN, "Connecting", f"{address}: the API server did not take the record of its answer: {error}"
    return Link.DOWN, "InternalError", f"{address}: {type(error).__name__}: {error}"


def threadsafe(handle: Callable[[Event], None]) -> Callable[[Event], None]:
    """For the driver's threads: events are handled in the loop that runs now, none once it is closed."""
    loop = asyncio.get_running_loop()

    def deliver(event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: the process ends.
            loop.call_soon_threadsafe(handle, event)

    return deliver
