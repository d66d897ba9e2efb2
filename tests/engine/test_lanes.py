"""Lanes: bounded, and a call that hangs holds up nothing but its own end-point."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from controllers.engine.base import NotLeader
from controllers.engine.lanes import Threads
from drivers.errors import Busy, Unreachable
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Widgets, only


class Leader:
    def __init__(self) -> None:
        self.leads = True

    def guard(self) -> None:
        if not self.leads:
            raise NotLeader


class Frozen:
    """A call that comes back only when told to."""

    def __init__(self) -> None:
        self.entered = 0
        self._thaw = threading.Event()

    def __call__(self) -> str:
        self.entered += 1
        self._thaw.wait(30.0)
        return "late"

    def thaw(self) -> None:
        self._thaw.set()


@pytest.fixture
def leader() -> Leader:
    return Leader()


@pytest.fixture
def lanes(leader: Leader) -> Threads:
    return Threads(size=2, hang=0.2, guard=leader.guard)


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    frozen = Frozen()
    yield frozen
    frozen.thaw()


async def look(lanes: Threads, lane: str, call: object, *, changes: bool = False) -> object:
    return await lanes.run(lane, call, changes=changes, backend="test", name="look")  # type: ignore[arg-type]


async def test_answers_and_errors_come_back(lanes: Threads) -> None:
    def busy() -> None:
        raise Busy("a job runs")

    assert await look(lanes, "a", lambda: 42) == 42
    with pytest.raises(Busy):
        await look(lanes, "a", busy)


async def test_a_lane_runs_no_more_calls_at_once_than_it_has_threads(lanes: Threads) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(look(lanes, "a", call) for _ in range(12)))
    assert most == 2


async def test_a_hung_call_ends_its_wait_and_is_listed(lanes: Threads, frozen: Frozen) -> None:
    with pytest.raises(Unreachable, match=r"look: no answer in 0\.2 s"):
        await look(lanes, "a", frozen)
    assert [(hung.lane, hung.call) for hung in lanes.hung()] == [("a", "look")]
    frozen.thaw()
    await until(lambda: not lanes.hung())


async def test_a_lane_full_of_hung_calls_refuses_at_once_and_others_go_on(lanes: Threads, frozen: Frozen) -> None:
    waiting = [asyncio.create_task(look(lanes, "a", frozen)) for _ in range(5)]
    done, _ = await asyncio.wait(waiting, timeout=5.0)
    assert len(done) == 5
    assert all(isinstance(task.exception(), Unreachable) for task in done)
    assert frozen.entered == 2, "those behind the hung ones were never sent"
    started = time.monotonic()
    with pytest.raises(Unreachable, match="no answer to look since"):
        await look(lanes, "a", lambda: 1)
    assert await look(lanes, "b", lambda: 1) == 1
    assert time.monotonic() - started < 0.15
    frozen.thaw()
    await until(lambda: not lanes.hung())
    assert await look(lanes, "a", lambda: 1) == 1


async def test_w6_after_a_change_that_hangs_no_other_change_is_sent_until_it_came_back(
    lanes: Threads, frozen: Frozen
) -> None:
    with pytest.raises(Unreachable):
        await look(lanes, "a", frozen, changes=True)
    with pytest.raises(Unreachable, match="waits for an earlier change"):
        await look(lanes, "a", lambda: 1, changes=True)
    assert await look(lanes, "a", lambda: 1) == 1, "looking is allowed"
    assert lanes.changing() == ["look on a"]
    frozen.thaw()
    await until(lambda: not lanes.changing())
    assert await look(lanes, "a", lambda: 2, changes=True) == 2


async def test_a_reset_lane_starts_with_new_threads_and_what_hung_is_counted_until_it_is_back(
    lanes: Threads, frozen: Frozen
) -> None:
    await asyncio.gather(*(look(lanes, "a", frozen) for _ in range(2)), return_exceptions=True)
    lanes.reset("a")
    assert await look(lanes, "a", lambda: 1, changes=True) == 1
    assert len(lanes.hung()) == 2
    frozen.thaw()
    await until(lambda: not lanes.hung())


async def test_threads_that_are_not_needed_end_and_come_again(lanes: Threads) -> None:
    def threads() -> int:
        return sum(1 for thread in threading.enumerate() if thread.name.startswith("lane quiet"))

    await asyncio.gather(*(look(lanes, "quiet", lambda: time.sleep(0.02)) for _ in range(4)))
    assert threads() == 2
    lanes.trim()
    await look(lanes, "quiet", lambda: 1)
    lanes.trim()
    await until(lambda: threads() == 1)
    await asyncio.gather(*(look(lanes, "quiet", lambda: time.sleep(0.02)) for _ in range(4)))
    assert threads() == 2


async def test_w6_changes_need_the_lease_when_asked_for_and_when_they_start(
    lanes: Threads, leader: Leader, frozen: Frozen
) -> None:
    made: list[int] = []
    blockers = [asyncio.create_task(look(lanes, "a", frozen)) for _ in range(2)]
    await until(lambda: frozen.entered == 2)
    queued = asyncio.create_task(look(lanes, "a", lambda: made.append(1), changes=True))
    await asyncio.sleep(0)
    leader.leads = False
    frozen.thaw()
    with pytest.raises(NotLeader):
        await queued
    with pytest.raises(NotLeader):
        await look(lanes, "a", lambda: made.append(2), changes=True)
    assert made == []
    assert await look(lanes, "a", lambda: 1) == 1
    await asyncio.gather(*blockers)


async def test_a_frozen_host_takes_no_workers(cluster: Cluster, frozen: Frozen) -> None:
    async def look_at_host(turn: object) -> None:
        name = turn.obj.name  # type: ignore[attr-defined]
        call = frozen if name.startswith("cold") else (lambda: None)
        await widgets.services.lanes.run(name[:4], call, changes=False, backend="test", name="look", hang=20.0)

    widgets = Widgets(look_at_host)
    async with running(cluster, only(widgets), workers=2, lane_threads=2):
        for number in range(8):
            await cluster.create("Widget", f"cold{number}", {}, namespace="team-a")
        await until(lambda: frozen.entered == 2)
        await cluster.create("Widget", "warm", {}, namespace="team-a")
        await cluster.until_condition("Widget", "warm", "Ready", "True", namespace="team-a", deadline=5.0)
        frozen.thaw()
        await cluster.until_condition("Widget", "cold7", "Ready", "True", namespace="team-a")
