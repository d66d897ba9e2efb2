"""The hypervisor is the one that the guest has its hardware from."""

from controllers.placement.core.filters.base import Filter, View, differs
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return differs(view, rows, "hypervisor", view.shape.hypervisor)


def _tells(view: View, row: int) -> str:
    return f"runs {view.hosts.records[row].hypervisor}, needed {view.shape.hypervisor}"


FILTER = Filter("OtherHypervisor", _blocks, _tells)
