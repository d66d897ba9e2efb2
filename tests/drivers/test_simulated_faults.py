"""Faults on demand: what a caller of the simulated platform sees when it was told to misbehave."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.base import EndPoint, Event, EventKind, PoolDefinition, Power, Resume, StartPaused, Suspend, Why
from drivers.errors import AuthenticationFailed, Busy, NoSpace, Unreachable, WrongPool
from drivers.marks import DiskState
from drivers.registry import open_endpoint
from tests.drivers.builders import GIB, Machine, attachment, disk_definition, machine, new_uuid, until
from tests.drivers.simulated_backend import SimulatedBackend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SimulatedBackend]:
    opened = SimulatedBackend(tmp_path / "cloud.db")
    yield opened
    opened.close_opened()
    opened.close()


@pytest.fixture
def endpoint(backend: SimulatedBackend) -> EndPoint:
    return backend.open("sim-1")


@pytest.fixture
def made(backend: SimulatedBackend, endpoint: EndPoint) -> Machine:
    return machine(backend, endpoint).define()


def disk_states(backend: SimulatedBackend, endpoint: EndPoint, pool: PoolDefinition) -> list[tuple[bool, DiskState]]:
    return [(d.exists, d.mark.state) for d in endpoint.storage.list_disks(pool) if d.mark]


# ---------------------------------------------------------------- single calls


def test_the_next_calls_fail_and_do_nothing(backend: SimulatedBackend, made: Machine) -> None:
    backend.faults.fail(2, call="StartPaused", error=Busy)
    for _ in range(2):
        with pytest.raises(Busy):
            made.apply(StartPaused())
        assert made.facts().power is Power.OFF
    made.apply(StartPaused())
    assert made.facts().power is Power.PAUSED


def test_a_fault_of_one_host_leaves_the_other_alone(backend: SimulatedBackend, made: Machine) -> None:
    backend.faults.fail(None, host="sim-1", error=Unreachable)
    with pytest.raises(Unreachable):
        made.endpoint.list_instances("sim-1")
    assert backend.open("sim-2").list_instances("sim-2").instances == ()
    backend.faults.release()
    assert len(made.endpoint.list_instances("sim-1").instances) == 1


def test_a_lost_answer_is_done_all_the_same(backend: SimulatedBackend, made: Machine) -> None:
    backend.faults.lose_answer(call="StartPaused")
    with pytest.raises(Unreachable):
        made.apply(StartPaused())
    assert made.facts().power is Power.PAUSED


def test_a_lie_reports_success_and_does_nothing(backend: SimulatedBackend, endpoint: EndPoint, made: Machine) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    backend.faults.lie(None)
    made.apply(StartPaused())
    assert endpoint.storage.create_disk(pool, disk_definition()).exists
    backend.faults.release()
    assert made.facts().power is Power.OFF
    assert endpoint.storage.list_disks(pool) == ()


def test_m2_a_disk_broken_midway_is_creating_and_made_anew(backend: SimulatedBackend, endpoint: EndPoint) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    wanted = disk_definition()
    backend.faults.break_midway(call="create_disk")
    with pytest.raises(Unreachable):
        endpoint.storage.create_disk(pool, wanted)
    assert disk_states(backend, endpoint, pool) == [(False, DiskState.CREATING)]
    endpoint.storage.create_disk(pool, wanted)
    assert disk_states(backend, endpoint, pool) == [(True, DiskState.READY)]


def test_a_slow_call_takes_its_time(backend: SimulatedBackend, endpoint: EndPoint) -> None:
    backend.faults.slow(0.2, 1)
    begun = time.monotonic()
    endpoint.list_instances("sim-1")
    assert time.monotonic() - begun >= 0.2


def test_w6_a_hanging_call_lands_late_when_it_is_released(backend: SimulatedBackend, made: Machine) -> None:
    order = backend.faults.hang(call="StartPaused")
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(made.apply, StartPaused())
        assert made.facts().power is Power.OFF, "other calls go on"
        assert not late.done()
        backend.faults.release(order)
        late.result(timeout=5)
    assert made.facts().power is Power.PAUSED


def test_a_hanging_call_ends_when_its_connection_is_closed(backend: SimulatedBackend, made: Machine) -> None:
    backend.faults.hang(call="StartPaused")
    with ThreadPoolExecutor(1) as threads:
        stuck = threads.submit(made.apply, StartPaused())
        made.endpoint.close()
        with pytest.raises(Unreachable):
            stuck.result(timeout=5)
    backend.faults.release()
    assert backend.faults.domains()[0].power is Power.OFF


# ---------------------------------------------------------------- hosts


def test_a_host_without_power_loses_its_guests_and_keeps_their_definitions(
    backend: SimulatedBackend, made: Machine
) -> None:
    events: list[Event] = []
    made.endpoint.subscribe(events.append)
    made.run()
    backend.faults.lose_host("sim-1", power_loss=True)
    until(lambda: any(e.kind is EventKind.CLOSED for e in events))
    with pytest.raises(Unreachable):
        backend.open("sim-1")
    assert backend.faults.running(made.uuid) == ()
    backend.faults.return_host("sim-1")
    facts = backend.open("sim-1").observe_instance("sim-1", made.uuid)
    assert facts is not None
    assert (facts.power, facts.why) == (Power.OFF, Why.UNKNOWN), "not a reason that says that it ended here (W3b)"
    assert not made.endpoint.alive


def test_after_power_loss_pools_are_not_connected(backend: SimulatedBackend, endpoint: EndPoint) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    backend.faults.reboot_host("sim-1")
    assert backend.open("sim-1").storage.observe_pool(pool) is None


def test_w5_guests_of_a_host_that_is_cut_off_run_on_unseen(backend: SimulatedBackend, made: Machine) -> None:
    made.run()
    backend.faults.lose_host("sim-1")
    until(lambda: not made.endpoint.alive)
    assert backend.faults.running(made.uuid) == ("sim-1",)
    backend.faults.return_host("sim-1")
    facts = backend.open("sim-1").observe_instance("sim-1", made.uuid)
    assert facts is not None
    assert facts.power is Power.RUNNING


def test_a_frozen_host_blocks_calls_until_it_thaws(backend: SimulatedBackend, made: Machine) -> None:
    backend.faults.freeze("sim-1", keepalive=30.0)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(made.facts)
        assert not threading.Event().wait(0.1)
        assert not waiting.done()
        backend.faults.thaw("sim-1")
        assert waiting.result(timeout=5).uuid == made.uuid
    assert made.endpoint.alive


def test_a_host_frozen_longer_than_the_keepalive_breaks_idle_connections(
    backend: SimulatedBackend, endpoint: EndPoint
) -> None:
    events: list[Event] = []
    endpoint.subscribe(events.append)
    backend.faults.freeze("sim-1", keepalive=0.2)
    until(lambda: not endpoint.alive)
    until(lambda: [e.kind for e in events] == [EventKind.CLOSED])


def test_a_frozen_host_accepts_no_connection_within_the_timeout(backend: SimulatedBackend, endpoint: EndPoint) -> None:
    backend.faults.freeze("sim-1")
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        open_endpoint(backend.connection("sim-1"), timeout=0.2)
    assert time.monotonic() - begun < 2.0


def test_an_opening_that_hangs_ends_with_the_timeout(backend: SimulatedBackend) -> None:
    backend.faults.hang(call="open")
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        open_endpoint(backend.connection("sim-1"), timeout=0.2)
    assert time.monotonic() - begun < 2.0


def test_wrong_credentials_are_refused_at_the_opening(backend: SimulatedBackend) -> None:
    backend.faults.fail(call="open", error=AuthenticationFailed)
    with pytest.raises(AuthenticationFailed):
        backend.open("sim-1")
    assert backend.open("sim-1").alive


def test_h2_another_machine_at_its_address_has_none_of_the_old_domains(
    backend: SimulatedBackend, made: Machine
) -> None:
    before = made.endpoint.observe_host("sim-1").machine_id
    backend.faults.change_machine("sim-1")
    until(lambda: not made.endpoint.alive)
    endpoint = backend.open("sim-1")
    assert endpoint.observe_host("sim-1").machine_id != before
    assert endpoint.list_instances("sim-1").instances == ()


# ---------------------------------------------------------------- storage


def test_storage_that_is_down_is_unreachable_and_comes_back(backend: SimulatedBackend, endpoint: EndPoint) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    backend.faults.storage_down(pool.uuid)
    with pytest.raises(Unreachable):
        endpoint.storage.list_disks(pool)
    backend.faults.storage_down(pool.uuid, down=False)
    assert endpoint.storage.list_disks(pool) == ()


def test_h3_a_claim_rewritten_behind_our_back_is_seen_at_the_next_connect(
    backend: SimulatedBackend, endpoint: EndPoint
) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    backend.faults.claim(pool.uuid, new_uuid())
    with pytest.raises(WrongPool):
        endpoint.storage.connect_pool(pool)


def test_a_thick_disk_beyond_the_room_is_refused_and_leaves_nothing(
    backend: SimulatedBackend, endpoint: EndPoint
) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    with pytest.raises(NoSpace):
        endpoint.storage.create_disk(pool, disk_definition(size=16 * GIB, provisioning="Thick"))
    assert endpoint.storage.list_disks(pool) == ()
    assert endpoint.storage.connect_pool(pool).available == 8 * GIB


def test_a_start_on_a_host_that_has_not_connected_the_pool_is_busy(
    backend: SimulatedBackend, endpoint: EndPoint
) -> None:
    pool = backend.pool(new_uuid())
    endpoint.storage.connect_pool(pool)
    disk = endpoint.storage.create_disk(pool, disk_definition())
    there = backend.open("sim-2")
    elsewhere = machine(backend, there, "sim-2", disks=(attachment(pool, disk.disk),)).define()
    with pytest.raises(Busy):
        elsewhere.apply(StartPaused())


def test_suspended_by_an_administrator_looks_as_started_paused(backend: SimulatedBackend, made: Machine) -> None:
    made.start_paused()
    started = made.facts()
    made.apply(Resume())
    made.apply(Suspend())
    assert (made.facts().power, made.facts().why) == (started.power, started.why), "only the mark tells (W6)"
