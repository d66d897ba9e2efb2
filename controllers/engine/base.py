"""The seam between the engine and the kinds: what a reconciler gets, and what it may answer.

A kind is one class with `reconcile(turn)`; it is called for create, change, event, resync and delete alike and never
asks what changed. It reads the desired state from `turn.obj` and the cache, observes through the fleet, and ends by
having set `turn.status` and `turn.conditions`; the engine replaces the whole status by one PUT if anything differs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from controllers.logic.conditions import Conditions
from crds.base import Model

S = TypeVar("S", bound=Model)
T = TypeVar("T", bound=Model)
R = TypeVar("R")


class Key(NamedTuple):
    """One object of one of our kinds. `namespace` is "" for cluster-scoped kinds.

    A tuple, because everything is looked up by it: hashing a dataclass took 4 % of our time.
    """

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Obj(Generic[S, T]):
    """An immutable snapshot of one object as the cache holds it. `spec` and `status` are parsed once per version.

    Ten thousands of them are held: the status as the API gave it is packed, and the conditions are not parsed besides.
    """

    key: Key
    uid: str
    resource_version: str
    generation: int
    created_at: datetime
    deleting: bool
    deleted_at: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    spec: S
    status: T
    """Without its conditions."""
    conditions: tuple[Mapping[str, Any], ...]
    """As the API gave them."""
    packed_status: bytes
    """The whole status as the API gave it, as JSON with sorted keys: equal when the statuses are."""
    problem: str = ""
    """Why the spec cannot be read, in a person's words. `spec` is then the last one that could, or has gaps (reading
    one raises AttributeError), and the engine does not reconcile the object: it is there all the same."""

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def raw_status(self) -> dict[str, Any]:
        """As the API gave it, made anew for each asking: what the composed status is compared with."""
        unpacked: dict[str, Any] = orjson.loads(self.packed_status)
        return unpacked

    def condition(self, type_: str) -> Mapping[str, Any] | None:
        """The condition of that type as the API gave it."""
        return next((condition for condition in self.conditions if condition.get("type") == type_), None)

    def is_true(self, type_: str) -> bool:
        """Whether that condition is there and True."""
        condition = self.condition(type_)
        return condition is not None and condition.get("status") == "True"


def default_signal(obj: Obj[Any, Any]) -> object:
    """What others care about unless a kind says otherwise."""
    ready = obj.condition("Ready") or {}
    return (
        obj.generation,
        obj.deleting,
        tuple(sorted(obj.labels.items())),
        tuple(sorted(obj.annotations.items())),
        ready.get("status"),
        ready.get("reason"),
    )


class Cache(Protocol):
    """All objects of all our kinds, fed by the watch and the relist; read from the engine's loop only."""

    def get(self, kind: str, namespace: str, name: str) -> Obj[Any, Any] | None: ...

    def by_uid(self, uid: str) -> Obj[Any, Any] | None: ...

    def all(self, kind: str) -> Iterable[Obj[Any, Any]]: ...

    def referrers(self, key: Key, kind: str | None = None) -> Iterable[Obj[Any, Any]]:
        """Who names `key` in what `Reconciler.references` returns."""

    def indexed(self, index: str, value: str) -> Iterable[Obj[Any, Any]]:
        """By a named index that a reconciler declares in `Reconciler.indexes` (say Instance by its UUID)."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Labels of a core Namespace (None: unknown): for NamespaceSet selectors."""

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Every core Namespace with its labels."""

    def subscribe(self, told: Callable[[Key], None]) -> None:
        """Be told of every object, core Namespaces included, that comes, goes or changes, after it did: by a call that
        must be quick and raise nothing."""


@dataclass(frozen=True, slots=True)
class Again:
    """Reconcile this object again after so many seconds, even if nothing happens."""

    after: float


class Refused(Exception):
    """A reconciler's "no": the object waits, and its condition says why. Usable at any depth.

    Sets `type_`=False with reason and message, and Ready=False with the same where `type_` is another. Woken by a
    change of anything it refers to, by a fleet event, else after `after` seconds (default: the resync interval).
    `stalled` says that neither a retry nor another object can help (design.md §3). `synced` False also sets
    Synced=False: our last attempt did not go through.
    """

    def __init__(
        self, reason: str, message: str, *, type_: str = "Ready", status: str = "False", after: float | None = None,
        stalled: bool = False, synced: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(f"{reason}: {message}")
        self.reason, self.message, self.type_, self.status = reason, message, type_, status
        self.after, self.stalled, self.synced = after, stalled, synced


class NotYet(Exception):
    """What this turn goes by is not known yet, or about to change: nothing is written, what the status says stands. The
    object is looked at again after `after` seconds, or when it is woken."""

    def __init__(self, after: float) -> None:
        super().__init__(f"not looked yet, again in {after:g} s")
        self.after = after


class Conflict(Exception):
    """The object changed under us (409, or its uid is another now): dropped silently, reconciled again at once."""


class NotLeader(Exception):
    """A side effect was refused because the Lease is not, or not safely, ours (safety.md W6)."""


class Paused(Exception):
    """A side effect was refused because the turn's object is paused: the engine says so in a condition."""


