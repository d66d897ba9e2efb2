"""Reads a template's bytes for the simulated storage, which keeps their checksum and size but not the bytes.

Called by `storage.import_image`. It refuses what every driver must refuse: a wrong checksum, another format, too many
bytes, and a qcow2 that refers to other files.
"""

import hashlib
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from drivers.base import ImageSource, Progress
from drivers.errors import BadImage, Invalid, Unreachable

CHUNK = 256 * 1024
HEAD = 1 << 20
"""Bytes that are inspected before anything is believed."""
_QCOW2 = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2
"""Bit of a qcow2 header's incompatible features: the data lie in another file."""


@dataclass(frozen=True, slots=True)
class Image:
    size: int
    """Virtual size in bytes."""
    length: int
    """Bytes of the file."""


def fetch(source: ImageSource, progress: Callable[[Progress], None], timeout: float = 15.0) -> Image:
    """Blocks until all is read. Raises BadImage, Invalid, Unreachable, and what `progress` raises."""
    algorithm, _, wanted = source.checksum.partition(":")
    if algorithm not in ("sha256", "sha512") or not wanted:
        raise Invalid(f"checksum {source.checksum!r} must read sha256:<hex> or sha512:<hex>")
    digest, head, length = hashlib.new(algorithm), b"", 0
    size: int | None = None
    try:
        with urllib.request.urlopen(source.url, timeout=timeout) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            if total > source.max_bytes:
                raise BadImage(f"{source.url} has {total} bytes, at most {source.max_bytes} are taken")
            while chunk := answer.read(CHUNK):
                length += len(chunk)
                if length > source.max_bytes:
                    raise BadImage(f"{source.url} has more than the {source.max_bytes} bytes that are taken")
                digest.update(chunk)
                if size is None:
                    head += chunk
                    if len(head) >= HEAD:
                        size = inspect(head, source)
                progress(Progress(bytes=length, total=total))
    except urllib.error.HTTPError as error:
        raise Invalid(f"{source.url} answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{source.url} cannot be read: {error}") from error
    if size is None:
        size = inspect(head, source)
    if digest.hexdigest() != wanted.lower():
        raise BadImage(f"{source.url} has the checksum {algorithm}:{digest.hexdigest()}, declared is {source.checksum}")
    size = size or length
    if size > source.max_virtual_size:
        raise BadImage(f"{source.url} is a disk of {size} bytes, at most {source.max_virtual_size} are taken")
    return Image(size=size, length=length)


def inspect(head: bytes, source: ImageSource) -> int:
    """The virtual size that the header tells; 0 where the file's length is the size. Raises BadImage."""
    found = "qcow2" if head.startswith(_QCOW2) else "vmdk" if head.startswith((b"KDMV", b"# Disk")) else "raw"
    if found != source.format:
        raise BadImage(f"{source.url} holds {found}, declared is {source.format}")
    if found == "raw":
        return 0
    if found == "vmdk":
        if not head.startswith(b"KDMV") or len(head) < 20:
            raise BadImage(f"{source.url} is a VMDK that refers to other files: only a sparse one of one file is taken")
        return int(struct.unpack_from("<Q", head, 12)[0]) * 512
    if len(head) < 104:
        raise BadImage(f"{source.url} is too short for a qcow2")
    version, backing = struct.unpack_from(">IQ", head, 4)
    (size,) = struct.unpack_from(">Q", head, 24)
    if backing:
        raise BadImage(f"{source.url} is a qcow2 with a backing file: only self-contained images are taken")
    if version >= 3 and struct.unpack_from(">Q", head, 72)[0] & _EXTERNAL_DATA:
        raise BadImage(f"{source.url} is a qcow2 with an external data file: only self-contained images are taken")
    return int(size)
