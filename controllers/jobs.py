"""Long work (a template's copy) that a reconcile starts and later ones observe. Used by the kinds that have some.

A job lives in this process only; what it had reached is on the platform in marks, and a restarted operator finds it
there and starts again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Key, Services
from drivers.base import Progress


@dataclass(slots=True)
class Job:
    """One piece of work. `progress` is replaced whole from the thread that does it."""

    task: asyncio.Task[Any] | None = None
    progress: Progress | None = None

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def percent(self) -> int | None:
        if self.progress is None or not self.progress.total:
            return None
        return min(100, 100 * self.progress.bytes // self.progress.total)


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

        async def run() -> Any:
            try:
                return await work(job)
            finally:
                self._services.enqueue(key)

        job.task = asyncio.get_running_loop().create_task(run(), name=name)
        self._jobs[name] = job
        return job

    def collect(self, name: str) -> Any:
        """The result of a job that has ended, which is forgotten then. Raises what the job raised."""
        job = self._jobs.pop(name)
        assert job.task is not None
        return job.task.result()
