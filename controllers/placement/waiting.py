"""Who fits nowhere yet: asked again, in order, when something changed that may let one in; the oldest never starves.

Called by the scheduler. Order: priority, then age. Whoever fits now gets its room reserved for a moment and is woken,
so that no later one takes it in between. Who has waited long for room alone gets a host, or pools, named for it: what
becomes free there is kept for it (and for it alone) until it fits.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from controllers.engine.base import Key
from controllers.placement.core.asks import Ask, Claim, Shape
from controllers.placement.core.filters import CAPACITY, NO_POOL, REASONS
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import Picked, pick_empty, sizes
from controllers.placement.core.story import Placed, Unplaced

STARVES_AFTER = 60.0
"""Seconds after which room is kept for one that lacks room alone."""
TOLD_MOST = 100
"""Instances that are told in one pass that they wait for another reason now."""
KEPT_MOST = 4
"""Instances for which room is kept at one time."""


class Place(NamedTuple):
    """In the queue; the smallest comes first."""

    priority: int
    """Negated."""
    since: float
    """When the instance was made (seconds of the wall clock): it keeps its place however often it is asked again."""
    uid: str


_LACKS_ROOM = frozenset(REASONS.index(reason) for reason in CAPACITY)
_LACKS_SPACE = REASONS.index(NO_POOL)
FIRST = Place(-(2**63), 0.0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    key: Key
    ask: Ask
    place: Place
    asked: float
    """When it was first refused, as far as this process knows."""
    reasons: tuple[str, ...] = ()
    """Of its last refusal."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for one that waits: CPUs and memory of the host, or space of pools that the host reaches."""

    host: str
    claim: Claim

    @property
    def places(self) -> frozenset[str]:
        return frozenset((*(f"host {h}" for h in self.claim.hosts), *(f"pool {p}" for p in self.claim.volumes)))


