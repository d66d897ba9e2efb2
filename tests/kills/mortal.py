"""`python -m tests.kills.mortal FOLDER ARGUMENTS...`: the operator as `python -m controllers` runs it, with the seam of
the tests around its external calls. Started by `operators.ProcessOperator`, which kills it.

FOLDER has `plan.json` (tenant → point); `held` gets a line for each tenant that has come to its point, and `started`
appears once objects are reconciled.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from controllers import config
from controllers.__main__ import finish
from controllers.engine.engine import Engine
from controllers.engine.log import configure
from controllers.kinds import Wiring
from tests.kills.seam import Point, Seam


async def run(settings: config.Settings, folder: Path) -> int:
    plan = {tenant: Point.parse(text) for tenant, text in json.loads((folder / "plan.json").read_text()).items()}

    def held(tenant: str) -> None:
        with (folder / "held").open("a") as stream:
            stream.write(f"{tenant}\n")

    seam = Seam(plan, held)
    wiring = Wiring(settings, seam.open)
    engine = Engine(settings, reconcilers=wiring.reconcilers, components=wiring.components, client=seam.client)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.stop)

    async def tell() -> None:
        await engine.started.wait()
        (folder / "started").touch()

    telling = asyncio.create_task(tell())
    try:
        return await finish(engine)
    finally:
        telling.cancel()


if __name__ == "__main__":
    settings = config.read(sys.argv[2:])
    configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(run(settings, Path(sys.argv[1]))))
