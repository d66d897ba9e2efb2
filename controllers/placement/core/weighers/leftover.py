"""Leftover: the mean of the parts of CPU and memory that are free once the instance is there. Imbalance: the difference
of these two parts."""

import numpy as np

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import Floats, Rows
from controllers.placement.core.weighers.base import Weigher


def _fill(view: View, rows: Rows, found: Floats) -> None:
    hosts, shape = view.hosts, view.shape
    cpus = (hosts.free_cpus[rows] - shape.cpus) * hosts.per_cpu[rows]
    memory = (hosts.free_memory[rows] - shape.memory) * hosts.per_memory[rows]
    found[0] = (cpus + memory) * 0.5
    found[1] = np.abs(cpus - memory)


WEIGHER = Weigher({"Leftover": (0.0, -0.1, 1.0), "Imbalance": (0.0, 0.0, -0.6)}, _fill)
