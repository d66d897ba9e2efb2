"""Builders of marks, definitions and disks for the driver tests: everything has a sensible default and one name."""

import time
import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass, replace

from drivers.base import (
    Define,
    DiskAttachment,
    DiskDefinition,
    EndPoint,
    Expected,
    Hardware,
    InstanceDefinition,
    InstanceFacts,
    NicAttachment,
    PoolDefinition,
    Resume,
    StartPaused,
    WriteMark,
)
from drivers.marks import DiskMark, DiskState, InstanceMark
from tests.drivers.backend import Backend

OURS = "installation-ours"
THEIRS = "installation-theirs"
MIB = 1 << 20
GIB = 1 << 30


def new_uuid() -> str:
    return str(uuids.uuid4())


def instance_mark(name: str = "web-1", sequence: int = 5, installation: str = OURS) -> InstanceMark:
    return InstanceMark(
        installation=installation,
        namespace="team-a",
        name=name,
        uid=new_uuid(),
        uuid=new_uuid(),
        sequence=sequence,
        volumes=(("root", "0c9f", "0c9f-1"),),
        addresses=(("lan", "02:00:00:00:00:01", ("10.91.0.60",)),),
    )


def expecting(mark: InstanceMark) -> Expected:
    return Expected(installations=(mark.installation,), uid=mark.uid, sequence=mark.sequence)


def disk_definition(
    uuid: str = "", size: int = 4 * MIB, n: int = 1, uid: str = "", provisioning: str = "Thin", kind: str = "Volume"
) -> DiskDefinition:
    mark = DiskMark(
        installation=OURS,
        kind=kind,
        namespace="team-a",
        name="data",
        uid=uid or new_uuid(),
        uuid=uuid or new_uuid(),
        n=n,
        state=DiskState.CREATING,
        size=size,
    )
    return DiskDefinition(mark=mark, size=size, provisioning=provisioning)


def attachment(pool: PoolDefinition, disk: str, name: str = "root", slot: int = 1) -> DiskAttachment:
    return DiskAttachment(name=name, slot=slot, pool=pool.uuid, disk=disk, boot_order=1 if name == "root" else 0)


def nic(backend: Backend, name: str = "lan", slot: int = 8, mac: str = "02:00:00:00:00:01") -> NicAttachment:
    kind, uplink = backend.uplink
    return NicAttachment(name=name, slot=slot, mac=mac, uplink_type=kind, uplink=uplink)


@dataclass(frozen=True, slots=True)
class Machine:
    """One instance of a test on one host: every call with the expectation that fits its mark."""

    backend: Backend
    endpoint: EndPoint
    host: str
    mark: InstanceMark
    definition: InstanceDefinition

    @property
    def uuid(self) -> str:
        return self.mark.uuid

    @property
    def expected(self) -> Expected:
        return expecting(self.mark)

    def apply(self, action: object, expected: Expected | None = None) -> None:
        self.endpoint.apply(self.host, self.uuid, action, expected or self.expected)  # type: ignore[arg-type]

    def define(self) -> "Machine":
        self.apply(Define(self.definition))
        return self

    def start_paused(self) -> "Machine":
        self.define().apply(WriteMark(replace(self.mark, run_count=1, starting=1)))
        self.apply(StartPaused())
        return self

    def run(self) -> "Machine":
        self.start_paused().apply(Resume())
        self.apply(WriteMark(replace(self.mark, run_count=1)))
        return self

    def facts(self) -> InstanceFacts:
        found = self.endpoint.observe_instance(self.host, self.uuid)
        assert found is not None, f"{self.host} has no domain {self.uuid}"
        return found

    def is_there(self) -> bool:
        return self.endpoint.observe_instance(self.host, self.uuid) is not None


def machine(
    backend: Backend,
    endpoint: EndPoint,
    host: str = "",
    mark: InstanceMark | None = None,
    disks: tuple[DiskAttachment, ...] = (),
    title: str = "",
) -> Machine:
    host = host or backend.hosts[0]
    mark = mark or instance_mark()
    wanted = InstanceDefinition(
        title=title or f"team-a.{mark.name}.{mark.uuid[:8]}",
        mark=mark,
        cpus=1,
        memory=backend.memory,
        max_cpus=1,
        max_memory=backend.memory,
        hardware=endpoint.choose_hardware(host, Hardware()),
        disks=disks,
        nics=(nic(backend),),
    )
    return Machine(backend, endpoint, host, mark, wanted)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)
