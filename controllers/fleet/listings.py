"""Who waits for the next listing of a host: rounds, which want one that began after they did. Used by the session."""

import asyncio


class AwaitedListings:
    """In the engine's loop only. Truthy while somebody waits."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, asyncio.Future[bool]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def after(self, moment: float) -> asyncio.Future[bool]:
        """Done with a listing that began after `moment` (monotonic), or with a failed attempt."""
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
