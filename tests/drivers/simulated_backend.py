"""The simulated platform for the contract suite."""

from pathlib import Path

from drivers.base import PoolDefinition, SimulatedConnection, SimulatedSource
from drivers.simulated.faults import Faults
from tests.drivers.backend import Backend
from tests.drivers.builders import OURS


class SimulatedBackend(Backend):
    name = "simulated"
    hosts = ("sim-1", "sim-2")
    uplink = ("Simulated", "wire")

    def __init__(self, state: Path) -> None:
        super().__init__()
        self.state = str(state)
        self.faults = Faults(self.state)

    def connection(self, host: str) -> SimulatedConnection:
        return SimulatedConnection(host=host, cpus=8, memory=16 << 30, state=self.state)

    def pool(self, uuid: str, like: PoolDefinition | None = None) -> PoolDefinition:
        address = _address(like) if like else ""
        source = SimulatedSource(capacity=8 << 30, address=address)
        return PoolDefinition(uuid=uuid, name="shared", installation=OURS, source=source)

    def break_connections(self, host: str) -> None:
        self.faults.cut_connections(host)

    def make_unmarked(self, host: str, title: str) -> str:
        return self.faults.make_unmarked(host, title, memory=self.memory, running=False)

    def edit_memory(self, host: str, uuid: str, memory: int) -> None:
        self.faults.edit(host, uuid, memory=memory)

    def damage_mark(self, host: str, uuid: str) -> None:
        self.faults.write_mark(host, uuid, '{"stratiform": 1, "ki')

    def damage_disk_mark(self, pool: PoolDefinition, disk: str) -> None:
        self.faults.write_disk_mark(_address(pool), disk, '{"stratiform": 1, "ki')

    def put_foreign_disk(self, pool: PoolDefinition, disk: str) -> None:
        self.faults.write_disk_mark(_address(pool), disk, "")

    def lose_disk(self, pool: PoolDefinition, disk: str) -> None:
        self.faults.lose_disk(_address(pool), disk)

    def files(self, pool: PoolDefinition) -> set[str]:
        found = set()
        for disk in self.faults.disks(_address(pool)):
            found |= {disk.disk} if disk.present else set()
            found |= {f"{disk.disk}.json"} if disk.mark else set()
            for name in (f"{disk.disk}.seed", f"{disk.disk}.nvram"):
                found |= {name} if self.faults.companion(_address(pool), name) is not None else set()
        return found

    def clean(self) -> None:
        self.faults.release()
        for domain in self.faults.domains():
            self.faults.remove(domain.host, domain.uuid)

    def close(self) -> None:
        self.faults.close()


def _address(pool: PoolDefinition) -> str:
    assert isinstance(pool.source, SimulatedSource)
    return pool.source.address or pool.uuid
