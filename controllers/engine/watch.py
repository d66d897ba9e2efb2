"""Kopf's part: it watches every kind, from the list that the engine makes for it, and hands each event over. It runs in
a thread and loop of its own, is started again whenever it ends (it does: design.md §8), and never touches the queue,
the engine's tasks or our objects.
"""

import asyncio
import gc
import inspect
import logging
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

import kopf
import structlog

from controllers import metrics
from controllers.config import Settings
from controllers.engine import kopf_seams
from controllers.engine.credentials import CredentialSource, NoCredentials
from crds.base import GROUP, VERSION, Kind

_SETTLED = 60.0
_BATCH = 500
_CANCELS = 6
_GRACE = 2.0
"""Seconds that Kopf gets for ending by itself."""
_KOPF = str(Path(kopf.__file__).parent)
Event = tuple[str, str, Mapping[str, Any]]
log = structlog.get_logger(__name__)


class Watch:
    """`list_` and `deliver` are called in the engine's loop: the one before a kind is watched, to bring the cache up to
    the version that it answers, the other once per event."""

    def __init__(
        self,
        kinds: Collection[Kind],
        source: CredentialSource,
        settings: Settings,
        deliver: Callable[[str, str, Mapping[str, Any]], None],
        list_: Callable[[str], Coroutine[Any, Any, str]],
    ) -> None:
        self._kinds, self._source, self._settings = kinds, source, settings
        self._deliver, self._list = deliver, list_
        self._names = {(GROUP, kind.plural): kind.kind for kind in kinds} | {("", "namespaces"): "Namespace"}
        self._events: deque[Event] = deque()
        self._handed_over = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="kopf", daemon=True)
        self.starts = 0

    def start(self) -> None:
        """From the engine's loop."""
        self._loop = asyncio.get_running_loop()
        # Its chatter about every request and task; what matters of it is logged by the supervisor.
        logging.getLogger("kopf").setLevel(logging.ERROR)
        kopf_seams.install()
        self._thread.start()

    async def stop(self) -> None:
        """Ends Kopf and its thread; waits for it a few seconds. Idempotent."""
        self._stop.set()
        self._end_operator()
        await asyncio.to_thread(self._thread.join, 5.0)

    def restart(self) -> None:
        """End the present operator; the supervisor starts another. Thread-safe; for tests and for the health check."""
        self._end_operator()

    def _end_operator(self) -> None:
        loop, ending = self._kopf_loop, self._ending
        if loop is not None and ending is not None:
            try:
                loop.call_soon_threadsafe(ending.set)
            except RuntimeError:
                return  # It has ended by itself.

    def _supervise(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            self.starts += 1
            metrics.WATCH_STARTS.inc()
            outcome = self._once()
            if self._stop.is_set():
                return
            if time.monotonic() - began > _SETTLED:
                pause = 1.0
            pause = min(pause, self._settings.watch_backoff_most)
            log.warning("watch ended: started again", outcome=outcome, pause=pause)
            self._stop.wait(pause)
            pause = pause * 2

    def _once(self) -> str:
        """One life of Kopf's operator, in a loop of its own; how it ended."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_remark)
        try:
            loop.run_until_complete(self._run(loop))
            return "ended"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._kopf_loop = self._ending = None
            # Not asyncio.run: it would wait for tasks that do not end.
            loop.close()
            _close_unstarted()
            # Kopf's tasks leave exceptions that nobody asks for: told of here, and not in the middle of anything else.
            gc.collect()

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until any of Kopf's root tasks ends, or we are asked to end it. Raises what a root task raised."""
        registry = kopf.OperatorRegistry()
        self._register(registry)
        self._ending, self._kopf_loop = asyncio.Event(), loop
        # Not kopf.operator: when it ends because of an error it may wait for ever, with some tasks asking for new
        # credentials that the others, already ended, would have brought (seen after a 403 on a watch).
        tasks = await kopf.spawn_tasks(
            registry=registry, settings=self._kopf_settings(), standalone=True, clusterwide=True
        )
        ending = asyncio.ensure_future(self._ending.wait())
        if self._stop.is_set():
            self._ending.set()
        done, _ = await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
        # Its root tasks first: they end what they began, and await the workers that have not started yet.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_GRACE)
        await _cancel_all_others()
        for task in done:
            if not task.cancelled():
                task.result()

    def _register(self, registry: kopf.OperatorRegistry) -> None:
        source = self._source

        # A login is asked for at the start and whenever the API server answered 401.
        @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY, backoff=5.0)
        def login(**_: Any) -> kopf.ConnectionInfo:
            try:
                found = source.reload()
            except NoCredentials as error:
                raise kopf.TemporaryError(str(error), delay=5.0) from None
            return kopf.ConnectionInfo(
                server=found.server,
                ca_data=found.ca,
                insecure=found.insecure,
                certificate_data=found.certificate,
                private_key_data=found.key,
                token=found.token,
            )

        for group, plural in self._names:
            # Tells Kopf what to watch; the events themselves come by `event`.
            @kopf.on.event(group, VERSION if group else "v1", plural, registry=registry, id=f"watch {plural}")
            async def never_called(**_: Any) -> None: ...

    async def begin(self, group: str, plural: str) -> str | None:
        kind = self._names.get((group, plural))
        if kind is None or self._loop is None:
            return None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._list(kind), self._loop))

    def event(self, group: str, plural: str, type_: str, raw: Mapping[str, Any]) -> None:
        self._events.append((self._names[group, plural], type_, raw))
        if not self._handed_over.is_set():
            self._handed_over.set()
            self._call(self._drain)

    def _call(self, what: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            self._stop.set()  # The engine's loop is closed.

    def _drain(self) -> None:
        """In the engine's loop: a batch at a time, so that other work comes between."""
        self._handed_over.clear()
        for _ in range(_BATCH):
            try:
                kind, type_, raw = self._events.popleft()
            except IndexError:
                return
            self._deliver(kind, type_, raw)
        self._handed_over.set()
        self._call(self._drain)

    def _kopf_settings(self) -> kopf.OperatorSettings:
        settings = kopf_seams.SeamSettings()
        settings.receiver = self
        settings.process.ultimate_exiting_timeout = None
        settings.posting.enabled = False
        settings.persistence.progress_storage = _NoProgress()
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.watching.server_timeout = self._settings.watch_server_timeout
        settings.watching.client_timeout = self._settings.watch_server_timeout + 30
        settings.watching.inactivity_timeout = 70  # Kubernetes sends a bookmark every 60 s.
        settings.watching.connect_timeout = min(10.0, self._settings.request_timeout)
        settings.watching.reconnect_backoff = 0.5  # A server that ends every watch at once is not stormed by 16 kinds.
        settings.networking.request_timeout = self._settings.request_timeout
        settings.networking.connect_timeout = min(10.0, self._settings.request_timeout)
        most = self._settings.watch_backoff_most
        settings.networking.error_backoffs = tuple(wait for wait in (1, 1, 2, 3, 5, 8) if wait <= most)
        settings.queueing.idle_timeout = 1.0
        settings.queueing.exit_timeout = 0.5
        return settings


async def _cancel_all_others() -> None:
    """More than once, because some answer the first time with something else; those that never end are left."""
    for _ in range(_CANCELS):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=0.5)


def _close_unstarted() -> None:
    """Workers of Kopf that were made and never started: closed, or Python complains that nobody awaited them."""
    for found in gc.get_objects():
        if (
            isinstance(found, types.CoroutineType)
            and found.cr_code.co_filename.startswith(_KOPF)
            and inspect.getcoroutinestate(found) == inspect.CORO_CREATED
        ):
            found.close()


def _remark(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.debug("remains of Kopf", what=context.get("message"), error=repr(context.get("exception")))


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing on our objects."""

    def fetch(self, *, key: Any, body: Any) -> None:
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        return None

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        return None

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing on our objects."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Nothing is compared with it, and Kopf's own copies the whole object for every event (8 % of our time)."""
        return {}

    def fetch(self, *, body: Any) -> None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None
