"""A template's bytes on their way: what may be fetched from where, what is refused before the first byte is written."""

import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import ImageSource, Progress
from drivers.download import why_refused
from drivers.errors import BadImage, DriverError, Invalid, Unreachable
from drivers.images import HEAD, open_image
from tests.drivers.images import CLUSTER, MIB, ImageServer, qcow2


def ignore(done: Progress) -> None:
    return


def read(source: ImageSource) -> bytes:
    with open_image(source, ignore) as image:
        return b"".join(image)


def converted(folder: Path, kind: str, *options: str, size: int = 3_000_320) -> bytes:
    """A disk of `size` bytes that QEMU itself wrote in that format."""
    raw, made = folder / "disk.raw", folder / f"disk.{kind}"
    raw.write_bytes(bytes(range(256)) * (size // 256))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, made], check=True)
    return made.read_bytes()


# ---------------------------------------------------------------- what is taken


def test_the_bytes_arrive_as_they_are_with_progress(images: ImageServer) -> None:
    body = qcow2() + bytes(2 * MIB)
    told: list[Progress] = []
    with open_image(images.put(body), told.append) as image:
        assert image.total == len(body)
        assert image.virtual_size == 8 * MIB
        assert told[-1].bytes <= HEAD, "nothing but the head is read before the caller asks"
        assert b"".join(image) == body
    assert [p.bytes for p in told] == sorted(p.bytes for p in told)
    assert told[-1] == Progress(bytes=len(body), total=len(body))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("qcow2", ()),
        ("qcow2", ("-c", "-o", "compression_type=zstd")),
        ("qcow2", ("-o", "compat=0.10")),
        ("vmdk", ()),
        ("vmdk", ("-o", "subformat=streamOptimized")),
    ],
)
def test_what_qemu_writes_is_taken(images: ImageServer, tmp_path: Path, kind: str, options: tuple[str, ...]) -> None:
    body = converted(tmp_path, kind, *options)
    with open_image(images.put(body, declared=kind), ignore) as image:
        assert b"".join(image) == body
        assert image.virtual_size == 3_000_320


def test_sha512_is_a_checksum_too(images: ImageServer) -> None:
    body = qcow2()
    assert read(images.put(body, checksum=f"sha512:{hashlib.sha512(body).hexdigest()}")) == body


# ---------------------------------------------------------------- what is refused


def test_a_wrong_checksum_is_known_at_the_end_and_names_both(images: ImageServer) -> None:
    source = images.put(qcow2(), checksum="sha256:" + "0" * 64)
    with open_image(source, ignore) as image, pytest.raises(BadImage, match=r"0000.*spec.source declares another one"):
        list(image)


