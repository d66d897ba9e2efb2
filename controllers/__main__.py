"""`python -m controllers`: runs the operator until SIGTERM or SIGINT, or until it loses its Lease."""

import asyncio
import faulthandler
import os
import signal
import sys

import structlog

from controllers import config
from controllers.engine.engine import Engine, LeaseLost
from controllers.engine.log import configure
from controllers.engine.memory import look_seldom

#: Exit codes: 0 ended as asked, 1 a fault at the start, 3 the Lease was lost; killed by SIGALRM: at the Lease's end.
LOST = 3
log = structlog.get_logger("controllers")


async def run(settings: config.Settings) -> int:
    """Blocks until the engine ends; the exit code."""
    # Kinds and drivers are imported only here, so that `--help` and mistakes in arguments answer at once.
    from controllers import kinds

    wiring = kinds.Wiring(settings)
    engine = Engine(settings, reconcilers=wiring.reconcilers, components=wiring.components)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stop)
    return await finish(engine)


async def finish(engine: Engine) -> int:
    """Run it to its end; the exit code. Does not return when the Lease was lost."""
    try:
        await engine.run()
    except LeaseLost as error:
        log.error("the process ends", why=str(error))
        # At once: threads in a driver call must not outlive the Lease.
        sys.stderr.flush()
        os._exit(LOST)
    return 0


def main() -> int:
    settings = config.read(sys.argv[1:])
    configure(settings.log_format, settings.log_level)
    look_seldom()
    faulthandler.register(signal.SIGUSR1)  # Says what each thread does, also when the interpreter stands still.
    try:
        return asyncio.run(run(settings))
    except OSError as error:
        log.error("cannot start", error=str(error), bind=settings.bind, port=settings.health_port)
        return 1


if __name__ == "__main__":
    sys.exit(main())
