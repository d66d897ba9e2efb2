"""How good the pools are that its volumes get: the template is there already, room, no tag that nobody asked for."""

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import Floats, Rows
from controllers.placement.core.weighers.base import Weigher


def _fill(view: View, rows: Rows, found: Floats) -> None:
    found[0] = view.reaches.scores[view.hosts.reach[rows]] if view.shape.volumes else 0.0


WEIGHER = Weigher({"Storage": (0.1, 0.1, 0.1)}, _fill)
