"""Pools on one host: define, mount, start, claim, and forget again. Called by `storage.py`.

A pool is libvirt's own, of the pool's UUID, never autostarted: at boot a mount whose server is away would keep libvirtd
from starting. Whether it is the right storage its claim says (safety.md H3).
"""

import contextlib
import errno
import re
import time
from collections.abc import Iterator
from typing import Any

import libvirt

from drivers.base import PoolDefinition, PoolFacts
from drivers.errors import Busy, DriverError, Invalid, Unreachable, WrongPool
from drivers.kvm.bounded import Bounded
from drivers.kvm.connection import Connection
from drivers.kvm.mounts import Mounts
from drivers.kvm.pool_paths import PoolPaths, find_pool
from drivers.kvm.pool_xml import describe, pool_element, pool_name, same_storage, source_of, target_path
from drivers.kvm.usage import Usage
from drivers.kvm.volume_io import create_file, find_volume, read_file, write_file
from drivers.kvm.xml import Element, parse, to_text, value
from drivers.storage import claim as claims
from drivers.storage.names import CLAIM

_MOUNT = re.compile(r"^internal error: Child process \(.*\) unexpected exit status \d+: ")
"""What libvirt says before the words of mount itself."""
_WRONG_PATH = (
    "No such file or directory",
    "access denied",
    "Permission denied",
    "Not a directory",
    "does not exist",
    "No such device",
    "unknown filesystem",
    "incorrect mount option",
    "Invalid argument",
    "Protocol not supported",
)
_CLAIM_SECONDS = 5.0
_LISTINGS = 4


