"""One shape judged against every host: a reason code and a score per row, refreshed only where something changed.

Kept by `planner.py`, least recently used first to go. All instances of a deployment share one.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.asks import Shape
from controllers.placement.core.filters import CAPACITY, FILTERS, OTHER_ZONE, REASONS, ROOM, SHAPE
from controllers.placement.core.hosts import Audience, Floats, Hosts, Rows
from controllers.placement.core.pools import Pools, Reaches
from controllers.placement.core.weighers import NAMES, weigh

GONE = 255
"""Code of rows that are not alive."""
_CODES = 256
NEVER = np.float32(-np.inf)
NEAR = np.float32(-1000.0)
"""A host that lacks room alone scores NEAR less the missing part, so that one `argmax` finds the best host, and where
there is none the nearest miss."""
FITS = np.float32(-500.0)
"""Scores above it are of hosts that do."""
_CPU, _MEMORY = (REASONS.index(reason) for reason in ("InsufficientCPU", "InsufficientMemory"))
_OTHER_ZONE = REASONS.index(OTHER_ZONE)
assert REASONS[_CPU:] == ("InsufficientCPU", "InsufficientMemory") and len(CAPACITY) == 2

Codes = NDArray[np.uint8]


class Evaluation:
    """Implements `filters.View`."""

    def __init__(self, shape: Shape, hosts: Hosts, pools: Pools, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self.shape, self.hosts, self.pools = shape, hosts, pools
        self._namespaces = namespaces
        self.reaches = Reaches(shape, hosts, pools)
        self.capacity = hosts.capacity
        self.code: Codes = np.full(hosts.capacity, GONE, np.uint8)
        self.score: Floats = np.full(hosts.capacity, NEVER, np.float32)
        self.parts: Floats = np.zeros((len(NAMES), hosts.capacity), np.float32)
        """Of the score, one line a weigher."""
        self._static: Codes = np.full(hosts.capacity, GONE, np.uint8)
        self.counts = np.zeros(_CODES, np.int64)
        self.counts[GONE] = hosts.capacity
        self.refreshed = 0
        """Rows judged since it was made."""
        self.samples: dict[int, list[int]] = {}
        """Code → some rows that had it when last looked for; see `telling.py`."""
        self.helps: tuple[int, int, tuple[str, ...]] | None = None
        """What `telling.py` found, and when."""
        self._moved, self._changed = -1, -1

    def admits(self, audience: tuple[object, ...]) -> bool:
        labels = self._namespaces.get(self.shape.namespace)
        return all(a.admits(self.shape.namespace, labels) for a in audience if isinstance(a, Audience))

    def refresh(self) -> None:
        """Bring it up to date. Cost: by the rows that changed since the last call."""
        hosts = self.hosts
        reaches = self.reaches.refresh()
        moved = hosts.moved.since(self._moved) if self._moved >= 0 else None
        changed = hosts.changed.since(self._changed) if self._changed >= 0 else None
        self._moved, self._changed = hosts.moved.end, hosts.changed.end
        if moved is None or changed is None or 2 * len(moved) > hosts.size or 2 * len(changed) > hosts.size:
            rows = np.arange(hosts.size, dtype=np.intp)
            self._judge_shape(rows)
            self._judge_room(rows)
            return
        if changed:
            rows = np.array(changed, np.intp)
            self._judge_shape(rows)
            moved = list(dict.fromkeys((*moved, *changed)))
        if reaches:
            self._judge_room(self._with_reach(moved, reaches))
        elif moved:
            self._judge_room(np.array(moved, np.intp))

    def fitting(self) -> int:
        return int(self.counts[0])

    def candidates(self) -> int:
        """Hosts of the zone."""
        return self.capacity - int(self.counts[GONE]) - int(self.counts[_OTHER_ZONE])

    # ------------------------------------------------------------ inside

    def _with_reach(self, moved: list[int], reaches: list[int]) -> Rows:
        flags = np.zeros(len(self.reaches.blocked), np.bool_)
        flags[reaches] = True
        size = self.hosts.size
        hit = flags[self.hosts.reach[:size]] & self.hosts.alive[:size]
        hit[moved] = True
        return np.flatnonzero(hit)

    def _judge_shape(self, rows: Rows) -> None:
        code = np.zeros(len(rows), np.uint8)
        for number in range(len(SHAPE), 0, -1):
            code[SHAPE[number - 1].blocks(self, rows)] = number
        code[~self.hosts.alive[rows]] = GONE
        self._static[rows] = code

    def _judge_room(self, rows: Rows) -> None:
        """Every row's final code and score, from `_static` and what is free."""
        static = self._static[rows]
        code = np.zeros(len(rows), np.uint8)
        for number in range(len(FILTERS), len(SHAPE), -1):
            code[ROOM[number - 1 - len(SHAPE)].blocks(self, rows)] = number
        code = np.where(static, static, code)
        parts = weigh(self, rows)
        score: Floats = parts.sum(axis=0)
        self.parts[:, rows] = parts
        blocked = code != 0
        if blocked.any():
            score[blocked] = NEVER
            short = code >= _CPU
            short &= code <= _MEMORY
            if short.any():
                score[short] = NEAR - self._short(rows[short])
        old = self.code[rows]
        if len(rows) == 1:
            self.counts[old[0]] -= 1
            self.counts[code[0]] += 1
        else:
            self.counts += np.bincount(code, minlength=_CODES) - np.bincount(old, minlength=_CODES)
        self.code[rows], self.score[rows] = code, score
        self.refreshed += len(rows)

    def _short(self, rows: Rows) -> Floats:
        """The bigger of the missing parts of what is asked, 0…1."""
        cpus = (self.shape.cpus - self.hosts.free_cpus[rows]) / max(self.shape.cpus, 1)
        memory = (self.shape.memory - self.hosts.free_memory[rows]) / max(self.shape.memory, 1)
        found: Floats = np.minimum(np.maximum(cpus, memory), 1.0).astype(np.float32)
        return found

    def judge_alone(self, row: int, *, without: int = 0) -> int:
        """The code of one row, as if filter `without` were not there: what would help?"""
        if not self.hosts.alive[row]:
            return GONE
        rows = np.array([row], np.intp)
        for number, filter_ in enumerate(FILTERS, 1):
            if number != without and bool(filter_.blocks(self, rows)[0]):
                return number
        return 0
