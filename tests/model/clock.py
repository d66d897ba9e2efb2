"""Time that stands still while anybody works and jumps when all wait: hours of an operator's life take seconds.

The model's machine runs the engine in a `VirtualLoop`. Driver calls go through real threads, so the loop asks `busy`
before it jumps: while a call is out that will come back, time waits for it. One clock outlives every operator.
"""

import asyncio
import contextlib
import selectors
import time
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

from controllers.engine import events, lanes, lease, services, worker

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_MONOTONIC = 1_000_000.0
_LOOK = 0.002
"""Real seconds between two looks at whether a call has come back."""
_STUCK = 20.0
"""Real seconds after which a call that nobody made hang is a fault of the tests."""
_TICK = 1e-6
"""Seconds by which a jump goes beyond the moment that was waited for, as time that runs would: by rounding it could end
just before it, where everybody finds that it is not yet time and nothing is left to wait for."""
_SPINS = 200_000
"""Turns of the loop in which time may stand still: hundreds of objects read at once need some thousands."""
_READERS = (events, lanes, lease, services, worker)
"""The modules that read the wall clock."""


class Clock:
    """Seconds since the model began."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return _MONOTONIC + self.passed

    def time(self) -> float:
        return _BEGIN + self.passed

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    @contextlib.contextmanager
    def rules(self) -> Iterator[None]:
        """This process goes by it until the block ends."""
        clock = self

        class Here(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.fromtimestamp(clock.time(), tz)

        kept: list[tuple[types.ModuleType, str, Any]] = [(time, "monotonic", time.monotonic), (time, "time", time.time)]
        kept += [(module, "datetime", datetime) for module in _READERS]
        time.monotonic, time.time = self.monotonic, self.time  # type: ignore[assignment]
        for module in _READERS:
            module.datetime = Here  # type: ignore[attr-defined]
        try:
            yield
        finally:
            for module, name, value in kept:
                setattr(module, name, value)


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Does not wait for a moment: jumps there, once nobody is busy."""

    def __init__(self, clock: Clock, busy: Callable[[], bool], blocked: Callable[[], bool]) -> None:
        super().__init__()
        self._clock, self._busy, self._blocked = clock, busy, blocked
        self._spins = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        waited = 0.0
        self._spins += 1
        assert self._spins < _SPINS, "the loop is busy for ever: somebody waits for nothing again and again"
        while True:
            found = super().select(0)
            if found or timeout == 0:
                return found  # type: ignore[no-any-return]
            if not self._busy() or (self._blocked() and waited >= 2 * _LOOK):
                break
            assert waited < _STUCK, "a driver call does not come back, and nobody made it hang"
            if found := super().select(_LOOK):
                return found  # type: ignore[no-any-return]
            waited += _LOOK
        assert timeout is not None, "nothing is due, ever"
        self._clock.passed += timeout + _TICK
        self._spins = 0
        return super().select(0)  # type: ignore[no-any-return]


class VirtualLoop(asyncio.SelectorEventLoop):
    """`busy`: a thread works for the loop; `blocked`: some may hang, so that they are waited for a moment only."""

    def __init__(self, clock: Clock, busy: Callable[[], bool], blocked: Callable[[], bool]) -> None:
        super().__init__(_Selector(clock, busy, blocked))
        self._own_clock = clock

    def time(self) -> float:
        return self._own_clock.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """At once: what is given to other threads here is short."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
