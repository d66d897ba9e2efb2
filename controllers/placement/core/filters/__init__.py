"""The yes/no filters of placement, in the order in which they count: each over all rows at once, with its reason and
the shortfall of one host in a person's words.

Adding one: a module here with its `FILTER`, its line in `SHAPE` or `ROOM`, a row in `tests/placement/test_rules.py`,
the same rule in `tests/placement/reference.py`, its line in `docs/placement.md`. Those that look at what a host looks
like come first; `ROOM`, from which on what instances take matters too, come last. Filters of one instance rather than
of its shape (pin, affinity, a start that failed) are in `core/narrow.py`.
"""

from controllers.placement.core.filters import (
    architecture,
    bound_volumes,
    closed,
    cpu,
    cpus,
    dedicated,
    disabled,
    firmware,
    guest_size,
    hypervisor,
    instances,
    machine_type,
    memory,
    pools,
    reachable,
    selector,
    uplinks,
    zone,
)
from controllers.placement.core.filters.base import Filter
from controllers.placement.core.filters.zone import OTHER_ZONE

__all__ = ["CAPACITY", "FILTERS", "NO_POOL", "OF_INSTANCE", "OTHER_ZONE", "PINNED", "REASONS", "ROOM", "SHAPE"]

SHAPE: tuple[Filter, ...] = (
    zone.FILTER,
    closed.FILTER,
    reachable.FILTER,
    disabled.FILTER,
    dedicated.FILTER,
    hypervisor.FILTER,
    architecture.FILTER,
    firmware.FILTER,
    machine_type.FILTER,
    cpu.FILTER,
    selector.FILTER,
    uplinks.FILTER,
    bound_volumes.FILTER,
    guest_size.FILTER,
)
ROOM: tuple[Filter, ...] = (
    pools.FILTER,
    instances.FILTER,
    cpus.FILTER,
    memory.FILTER,
)
FILTERS = (*SHAPE, *ROOM)
NO_POOL = pools.FILTER.reason
CAPACITY = frozenset({cpus.FILTER.reason, memory.FILTER.reason})
REASONS = ("", *(f.reason for f in FILTERS))
"""By the code in an evaluation; 0: the host does."""
PINNED = "NotPinnedHost"
OF_INSTANCE = (PINNED, "FailedToStart", "Affinity")
"""Asked last, of hosts that every filter of the shape lets through; see `narrow.py`."""
