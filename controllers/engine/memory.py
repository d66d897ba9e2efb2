"""The process's memory: what bursts of events leave free is given back. Called by the engine's heartbeat."""

import ctypes
from collections.abc import Callable

_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries have none."""


def give_back() -> None:
    """To the system, whatever the C library's heap holds free. Events are read in one thread and dropped in another, so
    their heaps keep holes: resident memory grew by a fifth over 100,000 events of which nothing was kept
    (docs/benchmarks.md). Takes about a millisecond."""
    if _trim is not None:
        _trim(0)
