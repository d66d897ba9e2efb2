"""Many at once: threads and processes that share one simulated cloud, and how much of it one listing reads."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.base import Event, ForceOff, Power, Resume, StartPaused
from drivers.errors import Busy
from tests.drivers.builders import Machine, machine, until
from tests.drivers.simulated_backend import SimulatedBackend

STRESS = """
import sys
from drivers.simulated.faults import Faults
faults = Faults(sys.argv[1])
for number in range(100):
    uuid = faults.make_unmarked(sys.argv[2], f"{sys.argv[3]}-{number}", running=True)
    faults.stop(sys.argv[2], uuid)
"""


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SimulatedBackend]:
    opened = SimulatedBackend(tmp_path / "cloud.db")
    yield opened
    opened.close_opened()
    opened.close()


def test_w6_of_many_threads_that_start_one_guest_one_succeeds(backend: SimulatedBackend) -> None:
    made = machine(backend, backend.open("sim-1")).define()

    def start(_: int) -> bool:
        try:
            made.apply(StartPaused())
        except Busy:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(start, range(64))) == 1


def test_many_hosts_are_served_by_many_threads_and_one_watcher(backend: SimulatedBackend) -> None:
    events: list[Event] = []
    endpoints = {f"host-{n:02}": backend.open(f"host-{n:02}") for n in range(40)}
    for endpoint in endpoints.values():
        endpoint.subscribe(events.append)

    def life(host: str) -> Machine:
        made = machine(backend, endpoints[host], host)
        for _ in range(5):
            made.define().apply(StartPaused())
            made.apply(Resume())
            made.apply(ForceOff())
        return made

    with ThreadPoolExecutor(40) as threads:
        made = list(threads.map(life, endpoints))
    assert [m.facts().power for m in made] == [Power.OFF] * 40
    until(lambda: {e.uuid for e in events} == {m.uuid for m in made})
    assert all(e.host == next(m.host for m in made if m.uuid == e.uuid) for e in events)
    assert backend.faults.violations("") == ()


def test_two_processes_write_at_once_and_lose_nothing(backend: SimulatedBackend) -> None:
    endpoint = backend.open("sim-1")
    processes = [
        subprocess.Popen([sys.executable, "-c", STRESS, backend.state, "sim-1", name]) for name in ("left", "right")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(endpoint.list_instances("sim-1").instances) == 200


def test_a_listing_parses_only_what_changed(backend: SimulatedBackend) -> None:
    endpoint = backend.open("sim-1")
    made = [machine(backend, endpoint).define() for _ in range(50)]
    before = {f.uuid: f for f in endpoint.list_instances("sim-1").instances}
    made[7].apply(StartPaused())
    after = {f.uuid: f for f in endpoint.list_instances("sim-1").instances}
    assert len(after) == 50
    assert [uuid for uuid in after if after[uuid] is not before[uuid]] == [made[7].uuid]
    assert after[made[7].uuid].power is Power.PAUSED
