"""One way of counting: what is allocatable, allocated, used and summed up."""

from typing import Any

import pytest

from controllers.logic.capacity import add_up, counts, host_capacity, round_to_percent, summarise, taken
from crds.capacity import ByteAmounts, Capacity, CPUAmounts
from crds.host import HostSpec
from crds.hostcluster import ClusterLimits, Overcommit
from drivers.base import CPUFacts, HostFacts
from tests.logic.infrastructure import Cloud

GI = 2**30
RAN = {"startedAt": "2026-01-01T10:00:00Z"}
ENDED = {**RAN, "endedAt": "2026-01-01T11:00:00Z"}
SHUT_DOWN = {**ENDED, "reason": "GuestShutdown"}


def facts(**changes: Any) -> HostFacts:
    base: dict[str, Any] = {
        "host": "h", "machine_id": "m", "hostname": "h", "architecture": "x86_64", "hypervisor": "KVM", "version": "9",
        "cpus": 10, "memory": 64 * GI, "cpu": CPUFacts(model="x"),
    }  # fmt: skip
    return HostFacts(**{**base, **changes})


def spec(**changes: Any) -> HostSpec:
    connection = {"type": "Simulated", "simulated": {"cpus": 8, "memory": "16Gi"}}
    return HostSpec.model_validate({"hostClusterRef": {"name": "c"}, "connection": connection, **changes})


def instance(strategy: str = "Always", placed: str = "h", **status: Any) -> Any:
    body = {"resources": {"cpus": 2, "memory": "4Gi", "overhead": "256Mi"}, **status}
    if placed:
        body["placement"] = {"host": placed, "sequence": 1}
    asked = {"zoneRef": {"name": "z"}, "resources": {"cpus": 2, "memory": "4Gi"}, "runStrategy": strategy}
    return Cloud().add("Instance", "i", asked, namespace="n", status=body)


CASES = [
    ("not placed", instance(placed=""), False),
    ("placed and never started", instance(), True),
    ("placed, declared halted and never started", instance("Halted"), False),
    ("running", instance(lastRun=RAN), True),
    ("running, and now declared halted", instance("Halted", lastRun=RAN), True),
    ("stopped as declared (W7)", instance("Halted", lastRun={**ENDED, "reason": "Stopped"}), False),
    ("stopped under Manual (W7)", instance("Manual", lastRun={**ENDED, "reason": "Stopped"}), False),
    ("ended under Always: started again there", instance(lastRun={**ENDED, "reason": "GuestShutdown"}), True),
    ("crashed under RerunOnFailure", instance("RerunOnFailure", lastRun={**ENDED, "reason": "Crashed"}), True),
    ("shut itself down under RerunOnFailure", instance("RerunOnFailure", lastRun=SHUT_DOWN), False),
    ("ended under Once", instance("Once", lastRun={**ENDED, "reason": "Crashed"}), False),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_which_instances_take_cpu_and_memory(subject: Any, expected: bool) -> None:
    assert counts(subject) is expected
    assert taken([subject]).cpus == (2 if expected else 0)
    assert taken([subject]).memory == (4 * GI + 256 * 2**20 if expected else 0)
    assert taken([subject]).instances == 1


def test_reserved_is_taken_off_before_overcommit_and_limits() -> None:
    found = host_capacity(
        facts(foreign_cpus=3, foreign_memory=5 * GI, used_memory=10 * GI),
        spec(reserved={"cpus": 2, "memory": "4Gi"}),
        Overcommit(cpu_percent=200, memory_percent=150),
        ClusterLimits(cpu_percent=50, memory_percent=80),
        taken([instance(lastRun=RAN)]),
        busy_cpus=2.1,
    )
    assert (found.cpus.total, found.cpus.allocatable, found.cpus.allocated, found.cpus.used) == (10, 16, 2, 3)
    assert (found.memory.allocatable, found.cpu_limit, found.memory_limit) == (90 * GI, 8, 72 * GI)
    assert (found.cpus_taken, found.memory_taken) == (5, 9 * GI + 256 * 2**20), "N1: what is not ours counts"


def test_unset_reserved_is_one_gibibyte_and_no_cpu() -> None:
    found = host_capacity(facts(), spec(), Overcommit(), ClusterLimits(), taken([]))
    assert (found.cpus.allocatable, found.memory.allocatable) == (10, 63 * GI)
    assert summarise(found.shown()).memory == "0/63Gi"  # type: ignore[union-attr]


def test_at_the_first_look_of_a_process_used_amounts_stand_as_they_are_on_record() -> None:
    found = host_capacity(facts(used_memory=10 * GI), spec(), Overcommit(), ClusterLimits(), taken([]), busy_cpus=2.0)
    on_record = found.shown()
    first = host_capacity(facts(used_memory=20 * GI), spec(), Overcommit(), ClusterLimits(), taken([]))
    assert first.shown(on_record) == on_record
    assert first.shown() != on_record


@pytest.mark.parametrize(
    ("amount", "total", "rounded"), [(0, 100, 0), (149, 10000, 100), (151, 10000, 200), (99, 100, 99), (7, 0, 0)]
)
def test_used_is_rounded_to_one_percent(amount: int, total: int, rounded: int) -> None:
    assert round_to_percent(amount, total) == rounded


def test_sums_leave_out_what_nobody_has() -> None:
    cpus = CPUAmounts(total=4, allocatable=3, allocated=2, used=1)
    disk = ByteAmounts(total=100, allocatable=90, allocated=80, used=70)
    total = add_up([Capacity(cpus=cpus), None, Capacity(cpus=cpus), Capacity(storage=disk)])
    assert total == Capacity(cpus=CPUAmounts(total=8, allocatable=6, allocated=4, used=2), storage=disk)
    assert add_up([None]) is None
