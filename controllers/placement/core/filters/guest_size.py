"""The platform gives one guest so many CPUs."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.shape.cpus > view.hosts.guest_cpus[rows]


def _tells(view: View, row: int) -> str:
    return f"gives a guest at most {view.hosts.records[row].max_guest_cpus} CPUs, {view.shape.cpus} asked"


FILTER = Filter("GuestTooLarge", _blocks, _tells)
