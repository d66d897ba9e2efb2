"""What the driver contract suite needs of a back-end under test, beside the driver itself.

`tests/drivers/conftest.py` builds one `Backend` per back-end and runs every `test_contract_*.py` unchanged on each. A
back-end that joins adds a class that answers these, and its name to the fixture `platform` there.
"""

import abc

from drivers.base import Connection, EndPoint, PoolDefinition
from drivers.registry import open_endpoint


class Backend(abc.ABC):
    """Two hosts that see one shared storage. Hands of an administrator go past the driver under test."""

    name: str
    hosts: tuple[str, str]
    uplink: tuple[str, str]
    """Type and name of an uplink that both hosts have."""
    memory: int = 64 << 20
    """Bytes that a guest of these tests takes."""

    def __init__(self) -> None:
        self._opened: list[EndPoint] = []

    @abc.abstractmethod
    def connection(self, host: str) -> Connection:
        """How the driver reaches `host`."""

    @abc.abstractmethod
    def pool(self, uuid: str, like: PoolDefinition | None = None) -> PoolDefinition:
        """A pool on storage of its own, or on the storage of `like`. Both hosts reach it."""

    @abc.abstractmethod
    def break_connections(self, host: str) -> None:
        """Every connection to the host that is open now breaks; the host accepts new ones soon."""

    @abc.abstractmethod
    def make_unmarked(self, host: str, title: str) -> str:
        """A domain that somebody defined by hand (off, without disks); returns its UUID."""

    @abc.abstractmethod
    def edit_memory(self, host: str, uuid: str, memory: int) -> None:
        """Somebody changes the persistent definition by hand."""

    @abc.abstractmethod
    def damage_mark(self, host: str, uuid: str) -> None:
        """The domain's mark is torn: it carries our name and not a whole mark."""

    @abc.abstractmethod
    def damage_disk_mark(self, pool: PoolDefinition, disk: str) -> None:
        """The same for a disk."""

    @abc.abstractmethod
    def put_foreign_disk(self, pool: PoolDefinition, disk: str) -> None:
        """A disk of that name without any mark."""

    @abc.abstractmethod
    def lose_disk(self, pool: PoolDefinition, disk: str) -> None:
        """The disk is deleted by hand; its mark stays."""

    @abc.abstractmethod
    def files(self, pool: PoolDefinition) -> set[str]:
        """Names of all that lies on the storage but the pool's claim: disks, marks, companions, leftovers."""

    @abc.abstractmethod
    def clean(self) -> None:
        """Remove every domain and pool that a test left."""

    def close(self) -> None:
        """The session is over."""
        return

    def open(self, host: str) -> EndPoint:
        """A new connection, closed at the end of the test."""
        endpoint = open_endpoint(self.connection(host))
        self._opened.append(endpoint)
        return endpoint

    def close_opened(self) -> None:
        while self._opened:
            self._opened.pop().close()
