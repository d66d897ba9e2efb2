"""The CPU architecture is the template's, or that of the guest's hardware."""

from controllers.placement.core.filters.base import Filter, View, differs
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return differs(view, rows, "architecture", view.shape.architecture)


def _tells(view: View, row: int) -> str:
    return f"is {view.hosts.records[row].architecture}, needed {view.shape.architecture}"


FILTER = Filter("OtherArchitecture", _blocks, _tells)
