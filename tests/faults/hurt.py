"""The operator with a body that can be hurt: `python -m tests.faults.hurt --folder=FOLDER [settings]`.

Started by tests as a process. Files in FOLDER hurt it while they are there: `clock` (seconds by which its wall clock is
wrong), `block` (seconds for which its loop stands still, once), `threads` (no new thread can be started), `cursed` (the
name of an object whose reconcile always raises). Nothing of the product is replaced but what the seams take.
"""

import _thread
import asyncio
import datetime
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from controllers import config, kinds
from controllers.__main__ import finish
from controllers.engine.base import Reconciler, Services, Turn
from controllers.engine.engine import Engine
from controllers.engine.log import configure

_time = time.time
_real = datetime.datetime
_offset = 0.0


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)


class WrongClock(_real, metaclass=_Meta):
    """`datetime` for modules of the product: `now` is wrong by the offset; all else is the real one's."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + datetime.timedelta(seconds=_offset)


def _set_clocks() -> None:
    time.time = lambda: _time() + _offset
    for name, module in list(sys.modules.items()):
        if name.startswith(("controllers", "drivers")) and getattr(module, "datetime", None) is _real:
            module.datetime = WrongClock


class Cursed(Reconciler[Any, Any]):
    """A kind with one object that is not to be borne."""

    def __init__(self, inner: Reconciler[Any, Any], folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.kind, self.indexes, self.roll_up = inner.kind, inner.indexes, inner.roll_up
        self.references, self.signal, self.comes_first = inner.references, inner.signal, inner.comes_first

    async def reconcile(self, turn: Turn[Any, Any]) -> Any:
        cursed = self.folder / "cursed"
        if cursed.exists() and turn.obj.name == cursed.read_text():
            raise ZeroDivisionError("a test says so")
        return await self.inner.reconcile(turn)


def _hurt(folder: Path, loop: asyncio.AbstractEventLoop) -> None:
    """In a thread of its own, for ever."""
    global _offset
    start = _thread.start_new_thread

    def cannot(*_: Any, **__: Any) -> Any:
        raise RuntimeError("can't start new thread")

    while True:
        clock, block = folder / "clock", folder / "block"
        _offset = float(clock.read_text() or 0) if clock.exists() else 0.0
        if block.exists():
            seconds = float(block.read_text())
            block.unlink()
            loop.call_soon_threadsafe(time.sleep, seconds)
        none = (folder / "threads").exists()
        threading._start_new_thread = cannot if none else start  # type: ignore[attr-defined]
        time.sleep(0.05)


async def main(folder: Path, settings: config.Settings) -> int:
    wiring = kinds.Wiring(settings)

    def reconcilers(services: Services) -> Iterable[Reconciler[Any, Any]]:
        return [Cursed(reconciler, folder) for reconciler in wiring.reconcilers(services)]

    engine = Engine(settings, reconcilers=reconcilers, components=wiring.components)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, engine.stop)
    _set_clocks()
    threading.Thread(target=_hurt, args=(folder, loop), name="hurt", daemon=True).start()
    return await finish(engine)


if __name__ == "__main__":
    options = [argument for argument in sys.argv[1:] if not argument.startswith("--folder=")]
    chosen = next(argument for argument in sys.argv if argument.startswith("--folder=")).partition("=")[2]
    settings = config.read(options)
    configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(main(Path(chosen), settings)))
