"""The template server of a lab: files of one folder, and answers that misbehave on purpose for tests.

Run by the machine `web` as a script of its own (`webserver.py ADDRESS PORT FOLDER`), standard library only.

    /PATH             the file, with Content-Length
    /slow/PATH        the same at 256 KiB/s
    /truncated/PATH   announces the whole length, sends half and closes
    /chunked/PATH     without Content-Length
    /redirect/PATH    302 to /PATH
    /to-loopback/PATH 302 to http://127.0.0.1/PATH
    /loop/PATH        302 to itself
    /wrong/PATH       right length, one byte changed
    /endless/         never ends
    /missing/         404, /broken/ 500
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BLOCK = 64 * 1024
_SLOW_PAUSE = 0.25


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *args: object) -> None:
        self.folder = folder
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self._answer()

    def do_GET(self) -> None:
        """The file, or what the first part of the path says."""
        self._answer()

    def _answer(self) -> None:
        mode, _, rest = self.path.lstrip("/").partition("/")
        ways: dict[str, Callable[[str], None]] = {
            "slow": self._slow,
            "truncated": self._truncated,
            "chunked": self._chunked,
            "wrong": self._wrong,
            "endless": self._endless,
            "redirect": lambda path: self._redirect(f"/{path}"),
            "to-loopback": lambda path: self._redirect(f"http://127.0.0.1/{path}"),
            "loop": lambda path: self._redirect(f"/loop/{path}"),
            "missing": lambda path: self.send_error(HTTPStatus.NOT_FOUND),
            "broken": lambda path: self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR),
        }
        if mode in ways:
            ways[mode](rest)
        else:
            self._whole(self.path)

    def _file(self, path: str) -> Path | None:
        name = path.partition("?")[0].lstrip("/")
        found = (self.folder / name).resolve()
        if found.is_relative_to(self.folder) and found.is_file():
            return found
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def _head(self, length: int | None) -> bool:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        return self.command == "GET"

    def _redirect(self, target: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _whole(self, path: str) -> None:
        if (found := self._file(path)) and self._head(found.stat().st_size):
            with found.open("rb") as source:
                shutil.copyfileobj(source, self.wfile, _BLOCK)

    def _chunked(self, path: str) -> None:
        if (found := self._file(path)) and self._head(None):
            with found.open("rb") as source:
                shutil.copyfileobj(source, self.wfile, _BLOCK)

    def _slow(self, path: str) -> None:
        if (found := self._file(path)) and self._head(found.stat().st_size):
            with found.open("rb") as source:
                while block := source.read(_BLOCK):
                    self.wfile.write(block)
                    time.sleep(_SLOW_PAUSE)

    def _truncated(self, path: str) -> None:
        if (found := self._file(path)) and self._head(found.stat().st_size):
            self.wfile.write(found.read_bytes()[: found.stat().st_size // 2])
            self.close_connection = True

    def _wrong(self, path: str) -> None:
        if (found := self._file(path)) and self._head(found.stat().st_size):
            content = bytearray(found.read_bytes())
            content[len(content) // 2] ^= 1
            self.wfile.write(content)

    def _endless(self, path: str) -> None:
        if self._head(None):
            while True:
                self.wfile.write(bytes(_BLOCK))
                time.sleep(0.01)

    def handle(self) -> None:
        """A client that goes away is not worth a traceback."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True


if __name__ == "__main__":
    root = Path(sys.argv[3]).resolve()
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), partial(Handler, root)).serve_forever()
