"""libvirt's event loop, and the translation of its callbacks into our events.

One loop thread serves all connections of the process; it must be registered before the first connection is opened or
keepalive and close events do not work. Callbacks run in that thread: they only note and hand over, and never call
libvirt (that would deadlock). Used by `connection.py` (loop) and `endpoint.py` (hub).
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import libvirt

from drivers.base import Event, EventKind

_SAFE_CLIENT = 10_004_000
"""10.4.0, in libvirt's way of counting: the first without CVE-2024-4418."""

_started = threading.Lock()
_running = False


def ensure_loop() -> None:
    """Register the loop and start its thread, once per process. Idempotent."""
    global _running
    with _started:
        if _running:
            return
        if libvirt.getVersion() < _SAFE_CLIENT:
            logging.getLogger(__name__).warning(
                "libvirt's client here is older than 10.4: unless its distributor mended CVE-2024-4418, the operator "
                "may crash when a host stops answering (docs/decisions/0022)"
            )
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # Else libvirt prints to stderr.
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_loop, name="libvirt-events", daemon=True).start()
        _running = True


def _loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def barrier(timeout: float = 1.0) -> bool:
    """Wait until every event that arrived before now has reached its callback; False after `timeout` seconds.

    libvirt hands events to a zero timer of the connection. Timers fire in the order of their making, so one made now
    fires after them."""
    passed = threading.Event()
    timer = libvirt.virEventAddTimeout(0, lambda _timer, _opaque: passed.set(), None)
    try:
        return passed.wait(timeout)
    finally:
        libvirt.virEventRemoveTimeout(timer)


_DOMAIN_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
    libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
    libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
)

_LIFECYCLE = (
    "Defined",
    "Undefined",
    "Started",
    "Suspended",
    "Resumed",
    "Stopped",
    "Shutdown",
    "PMSuspended",
    "Crashed",
)


class EventHub:
    """Events of one connection: to the cache that they invalidate, then to the subscriber."""

    def __init__(self, host: str, changed: Callable[[str], None]) -> None:
        self._host = host
        self._changed = changed
        self._deliver: Callable[[Event], None] | None = None
        self._domain_ids: list[int] = []
        self._pool_ids: list[int] = []

    def register(self, conn: Any) -> None:
        """Ask libvirt for every kind of event. A kind that an older libvirtd does not know is left out."""
        for event_id in _DOMAIN_EVENTS:
            try:
                self._domain_ids.append(conn.domainEventRegisterAny(None, event_id, self._domain, event_id))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
        # Not the REFRESH event: our own looking would cause it, and it another look.
        lifecycle = libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE
        self._pool_ids.append(conn.storagePoolEventRegisterAny(None, lifecycle, self._pool, None))

    def deregister(self, conn: Any) -> None:
        """Give every callback back, or libvirt keeps the connection object and a file descriptor for ever. Over a
        connection that is shut each of these calls fails, and its callback is gone all the same. Blocks as a call
        does; never raises."""
        self._deliver = None
        for give_back, ids in (
            (conn.domainEventDeregisterAny, self._domain_ids),
            (conn.storagePoolEventDeregisterAny, self._pool_ids),
        ):
            while ids:
                with contextlib.suppress(libvirt.libvirtError):
                    give_back(ids.pop())

    def subscribe(self, deliver: Callable[[Event], None]) -> None:
        self._deliver = deliver

    def closed(self, detail: str) -> None:
        self._send(Event(kind=EventKind.CLOSED, host=self._host, detail=detail))

    def _domain(self, _conn: Any, domain: Any, *args: Any) -> None:
        uuid, event_id = domain.UUIDString(), args[-1]
        self._changed(uuid)
        detail = ""
        if event_id == libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE and args[0] < len(_LIFECYCLE):
            detail = f"{_LIFECYCLE[args[0]]}/{args[1]}"
        self._send(Event(kind=EventKind.CHANGED, host=self._host, uuid=uuid, detail=detail))

    def _pool(self, _conn: Any, pool: Any, *_args: Any) -> None:
        self._send(Event(kind=EventKind.POOL, host=self._host, uuid=pool.UUIDString()))

    def _send(self, event: Event) -> None:
        deliver = self._deliver
        if deliver is not None:
            deliver(event)
