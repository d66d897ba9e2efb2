"""How the simulated platform scales: 10,000 instances on 200 hosts, made and listed. Printed by `make bench`."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.base import EndPoint, Power, Resume, StartPaused
from tests.drivers.builders import attachment, disk_definition, machine, new_uuid
from tests.drivers.simulated_backend import SimulatedBackend

HOSTS = 200
EACH = 50


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SimulatedBackend]:
    opened = SimulatedBackend(tmp_path / "cloud.db")
    yield opened
    opened.close_opened()
    opened.close()


def test_ten_thousand_instances_on_two_hundred_hosts(backend: SimulatedBackend) -> None:
    endpoints = {f"host-{n:03}": backend.open(f"host-{n:03}") for n in range(HOSTS)}
    pool = backend.pool(new_uuid())
    for endpoint in endpoints.values():
        endpoint.storage.connect_pool(pool)
    begun = time.process_time()
    for _ in range(EACH):
        for host, endpoint in endpoints.items():
            disk = endpoint.storage.create_disk(pool, disk_definition())
            made = machine(backend, endpoint, host, disks=(attachment(pool, disk.disk),)).define()
            made.apply(StartPaused())
            made.apply(Resume())
    making = time.process_time() - begun
    cold = listing_time(endpoints)
    warm = listing_time(endpoints)
    print(
        f"\n{HOSTS * EACH} instances: {making / (HOSTS * EACH * 4) * 1e6:.0f} µs of CPU a call; a listing of {EACH}: "
        f"{cold * 1e6:.0f} µs first, {warm * 1e6:.0f} µs again; first/again {cold / warm:.1f}"
    )
    running = [f for h, e in endpoints.items() for f in e.list_instances(h).instances if f.power is Power.RUNNING]
    assert len(running) == HOSTS * EACH
    assert backend.faults.violations("") == ()


def listing_time(endpoints: dict[str, EndPoint]) -> float:
    """Seconds of CPU that one host's listing takes, over all hosts."""
    begun = time.process_time()
    for host, endpoint in endpoints.items():
        endpoint.list_instances(host)
    return (time.process_time() - begun) / len(endpoints)
