"""Bounded threads per end-point for blocking driver calls, so that a hung call holds up only its own end-point.

`controllers.engine.base.Lanes` for real; used by the fleet and, through it, by the kinds.
"""

import asyncio
import contextvars
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from controllers import metrics
from controllers.engine.base import Hung, NotLeader
from controllers.engine.turns import forbid_when_paused
from drivers.errors import Busy, DriverError, Unreachable

R = TypeVar("R")
log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Job:
    call: Callable[[], Any]
    name: str
    changes: bool
    hang: float
    done: "asyncio.Future[Any]"
    context: contextvars.Context
    started: float = 0.0
    since: datetime = datetime.min
    timer: asyncio.TimerHandle | None = None
    abandoned: bool = False


@dataclass(eq=False, slots=True)
class _Lane:
    name: str
    waiting: deque[_Job] = field(default_factory=deque)
    running: set[_Job] = field(default_factory=set)
    idle: "deque[_Thread]" = field(default_factory=deque)
    threads: int = 0
    peak: int = 0
    """Most calls at once since the last trim."""


class Threads:
    """Called from the engine's loop only."""

    def __init__(
        self,
        *,
        size: int,
        hang: float,
        guard: Callable[[], None],
        outside: Callable[[Awaitable[Any]], Awaitable[Any]] | None = None,
    ) -> None:
        """`guard` raises NotLeader; it is asked in the loop, and again in the thread just before a change is made.
        `outside` waits for a call without counting as a worker of the engine."""
        self._size, self._hang, self._guard = size, hang, guard
        self._outside = outside
        self._lanes: dict[str, _Lane] = {}
        self._changing: set[tuple[str, _Job]] = set()
        self._away: list[tuple[str, _Job]] = []
        """Given up and not back yet, the longest first."""
        self._back: deque[_Back] = deque()
        """Calls that came back, put here by their threads: many are taken by one turn of the loop, which is woken once
        for all of them, as waking it costs more than most of what it then does."""
        self._woken = False

    async def run(
        self, lane: str, call: Callable[[], R], *, changes: bool, backend: str, name: str, hang: float | None = None
    ) -> R:
        if changes:
            forbid_when_paused()
            self._guard()
        started = time.monotonic()
        result = "Bug"
        try:
            waiting = self._submit(lane, call, name, changes, self._hang if hang is None else hang)
            answer: R = await (self._outside(waiting) if self._outside else waiting)
            result = "OK"
            return answer
        except DriverError as error:
            result = error.reason
            raise
        except NotLeader:
            result = "NotLeader"
            raise
        except asyncio.CancelledError:
            result = "Cancelled"
            raise
        finally:
            metrics.DRIVER_CALLS.labels(backend, name, result).inc()
            metrics.DRIVER_SECONDS.labels(backend, name).observe(time.monotonic() - started)

    def reset(self, lane: str) -> None:
        """Forget the lane's hung calls; their threads end when the calls come back. Idempotent."""
        old = self._lanes.pop(lane, None)
        if old is None:
            return
        for job in old.waiting:
            _settle(job, error=Unreachable(f"{job.name}: the connection was replaced before its turn came"))
        old.waiting.clear()
        while old.idle:
            old.idle.popleft().end()

    def hung(self) -> list[Hung]:
        """What hangs, where, and since when, the longest first; whether its lane was reset or not."""
        return [Hung(lane, job.name, job.changes, job.since) for lane, job in self._away]

    def changing(self) -> list[str]:
        """Changes that have not come back, whether their lane was reset or not."""
        return sorted(f"{job.name} on {lane}" for lane, job in self._changing)

    def measure(self) -> None:
        """Set the gauges of /metrics."""
        metrics.HUNG_CALLS.set(len(self._away))
        begun = [job.started for lane in self._lanes.values() for job in lane.running]
        begun += [job.started for _, job in self._away]
        metrics.OLDEST_CALL.set(time.monotonic() - min(begun) if begun else 0.0)
        stuck = sum(1 for lane in self._lanes.values() if self._stuck(lane))
        metrics.LANES.labels("stuck").set(stuck)
        metrics.LANES.labels("working").set(len(self._lanes) - stuck)

    def trim(self) -> None:
        """End threads that were not needed since the last time: thousands of hosts are mostly quiet."""
        for lane in self._lanes.values():
            while lane.idle and lane.threads > max(1, lane.peak):
                lane.idle.pop().end()
                lane.threads -= 1
            lane.peak = len(lane.running)

    def stop(self) -> None:
        """End the idle threads. Threads in a call are daemons and end with the process."""
        for name in list(self._lanes):
            self.reset(name)

    async def _submit(self, name: str, call: Callable[[], Any], call_name: str, changes: bool, hang: float) -> Any:
        lane = self._lanes.setdefault(name, _Lane(name))
        job = _Job(
            call, call_name, changes, hang, asyncio.get_running_loop().create_future(), contextvars.copy_context()
        )
        if self._stuck(lane):
            raise Unreachable(self._why(lane))
        if changes and any(other.abandoned and other.changes for other in lane.running):
            raise Unreachable(f"{call_name} waits for an earlier change that has not come back: {self._why(lane)}")
        lane.waiting.append(job)
        self._start(lane)
        return await job.done

    def _start(self, lane: _Lane) -> None:
        """Give waiting calls to threads, as many as there may be."""
        while lane.waiting:
            if lane.idle:
                thread = lane.idle.popleft()
            elif lane.threads < self._size:
                try:
                    thread = _Thread(lane, self._report)
                except RuntimeError as error:
                    self._without_thread(lane, error)
                    return
                lane.threads += 1
            else:
                return
            job = lane.waiting.popleft()
            if job.done.done():
                lane.idle.append(thread)
                continue
            job.started, job.since = time.monotonic(), datetime.now(UTC)
            lane.running.add(job)
            lane.peak = max(lane.peak, len(lane.running))
            if job.changes:
                self._changing.add((lane.name, job))
            if job.hang != float("inf"):
                job.timer = job.done.get_loop().call_later(job.hang, self._abandon, lane, job)
            thread.give(job, self._guard if job.changes else None)

    def _without_thread(self, lane: _Lane, error: RuntimeError) -> None:
        """The system gives no more threads: those that the lane has go on, and without any nobody shall wait."""
        log.warning("no thread for a driver call", lane=lane.name, error=str(error))
        while lane.waiting and not lane.threads:
            job = lane.waiting.popleft()
            _settle(job, error=Busy(f"{job.name}: the operator is out of threads ({error}); tried again later"))

    def _report(self, back: "_Back") -> None:
        """In its thread. Raises RuntimeError when the loop is closed."""
        self._back.append(back)
        # Whoever sees it True was appended before the loop begins to take: nothing is left behind.
        if not self._woken:
            self._woken = True
            back.job.done.get_loop().call_soon_threadsafe(self._take_back)

    def _take_back(self) -> None:
        self._woken = False
        while self._back:
            # Each for itself: what goes wrong with one keeps no other.
            asyncio.get_running_loop().call_soon(self._came_back, self._back.popleft())

    def _came_back(self, back: "_Back") -> None:
        lane, thread, job = back.thread.lane, back.thread, back.job
        if job.timer is not None:
            job.timer.cancel()
        lane.running.discard(job)
        self._changing.discard((lane.name, job))
        if job.abandoned:
            self._away.remove((lane.name, job))
            log.warning(
                "hung driver call came back", lane=lane.name, call=job.name, seconds=time.monotonic() - job.started
            )
        _settle(job, back.answer, back.error)
        if self._lanes.get(lane.name) is not lane:
            thread.end()
            return
        lane.idle.append(thread)
        self._start(lane)

    def _abandon(self, lane: _Lane, job: _Job) -> None:
        """The call did not come back in time: whoever waits for it, or behind it, hears so."""
        if job not in lane.running:
            return
        job.abandoned = True
        self._away.append((lane.name, job))
        log.warning("driver call hangs", lane=lane.name, call=job.name, seconds=job.hang, change=job.changes)
        _settle(job, error=Unreachable(f"{job.name}: no answer in {round(job.hang, 1):g} s"))
        stuck = self._stuck(lane)
        for waiting in list(lane.waiting):
            if stuck or (job.changes and waiting.changes):
                lane.waiting.remove(waiting)
                _settle(waiting, error=Unreachable(self._why(lane)))

    def _stuck(self, lane: _Lane) -> bool:
        return sum(1 for job in lane.running if job.abandoned) >= self._size

    def _why(self, lane: _Lane) -> str:
        calls = sorted((job.since, job.name) for job in lane.running if job.abandoned)
        return "no answer to " + ", ".join(f"{name} since {since:%H:%M:%S} UTC" for since, name in calls)