@pytest.mark.parametrize("checksum", ["", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:abc", "sha256:" + "g" * 64])
def test_a_checksum_of_another_form_is_invalid(images: ImageServer, checksum: str) -> None:
    with pytest.raises(Invalid, match="sha256"):
        open_image(replace(images.put(qcow2()), checksum=checksum), ignore)


def patched(offset: int, content: bytes) -> bytes:
    body = bytearray(qcow2())
    body[offset : offset + len(content)] = content
    return bytes(body)


HEADERS = {
    "a backing file": qcow2(backing=b"/etc/passwd"),
    "a backing over the network": qcow2(backing=b"nbd://10.0.0.1/x"),
    "an external data file": qcow2(external_data=True),
    "a data file named without its feature bit": patched(104, b"DATA\0\0\0\5/etc/"),
    "an unknown version": patched(4, b"\0\0\0\4"),
    "encryption": patched(32, b"\0\0\0\1"),
    "tiny clusters": patched(20, b"\0\0\0\1"),
    "huge clusters": patched(20, b"\0\0\0\x3f"),
    "a giant L1 table": patched(36, b"\x7f\xff\xff\xff"),
    "an L1 table that is too short": patched(24, (1 << 45).to_bytes(8, "big")),
    "an L1 table outside the file": patched(40, (1 << 40).to_bytes(8, "big")),
    "a giant reference table": patched(56, b"\x7f\xff\xff\xff"),
    "internal snapshots": patched(60, b"\0\0\0\5"),
    "unknown incompatible features": patched(72, (1 << 40).to_bytes(8, "big")),
    "an endless header": patched(100, b"\xff\xff\xff\xff"),
    "a torn header": b"QFI\xfb\0\0\0\3",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_is_refused_before_a_byte_is_handed_out(images: ImageServer, what: str) -> None:
    with pytest.raises(BadImage):
        open_image(images.put(HEADERS[what]), ignore)


@pytest.mark.parametrize("size", [1 << 50, (1 << 63) - CLUSTER, (1 << 64) - CLUSTER])
def test_a_giant_disk_is_refused_even_with_tables_to_match(images: ImageServer, size: int) -> None:
    with pytest.raises(BadImage):
        open_image(images.put(qcow2(size)), ignore)


@pytest.mark.parametrize(
    ("kind", "declared"), [("vdi", "raw"), ("vmdk", "raw"), ("qcow2", "vmdk"), ("vmdk", "qcow2"), ("vpc", "raw")]
)
def test_another_format_than_declared_is_refused(images: ImageServer, tmp_path: Path, kind: str, declared: str) -> None:
    with pytest.raises(BadImage):
        open_image(images.put(converted(tmp_path, kind), declared=declared), ignore)


def test_a_vmdk_that_only_names_other_files_is_refused(images: ImageServer, tmp_path: Path) -> None:
    body = converted(tmp_path, "vmdk", "-o", "subformat=monolithicFlat")
    with pytest.raises(BadImage):
        open_image(images.put(body, declared="vmdk"), ignore)


def test_an_unknown_format_is_invalid(images: ImageServer) -> None:
    with pytest.raises(Invalid, match="none of qcow2"):
        open_image(images.put(qcow2(), declared="vhdx"), ignore)


def test_giving_up_ends_the_reading(images: ImageServer) -> None:
    class GivenUp(Exception):
        pass

    def give_up(done: Progress) -> None:
        if done.bytes > HEAD:
            raise GivenUp

    with open_image(images.put(qcow2() + bytes(4 * MIB)), give_up) as image, pytest.raises(GivenUp):
        list(image)


# ---------------------------------------------------------------- from where


def source(**changes: tuple[str, ...]) -> ImageSource:
    plain = ImageSource(url="http://x/", checksum="", format="raw", max_bytes=MIB, max_virtual_size=MIB)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("address", "changes", "allowed"),
    [
        ("93.184.216.34", {}, True),
        ("10.90.0.4", {}, True),
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("::ffff:127.0.0.1", {}, False),
        ("169.254.169.254", {}, False),
        ("fe80::1%eth0", {}, False),
        ("0.0.0.0", {}, False),
        ("224.0.0.1", {}, False),
        ("10.96.0.1", {"forbidden_cidrs": ("10.96.0.0/12",)}, False),
        ("::ffff:10.96.0.1", {"forbidden_cidrs": ("10.96.0.0/12",)}, False),
        ("10.96.0.1", {"forbidden_cidrs": ("10.96.0.0/12",), "allowed_cidrs": ("10.96.0.1/32",)}, True),
        ("93.184.216.34", {"allowed_cidrs": ("10.0.0.0/8",)}, False),
        ("10.90.0.4", {"allowed_cidrs": ("10.0.0.0/8",)}, True),
        ("93.184.216.34", {"allowed_hosts": ("images.example",)}, True),
        ("93.184.216.34", {"allowed_hosts": ("other.example",)}, False),
        ("127.0.0.1", {"allowed_hosts": ("images.example",)}, False),
        ("10.96.0.1", {"allowed_hosts": ("images.example",), "forbidden_cidrs": ("10.96.0.0/12",)}, False),
    ],
)
def test_an_address_is_judged(address: str, changes: dict[str, tuple[str, ...]], allowed: bool) -> None:
    assert (why_refused(address, "Images.Example.", source(**changes)) == "") is allowed


def test_a_range_that_is_none_is_invalid() -> None:
    with pytest.raises(Invalid, match="ten dot"):
        why_refused("10.0.0.1", "x", source(allowed_cidrs=("ten dot something",)))


def test_loopback_is_refused_when_no_range_allows_it(images: ImageServer) -> None:
    with pytest.raises(Invalid, match=r"127\.0\.0\.1 is a loopback.*allowedSources"):
        open_image(replace(images.put(qcow2()), allowed_cidrs=()), ignore)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "http:///y", "http://user:pw@h/y", "http://h:99999/"]
)
def test_a_url_of_another_kind_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        open_image(replace(source(), url=url, checksum="sha256:" + "0" * 64), ignore)


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """/redirect/URL goes there, /short ends early, /endless never ends, /busy is 503, /gzip says so."""

    def do_GET(self) -> None:
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind in ("redirect", "loop"):
            self.send_response(302)
            self.send_header("Location", rest if kind == "redirect" else self.path)
        elif kind == "busy":
            self.send_response(503)
        else:
            self.send_response(200)
        if kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if kind == "short":
            self.send_header("Content-Length", str(4 * MIB))
        self.end_headers()
        if kind in ("short", "endless"):
            self._body(kind == "endless")

    def _body(self, endless: bool) -> None:
        try:
            self.wfile.write(qcow2())
            while endless:
                self.wfile.write(bytes(MIB))
        except OSError:
            return

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        return


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/redirect/http://169.254.169.254/latest/meta-data", Invalid),
        ("/redirect/http://[::1]/", Invalid),
        ("/redirect/file:///etc/passwd", Invalid),
        ("/redirect/", Invalid),
        ("/loop/", Invalid),
        ("/busy/", Unreachable),
        ("/gzip/", BadImage),
        ("/short/", DriverError),
        ("/endless/", BadImage),
    ],
)
def test_a_server_that_misbehaves(misbehaving: str, images: ImageServer, path: str, error: type[DriverError]) -> None:
    wanted = replace(images.put(qcow2()), url=misbehaving + path, max_bytes=8 * MIB, allowed_cidrs=("127.0.0.1/32",))
    with pytest.raises(error):
        read(wanted)


def test_a_redirect_to_an_allowed_place_is_followed(misbehaving: str, images: ImageServer) -> None:
    there = images.put(qcow2())
    assert read(replace(there, url=f"{misbehaving}/redirect/{there.url}")) == qcow2()
