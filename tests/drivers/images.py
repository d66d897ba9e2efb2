"""Disk images made byte by byte, and an HTTP server on the loopback that hands them out to the driver under test."""

import contextlib
import hashlib
import http.server
import struct
import threading

from drivers.base import ImageSource

CLUSTER = 65536
MIB = 1 << 20


def qcow2(size: int = 8 * MIB, backing: bytes = b"", external_data: bool = False) -> bytes:
    """An empty, valid qcow2 version 3 image; `backing` and `external_data` make it one that nobody may open."""
    features = 4 if external_data else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 0x200 if backing else 0, len(backing), 16, size, 0, 1, 3 * CLUSTER, CLUSTER, 1, 0, 0),
        *(features, 0, 0, 4, 104),
    )
    first = bytearray(header.ljust(CLUSTER, b"\0"))
    first[0x200 : 0x200 + len(backing)] = backing
    table = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    counts = (struct.pack(">H", 1) * 4).ljust(CLUSTER, b"\0")
    return bytes(first) + table + counts + b"\0" * CLUSTER


class ImageServer:
    """Serves what `put` was given. Counts nothing, keeps nothing."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        content = self._content

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = content.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # The client was killed, or had enough.
                    self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def put(
        self, body: bytes, *, declared: str = "qcow2", checksum: str = "", max_bytes: int = 64 * MIB,
        max_virtual_size: int = 64 * MIB,
    ) -> ImageSource:  # fmt: skip
        """Serve `body`; the source declares it truly unless told otherwise."""
        digest = hashlib.sha256(body).hexdigest()
        self._content[f"/{digest}"] = body
        return ImageSource(
            url=f"http://127.0.0.1:{self._server.server_port}/{digest}",
            checksum=checksum or f"sha256:{digest}",
            format=declared,
            max_bytes=max_bytes,
            max_virtual_size=max_virtual_size,
            allowed_cidrs=("127.0.0.0/8",),
        )

    def missing(self) -> ImageSource:
        """A source whose server answers 404."""
        url = f"http://127.0.0.1:{self._server.server_port}/nothing"
        return ImageSource(
            url=url, checksum="sha256:" + "0" * 64, format="qcow2", max_bytes=MIB, max_virtual_size=MIB,
            allowed_cidrs=("127.0.0.0/8",),
        )  # fmt: skip

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
