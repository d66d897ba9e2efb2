"""The host has all labels asked for."""

from controllers.placement.core.filters.base import Filter, View, none_of
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    blocked = none_of(rows)
    for key, value in view.shape.selector:
        blocked |= ~view.hosts.labelled(key, value)[rows]
    return blocked


def _tells(view: View, row: int) -> str:
    labels = view.hosts.records[row].labels
    key, value = min(pair for pair in view.shape.selector if labels.get(pair[0]) != pair[1])
    found = f"{key}={labels[key]}" if key in labels else "no such label"
    return f"needs label {key}={value}, has {found}"


FILTER = Filter("HostSelector", _blocks, _tells, "label {host} ({text})")
