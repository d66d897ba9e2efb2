"""Host, cluster, rack and zone are not dedicated to other namespaces."""

from controllers.placement.core.filters.base import Filter, View, by_value
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    return by_value(view.hosts.values["audience"], view.hosts.audience, rows, lambda a: not view.admits(a))


def _tells(view: View, row: int) -> str:
    return f"is dedicated to other namespaces than {view.shape.namespace}" if view.shape.namespace else "is for nobody"


FILTER = Filter("Dedicated", _blocks, _tells, "admit the namespace on {host}")
