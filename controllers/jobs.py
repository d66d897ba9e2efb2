"""Long work (a template's copy) that a reconcile starts and later ones observe. Used by the kinds that have some.

A job lives in this process only; what it had reached is on the platform in marks, and a restarted operator finds it
there and starts again.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Key, Services
from drivers.base import Progress


class GaveUp(Exception):
    """The job was told to end."""


@dataclass(slots=True)
class Job:
    """One piece of work. `progress` is replaced whole from the thread that does it."""

    task: asyncio.Task[None] | None = None
    progress: Progress | None = None
    given_up: bool = False
    result: Any = None
    error: Exception | None = None

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def percent(self) -> int | None:
        """None while the length is not known."""
        if self.progress is None or not self.progress.total:
            return None
        return min(100, 100 * self.progress.bytes // self.progress.total)

    def note(self, progress: Progress) -> None:
        """For the driver, from its thread. Raises GaveUp when nobody wants the result any more."""
        if self.given_up:
            raise GaveUp
        self.progress = progress


class Jobs:
    """By a name of the caller's; one at a time for each name. Called from the engine's loop only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._jobs: dict[str, Job] = {}

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def start(self, name: str, key: Key, work: Callable[[Job], Awaitable[Any]]) -> Job:
        """Run `work(job)`; `key` is enqueued when it ends. A job of that name that runs is left alone."""
        job = self._jobs.get(name)
        if job and job.running:
            return job
        job = Job()

        async def run() -> None:
            try:
                job.result = await work(job)
            except Exception as error:
                job.error = error
            finally:
                self._services.enqueue(key)

        # Not in the turn's context: the job outlives the turn, and takes none of its places.
        loop = asyncio.get_running_loop()
        job.task = loop.create_task(run(), name=name, context=contextvars.Context())
        self._jobs[name] = job
        return job

    def collect(self, name: str) -> Any:
        """The result of a job that has ended, which is forgotten then. Raises what the job raised."""
        job = self._jobs.pop(name)
        if job.error is not None:
            raise job.error
        return job.result

    def give_up(self, prefix: str) -> bool:
        """Tell all jobs whose name begins so to end. True once none of them runs any more; they are forgotten then."""
        mine = {name: job for name, job in self._jobs.items() if name.startswith(prefix)}
        for job in mine.values():
            job.given_up = True
        if any(job.running for job in mine.values()):
            return False
        for name in mine:
            del self._jobs[name]
        return True
