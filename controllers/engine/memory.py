"""The process's memory: cycles are looked for seldom, and what bursts of events leave free is given back. Called at the
process's start and by the engine's heartbeat."""

import ctypes
import gc
from collections.abc import Callable

SELDOM = (20_000, 20, 20)
"""New objects between two looks for cycles among them; looks between two among those that stayed, twice. Nearly all
that the operator makes stays, or goes without a look: with Python's own figures (700, 10, 10) the looks took an eighth
of its CPU while 3,000 instances were made, most of it among all objects of the cache (docs/benchmarks.md)."""
_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries have none."""


def look_seldom() -> None:
    """Have Python look for cycles of objects as seldom as `SELDOM` says."""
    gc.set_threshold(*SELDOM)


def give_back() -> None:
    """To the system, whatever the C library's heap holds free. Events are read in one thread and dropped in another, so
    their heaps keep holes: resident memory grew by a fifth over 100,000 events of which nothing was kept
    (docs/benchmarks.md). Takes about a millisecond."""
    if _trim is not None:
        _trim(0)
