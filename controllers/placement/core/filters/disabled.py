"""Host, cluster, rack and zone are Enabled, unless that is to be ignored."""

from controllers.placement.core.filters.base import Filter, View, none_of
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return none_of(rows) if view.shape.ignore_disabled else view.hosts.disabled[rows]


def _tells(view: View, row: int) -> str:
    return view.hosts.records[row].disabled


FILTER = Filter("Disabled", _blocks, _tells, "enable {host}")
