"""Bytes in and out of a pool through libvirt's streams: small files whole, images in chunks. Used by `pools.py`,
`disks.py` and `marks_io.py`, inside `calling`; raises libvirtError.
"""

from collections.abc import Iterable
from typing import Any

import libvirt

from drivers.kvm.failure import is_absent
from drivers.kvm.pool_xml import volume_element
from drivers.kvm.xml import to_text

CHUNK = 256 * 1024
MAX_SMALL_FILE = 1 << 20


def find_volume(pool: Any, name: str) -> Any | None:
    """As libvirt's list of the pool has it; a file that another host made since the last refresh is not in it."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_absent(error):
            return None
        raise


def create_file(pool: Any, name: str, size: int) -> bool:
    """A raw file of `size` zeros; False when it is there already. Exclusive also between hosts (O_EXCL)."""
    if find_volume(pool, name) is not None:
        return False
    try:
        pool.createXML(to_text(volume_element(name, capacity=size, image_format="raw", allocation=size)), 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_STORAGE_VOL_EXIST:
            return False
        pool.refresh(0)  # Another host may have made it since this one last looked.
        if find_volume(pool, name) is not None:
            return False
        raise
    return True


def read_file(raw: Any, pool: Any, name: str) -> bytes:
    """The whole content of a small file, b"" when it is not there."""
    volume = find_volume(pool, name)
    if volume is None:
        return b""
    stream = raw.newStream(0)
    parts: list[bytes] = []
    try:
        volume.download(stream, 0, MAX_SMALL_FILE, 0)
        while data := stream.recv(CHUNK):
            parts.append(data)
        stream.finish()
    except libvirt.libvirtError:
        abort(stream)
        raise
    return b"".join(parts)


def write_file(raw: Any, pool: Any, name: str, content: bytes) -> None:
    """Over the file's beginning, in place; what lies beyond stays."""
    volume = pool.storageVolLookupByName(name)
    upload(raw, volume, (content[i : i + CHUNK] for i in range(0, len(content), CHUNK)))


def upload(raw: Any, volume: Any, chunks: Iterable[bytes]) -> int:
    """Stream `chunks` into the volume; returns the number of bytes. An exception from `chunks` aborts the stream."""
    stream = raw.newStream(0)
    total = 0
    volume.upload(stream, 0, 0, 0)
    try:
        for chunk in chunks:
            _send(stream, chunk)
            total += len(chunk)
        stream.finish()
    except BaseException:
        abort(stream)
        raise
    return total


def _send(stream: Any, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        sent = stream.send(bytes(view[:CHUNK]))
        view = view[sent:]


def abort(stream: Any) -> None:
    try:
        stream.abort()
    except libvirt.libvirtError:
        return
