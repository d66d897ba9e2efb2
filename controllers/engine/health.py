"""/metrics, /livez and /readyz, served by a thread of its own so that it answers when the engine's loop is wedged.

Started by the engine. What it says of the loop is what the loop's heartbeat last wrote into a `Pulse`.
"""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from controllers import metrics


class Pulse:
    """Written by the loop's heartbeat, read by the health server's threads."""

    def __init__(self, wedged_after: float) -> None:
        self._wedged_after = wedged_after
        self._beat = time.monotonic()
        self._oldest_ready = 0.0
        self._free_workers = True
        self.ready = ""
        """Why the process is not ready; empty: it is."""

    def beat(self, oldest_ready: float, free_workers: bool) -> None:
        self._oldest_ready, self._free_workers = oldest_ready, free_workers
        self._beat = time.monotonic()

    def wedged(self) -> str:
        """Why the loop counts as wedged; empty: it lives."""
        silent = time.monotonic() - self._beat
        if silent > self._wedged_after:
            return f"the engine's loop has not run for {silent:.0f} s"
        if self._oldest_ready > self._wedged_after and self._free_workers:
            return f"an object has been waiting for {self._oldest_ready:.0f} s although workers are free"
        return ""


class Health:
    def __init__(self, pulse: Pulse, bind: str, port: int) -> None:
        """Raises OSError when the port is taken. Serves from `start` on."""
        answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(metrics.REGISTRY)),
            "/livez": lambda: _verdict(pulse.wedged()),
            "/readyz": lambda: _verdict(pulse.ready or pulse.wedged()),
        }

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                status, kind, body = answer() if answer else (404, "text/plain", b"there is no such page\n")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes are not worth a line each."""

        self._server = _Server((bind, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True).start()

    def stop(self) -> None:
        """Blocks for a tenth of a second."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError:
            # Out of file descriptors the connection stays in the queue: asked again at once, a core would be busy.
            time.sleep(0.2)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that hung up, or for which there is no thread, is no news; it asks again."""


def _verdict(trouble: str) -> tuple[int, str, bytes]:
    return (503 if trouble else 200), "text/plain; charset=utf-8", f"{trouble or 'ok'}\n".encode()
