"""The host is neither in maintenance nor being deleted."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.closed[rows]


def _tells(view: View, row: int) -> str:
    return view.hosts.records[row].closed


FILTER = Filter("Closed", _blocks, _tells, "open {host} ({text})")
