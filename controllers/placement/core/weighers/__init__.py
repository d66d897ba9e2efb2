"""How good a host is that every filter lets through: parts of 0…1, each with a weight per HostCluster policy.

Adding one: a module here with its `WEIGHER`, its line in `WEIGHERS`, a row in `tests/placement/test_rules.py`, the same
figure in `tests/placement/reference.py`, its line in `docs/placement.md`, and a run of the simulator. What one instance
wishes for itself (its last host, preferred hosts and terms) is added in `core/narrow.py`.
"""

from itertools import accumulate

import numpy as np

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import POLICIES, Floats, Rows
from controllers.placement.core.weighers import leftover, room_lost, starting, storage
from controllers.placement.core.weighers.base import Weigher, Weights

WEIGHERS: tuple[Weigher, ...] = (
    leftover.WEIGHER,
    room_lost.WEIGHER,
    starting.WEIGHER,
    storage.WEIGHER,
)
LAST_HOST: Weights = (0.5, 0.2, 0.5)
"""For the host where the instance ran last."""
PREFERRED = 1.0
"""For preferred hosts and (anti-)affinity terms of weight 100, under every policy."""
NAMES = tuple(name for weigher in WEIGHERS for name in weigher.parts)
_ENDS = tuple(accumulate(len(weigher.parts) for weigher in WEIGHERS))
_LINES = tuple((w.fill, slice(end - len(w.parts), end)) for w, end in zip(WEIGHERS, _ENDS, strict=True))
_TABLE = np.array([weights for weigher in WEIGHERS for weights in weigher.parts.values()], np.float32)
assert _TABLE.shape[1] == len(POLICIES)


def weigh(view: View, rows: Rows) -> Floats:
    """The weighted parts of each row's score, whether it does or not: one line a part in the order of `NAMES`."""
    found = np.empty((len(NAMES), len(rows)), np.float32)
    for fill, lines in _LINES:
        fill(view, rows, found[lines])
    found *= _TABLE[:, view.hosts.policy[rows]]
    return found
