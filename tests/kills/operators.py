"""The operator as something that can be killed: in a thread of this process, or as a process of its own.

Both are made with a plan (which tenant dies where) and tell which tenants have come to their point. After `kill`
nothing of it has an effect any more, and only the platform and the API server know what it did.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from controllers.config import Settings
from controllers.engine.engine import Engine
from controllers.kinds import Wiring
from tests.engine.harness import FAST
from tests.kills.seam import Point, Seam

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


def settings(kubeconfig: Path, state: Path) -> Settings:
    """Room for many tenants that are held in the middle of a driver call at once; time for what all begin with at once."""
    return replace(
        FAST, kubeconfig=kubeconfig, simulated_state=state, listing_interval=1.0, workers=24, lane_threads=400,
        lane_hang=600.0, health_port=-1, relist=30.0, lease_duration=30.0, lease_renew=1.0, lease_margin=3.0, request_timeout=15.0,
    )  # fmt: skip


class ThreadOperator:
    """An engine in a thread and loop of its own. It is killed by a BaseException in every call that it has under way
    or begins; its loop is stopped before that could be seen by anybody."""

    def __init__(self, settings: Settings, plan: Mapping[str, Point] | None = None) -> None:
        self.seam = Seam(plan)
        self._settings = settings
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="operator", daemon=True)

    def start(self) -> None:
        """Blocks until it reconciles."""
        self._thread.start()
        assert self._started.wait(START_SECONDS), "the operator does not start"
        if self._failure is not None:
            raise AssertionError("the operator ended") from self._failure

    @property
    def held(self) -> set[str]:
        return set(self.seam.held)

    def kill(self) -> None:
        self.seam.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "the killed operator goes on"

    def stop(self) -> None:
        """Ends in good order."""
        self._loop.call_soon_threadsafe(self._engine.stop)
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the operator does not stop"

    def _live(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        try:
            running = loop.create_task(self._run())

            def ended(_: object) -> None:
                loop.stop()

            running.add_done_callback(ended)
            loop.run_forever()
            running.remove_done_callback(ended)
            if not running.done():
                self._bury(loop)
            elif not running.cancelled():
                self._failure = running.exception()
        finally:
            self._started.set()
            loop.close()

    async def _run(self) -> None:
        wiring = Wiring(self._settings, self.seam.open)
        self._engine = Engine(
            self._settings, reconcilers=wiring.reconcilers, components=wiring.components, client=self.seam.client
        )
        task = asyncio.create_task(self._engine.run())
        started = asyncio.create_task(self._engine.started.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        self._started.set()
        await task

    def _bury(self, loop: asyncio.AbstractEventLoop) -> None:
        """What a process leaves to the kernel: its tasks and sockets. Every external call of them raises Killed."""
        loop.set_exception_handler(lambda *_: None)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=20.0))
        loop.run_until_complete(self._engine.watch.stop())
        loop.run_until_complete(self._engine.client.close())


class ProcessOperator:
    """`python -m tests.kills.mortal`: the operator's own main with the seam around it, killed by SIGKILL."""

    def __init__(self, settings: Settings, folder: Path, plan: Mapping[str, Point] | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._plan = {tenant: str(point) for tenant, point in (plan or {}).items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._folder / "operator.log"

    @property
    def held(self) -> set[str]:
        return set((self._folder / "held").read_text().split())

    def start(self) -> None:
        """Blocks until it reconciles."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "held").write_text("")
        (self._folder / "plan.json").write_text(json.dumps(self._plan))
        started = self._folder / "started"
        started.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kills.mortal", str(self._folder), *self._arguments()],
                stdout=log, stderr=log, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not started.exists():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < end, f"the operator does not start: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()[-3000:]
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10.0)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30.0)

    def _arguments(self) -> list[str]:
        wanted = self._settings
        return [
            f"--kubeconfig={wanted.kubeconfig}", f"--simulated-state={wanted.simulated_state}",
            f"--listing-interval={wanted.listing_interval}", f"--workers={wanted.workers}",
            f"--lane-threads={wanted.lane_threads}", f"--lane-hang={wanted.lane_hang}",
            f"--lease-duration={wanted.lease_duration}", f"--lease-renew={wanted.lease_renew}",
            f"--lease-margin={wanted.lease_margin}", f"--roll-up={wanted.roll_up}", "--health-port=-1",
            f"--backoff-first={wanted.backoff_first}", f"--backoff-most={wanted.backoff_most}",
        ]  # fmt: skip
