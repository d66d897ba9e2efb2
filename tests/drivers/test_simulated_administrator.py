"""What people and guests do behind the operator's back in the simulated cloud, and the record of what must never be."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import (
    AttachDisk,
    DetachDisk,
    EndPoint,
    Event,
    EventKind,
    ForceOff,
    Power,
    Resume,
    Shutdown,
    StartPaused,
    Why,
)
from drivers.errors import Busy
from tests.drivers.builders import Machine, attachment, disk_definition, machine, new_uuid, until
from tests.drivers.simulated_backend import SimulatedBackend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SimulatedBackend]:
    opened = SimulatedBackend(tmp_path / "cloud.db")
    yield opened
    opened.close_opened()
    opened.close()


@pytest.fixture
def running(backend: SimulatedBackend) -> Machine:
    backend.open("sim-2")
    return machine(backend, backend.open("sim-1")).run()


def power(machine: Machine) -> tuple[Power, Why]:
    return machine.facts().power, machine.facts().why


def typed(backend: SimulatedBackend, *words: str) -> str:
    """A command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "drivers.simulated", backend.state, *words], capture_output=True, text=True, check=True
    )
    return done.stdout


# ---------------------------------------------------------------- guests


def test_a_guest_obeys_a_shutdown_at_once(running: Machine) -> None:
    running.apply(Shutdown())
    assert power(running) == (Power.OFF, Why.SHUTDOWN)


