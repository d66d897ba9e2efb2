"""The operator (`python -m controllers`) as a process of a lab. Called by lab.demo, lab.__main__ and test fixtures.

It runs from this checkout with this interpreter and with the rights that the chart's RBAC gives its service account,
so what works here works in a pod.
"""

import hashlib
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.layout import Layout
from lab.processes import Process

CHECKOUT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0


class Operator:
    """One lab's operator. Every method is idempotent and blocks until it is done."""

    def __init__(self, layout: Layout, kubeconfig: Path, arguments: Sequence[str] = ()) -> None:
        """`arguments` are added to its command line, for settings that tests scale down."""
        self.layout = layout
        self.kubeconfig = kubeconfig
        self.arguments = tuple(arguments)
        folder = layout.state / "operator"
        self.process = Process("operator", folder / "pid", layout.logs / "operator.log")
        self._version = folder / "version"

    @property
    def metrics_url(self) -> str:
        """Its /metrics; /livez and /readyz are beside it."""
        return f"http://127.0.0.1:{self.layout.operator_port}/metrics"

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers /readyz. LabError with its log's end when it ends."""
        if self.process.pid() is None:
            self.process.start(self._command(), {**os.environ, "PYTHONPATH": str(CHECKOUT)})
            self._version.write_text(self._digest())
        self._await_ready()

    def start_current(self) -> bool:
        """As start(), but one that runs older code or other arguments is ended first. Tells whether it was started."""
        written = self._version.read_text() if self._version.exists() else ""
        if self.process.pid() is not None and written == self._digest():
            self._await_ready()
            return False
        self.stop()
        self.start()
        return True

    def stop(self) -> None:
        """Ask it to end; kill it after 10 s. Guests run on."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it at once, as a crash would. Guests run on."""
        self.process.kill()

    def ready(self) -> bool:
        """Whether it answers /readyz with 200 now. Blocks for at most 2 s."""
        try:
            with urllib.request.urlopen(self.metrics_url.replace("/metrics", "/readyz"), timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            if self.process.pid() is None:
                raise LabError.with_log(f"lab {self.layout.name}: the operator ended", self.process.log)
            if time.monotonic() > deadline:
                text = f"lab {self.layout.name}: the operator is not ready after {READY_SECONDS:.0f} s"
                raise LabError.with_log(text, self.process.log)
            time.sleep(0.1)

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "controllers", f"--kubeconfig={self.kubeconfig}"]
        return [*command, f"--health-port={self.layout.operator_port}", *self.arguments]

    def _digest(self) -> str:
        """What it runs: the product's files and its command line."""
        digest = hashlib.sha256("\0".join(self._command()).encode())
        for room in ("crds", "drivers", "controllers"):
            for path in sorted((CHECKOUT / room).rglob("*.py")):
                digest.update(path.read_bytes())
        return digest.hexdigest()
