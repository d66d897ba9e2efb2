"""The host can give guests the CPU model of its cluster, and has all its features."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.other_cpu[rows]


def _tells(view: View, row: int) -> str:
    return view.hosts.records[row].cpu


FILTER = Filter("OtherCPU", _blocks, _tells)
