"""Fewer instances take room there than are allowed."""

from controllers.placement.core.filters.base import Filter, View
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return view.hosts.instances[rows] >= view.hosts.most_instances[rows]


def _tells(view: View, row: int) -> str:
    return f"has its {view.hosts.records[row].max_instances} instances, more are not allowed"


FILTER = Filter("TooManyInstances", _blocks, _tells, "raise the number of instances on {host}")
