"""What a weigher is. A part looks at its own row only, never at the best or worst of all, so that one decision changes
one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controllers.placement.core.filters.base import View
from controllers.placement.core.hosts import Floats, Rows

Weights = tuple[float, float, float]
"""Under Balanced, Packed, Spread."""


@dataclass(frozen=True, slots=True)
class Weigher:
    parts: Mapping[str, Weights]
    """Name of each part of the score that it makes, in their order."""
    fill: Callable[[View, Rows, Floats], None]
    """Writes 0…1 for each row into one line a part."""
