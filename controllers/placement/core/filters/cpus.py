"""Enough CPUs are free below the limit."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.free_cpus[rows] < view.shape.cpus


def _tells(view: View, row: int) -> str:
    return f"needs {view.shape.cpus} CPUs, {max(int(view.hosts.free_cpus[row]), 0)} free"


FILTER = Filter("InsufficientCPU", _blocks, _tells)
