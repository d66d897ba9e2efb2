"""A connected pool takes each volume that has none yet; the choice itself is made in `core/pools.py`."""

from controllers.placement.core.filters.base import Filter, View, none_of
from controllers.placement.core.hosts import Bools, Rows
from controllers.placement.core.pools import pick


def _blocks(view: View, rows: Rows) -> Bools:
    if not view.shape.volumes:
        return none_of(rows)
    found: Bools = view.reaches.blocked[view.hosts.reach[rows]]
    return found


def _tells(view: View, row: int) -> str:
    found = pick(view.shape, view.hosts.records[row].pools, view.pools)
    return found if isinstance(found, str) else "has no pool for its volumes"


FILTER = Filter("NoStoragePool", _blocks, _tells, "give {host} a pool with room")