def _settle(job: _Job, answer: Any = None, error: BaseException | None = None) -> None:
    if job.done.done():
        return
    if error is not None:
        job.done.set_exception(error)
    else:
        job.done.set_result(answer)


@dataclass(slots=True)
class _Back:
    """A call that came back."""

    thread: "_Thread"
    job: _Job
    answer: Any = None
    error: BaseException | None = None


_Guard = Callable[[], None]


class _Thread:
    """A daemon thread that runs one job of its lane after another. (An executor's threads would hold up the process's
    end.)"""

    def __init__(self, lane: _Lane, report: Callable[[_Back], None]) -> None:
        self.lane, self._report = lane, report
        self._given: queue.SimpleQueue[tuple[_Job, _Guard | None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"lane {lane.name} {lane.threads + 1}", daemon=True).start()

    def give(self, job: _Job, guard: _Guard | None) -> None:
        self._given.put((job, guard))

    def end(self) -> None:
        self._given.put(None)

    def _work(self) -> None:
        while (given := self._given.get()) is not None:
            job, guard = given
            back = _Back(self, job)
            try:
                if guard is not None:
                    guard()
                back.answer = job.context.run(job.call)
            except BaseException as error:
                back.error = error
            try:
                self._report(back)
            except RuntimeError:
                return  # The loop is closed: the process ends.
            del given, job, back
