"""One life of the operator: the real engine, kinds, fleet, lanes and placement, in virtual time, on the store.

Not real are the API server and Kopf's watch, which have their own tests. Used by `world`. A killed operator's calls end
with Killed, before or after they took effect; nothing of it runs on.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from controllers.config import Settings
from controllers.engine.base import ApiError, Lanes
from controllers.engine.client import Client
from controllers.engine.engine import Engine
from controllers.engine.lanes import Threads
from controllers.engine.slots import outside
from controllers.kinds import Wiring
from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.recording import Call, RecordingEndPoint
from drivers.simulated.watch import Watcher
from tests.model.clock import Clock, VirtualLoop
from tests.model.store import Store

Deliver = Callable[[str, str, Mapping[str, Any]], None]
INSTALLATION = "model"
WATCH_LAG = 0.02
API_LAG = 0.005


class Killed(BaseException):
    """The operator is dead."""


class Network:
    """Between operators and the API server: what a fault does there outlives every operator."""

    def __init__(self) -> None:
        self.down = False
        self.deaf = False
        """The watch brings nothing, without anybody noticing."""
        self.lost_answers = 0
        """So many writes take effect and are not answered."""
        self.writes = 0
        """Of the operators, Leases and Events not counted."""
        self.last = ""


class Life:
    """`start`, then `run` for as long as it lives."""

    def __init__(
        self, clock: Clock, store: Store, network: Network, state: Path, blocked: Callable[[], bool], seed: int
    ) -> None:
        """`blocked`: whether driver calls may hang now."""
        self.clock, self.store, self.network = clock, store, network
        self.dice = random.Random(seed).random
        self.dead = False
        self.changes = 0
        """Driver calls that changed something."""
        self.recent: list[str] = []
        """The last external calls, each with its moment."""
        self.faults: list[str] = []
        """What the loop complained about."""
        self._state = state
        self._calls_left = -1
        self._dies_after_it = False
        self._lanes: CountingThreads | None = None
        self._endpoints: list[EndPoint] = []
        self.loop = VirtualLoop(clock, self._busy, blocked)
        self.loop.set_exception_handler(self._fault)
        settings = Settings(
            namespace="stratiform-system", installation=INSTALLATION, leader_election=False, kernel_timer=False,
            workers=8, resync=120.0, relist=60.0, relist_delay=0.5, roll_up=1.0, backoff_first=0.2, backoff_most=10.0,
            lane_hang=3.0, listing_interval=2.0, simulated_state=state, health_port=-1, request_timeout=5.0,
        )  # fmt: skip
        self.wiring = wiring = Wiring(settings, self.open)

        async def made() -> Engine:
            engine = Engine(
                settings, reconcilers=wiring.reconcilers, components=wiring.components,
                client=lambda *a, **k: MemoryClient(self, *a, **k), watch=lambda *a: MemoryWatch(self, *a),
            )  # fmt: skip
            self._lanes = CountingThreads(
                size=settings.lane_threads, hang=settings.lane_hang, guard=engine.lease.guard, outside=outside
            )
            engine.lanes = self._lanes
            return engine

        self.engine = self.loop.run_until_complete(made())
        self._running = self.loop.create_task(self.engine.run())

    # ------------------------------------------------------------ its time

    def run(self, seconds: float) -> None:
        """So many seconds, or until it dies."""
        end = self.loop.call_later(seconds, self.loop.stop)
        self.loop.run_forever()
        end.cancel()
        if self._running.done() and not self.dead:
            self._running.result()
            raise AssertionError("the operator ended by itself")

    def kill(self) -> None:
        """SIGKILL, now. Idempotent."""
        self.dead = True
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        for endpoint in self._endpoints:
            endpoint.close()
        if tasks:
            self._through(tasks)
        self._close()

    def stop(self) -> None:
        """SIGTERM. It may die of something else on its way."""
        self.engine.stop()
        self._through({self._running})
        if self.dead:
            self.kill()
            return
        self.dead = True
        self._running.result()
        self._close()

    def _through(self, tasks: set["asyncio.Task[Any]"]) -> None:
        """Until they have ended; who dies stops the loop, which is started again."""
        end = self.loop.time() + 60.0
        while any(not task.done() for task in tasks) and self.loop.time() < end:
            self.loop.call_later(0.5, self.loop.stop)
            self.loop.run_forever()

    def die_at(self, calls: int, *, after: bool) -> None:
        """At the external call of that number from now (from 1): before or after it takes effect."""
        self._calls_left, self._dies_after_it = calls, after

    @property
    def idle(self) -> bool:
        """Nobody waits to be reconciled, or is."""
        return self.engine.started.is_set() and self.engine.queue.idle()

    def _busy(self) -> bool:
        return bool(self._lanes and self._lanes.out) or not Watcher.caught_up(str(self._state))

    def _fault(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.dead and not isinstance(context.get("exception"), Killed):
            self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _close(self) -> None:
        self.engine.lanes.stop()
        self.store.told = [tell for tell in self.store.told if not isinstance(tell, Told)]
        self.loop.close()

    # ------------------------------------------------------------ its calls

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        self.require_life()
        endpoint = RecordingEndPoint(registry.open_endpoint(connection, timeout), connection.host, self.driver_call)
        self._endpoints.append(endpoint)
        return endpoint

    def driver_call(self, call: Call) -> None:
        """In a lane's thread."""
        self.external(f"{call.name} {call.subject} on {call.host}", done=call.done)
        if not call.done:
            self.changes += 1

    def external(self, what: str, *, done: bool) -> None:
        """Before and after each call that changes something outside. Raises Killed."""
        self.require_life()
        if not done:
            self.recent = [*self.recent[-30:], f"{self.clock.passed:.2f} {what}"]
            self._calls_left -= 1
        if self._calls_left == 0 and done == self._dies_after_it:
            self.dead = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.require_life()

    def require_life(self) -> None:
        if self.dead:
            raise Killed


