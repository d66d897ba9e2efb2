"""How many fewer guests of the common sizes fit there, all sizes together, as a part of the most that it could be.

The fragmentation gradient of Weng et al. (USENIX ATC 2023) for CPUs and memory, with sizes that are fixed.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import Floats, Rows
from controllers.placement.core.weighers.base import Weigher

COMMON = tuple((2**cpus, 2 ** (cpus + ratio)) for cpus in range(4) for ratio in (1, 2, 3))
"""CPUs and GiB of the sizes that people ask for most, whatever the cloud: 1 to 8 CPUs with 2, 4 and 8 GiB for each.
All are powers of two, so that counting how many fit is a shift."""
_CPU_SHIFTS = np.array([cpus.bit_length() - 1 for cpus, _ in COMMON], np.int64)
_MEMORY_SHIFTS = np.array([30 + gibibytes.bit_length() - 1 for _, gibibytes in COMMON], np.int64)


def _fill(view: View, rows: Rows, found: Floats) -> None:
    cpus, memory, shape = view.hosts.free_cpus[rows], view.hosts.free_memory[rows], view.shape
    before = np.minimum(cpus[:, None] >> _CPU_SHIFTS, memory[:, None] >> _MEMORY_SHIFTS)
    cpus, memory = cpus - shape.cpus, memory - shape.memory
    before -= np.minimum(cpus[:, None] >> _CPU_SHIFTS, memory[:, None] >> _MEMORY_SHIFTS)
    lost: NDArray[np.int64] = before.sum(axis=1)
    found[0] = lost.astype(np.float32) * _per_guest(shape.cpus, shape.memory)


@lru_cache(4096)
def _per_guest(cpus: int, memory: int) -> np.float32:
    """One by the most guests of the common sizes whose room this one can take."""
    most = sum(max(-(-cpus // common), -(-memory // (gibibytes << 30))) for common, gibibytes in COMMON)
    return np.float32(1 / max(most, 1))


WEIGHER = Weigher({"RoomLost": (-1.0, -1.0, 0.0)}, _fill)
