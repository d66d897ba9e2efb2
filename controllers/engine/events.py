"""Kubernetes events: once per transition, on a lane of lowest priority that drops rather than delays anything.

Called by the engine after a turn's status was saved, so that an event never tells of what was not written.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from controllers import metrics
from controllers.engine.base import ApiError, NotLeader, Obj
from controllers.engine.client import Client
from crds.base import API_VERSION

#: Conditions whose change makes an event by itself.
TRANSITIONS = ("Ready", "Scheduled")
#: Reasons of a condition that is False because work goes on as it should: no warning.
PROGRESS = frozenset({
    "Pending", "Scheduling", "Scheduled", "Provisioning", "Creating", "Preparing", "Fetching", "Copying", "Importing",
    "Verifying", "Connecting", "Listing", "Starting", "Stopping", "Restarting", "Stopped", "Attaching", "Detaching",
    "Migrating", "Resizing", "Deleting", "InUse",
})  # fmt: skip
#: Steps so short that an event of each would be noise.
QUIET = frozenset({"Pending", "Provisioning", "NotStarted"})
_WAITING = 500
_MEMORY = 3600.0
_REMEMBERED = 20_000
_LONGEST_NOTE = 1000
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What happened to an object."""

    kind: str
    namespace: str
    name: str
    uid: str
    reason: str
    note: str
    warning: bool


def transitions(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    """(reason, note, warning) of each condition that people follow and that came to say something else."""
    old = {condition["type"]: condition for condition in before}
    found = []
    for condition in after:
        type_ = condition["type"]
        was = old.get(type_, {})
        if (
            type_ in TRANSITIONS
            and condition["reason"] not in QUIET
            and (was.get("status"), was.get("reason"))
            != (
                condition["status"],
                condition["reason"],
            )
        ):
            note = condition.get("message") or f"{type_} is {condition['status']}."
            found.append(
                (condition["reason"], note, condition["status"] == "False" and not _goes_on(condition["reason"]))
            )
    return found


def _goes_on(reason: str) -> bool:
    return reason in PROGRESS or reason.startswith("Waiting")


class Events:
    def __init__(self, client: Client, reporter: str) -> None:
        self._client = client
        self._reporter = reporter
        self._queue: asyncio.Queue[Occurrence] = asyncio.Queue(_WAITING)
        self._said: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="events")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def emit(self, obj: Obj[Any, Any], reason: str, note: str, *, warning: bool) -> None:
        """Does not block. The same reason and note about the same object within an hour is dropped."""
        said, now = (obj.uid, reason, note), time.monotonic()
        if now - self._said.get(said, -_MEMORY) < _MEMORY:
            return
        self._said[said] = now
        self._said.move_to_end(said)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        try:
            self._queue.put_nowait(
                Occurrence(obj.key.kind, obj.namespace, obj.name, obj.uid, reason, note[:_LONGEST_NOTE], warning)
            )
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()

    async def _work(self) -> None:
        while True:
            occurrence = await self._queue.get()
            try:
                await self._post(occurrence)
            except NotLeader:
                metrics.EVENTS_DROPPED.inc()
            except ApiError as error:
                metrics.EVENTS_DROPPED.inc()
                if error.status not in (0, 404, 429):
                    log.info("event not written", reason=occurrence.reason, error=str(error))
            except Exception:
                metrics.EVENTS_DROPPED.inc()
                log.exception("event not written", reason=occurrence.reason)

    async def _post(self, occurrence: Occurrence) -> None:
        regarding = {
            "apiVersion": API_VERSION,
            "kind": occurrence.kind,
            "name": occurrence.name,
            "uid": occurrence.uid,
        }
        if occurrence.namespace:
            regarding["namespace"] = occurrence.namespace
        namespace = occurrence.namespace or "default"
        try:
            await self._create(namespace, regarding, occurrence, occurrence.note)
        except ApiError as error:
            if error.status != 403 or "terminated" not in error.message:
                raise
            # Nothing can be made in a namespace that goes, so the event is about the Namespace itself.
            about = {"apiVersion": "v1", "kind": "Namespace", "name": occurrence.namespace}
            note = f"{occurrence.kind} {occurrence.name}: {occurrence.note}"
            await self._create("default", about, occurrence, note[:_LONGEST_NOTE])

    async def _create(self, namespace: str, regarding: Mapping[str, Any], occurrence: Occurrence, note: str) -> None:
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{regarding['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": "stratiform.dev/operator",
            "reportingInstance": self._reporter[:128],
            "action": "Reconcile",
            "reason": occurrence.reason[:128],
            "regarding": regarding,
            "note": note,
            "type": "Warning" if occurrence.warning else "Normal",
        }
        await self._client.post(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body, kind="Event")