class Pools:
    def __init__(
        self, connection: Connection, mounts: Mounts, bounded: Bounded, paths: PoolPaths, usage: Usage
    ) -> None:
        self._connection = connection
        self._mounts = mounts
        self._bounded = bounded
        self._paths = paths
        self._usage = usage

    def connect(self, pool: PoolDefinition) -> PoolFacts:
        """See Storage.connect_pool."""
        return self._bounded.call(pool.uuid, f"connect {describe(pool.source)}", lambda: self._connect(pool))

    def disconnect(self, pool: PoolDefinition) -> None:
        """See Storage.disconnect_pool."""

        def work() -> None:
            with self._connection.calling(f"look up pool {pool.name}") as raw:
                if find_pool(raw, pool.uuid) is None:
                    return
            self._refuse_in_use(pool, running_only=False)
            self._remove(pool)

        self._bounded.call(pool.uuid, "disconnect it", work)

    def observe(self, pool: PoolDefinition) -> PoolFacts | None:
        def look() -> PoolFacts | None:
            with self._connection.calling(f"look at pool {pool.name}") as raw:
                found = find_pool(raw, pool.uuid)
                if found is None or not found.isActive() or find_volume(found, CLAIM) is None:
                    return None
                return self._facts(pool, found)

        return self._bounded.call(pool.uuid, "tell its size", look, seconds=5.0)

    @contextlib.contextmanager
    def mounted(self, raw: Any, pool: PoolDefinition) -> Iterator[Any]:
        """The libvirt pool, mounted all the time (Mounts.throughout). Raises Busy when it is not connected."""
        found = find_pool(raw, pool.uuid)
        if found is None or not found.isActive():
            raise Busy(f"Host {self._connection.host}: pool {pool.name} is not connected there yet")
        with self._mounts.throughout(found):
            yield found

    # ---------------------------------------------------------------- the steps

    def _connect(self, pool: PoolDefinition) -> PoolFacts:
        element = pool_element(pool)
        with self._connection.calling(f"connect pool {pool.name} ({describe(pool.source)})") as raw:
            found = find_pool(raw, pool.uuid)
            if found is not None and source_of(parse(found.XMLDesc(0), "a pool")) != source_of(element):
                self._refuse_in_use(pool, running_only=True)
                self._remove(pool)
                found = None
            if found is None:
                self._refuse_same_storage(raw, pool, element)
                found = raw.storagePoolDefineXML(to_text(element), 0)
                self._paths.forget(pool.uuid)
            if found.autostart():
                found.setAutostart(0)
            if found.isActive() and not self._mounts.is_mounted(found):
                found.destroy()
            started = not found.isActive()
            if started:
                found.build(0)
                self._start(pool, found)
                self._mounts.began(pool.uuid)
            try:
                if not started:
                    self._mounts.refresh(found)
                self._claim(pool, found)
            except (DriverError, libvirt.libvirtError):
                if started:
                    self._remove(pool)
                raise
            self._paths.learn(pool.uuid, target_path(pool))
            return self._facts(pool, found)

    def _start(self, pool: PoolDefinition, found: Any) -> None:
        """Mount and list it."""
        try:
            self._create(found)
        except libvirt.libvirtError as error:
            text = _MOUNT.sub("", (error.get_error_message() or "").strip())
            words = f"Host {self._connection.host}: could not mount {describe(pool.source)} for {pool.name}: {text}"
            if not self._connection.alive:
                raise
            found.undefine()
            if any(word in text for word in _WRONG_PATH):
                raise Invalid(f"{words}; check server and path, and that the export admits this host") from error
            raise Unreachable(words) from error

    def _create(self, found: Any) -> None:
        """Again at once where only the listing failed, of a file that another host deleted just then."""
        for left in reversed(range(_LISTINGS)):
            try:
                found.create(0)
            except libvirt.libvirtError as error:
                if not left or error.get_int1() != errno.ESTALE:
                    raise
            else:
                return

    def _claim(self, pool: PoolDefinition, found: Any) -> None:
        """Make the claim, of a pool that never had one, or check the one that is there. Making it is exclusive: of two
        hosts one creates the file, and the other waits until something is written in it."""
        wanted = claims.Claim(uuid=pool.uuid, installation=pool.installation, name=pool.name)
        where = f"Host {self._connection.host}: {describe(pool.source)}"
        with self._connection.calling(f"claim pool {pool.name}") as raw:
            if pool.claimed and find_volume(found, CLAIM) is None:
                raise claims.missing(wanted, where)
            made = create_file(found, CLAIM, claims.BYTES)
            if made:
                write_file(raw, found, CLAIM, claims.encode(wanted))
            deadline = time.monotonic() + _CLAIM_SECONDS
            while (seen := claims.decode(read_file(raw, found, CLAIM))) is None:
                if time.monotonic() > deadline:
                    # Whoever created it died before writing.
                    write_file(raw, found, CLAIM, claims.encode(wanted))
                time.sleep(0.2)
            claims.check(seen, wanted, where)

    def _remove(self, pool: PoolDefinition) -> None:
        self._paths.forget(pool.uuid)
        with self._connection.calling(f"disconnect pool {pool.name}") as raw:
            found = find_pool(raw, pool.uuid)
            if found is None:
                return
            if found.isActive():
                found.destroy()
            found.undefine()

    def _refuse_same_storage(self, raw: Any, pool: PoolDefinition, element: Element) -> None:
        """libvirt has one pool for an export, and would say "source conflict" without saying whose."""
        for other in raw.listAllStoragePools(0):
            if not same_storage(parse(other.XMLDesc(0), "a pool"), element):
                continue
            at = f"Host {self._connection.host}: {describe(pool.source)}"
            if other.name().startswith(pool_name("")):
                raise WrongPool(
                    f"{at} is connected as pool {other.UUIDString()}, not {pool.uuid} ({pool.name}): one export serves "
                    "one StoragePool. Give this one another path, or set spec.uuid to attach the known pool again."
                )
            raise Invalid(f"{at} is used by the host's own libvirt pool {other.name()!r}; remove that pool first")

    def _refuse_in_use(self, pool: PoolDefinition, running_only: bool) -> None:
        with self._connection.calling(f"look up pool {pool.name}") as raw:
            found = find_pool(raw, pool.uuid)
            folder = value(parse(found.XMLDesc(0), "a pool"), "target/path") if found is not None else target_path(pool)
        users = self._usage.users_in(folder, running_only)
        if users:
            raise Busy(
                f"Host {self._connection.host}: pool {pool.name} is used by {len(users)} machines: "
                f"{', '.join(users[:5])}"
            )

    def _facts(self, pool: PoolDefinition, found: Any) -> PoolFacts:
        _state, capacity, _allocation, available = found.info()
        return PoolFacts(uuid=pool.uuid, capacity=capacity, available=available)