def test_a_guest_takes_its_time_to_shut_down(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.guest(running.uuid, shutdown=0.2)
    running.apply(Shutdown())
    assert running.facts().power is Power.RUNNING
    until(lambda: power(running) == (Power.OFF, Why.SHUTDOWN))


def test_a_guest_ignores_a_shutdown_and_is_forced_off(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.guest(shutdown=None)
    running.apply(Shutdown())
    assert running.facts().power is Power.RUNNING
    running.apply(ForceOff())
    assert power(running) == (Power.OFF, Why.DESTROYED)


def test_a_guest_powers_itself_off(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.power_off_guest("sim-1", running.uuid)
    assert power(running) == (Power.OFF, Why.SHUTDOWN)


def test_a_guest_crashes(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.crash_guest("sim-1", running.uuid)
    assert power(running) == (Power.CRASHED, Why.CRASHED)


def test_a_crashed_guest_starts_again(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.crash_guest("sim-1", running.uuid)
    running.apply(StartPaused())
    assert running.facts().power is Power.PAUSED


def test_an_agent_reports_the_addresses_of_the_mark(backend: SimulatedBackend, running: Machine) -> None:
    assert running.facts().agent_connected
    assert running.endpoint.guest_addresses("sim-1", running.uuid) == ("10.91.0.60",)
    backend.faults.guest(running.uuid, agent=False)
    running.apply(ForceOff())
    running.apply(StartPaused())
    running.apply(Resume())
    assert running.endpoint.guest_addresses("sim-1", running.uuid) == ()


def test_a_guest_that_does_not_let_go_keeps_its_disk_until_it_is_off(
    backend: SimulatedBackend, running: Machine
) -> None:
    pool = backend.pool(new_uuid())
    running.endpoint.storage.connect_pool(pool)
    disk = running.endpoint.storage.create_disk(pool, disk_definition())
    running.apply(AttachDisk(attachment(pool, disk.disk, "data", 3)))
    backend.faults.guest(running.uuid, unplug=False)
    running.apply(DetachDisk("data"))
    with pytest.raises(Busy):
        running.apply(DetachDisk("data"))
    assert [d.name for d in running.facts().disks] == ["data"]
    running.apply(ForceOff())
    assert running.facts().disks == ()


def test_the_console_prints_from_now_on(backend: SimulatedBackend, running: Machine) -> None:
    lines = running.endpoint.console("sim-1", running.uuid)
    backend.faults.say("sim-1", running.uuid, "hello")
    assert next(lines) == b"hello\n"


# ---------------------------------------------------------------- administrators


def test_w4_a_guest_moved_by_hand_runs_there_and_is_gone_here(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.move(running.uuid, "sim-1", "sim-2")
    assert not running.is_there()
    there = backend.open("sim-2").observe_instance("sim-2", running.uuid)
    assert there is not None
    assert (there.power, there.mark) == (Power.RUNNING, replace(running.mark, run_count=1))
    assert backend.faults.violations("") == ()


def test_w3_a_source_left_defined_by_a_move_did_not_end_there(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.move(running.uuid, "sim-1", "sim-2", keep_definition=True)
    assert power(running) == (Power.OFF, Why.MIGRATED)


def test_a_domain_removed_by_hand_is_absent(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.remove("sim-1", running.uuid)
    assert not running.is_there()


def test_a_domain_made_by_hand_counts_as_foreign(backend: SimulatedBackend, running: Machine) -> None:
    before = running.endpoint.observe_host("sim-1")
    assert (before.foreign_cpus, before.foreign_memory) == (0, 0)
    backend.faults.make_unmarked("sim-1", "by-hand", cpus=3)
    after = running.endpoint.observe_host("sim-1")
    assert after.foreign_cpus == 3
    assert after.foreign_memory > 0


# ---------------------------------------------------------------- from another process


def test_what_another_process_does_arrives_as_an_event(backend: SimulatedBackend, running: Machine) -> None:
    events: list[Event] = []
    running.endpoint.subscribe(events.append)
    typed(backend, "crash-guest", "sim-1", running.uuid)
    until(lambda: any(e.kind is EventKind.CHANGED and e.uuid == running.uuid for e in events))
    assert running.facts().power is Power.CRASHED


def test_a_host_lost_by_another_process_closes_our_connection(backend: SimulatedBackend, running: Machine) -> None:
    typed(backend, "lose-host", "sim-1", "--power-loss", "yes")
    until(lambda: not running.endpoint.alive)


def test_another_process_sees_the_same_cloud(backend: SimulatedBackend, running: Machine) -> None:
    assert typed(backend, "running", running.uuid) == "sim-1\n"
    assert running.definition.title in typed(backend, "show")


def test_a_fault_ordered_by_another_process_hits_us(backend: SimulatedBackend, running: Machine) -> None:
    typed(backend, "fail", "1", "--call", "ForceOff", "--error", "Busy")
    with pytest.raises(Busy):
        running.apply(ForceOff())
    running.apply(ForceOff())


def test_a_mistyped_host_is_named(backend: SimulatedBackend) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        typed(backend, "lose-host", "sim-9")
    assert "has no host sim-9" in failed.value.stderr


def test_the_state_outlives_every_connection(backend: SimulatedBackend, running: Machine) -> None:
    running.endpoint.close()
    assert backend.open("sim-1").observe_instance("sim-1", running.uuid) is not None


# ---------------------------------------------------------------- what must never be


def test_w3_two_running_copies_are_recorded_with_who_made_them(backend: SimulatedBackend, running: Machine) -> None:
    there = machine(backend, backend.open("sim-2"), "sim-2", mark=running.mark)
    there.start_paused()
    assert backend.faults.violations() == ()
    there.apply(Resume())
    assert [running.uuid in text for text in backend.faults.violations()] == [True]
    there.apply(ForceOff())
    assert len(backend.faults.violations()) == 1, "what happened stays on record"


def test_a_copy_made_by_an_administrator_is_not_ours_to_answer_for(backend: SimulatedBackend, running: Machine) -> None:
    backend.faults.duplicate(running.uuid, "sim-1", "sim-2")
    assert backend.faults.violations() == ()
    assert len(backend.faults.violations("administrator")) == 1
    assert backend.faults.running(running.uuid) == ("sim-1", "sim-2")


def test_d1_a_disk_with_two_writers_is_recorded(backend: SimulatedBackend) -> None:
    pool = backend.pool(new_uuid())
    endpoints: list[EndPoint] = [backend.open(host) for host in backend.hosts]
    for endpoint in endpoints:
        endpoint.storage.connect_pool(pool)
    disk = attachment(pool, endpoints[0].storage.create_disk(pool, disk_definition()).disk)
    machine(backend, endpoints[0], "sim-1", disks=(disk,)).run()
    assert backend.faults.violations() == ()
    machine(backend, endpoints[1], "sim-2", disks=(disk,)).run()
    assert [disk.disk in text for text in backend.faults.violations()] == [True]


def test_a_shareable_disk_may_have_two_writers(backend: SimulatedBackend) -> None:
    pool = backend.pool(new_uuid())
    endpoints: list[EndPoint] = [backend.open(host) for host in backend.hosts]
    for endpoint in endpoints:
        endpoint.storage.connect_pool(pool)
    made = endpoints[0].storage.create_disk(pool, disk_definition())
    disk = replace(attachment(pool, made.disk), shareable=True)
    for endpoint, host in zip(endpoints, backend.hosts, strict=True):
        machine(backend, endpoint, host, disks=(disk,)).run()
    assert backend.faults.violations("") == ()