class ApiError(Exception):
    """The API server refused a request or did not answer. `status` is the HTTP status, 0 without an answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def retryable(self) -> bool:
        """Whether asking again later can help without anybody changing anything."""
        return self.status in (0, 401, 408, 429) or self.status >= 500


class Turn(Protocol[S, T]):
    """One reconcile of one object. `status` starts as what the API has and may be replaced freely."""

    obj: Obj[S, T]
    status: T
    conditions: Conditions
    paused: bool
    """The object is annotated as paused: observe only. Whatever acts (Lanes.run with changes, Api's writes, the
    finalizer) raises Paused, which ends the turn in good order; its status is still written."""

    async def save(self) -> None:
        """Write the whole status now, if anything differs, before an external call that depends on it (W1, D1).
        Raises Conflict. `obj` is the written version afterwards."""

    async def ensure_finalizer(self) -> None:
        """Add `stratiform.dev/finalizer` if it is not there (a write of its own). Raises Conflict."""

    async def give_way(self) -> None:
        """Wait while objects that come first (`Reconciler.comes_first`) are waiting, for some seconds at most. Call it
        once this one does not belong to them any more. What was known may have changed meanwhile."""

    async def release(self) -> None:
        """Remove our finalizer: the object may go. No status is written after it."""

    async def may_destroy(self) -> None:
        """Call before the first destructive call of a deletion (N4): reads the kind's CRD live. Returns if it stays.
        If it goes, raises Refused CRDTerminating, or, where it is annotated `orphan`, releases the object and ends the
        turn. One read per turn."""

    def event(self, reason: str, note: str, *, warning: bool = False) -> None:
        """Emitted once this turn's status is saved; the same reason and note again within an hour is dropped."""

    def unless_written(self, undo: Callable[[], None]) -> None:
        """Call `undo` at the turn's end if its status, as it is from now on, could not be written: for what is
        remembered of it."""

    def wake(self, key: Key, *, after: float = 0.0) -> None:
        """Have another object reconciled, so many seconds after this turn's status was saved: one that is enqueued
        before may be reconciled without having seen it."""


class Reconciler(Protocol[S, T]):
    """One per kind. Stateless but for what can be lost at any moment."""

    kind: str
    indexes: Mapping[str, Callable[[Obj[Any, Any]], Iterable[str]]] = {}
    roll_up: bool = False
    """Woken (coalesced, at most once in 5 s) when an object that refers to it appears, goes or changes its signal."""

    def references(self, obj: Obj[S, T]) -> Iterable[Key]:
        """Every object that this one names. Changes of their signal wake this one; deleting them waits for it.
        A core Namespace is Key("Namespace", "", name): a change of its labels wakes."""
        return ()

    def signal(self, obj: Obj[S, T]) -> object:
        """A comparable summary of what others may care about; others are woken only when it changes. Default:
        generation, deleting, labels, annotations, Ready's status and reason (`default_signal`)."""
        return default_signal(obj)

    def comes_first(self, obj: Obj[S, T]) -> bool:
        """Whether work on it comes before all other work (an Instance that is not placed yet)."""
        return False

    def rank(self, obj: Obj[S, T]) -> tuple[float, float]:
        """Among those that come first, the least goes first."""
        return (0.0, 0.0)

    async def reconcile(self, turn: Turn[S, T]) -> Again | None:
        """Raises Refused, DriverError, Conflict, ApiError; anything else is a bug and contained."""


class Api(Protocol):
    """Raw requests to the API server for what is not a status or finalizer of the turn's own object."""

    async def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None when one of that name exists already (409)."""

    async def get_live(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None: ...

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """With a uid precondition. Absent: fine. Raises Conflict when another object has that name by now."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Decoded data of a Secret, read live; None if absent. In the operator's namespace only Secrets labelled
        stratiform.dev/credential=true are returned (raises Refused CredentialNotLabelled)."""

    async def crd_going(self, kind: str) -> bool:
        """Whether the kind's CRD has a deletionTimestamp, read live (N4)."""

    async def crd_orphans(self, kind: str) -> bool:
        """Whether the CRD's allow-deletion annotation has the value `orphan` (N4)."""

    async def read(self, path: str, kind: str) -> Mapping[str, Any] | None:
        """Whatever is at that path, read live (a Lease); None if absent."""

    async def create_at(self, path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
        """Create what is not of our kinds (a Lease) in the collection at that path; None when it exists already."""

    async def merge_patch(self, path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        """For the few writes outside our kinds (a Lease, a Namespace's label)."""


@dataclass(frozen=True, slots=True)
class Hung:
    """A driver call that was given up and has not come back; also one over a connection that was replaced meanwhile."""

    lane: str
    call: str
    change: bool
    since: datetime


class Lanes(Protocol):
    """Bounded thread pools, one per end-point, so that a hung call holds up only its own end-point."""

    async def run(
        self, lane: str, call: Callable[[], R], *, changes: bool, backend: str, name: str, hang: float | None = None
    ) -> R:
        """Run a blocking driver call. `changes`: refused (raises NotLeader) unless we hold the Lease safely.
        Counted in metrics by backend, name and result. Raises Unreachable when the lane is full of hung calls, and
        when this call has not come back after `hang` seconds (default: a setting; give more for transfers): its thread
        is left to it, and until it comes back or `reset` is called no other change runs on the lane."""

    def reset(self, lane: str) -> None:
        """After the lane's connection was replaced: start with new threads, whatever hangs on the old. Idempotent."""

    def hung(self) -> Sequence[Hung]:
        """What was given up and has not come back, the longest first, whether its lane was reset or not."""


class Services(Protocol):
    """What every reconciler is constructed with."""

    cache: Cache
    api: Api
    lanes: Lanes
    installation: str
    installations: tuple[str, ...]
    """Ours first, then installation.takeOver."""
    namespace: str
    """The operator's own (stratiform-system)."""

    def now(self) -> datetime:
        """UTC wall clock."""

    def enqueue(self, key: Key, *, after: float = 0.0, urgent: bool = False) -> None:
        """From the engine's loop."""

    def enqueue_threadsafe(self, key: Key) -> None: ...