class Waiting:
    """By uid. Times are given by the caller."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._waiters: dict[str, Waiter] = {}
        self._order: list[Place] = []
        """Their places, sorted: who is first is known at once, and nobody sorts them again."""
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, uid: str) -> bool:
        return uid in self._waiters

    def put(self, waiter: Waiter) -> None:
        """Refused just now. Replaces what was known of it but for the moment when it was first refused."""
        old = self._waiters.get(waiter.ask.uid)
        if old is not None:
            self._leave(old)
        insort(self._order, waiter.place)
        self._waiters[waiter.ask.uid] = replace(waiter, asked=old.asked) if old else waiter

    def drop_those(self, ended: Callable[[str], bool]) -> None:
        """Who is gone, or does not want to run any more."""
        for uid in [uid for uid in self._waiters if ended(uid)]:
            self.drop(uid)

    def drop(self, uid: str) -> bool:
        """It is placed or gone. True if room was kept for it, which others may have now."""
        old = self._waiters.pop(uid, None)
        if old is not None:
            self._leave(old)
        had = uid in self._kept
        self._keep(uid, None)
        return had

    def frees(self, ended: Callable[[str], bool]) -> bool:
        """Drop those for whom room is kept and who are gone, or do not want to run any more. True if there were any."""
        gone = [uid for uid in self._kept if ended(uid)]
        for uid in gone:
            self.drop(uid)
        return bool(gone)

    @contextmanager
    def giving_way(self, place: Place) -> Iterator[None]:
        """While the one of that place is decided: what is kept for itself, or for those whose turn comes after it, does
        not stand in its way. It may have been let in before that room was named."""
        kept = {uid: room for uid, room in self._kept.items() if self._waiters[uid].place >= place or uid == place.uid}
        for uid in kept:
            self._planner.release(_kept(uid))
        try:
            yield
        finally:
            for uid, room in kept.items():
                self._keep(uid, room)

    def ahead_of(self, place: Place) -> bool:
        """Whether somebody waits whose turn comes before that."""
        return bool(self._order) and self._order[0] < place

    def settle(self, now: float, grant: Callable[[Waiter, Placed], None], tell: Callable[[Waiter], None]) -> int:
        """Ask again for all, in order; those of a shape of which one was refused for itself alone are not asked twice.
        `grant` has to reserve what was decided; `tell` is called for those that wait for other reasons than before.
        Answers how many were let in."""
        refused: dict[Shape, tuple[str, ...]] = {}
        granted = told = 0
        for *_, uid in list(self._order):
            waiter = self._waiters[uid]
            reasons = refused.get(waiter.ask.shape)
            if reasons is None or uid in self._kept:
                with self.giving_way(waiter.place):
                    result = self._planner.decide(waiter.ask)
                if isinstance(result, Placed):
                    self.drop(uid)
                    grant(waiter, result)
                    granted += 1
                    continue
                reasons = reasons_of(result)
                if not _individual(waiter.ask, result):
                    refused[waiter.ask.shape] = reasons
                self._keep_room(waiter, result, now)
            if reasons != waiter.reasons and told < TOLD_MOST:
                told += 1
                self._waiters[uid] = replace(waiter, reasons=reasons)
                tell(waiter)
        return granted

    # ------------------------------------------------------------ inside

    def _leave(self, waiter: Waiter) -> None:
        del self._order[bisect_left(self._order, waiter.place)]

    def _keep_room(self, waiter: Waiter, result: Unplaced, now: float) -> None:
        """What was once named stays named while room alone is lacking there."""
        uid, kept = waiter.ask.uid, self._kept.get(waiter.ask.uid)
        if kept is None and (now - waiter.asked < STARVES_AFTER or len(self._kept) >= KEPT_MOST):
            return
        found = list(self._worth_keeping(waiter.ask.shape, result))
        if kept is not None:
            row, lacks = self._planner.hosts.row(kept.host), (_LACKS_SPACE,) if kept.claim.volumes else _LACKS_ROOM
            code = self._planner.evaluation(waiter.ask.shape).judge_alone(row)
            if code == 0 or (found and code in lacks):
                return
            self._keep(uid, None)
        if now - waiter.asked >= STARVES_AFTER:
            taken = frozenset[str]().union(*(other.places for other in self._kept.values()))
            self._keep(uid, next((room for room in found if not room.places & taken), None))

    def _worth_keeping(self, shape: Shape, refused: Unplaced) -> Iterator[Kept]:
        """Nothing that is too small when empty. In no namespace of anybody's, so that it counts for room alone."""
        hosts, view = self._planner.hosts, self._planner.evaluation(shape)
        for near in refused.story.near:
            if hosts.records[hosts.row(near.host)].big_enough(shape.cpus, shape.memory):
                yield Kept(near.host, Claim(namespace="", hosts=(near.host,), cpus=shape.cpus, memory=shape.memory))
        lost = [host for lost in refused.story.lost if lost.reason == NO_POOL for host in lost.hosts]
        for host in lost:
            row = hosts.row(host)
            if view.judge_alone(row, without=_LACKS_SPACE) == 0:
                picked = pick_empty(shape, hosts.records[row].pools, self._planner.pools)
                if isinstance(picked, Picked):
                    yield Kept(host, Claim(namespace="", volumes=sizes(shape, picked.pools)))

    def _keep(self, uid: str, room: Kept | None) -> None:
        if room is None:
            self._kept.pop(uid, None)
            self._planner.release(_kept(uid))
            return
        self._kept[uid] = room
        self._planner.claim(_kept(uid), room.claim)


def reasons_of(refused: Unplaced) -> tuple[str, ...]:
    """What a refusal is told anew for when it changes."""
    return tuple(lost.reason for lost in refused.story.lost)


def _kept(uid: str) -> str:
    return f"{uid}/kept"


def _individual(ask: Ask, result: Unplaced) -> bool:
    """Whether another of the same shape might fit all the same."""
    return bool(ask.pinned or ask.avoid or any(lost.reason == "Affinity" for lost in result.story.lost))
