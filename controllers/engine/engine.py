"""The engine: starts everything in the right order, gives objects to workers, and ends in good order.

`python -m controllers` runs one; tests run one in their own loop. Start: credentials, Lease, watch, one whole list of
every kind, components (the fleet), reconciles. End: reconciles, components, watch, Lease.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog

from controllers import metrics
from controllers.config import Settings
from controllers.engine import memory
from controllers.engine.api import KindApi
from controllers.engine.base import ApiError, Reconciler, Services
from controllers.engine.cache import ObjectCache
from controllers.engine.client import Client
from controllers.engine.credentials import CredentialSource
from controllers.engine.events import Events
from controllers.engine.health import Health, Pulse
from controllers.engine.intake import Intake
from controllers.engine.lanes import Threads
from controllers.engine.lease import Lease
from controllers.engine.queue import WorkQueue
from controllers.engine.relist import Relist
from controllers.engine.services import LiveServices
from controllers.engine.slots import outside
from controllers.engine.status import Writer
from controllers.engine.wakes import Wakes
from controllers.engine.watch import Watch
from controllers.engine.worker import Worker
from crds.base import Kind
from crds.kinds import KINDS

_STOPPING = 5.0
log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """The Lease is not ours any more: the process must end, and at once."""


class Component(Protocol):
    """Something that runs while we are leader, such as the fleet."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Engine:
    """One run only: `run` returns after `stop`, and raises LeaseLost."""

    def __init__(
        self,
        settings: Settings,
        *,
        reconcilers: Callable[[Services], Iterable[Reconciler[Any, Any]]],
        components: Callable[[Services], Iterable[Component]] = lambda services: (),
        kinds: Mapping[str, Kind] = KINDS,
        client: Callable[..., Client] = Client,
        watch: Callable[..., Watch] = Watch,
    ) -> None:
        """`components` is called before `reconcilers`, so that those may close over what it made. `client` makes the
        one client: tests count its writes, and kill the operator between two of them. `watch` makes the one watch:
        where an API server is a test's own, so is its watch."""
        self.settings = settings
        self._make_reconcilers, self._make_components = reconcilers, components
        self._make_watch = watch
        self._kinds = kinds
        self._stopping = asyncio.Event()
        self._lost = False
        self._tasks: list[asyncio.Task[None]] = []
        self.started = asyncio.Event()
        """Set once objects are reconciled."""
        self.pulse = Pulse(settings.wedged_after)
        self.pulse.ready = "starting"
        self.source = CredentialSource(settings.kubeconfig)
        self.client = client(
            self.source, timeout=settings.request_timeout, connections=settings.connections, guard=self._guard
        )
        self.lease = Lease(self.client, settings)
        self.lanes = Threads(
            size=settings.lane_threads, hang=settings.lane_hang, guard=self.lease.guard, outside=outside
        )
        self.queue = WorkQueue(backoff_first=settings.backoff_first, backoff_most=settings.backoff_most)
        self.events = Events(self.client, self.lease.identity)
        self.health = Health(self.pulse, settings.bind, settings.health_port) if settings.health_port >= 0 else None
        self._components: list[Component] = []
        self._built = False

    def stop(self) -> None:
        """Ask it to end in good order. From its loop, or by a signal handler of it."""
        self._stopping.set()

    async def run(self) -> None:
        if self.health is not None:
            self.health.start()
        self._spawn(self._heartbeat(), "heartbeat")
        starting = asyncio.create_task(self._start(), name="start")
        stopped = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopped
        finally:
            for task in (starting, stopped):
                task.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)
            await self._shut_down()
        if self._lost:
            raise LeaseLost("the Lease is lost: another operator may be at work")

    # Start -----------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        installation = self.settings.installation or await self._patiently(self._kube_system)
        self.pulse.ready = ""  # A second operator that waits for the Lease is ready to take over.
        await self.lease.acquire()
        self.pulse.ready = "listing"
        self.lease.keep(self._lose)
        components = self._build(installation)
        await self.relist.fill()
        self.watch.start()  # It goes on from these lists.
        for component in components:
            self._components.append(component)
            await component.start()
        self.events.start()
        self.wakes.open()
        self.worker.start()
        self._spawn(self._relist_now_and_then(), "relist")
        self.pulse.ready = ""
        self.started.set()
        log.info("started", objects=len(self.cache.known()), installation=installation)

    def _build(self, installation: str) -> list[Component]:
        """Everything but the parts that the constructor could make; the components, for `_start` to start."""
        reconcilers: dict[str, Reconciler[Any, Any]] = {}
        self.wakes = Wakes(self.queue, reconcilers, self.settings.roll_up)
        self.cache = ObjectCache(self._kinds, reconcilers, self.wakes.wake)
        self.wakes.cache = self.cache
        self.queue.rank = self.wakes.rank
        self.intake = Intake(self.cache)
        self.api = KindApi(self.client, self._kinds, self.settings.namespace, self.intake.seen)
        self.services = LiveServices(self.settings, installation, self.cache, self.api, self.lanes, self.wakes)
        components = list(self._make_components(self.services))
        reconcilers.update({entry.kind: entry for entry in self._make_reconcilers(self.services)})
        self.relist = Relist(
            self.client, self._kinds, self.cache, self.intake, page=self.settings.page, retry=self.settings.lease_renew
        )
        self.watch = self._make_watch(
            self._kinds.values(), self.source, self.settings, self.intake.event, self.relist.begin_watch
        )
        self.client.recovered = self._relist_soon
        writer = Writer(self.client, self._kinds, self.intake)
        self.worker = Worker(
            self.settings, self._kinds, reconcilers, self.cache, self.queue, writer, self.events, self.api,
            self.intake, self.wakes,
        )  # fmt: skip
        self._relist_due = math.inf
        self._relist_wanted = asyncio.Event()
        self._built = True
        return components

    async def _kube_system(self) -> str:
        namespace = await self.client.get("/api/v1/namespaces/kube-system", kind="Namespace")
        return str(namespace["metadata"]["uid"])

    async def _patiently(self, ask: Callable[[], Awaitable[str]]) -> str:
        """Until the API server answers."""
        pause = 0.2
        while True:
            try:
                return await ask()
            except ApiError as error:
                log.warning("API server cannot be used yet", error=str(error), pause=pause)
                await asyncio.sleep(pause)
                pause = min(10.0, pause * 2)

    # While it runs ---------------------------------------------------------------------------------------------------

    def _guard(self) -> None:
        self.lease.guard()

    def _lose(self) -> None:
        self._lost = True
        log.error("Lease lost")
        self._stopping.set()

    def _relist_soon(self) -> None:
        """The API server is back: the watch may have lost what it said last."""
        self._relist_due = time.monotonic() + self.settings.relist_delay
        self._relist_wanted.set()

    async def _relist_now_and_then(self) -> None:
        next_all, events = time.monotonic() + self.settings.relist, -1
        while True:
            now = time.monotonic()
            if now >= next_all:
                found = await self.relist.repair_all()
                if found and events == self.intake.events:
                    log.warning("watch is silent: started again", objects_differ=found)
                    self.watch.restart()
                events, next_all = self.intake.events, time.monotonic() + self.settings.relist
            if now >= self._relist_due:
                self._relist_due = math.inf
                await self.relist.repair_all()
            self._relist_wanted.clear()
            due = min(next_all, self._relist_due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.05, due - time.monotonic())):
                    await self._relist_wanted.wait()

    async def _heartbeat(self) -> None:
        beats = itertools.count()
        while True:
            due = time.monotonic() + 1.0
            started = self.started.is_set()
            self.pulse.beat(self.queue.oldest() if started else 0.0, started and self.worker.free())
            self.queue.measure()
            self.lanes.measure()
            beat = next(beats)
            if started:
                self.cache.measure(thorough=beat % 10 == 0)
            if beat % 10 == 9:
                memory.give_back()
            if beat % 60 == 59:
                self.lanes.trim()
            await asyncio.sleep(1.0)
            metrics.LOOP_LAG.set(max(0.0, time.monotonic() - due))

    def _spawn(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        self._tasks.append(task)

    # End -------------------------------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        self.pulse.ready = "stopping"
        log.info("stopping")
        # After a loss nothing may be finished: another process may have begun.
        grace = 0.5 if self._lost else _STOPPING
        if self._built:
            await self.worker.stop(0.0 if self._lost else grace)
            for component in reversed(self._components):
                try:
                    async with asyncio.timeout(grace):
                        await component.stop()
                except Exception:
                    log.exception("component did not stop", component=type(component).__name__)
            await self.events.stop()
            await self.watch.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        changing = self.lanes.changing()
        self.lanes.stop()
        if changing:
            log.warning("driver calls have not come back, so the Lease is left to end by itself", calls=changing)
        elif not self._lost:
            await self.lease.release()
        await self.client.close()
        if self.health is not None:
            await asyncio.to_thread(self.health.stop)


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("background task ended", task=task.get_name(), exc_info=task.exception())
