"""The Storage of one libvirt host: bounds every call in time and hands it to pools, disks and imports."""

from collections.abc import Callable
from typing import TypeVar

from drivers.base import (
    DiskDefinition,
    DiskFacts,
    ImageSource,
    PoolDefinition,
    PoolFacts,
    Progress,
    Seed,
)
from drivers.kvm import imports
from drivers.kvm.bounded import Bounded
from drivers.kvm.connection import Connection
from drivers.kvm.disks import Disks
from drivers.kvm.mounts import Mounts
from drivers.kvm.pool_paths import PoolPaths
from drivers.kvm.pools import Pools
from drivers.kvm.usage import Usage
from drivers.marks import DiskMark
from drivers.storage.seed import seed_image

T = TypeVar("T")
COPY_SECONDS = 3600.0


class KVMStorage:
    """See drivers.base.Storage. Thread-safe."""

    def __init__(
        self, connection: Connection, mounts: Mounts, bounded: Bounded, paths: PoolPaths, usage: Usage
    ) -> None:
        self._bounded = bounded
        self._pools = Pools(connection, mounts, bounded, paths, usage)
        self._disks = Disks(connection, mounts, self._pools, usage)

    def connect_pool(self, pool: PoolDefinition) -> PoolFacts:
        return self._pools.connect(pool)

    def disconnect_pool(self, pool: PoolDefinition) -> None:
        self._pools.disconnect(pool)

    def observe_pool(self, pool: PoolDefinition) -> PoolFacts | None:
        return self._pools.observe(pool)

    def list_disks(self, pool: PoolDefinition) -> tuple[DiskFacts, ...]:
        return self._call(pool, "list its disks", lambda: self._disks.listing(pool))

    def observe_disk(self, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        return self._call(pool, f"look at {disk}", lambda: self._disks.observe(pool, disk))

    def create_disk(self, pool: PoolDefinition, definition: DiskDefinition) -> DiskFacts:
        # A thick raw disk is written in full.
        return self._call(
            pool, f"create {definition.disk}", lambda: self._disks.blank(pool, definition), _seconds(definition)
        )

    def clone_disk(self, pool: PoolDefinition, definition: DiskDefinition, base: str) -> DiskFacts:
        return self._call(
            pool, f"clone {definition.disk}", lambda: self._disks.clone(pool, definition, base), _seconds(definition)
        )

    def import_image(
        self,
        pool: PoolDefinition,
        definition: DiskDefinition,
        source: ImageSource,
        progress: Callable[[Progress], None],
    ) -> DiskFacts:
        return imports.import_image(self._disks, pool, definition, source, progress)

    def copy_image(
        self, source: PoolDefinition, disk: str, pool: PoolDefinition, definition: DiskDefinition
    ) -> DiskFacts:
        return self._disks.copy(source, disk, pool, definition)

    def resize_disk(self, pool: PoolDefinition, disk: str, size: int) -> DiskFacts:
        return self._call(pool, f"grow {disk}", lambda: self._disks.resize(pool, disk, size))

    def delete_disk(self, pool: PoolDefinition, disk: str, expected_uid: str) -> None:
        self._call(pool, f"delete {disk}", lambda: self._disks.delete(pool, disk, expected_uid))

    def write_disk_mark(self, pool: PoolDefinition, disk: str, mark: DiskMark) -> None:
        self._call(pool, f"mark {disk}", lambda: self._disks.write_mark(pool, disk, mark))

    def write_seed(self, pool: PoolDefinition, disk: str, seed: Seed) -> str:
        image = seed_image(seed)
        return self._call(pool, f"write the seed of {disk}", lambda: self._disks.write_seed(pool, disk, image))

    def _call(self, pool: PoolDefinition, what: str, run: Callable[[], T], seconds: float = 30.0) -> T:
        return self._bounded.call(pool.uuid, what, run, seconds)


def _seconds(definition: DiskDefinition) -> float:
    return COPY_SECONDS if definition.provisioning == "Thick" else 30.0
