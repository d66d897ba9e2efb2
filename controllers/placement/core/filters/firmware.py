"""The host has the firmware."""

from controllers.placement.core.filters.base import Filter, View, by_value
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    wanted = view.shape.firmware
    return by_value(view.hosts.values["firmware"], view.hosts.firmware, rows, lambda known: wanted not in known)


def _tells(view: View, row: int) -> str:
    return f"has no {view.shape.firmware} firmware"


FILTER = Filter("NoFirmware", _blocks, _tells)
