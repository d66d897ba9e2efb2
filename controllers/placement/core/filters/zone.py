"""The host is in the zone that is asked for. Hosts of other zones are no candidates and are not counted."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows

OTHER_ZONE = "OtherZone"


def _blocks(view: View, rows: Rows) -> Bools:
    found: Bools = view.hosts.zone[rows] != view.hosts.values["zone"].known(view.shape.zone)
    return found


def _tells(view: View, row: int) -> str:
    return f"is in zone {view.hosts.records[row].zone}, not {view.shape.zone}"


FILTER = Filter(OTHER_ZONE, _blocks, _tells)
