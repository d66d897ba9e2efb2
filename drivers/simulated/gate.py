"""What every call to the simulated platform passes first: is the connection alive, is a fault ordered?

Used by the end-point and its storage. A fault is a row that `faults` wrote, from this process or another. A call that
hangs waits here, holding nothing, until it is released, its host is lost, or its connection is closed or given up.
"""

import enum
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from drivers import errors
from drivers.simulated.state import State, Transaction

STEP = 0.05
"""Seconds between a hanging call's looks at whether it may go on."""


class Effect(enum.StrEnum):
    FAIL = "fail"
    """Raise `error` before anything is done."""
    LOST_ANSWER = "lost-answer"
    """Do it, then raise Unreachable: the caller cannot know."""
    PARTIAL = "partial"
    """Of what is made in steps (disks): do the first, then raise Unreachable."""
    LIE = "lie"
    """Say that it is done, and do nothing."""
    HANG = "hang"
    SLOW = "slow"


ERRORS: dict[str, type[errors.DriverError]] = {
    kind.__name__: kind
    for kind in (
        errors.Unreachable, errors.Busy, errors.Invalid, errors.Unsupported, errors.AuthenticationFailed,
        errors.NotOurs, errors.NoSpace, errors.WrongPool, errors.BadImage, errors.StorageUnreachable,
    )
}  # fmt: skip


class Gate:
    """One connection's life."""

    def __init__(self, state: State, host: str, boot: int) -> None:
        self.state = state
        self.host = host
        self._boot = boot
        self._gone = threading.Event()
        self._reason = ""
        self._deadline: float | None = None

    @property
    def alive(self) -> bool:
        return not self._gone.is_set()

    def shut(self, reason: str) -> bool:
        """The connection is dead for good, every waiting call ends. True the first time."""
        if self._gone.is_set():
            return False
        self._reason = reason
        self._gone.set()
        return True

    def pause(self, seconds: float) -> None:
        """Wait; raises Unreachable as soon as the connection dies."""
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        self._gone.wait(seconds)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.shut("no connection was accepted in time")
        self._require()

    def knock(self, timeout: float) -> None:
        """Open the connection; blocks at most about `timeout` seconds. Raises Unreachable, and what a fault orders."""
        self._deadline = time.monotonic() + timeout
        while True:
            with self.state.read() as tx:
                lost, frozen = tx.row("SELECT lost, frozen_at FROM hosts WHERE name = ?", self.host)
            if lost:
                raise errors.Unreachable(f"host {self.host} does not answer: no route to host")
            if frozen is None:
                break
            self.pause(STEP)
        self.enter("open")
        self._deadline = None

    def look(self) -> None:
        """Notice a lost host, a reboot, and a silence longer than the keepalive. Raises Unreachable when it is dead."""
        self._require()
        with self.state.read() as tx:
            self.check(tx)

    def check(self, tx: Transaction) -> bool:
        """As `look`, inside a transaction; True while the host is frozen."""
        self._require()
        row = tx.row("SELECT lost, boot, frozen_at, keepalive FROM hosts WHERE name = ?", self.host)
        if row is None or row[0] or row[1] != self._boot:
            self.shut("the connection was reset")
        elif row[2] is not None and time.time() >= row[2] + row[3]:
            self.shut(f"no answer for {row[3]:g} s")
        self._require()
        return row[2] is not None

    def enter(self, *calls: str) -> frozenset[Effect]:
        """Pass as the call named so (a fault names one of `calls`). Blocks while frozen, hanging or slow; raises what
        a fault orders; returns what the call itself must see to (LIE, LOST_ANSWER, PARTIAL)."""
        self._require()
        while True:
            with self.state.read() as tx:
                frozen = self.check(tx)
                ordered = tx.row("SELECT 1 FROM faults LIMIT 1") is not None
            if not frozen:
                break
            self._gone.wait(STEP)
        return self._obey(calls) if ordered else frozenset()

    @contextmanager
    def change(self) -> Iterator[Transaction]:
        """A write that lands only if the host can still be reached."""
        with self.state.write() as tx:
            self.check(tx)
            yield tx

    def _obey(self, calls: tuple[str, ...]) -> frozenset[Effect]:
        left: set[Effect] = set()
        for number, effect, error, text, seconds in claim(self.state, self.host, calls):
            match effect:
                case Effect.SLOW:
                    self.pause(seconds)
                case Effect.HANG:
                    self._hang(number)
                case Effect.FAIL:
                    raise ERRORS[error](text or f"{self.host}: {calls[-1]} was ordered to fail")
                case _:
                    left.add(effect)
        return frozenset(left)

    def _hang(self, number: int) -> None:
        while True:
            self.pause(STEP)
            with self.state.read() as tx:
                self.check(tx)
                if tx.row("SELECT 1 FROM faults WHERE id = ?", number) is None:
                    return

    def _require(self) -> None:
        if self._gone.is_set():
            raise errors.Unreachable(f"host {self.host}: {self._reason}; this connection is dead")


def claim(state: State, host: str, calls: tuple[str, ...]) -> list[tuple[int, Effect, str, str, float]]:
    """The faults that hit this call, each counted down. A hang that has hit all its calls stays until released."""
    marks = ",".join("?" * len(calls))
    where = f"host IN ('', ?) AND call IN ('', {marks}) AND (remaining IS NULL OR remaining > 0)"
    with state.write() as tx:
        rows = tx.rows(
            f"SELECT id, effect, error, text, seconds, remaining FROM faults WHERE {where} ORDER BY id", host, *calls
        )
        for number, effect, *_, remaining in rows:
            if remaining is not None:
                tx.run("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", number)
                if remaining == 1 and effect != Effect.HANG:
                    tx.run("DELETE FROM faults WHERE id = ?", number)
    return [(number, Effect(effect), error, text, seconds) for number, effect, error, text, seconds, _ in rows]
