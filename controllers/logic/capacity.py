"""What is there, what may be given out, what was given, and what is used. Pure arithmetic; sizes are bytes.

Used by Host and the kinds above it for their status, and by placement for the same host: one way of counting.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Obj
from crds.base import shorten_quantity
from crds.capacity import ByteAmounts, Capacity, CPUAmounts, Summary
from crds.host import HostSpec
from crds.hostcluster import ClusterLimits, Overcommit
from crds.instance import InstanceSpec
from crds.instancestatus import InstanceStatus
from crds.storagepool import StoragePoolSpec
from drivers.base import HostFacts, PoolFacts

InstanceObj = Obj[InstanceSpec, InstanceStatus]
DEFAULT_RESERVED_MEMORY = 2**30
MI = 2**20


@dataclass(frozen=True, slots=True)
class Taken:
    """What the instances of a host take, or would."""

    cpus: int = 0
    memory: int = 0
    """With the hypervisor's overhead."""
    instances: int = 0
    """Placed here, running or not."""
    running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """One host. What is not ours counts against what is free, and is shown as used."""

    cpus: CPUAmounts
    memory: ByteAmounts
    foreign_cpus: int
    foreign_memory: int
    cpu_limit: int
    """CPUs beyond which nothing new is placed: the cluster's limit of what is allocatable."""
    memory_limit: int

    @property
    def cpus_taken(self) -> int:
        return self.cpus.allocated + self.foreign_cpus

    @property
    def memory_taken(self) -> int:
        return self.memory.allocated + self.foreign_memory

    def shown(self, first_look: Capacity | None = None) -> Capacity:
        """`first_look`: what is on record, when the host was observed only once by this process: its used amounts
        stand until the second time. An average needs two looks, and a restart shall not write each host anew."""
        cpus, memory = self.cpus, self.memory
        if first_look is not None and first_look.cpus is not None and first_look.memory is not None:
            cpus = cpus.model_copy(update={"used": min(first_look.cpus.used, cpus.total)})
            memory = memory.model_copy(update={"used": min(first_look.memory.used, memory.total)})
        return Capacity(cpus=cpus, memory=memory)


def counts(instance: InstanceObj) -> bool:
    """Whether an instance takes CPU and memory on the host of its placement: it runs, or is to be started there
    without another decision. A stopped one counts nothing (W7)."""
    status, strategy = instance.status, instance.spec.run_strategy
    if status.placement is None or not status.placement.host:
        return False
    run = status.last_run
    if run is None:
        return strategy not in ("Halted", "Manual")
    if run.ended_at is None:
        return True
    return strategy == "Always" or (strategy == "RerunOnFailure" and run.reason in ("Crashed", "HostLost", "Unknown"))


def taken(instances: Iterable[InstanceObj]) -> Taken:
    """By the instances whose placement is one host."""
    cpus = memory = placed = running = 0
    for instance in instances:
        placed += 1
        run = instance.status.last_run
        running += run is not None and run.ended_at is None
        resources = instance.status.resources
        if resources is not None and counts(instance):
            cpus += resources.cpus
            memory += resources.memory + resources.overhead
    return Taken(cpus, memory, placed, running)


def host_capacity(
    facts: HostFacts,
    spec: HostSpec,
    overcommit: Overcommit,
    limits: ClusterLimits,
    given: Taken,
    *,
    busy_cpus: float = 0.0,
) -> HostCapacity:
    """`busy_cpus`: CPUs busy on the average since last looked at. Used amounts are rounded to 1 % of the total."""
    reserved_cpus = spec.reserved.cpus if spec.reserved else 0
    reserved_memory = spec.reserved.memory if spec.reserved else DEFAULT_RESERVED_MEMORY
    cpus = max(facts.cpus - reserved_cpus, 0) * overcommit.cpu_percent // 100
    memory = max(facts.memory - reserved_memory, 0) * overcommit.memory_percent // 100
    return HostCapacity(
        cpus=CPUAmounts(
            total=facts.cpus, allocatable=cpus, allocated=given.cpus, used=min(math.ceil(busy_cpus), facts.cpus)
        ),
        memory=ByteAmounts(
            total=facts.memory,
            allocatable=memory,
            allocated=given.memory,
            used=round_to_percent(facts.used_memory, facts.memory),
        ),
        foreign_cpus=facts.foreign_cpus,
        foreign_memory=facts.foreign_memory,
        cpu_limit=cpus * limits.cpu_percent // 100,
        memory_limit=memory * limits.memory_percent // 100,
    )


def pool_capacity(facts: PoolFacts, spec: StoragePoolSpec, allocated: int) -> ByteAmounts:
    """`allocated`: sum of the sizes promised to volumes."""
    return ByteAmounts(
        total=facts.capacity,
        allocatable=facts.capacity * spec.overprovision_percent // 100,
        allocated=allocated,
        used=round_to_percent(max(facts.capacity - facts.available, 0), facts.capacity),
    )


def round_to_percent(amount: int, total: int) -> int:
    """To about the nearest percent of the total (whole MiB), so that a status is not written for every byte."""
    step = max(total // 100 // MI * MI, total // 100 if total < 100 * MI else MI, 1)
    return min((amount + step // 2) // step * step, total) if total else 0


def add_up(parts: Iterable[Capacity | None]) -> Capacity | None:
    """Sum over children; a resource that none of them has stays unset. None when there is nothing to add."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    cpus = [p.cpus for p in known if p.cpus is not None]
    return Capacity(
        cpus=CPUAmounts(**_sums(cpus)) if cpus else None,
        memory=_bytes(p.memory for p in known),
        storage=_bytes(p.storage for p in known),
    )


def summarise(capacity: Capacity | None) -> Summary | None:
    """As the columns show it: allocated/allocatable."""
    if capacity is None:
        return None
    return Summary(
        cpus=f"{capacity.cpus.allocated}/{capacity.cpus.allocatable}" if capacity.cpus else None,
        memory=_pair(capacity.memory),
        storage=_pair(capacity.storage),
    )


def _bytes(parts: Iterable[ByteAmounts | None]) -> ByteAmounts | None:
    known = [part for part in parts if part is not None]
    return ByteAmounts(**_sums(known)) if known else None


def _sums(parts: Iterable[Any]) -> dict[str, int]:
    listed = list(parts)
    return {name: sum(getattr(p, name) for p in listed) for name in ("total", "allocatable", "allocated", "used")}


def _pair(amounts: ByteAmounts | None) -> str | None:
    return f"{shorten_quantity(amounts.allocated)}/{shorten_quantity(amounts.allocatable)}" if amounts else None
