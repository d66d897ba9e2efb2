"""What a session is to look at, and who waits for it. Used by the session, in the engine's loop only; moments are
monotonic."""

import asyncio

ECHO_PAUSE = 0.5
"""Seconds from the echo of a call of ours to the look because of it: each call looks, so one after all is enough."""


class Looks:
    """Single domains to be observed, each at its moment."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def put(self, uuid: str, now: float) -> None:
        """At once."""
        self._at[uuid] = min(now, self._at.get(uuid, now))

    def put_off(self, uuid: str, now: float) -> None:
        """Once no call of ours was heard of for a while, unless it is to be at once."""
        if self._at.get(uuid, now + 1.0) > now:
            self._at[uuid] = now + ECHO_PAUSE

    def first(self) -> float:
        return min(self._at.values(), default=float("inf"))

    def take(self, now: float) -> list[str]:
        """Those that are due, which are asked for no longer."""
        due = [uuid for uuid, at in self._at.items() if at <= now]
        for uuid in due:
            del self._at[uuid]
        return due

    def clear(self) -> None:
        self._at.clear()


class AwaitedListings:
    """For the next listing of a host wait rounds, which want one that began after they did. Truthy while one waits."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, asyncio.Future[bool]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def after(self, moment: float) -> asyncio.Future[bool]:
        """Done with a listing that began after `moment`, or with a failed attempt."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((moment, future))
        return future

    def answered(self, begun: float) -> None:
        """A listing that began at `begun` was answered."""
        self._answer(begun, answered=True)

    def failed(self) -> None:
        """An attempt failed, or there will be no more."""
        self._answer(float("inf"), answered=False)

    def _answer(self, begun: float, *, answered: bool) -> None:
        ready = [future for moment, future in self._waiting if moment <= begun and not future.done()]
        self._waiting = [(m, f) for m, f in self._waiting if m > begun and not f.done()]
        for future in ready:
            future.set_result(answered)
