"""The operator as a Deployment runs it: started again whenever it ends. Used by the tests of faults and of long runs."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import until

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Pod:
    """One process at a time. `module` is what Python runs; its exit codes are kept in `ends`."""

    port: int
    log: Path
    arguments: Sequence[str]
    module: str = "controllers"
    ends: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *, wait: bool = True) -> "Pod":
        self._stopping = threading.Event()
        self._process = self._spawn()
        self._thread = threading.Thread(target=self._keep, name="pod", daemon=True)
        self._thread.start()
        if wait:
            self.until_ready()
        return self

    def stop(self) -> None:
        """It ends in good order (after 10 s: at once) and is not started again. Idempotent."""
        self._stopping.set()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(15.0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """The process that runs now; another takes its place."""
        self._process.kill()

    def restart(self, *, wait: bool = True) -> None:
        before = self._process
        before.kill()
        until(lambda: self._process is not before, 15.0)
        if wait:
            self.until_ready()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until_ready(self, deadline: float = 60.0) -> None:
        until(self.ready, deadline, why=lambda: self.log.read_text()[-3000:])

    def ready(self) -> bool:
        """Whether it leads and works."""
        return self.page("/readyz")[0] == 200 and self.metric("stratiform_leader") == 1.0

    def page(self, path: str) -> tuple[int, str]:
        """OSError when it does not answer at all."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all its series that carry these labels; 0.0 when there is none."""
        total = 0.0
        for line in self.page("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += float(value)
        return total

    def said(self, text: str) -> bool:
        """Whether its log has that text."""
        return text in self.log.read_text()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", self.module, f"--health-port={self.port}", *self.arguments]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **self.environment}
        with self.log.open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)

    def _keep(self) -> None:
        while True:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            self.ends.append(code)
            time.sleep(0.3)
            self._process = self._spawn()
