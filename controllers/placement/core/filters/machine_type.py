"""The host knows the machine type with which the guest was first started."""

from controllers.placement.core.filters.base import Filter, View, by_value, none_of
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    values, machine = view.hosts.values["machines"], view.shape.machine_type
    if not machine:
        return none_of(rows)
    return by_value(values, view.hosts.machines, rows, lambda known: bool(known) and machine not in known)


def _tells(view: View, row: int) -> str:
    return f"does not know machine type {view.shape.machine_type}, with which it was first started"


FILTER = Filter("OtherHardware", _blocks, _tells)
