"""A process that is an operator of the tests' kinds: `python -m tests.engine.leader BEATS [settings]`.

While a Widget is there it adds a line to the file BEATS twenty times a second, through a lane, as a change.
"""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from controllers import config
from controllers.__main__ import finish
from controllers.engine.base import Again, Turn
from controllers.engine.engine import Engine
from controllers.engine.log import configure
from tests.engine.recorders import Widgets, only
from tests.engine.widgets import KINDS


async def main(beats: Path, settings: config.Settings) -> int:
    def beat() -> None:
        with beats.open("a") as file:
            file.write(f"{time.time()}\n")

    async def act(turn: Turn[Any, Any]) -> Again:
        await widgets.services.lanes.run("test", beat, changes=True, backend="test", name="beat")
        turn.conditions.set("Ready", "True", "Beating")
        return Again(0.05)

    widgets = Widgets(act)
    engine = Engine(settings, reconcilers=only(widgets), kinds=KINDS)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.stop)
    return await finish(engine)


if __name__ == "__main__":
    settings = config.read(sys.argv[2:])
    configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(main(Path(sys.argv[1]), settings)))
