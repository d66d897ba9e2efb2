"""How good a host is that every filter lets through: parts of 0…1, each with a weight per HostCluster policy.

A part looks at its own row only, never at the best or worst of all, so that one decision changes one row. Adding one:
a function, its line in `WEIGHERS`, its weights, its line in `docs/placement.md`, and a run of the simulator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.filters import View
from controllers.placement.core.hosts import POLICIES, Floats, Rows


@dataclass(frozen=True, slots=True)
class Weigher:
    name: str
    part: Callable[[View, Rows], Floats]
    weights: tuple[float, float, float]
    """Under Balanced, Packed, Spread."""


def _left(view: View, rows: Rows) -> tuple[Floats, Floats]:
    """Parts of the host's limits that are free once the instance is there."""
    hosts, shape = view.hosts, view.shape
    cpus = (hosts.free_cpus[rows] - shape.cpus) * hosts.per_cpu[rows]
    memory = (hosts.free_memory[rows] - shape.memory) * hosts.per_memory[rows]
    return cpus, memory


def _starting(view: View, rows: Rows) -> Floats:
    """Of instances that are starting there now: 0, 1/5, 2/6 …"""
    found = view.hosts.starting[rows].astype(np.float32)
    part: Floats = found / (found + np.float32(4.0))
    return part


def _storage(view: View, rows: Rows) -> Floats:
    if not view.shape.volumes:
        return np.zeros(len(rows), np.float32)
    part: Floats = view.reaches.scores[view.hosts.reach[rows]]
    return part


COMMON = tuple((2**cpus, 2 ** (cpus + ratio)) for cpus in range(4) for ratio in (1, 2, 3))
"""CPUs and GiB of the sizes that people ask for most, whatever the cloud: 1 to 8 CPUs with 2, 4 and 8 GiB for each.
All are powers of two, so that counting how many fit is a shift."""
_CPU_SHIFTS = np.array([cpus.bit_length() - 1 for cpus, _ in COMMON], np.int64)
_MEMORY_SHIFTS = np.array([30 + gibibytes.bit_length() - 1 for _, gibibytes in COMMON], np.int64)


def _room_lost(view: View, rows: Rows) -> Floats:
    """How many fewer guests of the common sizes fit there, all sizes together, as a part of the most that it could be.

    The fragmentation gradient of Weng et al. (USENIX ATC 2023) for CPUs and memory, with sizes that are fixed."""
    cpus, memory, shape = view.hosts.free_cpus[rows], view.hosts.free_memory[rows], view.shape
    before = np.minimum(cpus[:, None] >> _CPU_SHIFTS, memory[:, None] >> _MEMORY_SHIFTS)
    cpus, memory = cpus - shape.cpus, memory - shape.memory
    before -= np.minimum(cpus[:, None] >> _CPU_SHIFTS, memory[:, None] >> _MEMORY_SHIFTS)
    lost: NDArray[np.int64] = before.sum(axis=1)
    part: Floats = lost.astype(np.float32) * _per_guest(shape.cpus, shape.memory)
    return part


@lru_cache(4096)
def _per_guest(cpus: int, memory: int) -> np.float32:
    """One by the most guests of the common sizes whose room this one can take."""
    most = sum(max(-(-cpus // common), -(-memory // (gibibytes << 30))) for common, gibibytes in COMMON)
    return np.float32(1 / max(most, 1))


ROOM_WEIGHTS = {"Leftover": (0.0, -0.1, 1.0), "Imbalance": (0.0, 0.0, -0.6), "RoomLost": (-1.0, -1.0, 0.0)}
"""Leftover: the mean of the free parts of CPU and memory. Imbalance: their difference."""
WEIGHERS: tuple[Weigher, ...] = (
    Weigher("Starting", _starting, (-0.05, -0.01, -0.1)),
    Weigher("Storage", _storage, (0.1, 0.1, 0.1)),
)
LAST_HOST = (0.5, 0.2, 0.5)
"""For the host where the instance ran last."""
PREFERRED = 1.0
"""For preferred (anti-)affinity terms of weight 100, under every policy."""
NAMES = (*ROOM_WEIGHTS, *(w.name for w in WEIGHERS))
_TABLE = np.array([*ROOM_WEIGHTS.values(), *(w.weights for w in WEIGHERS)], np.float32)
assert _TABLE.shape[1] == len(POLICIES)


def weigh(view: View, rows: Rows) -> Floats:
    """The weighted parts of each row's score, whether it does or not: one line a weigher in the order of `NAMES`."""
    found = np.empty((len(NAMES), len(rows)), np.float32)
    cpus, memory = _left(view, rows)
    found[0] = (cpus + memory) * 0.5
    found[1] = np.abs(cpus - memory)
    found[2] = _room_lost(view, rows)
    for line, weigher in enumerate(WEIGHERS, len(ROOM_WEIGHTS)):
        found[line] = weigher.part(view, rows)
    found *= _TABLE[:, view.hosts.policy[rows]]
    return found
