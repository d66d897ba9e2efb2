"""The pools where its volumes lie already are connected there."""

from controllers.placement.core.filters.base import Filter, View, by_value, none_of
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    wanted = frozenset(pool for _, pool in view.shape.bound)
    if not wanted:
        return none_of(rows)
    return by_value(view.hosts.values["reach"], view.hosts.reach, rows, lambda known: not wanted <= known)


def _tells(view: View, row: int) -> str:
    known = view.hosts.records[row].pools
    entry, pool = min(pair for pair in view.shape.bound if pair[1] not in known)
    return f"does not reach pool {pool}, where volumes[{entry}] lies"


FILTER = Filter("VolumeElsewhere", _blocks, _tells)
