"""The machines that the tests of this folder hurt: a lab of their own, so that no other test's lab suffers."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.machines import Machines

Until = Callable[[Callable[[], bool], str], None]


@pytest.fixture(scope="session")
def whole_lab() -> Iterator[Machines]:
    machines = Machines("labtest", hosts=2, plaintext_hosts=("node-2",))
    machines.down()
    machines.up()
    yield machines
    machines.down()


@pytest.fixture
def machines(whole_lab: Machines) -> Machines:
    """Two hosts and the servers, all well at the start of each test, whatever the one before did."""
    whole_lab.up()
    return whole_lab


@pytest.fixture
def until() -> Until:
    """Waits for a condition, at most 30 s; the second argument says in the failure what was waited for."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"still waiting for {what}"
            time.sleep(0.05)

    return wait
