"""One libvirt host as an EndPoint: puts connection, cache, events, facts, actions and storage together. Made by
`driver.py`; everything it promises is in `drivers.base`.
"""

from collections.abc import Callable, Iterator

from drivers.base import (
    Action,
    Capabilities,
    Event,
    Expected,
    Hardware,
    HostFacts,
    InstanceFacts,
    LibvirtConnection,
    Listing,
)
from drivers.errors import Invalid, StorageUnreachable
from drivers.kvm import facts, guest
from drivers.kvm.actions import Actions
from drivers.kvm.bounded import EVERYTHING, Bounded
from drivers.kvm.connection import Connection
from drivers.kvm.events import EventHub
from drivers.kvm.facts import DomainCache
from drivers.kvm.host import HostReader
from drivers.kvm.mounts import Mounts
from drivers.kvm.pool_paths import PoolPaths
from drivers.kvm.storage import KVMStorage
from drivers.kvm.usage import Usage

LOOK_SECONDS = 10.0
"""A host whose libvirtd is frozen is noticed by keepalive after 8 s; this is for one that answers pings alone."""
ACTION_SECONDS = 60.0
"""libvirt itself gives a process 15 to 30 s to die."""


class KVMEndPoint:
    """Thread-safe. Dead for good once `alive` is False."""

    def __init__(self, wanted: LibvirtConnection, connection: Connection, patient: Connection) -> None:
        self._host = wanted.host
        self._connection = connection
        self._patient = patient
        connection.on_dead(patient.end)
        patient.on_dead(connection.end)
        self._cache = DomainCache(connection)
        self._hub = EventHub(wanted.host, self._cache.drop)
        connection.on_dead(self._hub.closed)
        connection.on_end(self._hub.deregister)
        with connection.calling("register for its events") as raw:
            self._hub.register(raw)
        self._reader = HostReader(connection, wanted.installations)
        self._reader.abilities()
        self._bounded = Bounded(wanted.host, "instance")
        mounts, bounded = Mounts(wanted.host), Bounded(wanted.host, "pool", StorageUnreachable)
        paths = PoolPaths(patient, mounts, bounded)
        self._actions = Actions(connection, patient, self._cache, self._reader, paths)
        self._storage = KVMStorage(patient, mounts, bounded, paths, Usage(connection))

    @property
    def alive(self) -> bool:
        return self._connection.alive

    @property
    def capabilities(self) -> Capabilities:
        able = self._reader.abilities()
        return Capabilities(
            hypervisor="KVM",
            uplink_types=("Bridge",),
            pool_types=("NFS", "Local"),
            firmware=("BIOS", "UEFI") if able.uefi else ("BIOS",),
        )

    @property
    def storage(self) -> KVMStorage:
        return self._storage

    def observe_host(self, host: str) -> HostFacts:
        self._check(host)
        instances = self.list_instances(host).instances
        return self._bounded.call(
            EVERYTHING, "describe the host", lambda: self._reader.observe(host, instances), LOOK_SECONDS
        )

    def list_instances(self, host: str) -> Listing:
        self._check(host)
        return self._bounded.call(
            EVERYTHING,
            "list its instances",
            lambda: facts.list_instances(self._connection, self._cache),
            LOOK_SECONDS,
        )

    def observe_instance(self, host: str, uuid: str) -> InstanceFacts | None:
        self._check(host)
        return self._bounded.call(
            uuid, "observe it", lambda: facts.observe_instance(self._connection, self._cache, uuid), LOOK_SECONDS
        )

    def choose_hardware(self, host: str, wanted: Hardware) -> Hardware:
        self._check(host)
        return self._reader.choose(wanted)

    def apply(self, host: str, uuid: str, action: Action, expected: Expected) -> None:
        self._check(host)
        self._bounded.call(
            uuid, type(action).__name__, lambda: self._actions.apply(uuid, action, expected), ACTION_SECONDS
        )

    def subscribe(self, deliver: Callable[[Event], None]) -> None:
        self._hub.subscribe(deliver)

    def console(self, host: str, uuid: str) -> Iterator[bytes]:
        self._check(host)
        return guest.console(self._connection, uuid)

    def guest_addresses(self, host: str, uuid: str) -> tuple[str, ...]:
        self._check(host)
        return guest.addresses(self._connection, uuid)

    def close(self) -> None:
        self._patient.close()
        self._connection.close()

    def _check(self, host: str) -> None:
        if host != self._host:
            raise Invalid(f"this end-point is Host {self._host}, not {host}: libvirt serves one host a connection")
