"""A thin layer around an end-point that tells a hook before and after every call that changes the outside world.

Tests wrap what `drivers.registry` opens: to count external calls, and to end the operator (with a BaseException) at
just the n-th point between two of them (design.md §1.1). Observations pass through untold. Production does not use it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drivers.base import (
    Action,
    Capabilities,
    DiskDefinition,
    DiskFacts,
    EndPoint,
    Event,
    Expected,
    Hardware,
    HostFacts,
    ImageSource,
    InstanceFacts,
    Listing,
    PoolDefinition,
    PoolFacts,
    Progress,
    Seed,
    Storage,
)
from drivers.marks import DiskMark


@dataclass(frozen=True, slots=True)
class Call:
    """`name` is the action's (`Define`) or the storage method's (`create_disk`); `subject` the UUID of the instance or
    pool, or the name of the disk. `done` is False before the call and True after it has succeeded."""

    name: str
    host: str
    subject: str
    done: bool


Hook = Callable[[Call], None]


class RecordingEndPoint:
    """Has the same promises as `inner`. The hook is called in the caller's thread; what it raises ends the call."""

    def __init__(self, inner: EndPoint, host: str, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook
        self._storage = RecordingStorage(inner.storage, host, hook)

    @property
    def alive(self) -> bool:
        return self._inner.alive

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    @property
    def storage(self) -> Storage:
        return self._storage

    def observe_host(self, host: str) -> HostFacts:
        return self._inner.observe_host(host)

    def list_instances(self, host: str) -> Listing:
        return self._inner.list_instances(host)

    def observe_instance(self, host: str, uuid: str) -> InstanceFacts | None:
        return self._inner.observe_instance(host, uuid)

    def choose_hardware(self, host: str, wanted: Hardware) -> Hardware:
        return self._inner.choose_hardware(host, wanted)

    def apply(self, host: str, uuid: str, action: Action, expected: Expected) -> None:
        name = type(action).__name__
        self._hook(Call(name, host, uuid, done=False))
        self._inner.apply(host, uuid, action, expected)
        self._hook(Call(name, host, uuid, done=True))

    def subscribe(self, deliver: Callable[[Event], None]) -> None:
        self._inner.subscribe(deliver)

    def console(self, host: str, uuid: str) -> Iterator[bytes]:
        return self._inner.console(host, uuid)

    def guest_addresses(self, host: str, uuid: str) -> tuple[str, ...]:
        return self._inner.guest_addresses(host, uuid)

    def close(self) -> None:
        self._inner.close()


class RecordingStorage:
    """The same for the storage of an end-point."""

    def __init__(self, inner: Storage, host: str, hook: Hook) -> None:
        self._inner = inner
        self._host = host
        self._hook = hook

    def connect_pool(self, pool: PoolDefinition) -> PoolFacts:
        self._before("connect_pool", pool.uuid)
        facts = self._inner.connect_pool(pool)
        self._after("connect_pool", pool.uuid)
        return facts

    def disconnect_pool(self, pool: PoolDefinition) -> None:
        self._before("disconnect_pool", pool.uuid)
        self._inner.disconnect_pool(pool)
        self._after("disconnect_pool", pool.uuid)

    def observe_pool(self, pool: PoolDefinition) -> PoolFacts | None:
        return self._inner.observe_pool(pool)

    def list_disks(self, pool: PoolDefinition) -> tuple[DiskFacts, ...]:
        return self._inner.list_disks(pool)

    def observe_disk(self, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        return self._inner.observe_disk(pool, disk)

    def create_disk(self, pool: PoolDefinition, definition: DiskDefinition) -> DiskFacts:
        self._before("create_disk", definition.disk)
        facts = self._inner.create_disk(pool, definition)
        self._after("create_disk", definition.disk)
        return facts

    def clone_disk(self, pool: PoolDefinition, definition: DiskDefinition, base: str) -> DiskFacts:
        self._before("clone_disk", definition.disk)
        facts = self._inner.clone_disk(pool, definition, base)
        self._after("clone_disk", definition.disk)
        return facts

    def import_image(
        self,
        pool: PoolDefinition,
        definition: DiskDefinition,
        source: ImageSource,
        progress: Callable[[Progress], None],
    ) -> DiskFacts:
        self._before("import_image", definition.disk)
        facts = self._inner.import_image(pool, definition, source, progress)
        self._after("import_image", definition.disk)
        return facts

    def copy_image(
        self, source: PoolDefinition, disk: str, pool: PoolDefinition, definition: DiskDefinition
    ) -> DiskFacts:
        self._before("copy_image", definition.disk)
        facts = self._inner.copy_image(source, disk, pool, definition)
        self._after("copy_image", definition.disk)
        return facts

    def resize_disk(self, pool: PoolDefinition, disk: str, size: int) -> DiskFacts:
        self._before("resize_disk", disk)
        facts = self._inner.resize_disk(pool, disk, size)
        self._after("resize_disk", disk)
        return facts

    def delete_disk(self, pool: PoolDefinition, disk: str, expected_uid: str) -> None:
        self._before("delete_disk", disk)
        self._inner.delete_disk(pool, disk, expected_uid)
        self._after("delete_disk", disk)

    def write_disk_mark(self, pool: PoolDefinition, disk: str, mark: DiskMark) -> None:
        self._before("write_disk_mark", disk)
        self._inner.write_disk_mark(pool, disk, mark)
        self._after("write_disk_mark", disk)

    def write_seed(self, pool: PoolDefinition, disk: str, seed: Seed) -> str:
        self._before("write_seed", disk)
        name = self._inner.write_seed(pool, disk, seed)
        self._after("write_seed", disk)
        return name

    def _before(self, name: str, subject: str) -> None:
        self._hook(Call(name, self._host, subject, done=False))

    def _after(self, name: str, subject: str) -> None:
        self._hook(Call(name, self._host, subject, done=True))