class CountingThreads(Threads):
    """Knows how many calls are out that somebody waits for. (Who has the answer may wait for a worker's place.)"""

    out = 0

    async def _submit(self, *args: Any) -> Any:
        self.out += 1
        try:
            return await super()._submit(*args)
        finally:
            self.out -= 1


_: type[Lanes] = CountingThreads


class MemoryClient(Client):
    """The engine's client on the store."""

    def __init__(self, life: Life, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._life = life

    async def send(
        self, verb: str, path: str, *, kind: str, body: Any = None, accept: str = "", guarded: bool = True, **_: Any
    ) -> bytes:
        life, network = self._life, self._life.network
        if guarded and verb != "GET":
            self._guard()
        counts = verb != "GET" and "/leases" not in path and "/events" not in path
        await asyncio.sleep(API_LAG * life.dice())
        if network.down:
            await asyncio.sleep(1.0)
            self._silent = True
            raise ApiError(0, "NoAnswer", f"{verb} {path}: no answer")
        if counts:
            life.external(f"{verb} {path}", done=False)
        life.require_life()
        answer = orjson.dumps(life.store.request(verb, path, body, accept))
        if counts:
            network.writes += 1
            network.last = f"{verb} {path}"
            life.external(f"{verb} {path}", done=True)
            if network.lost_answers:
                network.lost_answers -= 1
                self._silent = True
                raise ApiError(0, "NoAnswer", f"{verb} {path}: the connection broke before the answer")
        await asyncio.sleep(API_LAG * life.dice())
        life.require_life()
        self._answered()
        return answer


class MemoryWatch:
    """Has the interface of the engine's `Watch`."""

    def __init__(
        self, life: Life, kinds: Any, source: Any, settings: Any, deliver: Deliver,
        list_: Callable[[str], Coroutine[Any, Any, str]],
    ):  # fmt: skip
        self._life, self._deliver, self._list = life, deliver, list_
        self._kinds = [*(kind.kind for kind in kinds), "Namespace"]
        self._lists: set[asyncio.Task[str]] = set()
        self._coming: deque[tuple[str, str, Mapping[str, Any]]] = deque()
        self._told = Told(self.tell)

    def start(self) -> None:
        self._life.store.told.append(self._told)
        self.restart()

    async def stop(self) -> None:
        for listing in self._lists:
            listing.cancel()
        if self._told in self._life.store.told:
            self._life.store.told.remove(self._told)

    def restart(self) -> None:
        """As Kopf, for which everything is listed whenever it begins."""
        for kind in self._kinds:
            listing = self._life.loop.create_task(self._list(kind))
            self._lists.add(listing)
            listing.add_done_callback(self._lists.discard)

    def tell(self, kind: str, type_: str, obj: Mapping[str, Any]) -> None:
        if not self._life.network.down and not self._life.network.deaf:
            self._later(kind, type_, obj)

    def _later(self, kind: str, type_: str, obj: Mapping[str, Any]) -> None:
        if not self._life.loop.is_closed():
            self._coming.append((kind, type_, obj))
            self._life.loop.call_later(WATCH_LAG, self._arrive)

    def _arrive(self) -> None:
        """In the order in which it was sent, whatever the timers' is."""
        self._deliver(*self._coming.popleft())


@dataclass(frozen=True)
class Told:
    """A watch among those that the store tells."""

    tell: Callable[[str, str, Mapping[str, Any]], None]

    def __call__(self, kind: str, type_: str, obj: Mapping[str, Any]) -> None:
        self.tell(kind, type_, obj)
