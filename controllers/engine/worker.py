"""Takes objects from the queue and reconciles each in a task of its own; whatever one does, the others go on.

Started by the engine. What was raised becomes conditions in `controllers.engine.outcome`, a wait in the queue here.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from controllers import metrics
from controllers.config import Settings
from controllers.engine.api import KindApi
from controllers.engine.base import ApiError, Conflict, Key, NotLeader, Obj, Reconciler, Refused
from controllers.engine.cache import ObjectCache
from controllers.engine.events import Events, transitions
from controllers.engine.intake import Intake
from controllers.engine.outcome import Next, Outcome, settle
from controllers.engine.queue import Priority, WorkQueue
from controllers.engine.slots import Slots, outside
from controllers.engine.status import Writer
from controllers.engine.turns import LiveTurn
from controllers.engine.wakes import Wakes
from crds.base import Kind, format_time
from crds.unsupported import unsupported

_GIVES_WAY = 5.0
"""Seconds that a placed object waits at most while others are placed: they must not starve it."""
log = structlog.get_logger(__name__)


class Worker:
    def __init__(
        self,
        settings: Settings,
        kinds: Mapping[str, Kind],
        reconcilers: Mapping[str, Reconciler[Any, Any]],
        cache: ObjectCache,
        queue: WorkQueue,
        writer: Writer,
        events: Events,
        api: KindApi,
        intake: Intake,
        wakes: Wakes,
    ) -> None:
        self._settings, self._kinds, self._reconcilers = settings, kinds, reconcilers
        self._cache, self._queue, self._writer, self._events = cache, queue, writer, events
        self._api, self._intake, self._wakes = api, intake, wakes
        self._slots = Slots(settings.workers)
        self._numbers = itertools.count(1)
        self._run = f"{random.getrandbits(24):06x}"
        self._dispatching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._dispatching = asyncio.create_task(self._dispatch(), name="dispatch")

    async def stop(self, grace: float) -> None:
        """No new reconciles; those that run get so many seconds."""
        if self._dispatching is not None:
            self._dispatching.cancel()
            await asyncio.gather(self._dispatching, return_exceptions=True)
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def free(self) -> bool:
        """Whether one more reconcile could start now."""
        return self._slots.free()

    async def _dispatch(self) -> None:
        while True:
            await self._queue.ready()
            await self._slots.acquire()
            key = self._queue.pop()
            if key is None:
                self._slots.release()
                continue
            task = asyncio.create_task(self._guarded(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _guarded(self, key: Key) -> None:
        slot = self._slots.enter()
        started = time.monotonic()
        try:
            await self._process(key)
        except Exception:
            # A fault of the engine itself: the key must not be lost for it.
            metrics.BUGS.labels(key.kind).inc()
            log.exception("engine failed", object=str(key))
            self._queue.failed(key)
        finally:
            slot.end()
            metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.monotonic() - started)

    async def _process(self, key: Key) -> None:
        obj = self._cache.at(key)
        if obj is None:
            self._queue.forget(key)
            return
        structlog.contextvars.bind_contextvars(
            object=str(key), uid=obj.uid, reconcile=f"{self._run}-{next(self._numbers):x}"
        )
        now = format_time(datetime.now(UTC).replace(microsecond=0))
        turn = LiveTurn(obj, self._kinds[key.kind], self._cache, self._writer, self._crd_state, now, self._give_way)
        try:
            outcome, again = await self._attempt(turn)
            outcome = await self._write(turn, outcome, partial=outcome.result != "OK")
        finally:
            turn.end()
        for other, after in turn.wakes:
            self._wakes.enqueue(other, after, Priority.EVENT)
        metrics.RECONCILES.labels(key.kind, outcome.result).inc()
        await self._schedule(obj, outcome, again)

    async def _attempt(self, turn: LiveTurn) -> tuple[Outcome, float | None]:
        error: Exception | None = None
        again = None
        try:
            if turn.obj.deleting:
                await turn.let_go_when_orphaned()
            self._check(turn.obj)
            again = await self._reconcilers[turn.obj.key.kind].reconcile(turn)
            await turn.still_there()
        except Exception as raised:
            error = raised
        outcome = settle(turn, error)
        if outcome.bug:
            metrics.BUGS.labels(turn.obj.key.kind).inc()
            log.error("reconcile failed", exc_info=error)
        elif error is not None:
            log.debug("reconcile ended early", result=outcome.result, error=str(error))
        return outcome, again.after if again is not None else None

    def _check(self, obj: Obj[Any, Any]) -> None:
        """Raises Refused for what this version cannot read or does not honour. What goes may go all the same."""
        if obj.problem:
            raise Refused(
                "SpecUnreadable",
                f"This version of the operator cannot read the spec, so nothing is done: {obj.problem}",
                stalled=True,
            )
        found = [] if obj.deleting else unsupported(obj.key.kind, obj.spec, obj.status)
        if found:
            raise Refused("Unsupported", "; ".join(str(finding) for finding in found), stalled=True)

    async def _write(self, turn: LiveTurn, outcome: Outcome, *, partial: bool) -> Outcome:
        """Save what the turn ended with, and then tell of it."""
        try:
            if outcome.write:
                await turn.write(partial=partial or turn.paused)
        except Conflict:
            return Outcome(Next.CONFLICT, "Conflict")
        except NotLeader:
            return Outcome(Next.RETRY, "NotLeader")
        except ApiError as error:
            # While the API server is away this is said for every object: the Lease's lines tell it well enough.
            level = log.debug if error.retryable else log.error
            level("status not written", error=str(error))
            return Outcome(Next.RETRY, "APIError")
        if turn.written:
            for reason, note, warning in transitions(turn.first, turn.obj.conditions):
                (log.warning if warning else log.info)("transition", reason=reason, note=note)
                self._events.emit(turn.obj, reason, note, warning=warning)
        told = turn.events if outcome.write or outcome.next is Next.RELEASED else []
        for reason, note, warning in told:
            self._events.emit(turn.obj, reason, note, warning=warning)
        return outcome

    async def _schedule(self, obj: Obj[Any, Any], outcome: Outcome, again: float | None) -> None:
        key = obj.key
        match outcome.next:
            case Next.RETRY:
                wait = self._queue.failed(key, outcome.after or 0.0)
                quiet = outcome.result in ("APIError", "NotLeader")
                (log.debug if quiet else log.info)("tried again later", result=outcome.result, wait=round(wait, 1))
            case Next.CONFLICT:
                if await self._refresh(obj):
                    self._queue.conflicted(key)
                else:
                    self._queue.failed(key)
            case Next.RELEASED if self._cache.at(key) is None:
                self._queue.forget(key)
            case _:
                after = again if again is not None else outcome.after
                self._queue.done(key, self._resync() if after is None else min(after, self._resync()))

    async def _refresh(self, obj: Obj[Any, Any]) -> bool:
        """Read the object again after a conflict. False when the API server does not answer."""
        key = obj.key
        try:
            if await self._api.get_live(key.kind, key.namespace, key.name) is None:
                self._intake.gone(key, obj.uid)
        except ApiError:
            return False
        return True

    async def _give_way(self) -> None:
        """Without a place, so that those that come first have them all."""
        await outside(self._queue.calm(_GIVES_WAY))

    async def _crd_state(self, kind: str) -> tuple[bool, bool]:
        going = await self._api.crd_going(kind)
        return going, going and await self._api.crd_orphans(kind)

    def _resync(self) -> float:
        return self._settings.resync * random.uniform(0.9, 1.1)
