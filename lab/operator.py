"""The operator (`python -m controllers`) as a process of a lab. Called by lab.demo, lab.__main__ and test fixtures.

It runs from this checkout with this interpreter and with the rights that the chart's RBAC gives its service account,
so what works here works in a pod.
"""

import contextlib
import hashlib
import http.client
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError, indent, tail
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
        """Start it unless it runs, and wait until it answers /readyz. LabError with its log's end when it ends; one
        that does not come ready is killed, and the error shows what its threads did."""
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
        return not self._unready()

    def _unready(self) -> str:
        """Why it is not ready; empty: it is."""
        try:
            with urllib.request.urlopen(self.metrics_url.replace("/metrics", "/readyz"), timeout=2):
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            return str(error)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while why := self._unready():
            if self.process.pid() is None:
                raise LabError.with_log(f"lab {self.layout.name}: the operator ended", self.process.log)
            if time.monotonic() > deadline:
                text = f"lab {self.layout.name}: the operator is not ready after {READY_SECONDS:.0f} s ({why})"
                threads = self._threads()
                self.kill()  # The next start is a new one.
                raise LabError(f"{text}; what it said last, and its threads:\n{threads}")
            time.sleep(0.1)

    def _threads(self) -> str:
        """What it is doing: each thread's Python stack, if it can still say so, and what the kernel knows of them."""
        pid = self.process.pid()
        self.process.send(signal.SIGUSR1)
        time.sleep(1.0)
        lines = [tail(self.process.log, 200)]
        for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
            with contextlib.suppress(OSError):
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                lines.append(
                    f"{task.name} {(task / 'comm').read_text().strip()} {state} {(task / 'wchan').read_text()}"
                )
        return indent("\n".join(lines))

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
