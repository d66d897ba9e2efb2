"""The host is connected and Ready."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.down[rows]


def _tells(view: View, row: int) -> str:
    return view.hosts.records[row].down


FILTER = Filter("NotReachable", _blocks, _tells, "bring {host} back ({text})")
