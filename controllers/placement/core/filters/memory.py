"""Enough memory is free below the limit."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows
from crds.base import shorten_quantity


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.free_memory[rows] < view.shape.memory


def _tells(view: View, row: int) -> str:
    free = max(int(view.hosts.free_memory[row]), 0)
    return f"needs {shorten_quantity(view.shape.memory)} memory, {shorten_quantity(free)} free"


FILTER = Filter("InsufficientMemory", _blocks, _tells)
