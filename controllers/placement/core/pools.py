"""Storage pools, and the choice of one for each volume of a request, once per set of pools that some host reaches.

Hosts of a cluster reach the same pools, so a request looks at each such *reach* once, and again only when a pool of it
crosses a step: a pool's free space enters the score in thirty-seconds, so that one more disk does not touch every host.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from controllers.placement.core.asks import Shape, VolumeWant
from controllers.placement.core.hosts import Hosts, Log
from crds.base import shorten_quantity

FORMATS: Mapping[str, frozenset[str]] = {
    "VSphereDatastore": frozenset({"VMDK"}), "XenSR": frozenset({"Raw"}),
}  # fmt: skip
"""Formats of images that a kind of storage takes, where it takes some only; the others convert what comes."""
STEPS = 32
CACHED, FREE, WASTED = 0.5, 0.3, 0.2
"""Parts of a pool's score for one volume: the template is there already; room; no tag that nobody asked for."""
NO_THIN = frozenset({"ISCSI"})
"""Storage whose layouts take whole blocks at once: Thin is not to be had there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    """One StoragePool. `free`: what its limits leave, in bytes of volume size, before claims of this engine."""

    name: str
    type: str = "NFS"
    tags: frozenset[str] = frozenset()
    free: int = 0
    capacity: int = 0
    """What its limits allow in all; 0: not known."""
    closed: str = ""
    """Why no new volume may be made there ("is closed: StoragePool nfs-1 is Disabled"); "" when open."""
    templates: frozenset[str] = frozenset()
    """Images of which it has a copy."""


class Pools:
    """By name. Few beside hosts, so they are objects; what changed is in a log, by number."""

    def __init__(self) -> None:
        self.changed = Log()
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._records: dict[str, PoolRecord] = {}
        self._claimed: dict[str, int] = {}

    def get(self, name: str) -> PoolRecord | None:
        return self._records.get(name)

    def all(self) -> list[PoolRecord]:
        return list(self._records.values())

    def free(self, name: str) -> int:
        record = self._records.get(name)
        return max(record.free - self._claimed.get(name, 0), 0) if record else 0

    def put(self, record: PoolRecord) -> bool:
        """Idempotent; True if anything changed."""
        if self._records.get(record.name) == record:
            return False
        self._records[record.name] = record
        self._touch(record.name)
        return True

    def remove(self, name: str) -> None:
        if self._records.pop(name, None) is not None:
            self._touch(name)

    def take(self, name: str, size: int) -> None:
        """Negative gives back."""
        self._claimed[name] = self._claimed.get(name, 0) + size
        if not self._claimed[name]:
            del self._claimed[name]
        self._touch(name)

    def _touch(self, name: str) -> None:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        self.changed.add(number)


@dataclass(frozen=True, slots=True)
class Picked:
    """A pool for each volume; `score` is 0…1."""

    pools: Mapping[str, str]
    score: float


def why_not(want: VolumeWant, pool: PoolRecord, free: int) -> str:
    """In words that fit after "has no pool for volumes[root] (…"; "" when the pool does."""
    if want.pool and pool.name != want.pool:
        return f"{pool.name} is not {want.pool}, which is asked for"
    if pool.closed:
        return f"{pool.name} {pool.closed}"
    if not want.tags <= pool.tags:
        return f"{pool.name} lacks tags {', '.join(sorted(want.tags - pool.tags))}"
    if want.provisioning == "Thin" and pool.type in NO_THIN:
        return f"{pool.name} has no thin volumes"
    if want.format and want.format not in FORMATS.get(pool.type, (want.format,)):
        takes = ", ".join(sorted(FORMATS[pool.type]))
        return f"{pool.name} takes images of format {takes}, the template is {want.format}"
    if want.size > free:
        return f"{pool.name} has {shorten_quantity(free)} of the {shorten_quantity(want.size)} needed"
    return ""


def score(want: VolumeWant, pool: PoolRecord, free: int) -> float:
    """0…1; `free` counts in steps, and what this very request takes is left out."""
    part = (free * STEPS // pool.capacity) / STEPS if pool.capacity else 0.5
    cached = CACHED if want.template and want.template in pool.templates else 0.0
    spare = WASTED if pool.tags <= want.tags else 0.0
    return cached + FREE * min(part, 1.0) + spare


def pick(shape: Shape, reach: frozenset[str], pools: Pools) -> Picked | str:
    """The best pool for each volume, the hardest to please first; volumes of one request count against each other.
    Else why there is none."""
    return _pick(shape, reach, pools, lambda pool: pools.free(pool.name))


def pick_empty(shape: Shape, reach: frozenset[str], pools: Pools) -> Picked | str:
    """As `pick`, were the pools empty."""
    return _pick(shape, reach, pools, lambda pool: pool.capacity)


def _pick(shape: Shape, reach: frozenset[str], pools: Pools, free_of: Callable[[PoolRecord], int]) -> Picked | str:
    if not shape.volumes:
        return Picked({}, 0.0)
    known = sorted((p for p in map(pools.get, reach) if p is not None), key=lambda p: p.name)
    free = {pool.name: free_of(pool) for pool in known}
    room = dict(free)
    chosen: dict[str, str] = {}
    total = 0.0
    for want in in_order(shape.volumes):
        best, best_score = "", -1.0
        for pool in known:
            if not why_not(want, pool, room[pool.name]):
                found = score(want, pool, free[pool.name])
                if found > best_score:
                    best, best_score = pool.name, found
        if not best:
            misses = [why_not(want, pool, room[pool.name]) for pool in known]
            told = "; ".join(misses[:4]) if misses else "it reaches no storage pool"
            return f"has no pool for volumes[{want.entry}] ({told})"
        chosen[want.entry] = best
        room[best] -= want.size
        total += best_score
    return Picked(chosen, total / len(shape.volumes))


def sizes(shape: Shape, pools: Mapping[str, str]) -> dict[str, int]:
    """Pool → bytes that the volumes take, `pools` being the one of each."""
    found: dict[str, int] = {}
    for want in shape.volumes:
        pool = pools[want.entry]
        found[pool] = found.get(pool, 0) + want.size
    return found


def in_order(wants: tuple[VolumeWant, ...]) -> list[VolumeWant]:
    """Named pools first, then those with most tags, then the biggest."""
    return sorted(wants, key=lambda w: (not w.pool, -len(w.tags), -w.size, w.entry))


class Reaches:
    """Of one shape: for each reach (number of a set of pools) whether it does, and how well."""

    def __init__(self, shape: Shape, hosts: Hosts, pools: Pools) -> None:
        self._shape, self._pools, self._hosts = shape, pools, hosts
        self._sets = hosts.values["reach"]
        self._needed = sum(want.size for want in shape.volumes)
        self._seen = pools.changed.end
        self._of_pool: dict[str, list[int]] = {}
        self._facts: dict[str, Hashable] = {}
        self._known = 0
        self.picked: list[Mapping[str, str]] = []
        """By reach: a pool for each volume; empty where one has none."""
        self.blocked = np.zeros(1, np.bool_)
        self.scores = np.zeros(1, np.float32)
        self._extend()

    def refresh(self) -> list[int]:
        """Numbers of the reaches whose answer changed since the last call."""
        if not self._shape.volumes:
            return []
        changed = self._extend()
        touched = self._pools.changed.since(self._seen)
        self._seen = self._pools.changed.end
        names = list(self._facts) if touched is None else [self._pools.names[number] for number in touched]
        again: dict[int, None] = {}
        for name in names:
            if name in self._of_pool and self._facts.get(name) != (facts := self._look(name)):
                self._facts[name] = facts
                again.update(dict.fromkeys(self._of_pool[name]))
        return [*changed, *(number for number in again if self._evaluate(number))]

    def _extend(self) -> list[int]:
        """Reaches that hosts have got meanwhile."""
        begin, end = self._known, len(self._sets.values)
        if begin == end or not self._shape.volumes:
            return []
        self._known = end
        self.picked += [{}] * (end - begin)
        self.blocked = np.concatenate((self.blocked[:begin], np.zeros(end - begin, np.bool_)))
        self.scores = np.concatenate((self.scores[:begin], np.zeros(end - begin, np.float32)))
        for number in range(begin, end):
            for name in self._sets.values[number]:
                self._of_pool.setdefault(name, []).append(number)
                if name not in self._facts:
                    self._facts[name] = self._look(name)
            self._evaluate(number)
        return list(range(begin, end))

    def _look(self, name: str) -> Hashable:
        """All of a pool that the answer depends on: its free bytes only where the request might not fit whole."""
        pool = self._pools.get(name)
        if pool is None:
            return None
        free = self._pools.free(name)
        step = free * STEPS // pool.capacity if pool.capacity else 0
        return pool.tags, pool.closed, pool.type, pool.templates, step, -1 if free >= self._needed else free

    def _evaluate(self, number: int) -> bool:
        found = pick(self._shape, self._sets.values[number], self._pools)
        blocked, value = (True, 0.0) if isinstance(found, str) else (False, found.score)
        self.picked[number] = {} if isinstance(found, str) else found.pools
        same = bool(self.blocked[number]) == blocked and float(self.scores[number]) == np.float32(value)
        self.blocked[number], self.scores[number] = blocked, value
        return not same
