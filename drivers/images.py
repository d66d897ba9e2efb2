"""A template's bytes, verified on the way (design.md §5, §8 last line). Used by every driver's import.

`open_image` has looked at the first MiB before it returns, so a caller that writes what it iterates over has written
nothing of an image that is refused by its header. The checksum is known only at the end: iterating raises BadImage
there, and what was written until then is not to be trusted before the iteration has ended by itself.
"""

import hashlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from oslo_utils.imageutils import format_inspector

from drivers.base import ImageSource, Progress
from drivers.download import Download, start
from drivers.errors import BadImage, Invalid
from drivers.image_headers import virtual_size

CHUNK = 256 * 1024
HEAD = 1 << 20
_HARMLESS = frozenset({"raw", "gpt", "iso"})
"""What a raw disk may contain: nothing known, a partition table, an ISO file system (or the last two at once)."""
_CHECKSUMS = {"sha256": 64, "sha512": 128}


class ImageStream:
    """One image on its way. Iterate once, inside `with`. Not thread-safe."""

    def __init__(self, source: ImageSource, download: Download, progress: Callable[[Progress], None]) -> None:
        self._source = source
        self._download = download
        self._progress = progress
        self._digest, self._wanted = parse_checksum(source.checksum)
        self._read = 0
        self._inspector = _Inspector(source.format, source.url)
        self.total = download.total
        """Bytes of the file; 0 when the server did not say."""
        if self.total > source.max_bytes:
            raise BadImage(f"{source.url}: has {self.total} bytes, at most {source.max_bytes} are taken")
        self._head = self._take(HEAD)
        self._inspector.look_at_head(self._head, whole=len(self._head) < HEAD)
        length = self.total or (len(self._head) if len(self._head) < HEAD else 0)
        self.virtual_size = virtual_size(source.format, self._head, length, source.url)
        """Of the disk inside; for a raw image of unknown length known only at the end (0 until then)."""
        self._check_size(self.virtual_size)

    def __enter__(self) -> "ImageStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._download.close()

    def __iter__(self) -> Iterator[bytes]:
        """The file's bytes. Raises BadImage (also at the end), Unreachable, and what `progress` raises."""
        for at in range(0, len(self._head), CHUNK):
            yield self._head[at : at + CHUNK]
        self._head = b""
        while chunk := self._take(CHUNK):
            self._inspector.eat(chunk)
            yield chunk
        self._finish()

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes or what is left; hashed, counted, told."""
        parts, missing = [], size
        while missing and (part := self._download.read(min(missing, CHUNK))):
            parts.append(part)
            missing -= len(part)
            self._read += len(part)
            self._digest.update(part)
            if self._read > self._source.max_bytes:
                raise BadImage(f"{self._source.url}: has more than the {self._source.max_bytes} bytes that are taken")
            self._progress(Progress(bytes=self._read, total=self.total))
        return b"".join(parts)

    def _finish(self) -> None:
        if self.total and self._read != self.total:
            raise BadImage(f"{self._source.url}: ended after {self._read} of {self.total} bytes")
        if self._digest.hexdigest() != self._wanted:
            raise BadImage(
                f"{self._source.url}: its checksum is {self._digest.name}:{self._digest.hexdigest()}, declared is "
                f"{self._source.checksum}: the file was changed or damaged, or spec.source declares another one"
            )
        self._inspector.finish()
        if self._source.format == "raw":
            self.virtual_size = self._read
            self._check_size(self.virtual_size)

    def _check_size(self, size: int) -> None:
        if size > self._source.max_virtual_size:
            raise BadImage(
                f"{self._source.url}: is a disk of {size} bytes, at most {self._source.max_virtual_size} are taken"
            )


def open_image(source: ImageSource, progress: Callable[[Progress], None]) -> ImageStream:
    """Connect and inspect the first MiB; blocks for that long. `progress` is told after each piece and may raise to
    give up. Raises BadImage, Invalid (URL, checksum's form, a source that is not allowed, 4xx), Unreachable."""
    parse_checksum(source.checksum)
    if source.format not in ("qcow2", "raw", "vmdk"):
        raise Invalid(f"{source.url}: format {source.format!r} is none of qcow2, raw, vmdk")
    download = start(source)
    try:
        return ImageStream(source, download, progress)
    except BaseException:
        download.close()
        raise


def parse_checksum(checksum: str) -> tuple[Any, str]:
    """A new hash object and the hex digest that is wanted. Raises Invalid."""
    algorithm, _, wanted = checksum.partition(":")
    if len(wanted) != _CHECKSUMS.get(algorithm, -1) or not all(c in "0123456789abcdefABCDEF" for c in wanted):
        raise Invalid(f"checksum {checksum!r} is not sha256:<64 hex digits> or sha512:<128 hex digits>")
    return hashlib.new(algorithm), wanted.lower()


class _Inspector:
    """oslo's inspectors along the whole stream: a VMDK's footer is at its end."""

    def __init__(self, declared: str, url: str) -> None:
        self._declared = declared
        self._url = url
        self._feed = _Feed()
        self._wrapper = self._new()

    def _new(self) -> Any:
        source: Any = self._feed
        return format_inspector.InspectWrapper(source, expected_format=self._declared)

    def look_at_head(self, head: bytes, whole: bool) -> None:
        """The format by the head alone; every safety check that needs no more."""
        self._hand(self._wrapper, head)
        first = self._new()
        self._hand(first, head)
        self._judge(first, footer=whole)

    def eat(self, chunk: bytes) -> None:
        self._hand(self._wrapper, chunk)

    def finish(self) -> None:
        self._judge(self._wrapper, footer=True)

    def _hand(self, wrapper: Any, data: bytes) -> None:
        self._feed.next = data
        try:
            wrapper.read(len(data))
        except format_inspector.ImageFormatError as error:
            raise BadImage(f"{self._url}: is not {self._declared} as declared: {error}") from error

    def _judge(self, wrapper: Any, footer: bool) -> None:
        wrapper.close()
        found = {str(each) for each in wrapper.formats or ()}
        fits = found <= _HARMLESS if self._declared == "raw" else found == {self._declared}
        if not fits:
            raise BadImage(f"{self._url}: holds {', '.join(sorted(found))}, declared is {self._declared}")
        if self._declared == "raw":
            return
        for each in wrapper.formats or ():
            self._check(each, footer)

    def _check(self, inspector: Any, footer: bool) -> None:
        try:
            inspector.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            wrong = {name: why for name, why in error.failures.items() if footer or name != "footer"}
            if wrong:
                reasons = "; ".join(f"{name}: {why}" for name, why in wrong.items())
                raise BadImage(
                    f"{self._url}: is not safe to open ({reasons}): only self-contained images are taken"
                ) from None
        except format_inspector.ImageFormatError as error:
            raise BadImage(f"{self._url}: is not a whole {self._declared}: {error}") from error


class _Feed:
    """The inspectors want a file to read from; they are handed chunks instead."""

    next = b""

    def read(self, _size: int) -> bytes:
        return self.next

    def close(self) -> None:
        return
