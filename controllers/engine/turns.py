"""One reconcile of one object: what a kind's `reconcile` is given (`controllers.engine.base.Turn` for real)."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from controllers.engine.base import Conflict, Key, Obj, Paused, Refused
from controllers.engine.cache import ObjectCache
from controllers.engine.status import Writer, compose, same
from controllers.logic.conditions import ALWAYS, Conditions
from crds.base import ALLOW_DELETION, FINALIZER, PAUSED, Kind

#: Conditions that only the engine sets; they never outlive the turn that set them.
ENGINE_OWNED = frozenset({"Stalled", "ReconciliationPaused"})

_CRD_AGAIN = 10.0
"""Seconds until a CRD that goes is asked again: its annotation wakes nobody."""

_turn: ContextVar["LiveTurn | None"] = ContextVar("turn", default=None)


def forbid_when_paused() -> None:
    """Raises Paused in a turn of a paused object. Called by everything that acts."""
    turn = _turn.get()
    # A task that was started in a turn inherits it, and may outlive it on behalf of others.
    if turn is not None and turn.paused and not turn.over:
        raise Paused


class Released(Exception):
    """The turn's object was let go: the turn is over and nothing of it is written."""


class LiveTurn:
    """Made by the engine in a task of its own, so that what is called from it knows whether the object is paused."""

    def __init__(
        self,
        obj: Obj[Any, Any],
        kind: Kind,
        cache: ObjectCache,
        writer: Writer,
        crd_state: Callable[[str], Awaitable[tuple[bool, bool]]],
        now: str,
        give_way: Callable[[], Awaitable[None]],
    ) -> None:
        self.obj = obj
        self.first = obj.conditions
        self.status: Any = obj.status
        self.conditions = Conditions(obj.conditions, obj.generation, now)
        self.paused = PAUSED in obj.annotations
        self.over = False
        _turn.set(self)
        self.events: list[tuple[str, str, bool]] = []
        self.wakes: list[tuple[Key, float]] = []
        self.released = False
        self.written = False
        self._undos: list[Callable[[], None]] = []
        self._kind = kind
        self._cache = cache
        self._writer = writer
        self._crd_state = crd_state
        self._give_way = give_way
        self._crd_stays = False

    async def save(self) -> None:
        """Write what is there now; conditions that were not set yet in this turn stand as they were."""
        await self.write(partial=True)

    async def write(self, *, partial: bool) -> None:
        """Write the whole status if anything differs. `partial`: keep conditions that this turn said nothing about."""
        await self._write(partial)
        self._undos.clear()

    def unless_written(self, undo: Callable[[], None]) -> None:
        self._undos.append(undo)

    def end(self) -> None:
        """Nothing is written in it any more."""
        self.over = True
        for undo in () if self.released else self._undos:
            undo()

    async def _write(self, partial: bool) -> None:
        composed = self.conditions.compose()
        if partial:
            composed = self._with_unset(composed)
        if self._unchanged(composed):
            return
        status = compose(self.status, composed, self.obj.generation)
        if same(self._kind, status, self.obj):
            return
        await self._writer.put_status(self.obj, status)
        self.written = True
        self._renew()

    async def ensure_finalizer(self) -> None:
        if FINALIZER in self.obj.finalizers:
            return
        forbid_when_paused()
        await self._writer.add_finalizer(self.obj)
        self._renew()

    async def give_way(self) -> None:
        await self._give_way()

    async def release(self) -> None:
        forbid_when_paused()
        if FINALIZER in self.obj.finalizers:
            await self._writer.remove_finalizer(self.obj)
        self.released = True

    async def let_go_when_orphaned(self) -> None:
        """N4: of a deletion the CRD is asked first, whatever else the object would wait for. One that goes with the
        annotation `orphan` lets its objects go at once, paused ones too: nothing of the platform is touched by it.
        Raises Released then."""
        going, orphans = await self._crd_state(self.obj.key.kind)
        if not going:
            self._crd_stays = True
        elif orphans:
            if FINALIZER in self.obj.finalizers:
                await self._writer.remove_finalizer(self.obj)
            self.released = True
            raise Released

    async def may_destroy(self) -> None:
        if not self._crd_stays:
            await self.let_go_when_orphaned()
        if self._crd_stays:
            return
        crd = self._kind.crd_name
        raise Refused(
            "CRDTerminating",
            f"CustomResourceDefinition {crd} is being deleted, so nothing that this object stands for is touched. To "
            f"let the objects go and leave everything running: "
            f"kubectl annotate crd {crd} {ALLOW_DELETION}=orphan --overwrite",
            type_="Deleting",
            status="True",
            after=_CRD_AGAIN,
        )

    async def still_there(self) -> None:
        """After a reconcile that leaves a deleted object where it is: whatever it waits for, its CRD comes first (N4).
        Else an object that others refer to would wait for them for ever after its CRD was let go."""
        if self.obj.deleting and not self.released and FINALIZER in self.obj.finalizers:
            await self.may_destroy()

    def event(self, reason: str, note: str, *, warning: bool = False) -> None:
        self.events.append((reason, note, warning))

    def wake(self, key: Key, *, after: float = 0.0) -> None:
        self.wakes.append((key, after))

    def _unchanged(self, composed: list[dict[str, Any]]) -> bool:
        """True of nearly every turn at rest, where composing the status was half of all the work. False: not sure."""
        has = self.obj
        seen = has.status.observed_generation == has.generation
        return seen and self.status == has.status and composed == list(has.conditions)

    def _with_unset(self, composed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = [
            dict(old)
            for old in self.obj.conditions
            if not self.conditions.is_set(old["type"]) and old["type"] not in ALWAYS | ENGINE_OWNED
        ]
        return sorted([*composed, *kept], key=lambda condition: (condition["type"] != "Ready", condition["type"]))

    def _renew(self) -> None:
        """Take the written version from the cache, which has the answer. Raises Conflict if it moved on already."""
        obj = self._cache.at(self.obj.key)
        if obj is None or obj.uid != self.obj.uid or obj.generation != self.obj.generation:
            raise Conflict(f"{self.obj.key} changed while it was written")
        self.obj = obj
