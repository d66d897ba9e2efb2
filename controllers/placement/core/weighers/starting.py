"""Instances that are starting there now: 0, 1/5, 2/6 …"""

import numpy as np

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import Floats, Rows
from controllers.placement.core.weighers.base import Weigher


def _fill(view: View, rows: Rows, found: Floats) -> None:
    starting = view.hosts.starting[rows].astype(np.float32)
    found[0] = starting / (starting + np.float32(4.0))


WEIGHER = Weigher({"Starting": (-0.05, -0.01, -0.1)}, _fill)
