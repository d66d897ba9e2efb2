"""libvirt's list of a pool's files, and whether the pool is its storage at all. Used by `pools.py`, `pool_paths.py`,
`disks.py` and `imports.py`, inside `calling`; raises libvirtError.

libvirt unmounts a pool when it could not list it (a file that another host deletes just then is enough), and where
that was its own look after an upload, of a mark say, it goes on calling the pool active. Then disks would be made,
missed and deleted in the empty folder below. Whether the storage is there its claim tells, before and after (decision
27).
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import libvirt

from drivers.errors import Busy, StorageUnreachable
from drivers.kvm.failure import is_absent
from drivers.kvm.volume_io import find_volume
from drivers.storage.names import CLAIM

BUILDING_SECONDS = 10.0
"""In which a listing waits for volumes that are being built."""


class Mounts:
    """Of one connection. Thread-safe; `pool` is libvirt's."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._mounts: dict[str, object] = {}
        self._lock = threading.Lock()
        self._running: dict[str, threading.Lock] = {}
        self._next: dict[str, Future[None]] = {}
        """Listings that have not begun."""

    def began(self, uuid: str) -> None:
        """The pool was mounted."""
        self._mounts[uuid] = object()

    @contextlib.contextmanager
    def throughout(self, pool: Any) -> Iterator[None]:
        """Around calls that are about this storage from the first to the last. Raises StorageUnreachable when it was
        not mounted, and Busy when it was mounted anew meanwhile: what was seen or written counts for nothing then."""
        uuid = pool.UUIDString()
        mount = self._mounts.get(uuid)
        self.require(pool)
        try:
            yield
        finally:
            self.require(pool)
            if self._mounts.get(uuid) is not mount:
                raise Busy(f"Host {self._host}: pool {pool.name()} was connected anew meanwhile")

    def require(self, pool: Any) -> None:
        """Raises StorageUnreachable when it is not mounted, and stops it: libvirt tells of that, and it is connected
        anew."""
        if not self.is_mounted(pool):
            pool.destroy()
            text = f"Host {self._host}: pool {pool.name()} was not mounted any more; it is connected anew"
            raise StorageUnreachable(text)

    def is_mounted(self, pool: Any) -> bool:
        """Whether the claim of the active pool is in libvirt's list, looked up anew if need be, and on the storage."""
        if find_volume(pool, CLAIM) is None:
            self.refresh(pool)
        return size_of(find_volume(pool, CLAIM)) is not None

    def refresh(self, pool: Any) -> None:
        """Make libvirt look at the storage anew: files that other hosts made become visible. One listing begins at a
        time and is shared by all who asked before: of a large pool it takes seconds, in which libvirt answers nobody
        else about it."""
        uuid = pool.UUIDString()
        with self._lock:
            running = self._running.setdefault(uuid, threading.Lock())
            shared = self._next.get(uuid)
            if shared is None:
                mine = self._next[uuid] = Future()
        if shared is not None:
            shared.result()
            return
        with running:
            with self._lock:
                del self._next[uuid]
            try:
                _refresh(pool)
            except BaseException as error:
                mine.set_exception(error)
                raise
            mine.set_result(None)


def size_of(volume: Any | None) -> int | None:
    """In bytes, as the file's header says now; None when there is none."""
    try:
        return None if volume is None else int(volume.info()[1])
    except libvirt.libvirtError as error:
        if is_absent(error):
            return None
        raise


def _refresh(pool: Any) -> None:
    """Retries a moment while a volume is being built, which libvirt refuses."""
    deadline = time.monotonic() + BUILDING_SECONDS
    while True:
        try:
            pool.refresh(0)
            return
        except libvirt.libvirtError as error:
            busy = error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and "asynchronous" in str(error)
            if not busy:
                raise
            if time.monotonic() > deadline:
                raise Busy(f"pool {pool.name()} is being written to; its listing has to wait") from error
            time.sleep(0.1)
