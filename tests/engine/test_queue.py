"""The work queue under a clock of the test's own."""

import asyncio
from collections.abc import Callable

import pytest

from controllers.engine.base import Key
from controllers.engine.queue import Clock, Priority, WorkQueue

A, B, C = (Key("Widget", "team-a", name) for name in "abc")


class Alarm:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class StoppedClock(Clock):
    """Goes on only when told to; rings what is due meanwhile."""

    def __init__(self) -> None:
        self.time = 100.0
        self.alarms: list[Alarm] = []

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, call: Callable[[], None]) -> Alarm:
        self.alarms.append(Alarm(when, call))
        return self.alarms[-1]

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while due := [alarm for alarm in self.alarms if alarm.when <= end and not alarm.cancelled]:
            first = min(due, key=lambda alarm: alarm.when)
            self.alarms.remove(first)
            self.time = max(self.time, first.when)
            first.call()
        self.time = end

    def pending(self) -> int:
        return sum(1 for alarm in self.alarms if not alarm.cancelled)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def queue(clock: StoppedClock) -> WorkQueue:
    return WorkQueue(backoff_first=1.0, backoff_most=60.0, clock=clock, dice=lambda: 1.0)


def test_the_urgent_go_first_and_equals_in_the_order_of_their_coming(queue: WorkQueue) -> None:
    keys = [Key("Widget", "team-a", str(number)) for number in range(6)]
    order = [Priority.RESYNC, Priority.EVENT, Priority.CHANGE, Priority.DELETE, Priority.FIRST, Priority.CHANGE]
    for key, priority in zip(keys, order, strict=True):
        queue.add(key, priority)
    assert [queue.pop() for _ in keys] == [keys[4], keys[3], keys[2], keys[5], keys[1], keys[0]]


def test_of_those_that_come_first_the_least_rank_goes_first(queue: WorkQueue) -> None:
    ranks = {A: (0.0, 1.0), B: (-10.0, 3.0), C: (0.0, 2.0)}
    queue.rank = ranks.__getitem__
    for key in (C, A, B):
        queue.add(key, Priority.FIRST)
    assert [queue.pop() for _ in ranks] == [B, A, C]
    for key in (C, A, B):
        queue.done(key, None)
        queue.add(key, Priority.EVENT)
    assert [queue.pop() for _ in ranks] == [C, A, B]


def test_an_object_is_there_once_with_its_highest_priority(queue: WorkQueue) -> None:
    queue.add(A, Priority.RESYNC)
    queue.add(B, Priority.EVENT)
    queue.add(A, Priority.CHANGE)
    queue.add(A, Priority.RESYNC)
    assert sum(queue.depth().values()) == 2
    assert [queue.pop(), queue.pop(), queue.pop()] == [A, B, None]


def test_an_object_is_never_reconciled_twice_at_a_time(queue: WorkQueue) -> None:
    queue.add(A, Priority.CHANGE)
    assert queue.pop() == A
    queue.add(A, Priority.CHANGE)
    assert queue.pop() is None
    queue.done(A, None)
    assert queue.pop() == A
    queue.done(A, None)
    assert queue.pop() is None
    assert queue.idle()


def test_failures_wait_twice_as_long_each_time_up_to_a_bound_and_a_success_forgets_them(
    queue: WorkQueue, clock: StoppedClock
) -> None:
    queue.add(A, Priority.CHANGE)
    waits = []
    for _ in range(8):
        assert queue.pop() == A
        waits.append(queue.failed(A))
        clock.advance(waits[-1] - 0.01)
        assert queue.pop() is None
        clock.advance(0.02)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert queue.pop() == A
    queue.done(A, 1.0)
    clock.advance(1.1)
    assert queue.pop() == A
    assert queue.failed(A) == 1


def test_jitter_takes_at_most_half_of_a_wait(clock: StoppedClock) -> None:
    queue = WorkQueue(backoff_first=1.0, backoff_most=60.0, clock=clock, dice=lambda: 0.0)
    queue.add(A, Priority.CHANGE)
    queue.pop()
    assert queue.failed(A) == 0.5


