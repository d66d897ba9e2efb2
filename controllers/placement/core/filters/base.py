"""What a filter is, what it looks at, and the two ways most of them look."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.asks import Shape
from controllers.placement.core.hosts import Bools, Hosts, Interner, Rows
from controllers.placement.core.pools import Pools, Reaches


class View(Protocol):
    """What a filter or weigher looks at."""

    shape: Shape
    hosts: Hosts
    pools: Pools
    reaches: Reaches

    def admits(self, audience: tuple[object, ...]) -> bool:
        """Whether all of them admit the shape's namespace."""


@dataclass(frozen=True, slots=True)
class Filter:
    reason: str
    blocks: Callable[[View, Rows], Bools]
    tells: Callable[[View, int], str]
    """In words that fit after the host's name."""
    helps: str = ""
    """What to do about a host that this filter alone keeps out, with {host} and {text}; "": nothing simple."""


def none_of(rows: Rows) -> Bools:
    """Blocks nothing."""
    return np.zeros(len(rows), np.bool_)


def by_value(interner: Interner[Any], ids: NDArray[np.int32], rows: Rows, bad: Callable[[Any], bool]) -> Bools:
    """For a column of numbered values: judge each value once."""
    if not interner.values:
        return none_of(rows)
    table = np.fromiter((bad(value) for value in interner.values), np.bool_, len(interner.values))
    found: Bools = table[ids[rows]]
    return found


def differs(view: View, rows: Rows, column: str, wanted: str) -> Bools:
    """Where a column of numbered values is not `wanted`; nowhere for ""."""
    if not wanted:
        return none_of(rows)
    ids: NDArray[np.int32] = getattr(view.hosts, column)
    found: Bools = ids[rows] != view.hosts.values[column].known(wanted)
    return found