def test_a_failing_object_is_tried_at_once_for_a_person_but_not_for_news(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.failed(A, at_least=30.0)
    queue.add(A, Priority.EVENT)
    queue.add(A, Priority.FIRST, hold=True)
    assert queue.pop() is None
    queue.add(A, Priority.CHANGE)
    assert queue.pop() == A


def test_news_during_a_failing_reconcile_wait_for_the_back_off(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.add(A, Priority.EVENT)
    queue.failed(A)
    assert queue.pop() is None
    clock.advance(1.0)
    assert queue.pop() == A
    queue.done(A, None)
    clock.advance(100.0)
    assert queue.pop() is None, "the timer and the news were one reconcile"


def test_there_is_one_timer_for_all_that_wait(queue: WorkQueue, clock: StoppedClock) -> None:
    for number, key in enumerate((C, B, A)):
        queue.add_after(key, 3.0 - number, Priority.RESYNC)
    assert clock.pending() == 1
    clock.advance(1.0)
    assert queue.pop() == A
    clock.advance(5.0)
    assert [queue.pop(), queue.pop()] == [B, C]


def test_of_two_moments_the_earlier_counts(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add_after(A, 5.0, Priority.RESYNC)
    queue.add_after(A, 1.0, Priority.EVENT)
    queue.add_after(A, 9.0, Priority.RESYNC)
    clock.advance(1.0)
    assert queue.pop() == A
    queue.done(A, None)
    clock.advance(20.0)
    assert queue.pop() is None


def test_what_others_asked_for_outlasts_a_reconcile_that_comes_earlier(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add_after(A, 5.0, Priority.EVENT)
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.done(A, 50.0)
    clock.advance(5.0)
    assert queue.pop() == A


def test_a_reconcile_that_starts_voids_the_moment_set_by_the_one_before(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.done(A, 5.0)
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.done(A, 50.0)
    clock.advance(10.0)
    assert queue.pop() is None
    clock.advance(41.0)
    assert queue.pop() == A


def test_moments_that_no_longer_count_are_not_kept(queue: WorkQueue, clock: StoppedClock) -> None:
    for _ in range(10_000):
        queue.add(A, Priority.CHANGE)
        assert queue.pop() == A
        queue.done(A, 600.0)
        clock.advance(0.01)
    assert len(queue._heap) < 2000
    clock.advance(600.0)
    assert queue.pop() == A


def test_conflicts_come_back_at_once_until_they_go_on_and_on(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add(A, Priority.CHANGE)
    for _ in range(5):
        assert queue.pop() == A
        queue.conflicted(A)
    assert queue.pop() == A
    queue.conflicted(A)
    assert queue.pop() is None
    clock.advance(1.0)
    assert queue.pop() == A


def test_a_namesake_that_came_meanwhile_is_not_forgotten(queue: WorkQueue) -> None:
    queue.add(A, Priority.CHANGE)
    queue.pop()
    queue.add(A, Priority.CHANGE)
    queue.forget(A)
    assert queue.pop() == A


def test_the_age_is_that_of_the_one_that_waits_longest(queue: WorkQueue, clock: StoppedClock) -> None:
    queue.add(A, Priority.RESYNC)
    clock.advance(3.0)
    queue.add(B, Priority.CHANGE)
    queue.add(A, Priority.CHANGE)
    clock.advance(1.0)
    assert queue.oldest() == 4.0
    assert queue.pop() == B
    assert queue.running() == {B: 0.0}


async def test_whoever_waits_is_woken() -> None:
    queue = WorkQueue(backoff_first=1.0, backoff_most=60.0)
    waiting = asyncio.create_task(queue.ready())
    await asyncio.sleep(0)
    queue.add_after(A, 0.02, Priority.EVENT)
    await asyncio.wait_for(waiting, 5.0)
    assert queue.pop() == A


async def test_who_gives_way_waits_until_nobody_waits_to_be_first(queue: WorkQueue) -> None:
    await queue.calm(5.0)
    queue.add(A, Priority.FIRST)
    queue.add(B, Priority.RESYNC)
    queue.add(B, Priority.FIRST)
    giving_way = asyncio.create_task(queue.calm(30.0))
    assert queue.pop() == A
    await asyncio.sleep(0)
    assert not giving_way.done()
    assert queue.pop() == B
    await asyncio.wait_for(giving_way, 5.0)
    queue.add(C, Priority.FIRST)
    await asyncio.wait_for(queue.calm(0.01), 5.0)  # Not for ever: those that come first must not starve the others.
