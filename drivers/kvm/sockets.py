"""Ending what libvirt has no way to end: an open that hangs, or a connection whose other side is frozen.

libvirt gives no access to its socket and no time-out for opening. On Linux the socket can be found among our own file
descriptors by its peer; shutting it down makes the stuck call return at once. Used by `connection.py`.
"""

import contextlib
import os
import signal
import socket
from pathlib import Path

_FDS = Path("/proc/self/fd")


def sockets_to(addresses: frozenset[str], port: int) -> frozenset[str]:
    """Our TCP sockets to that peer, as `socket:[inode]`."""
    found = set()
    for fd, name in _ours():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                peer = sock.getpeername()
                if peer[0].removeprefix("::ffff:") in addresses and peer[1] == port:
                    found.add(name)
    return frozenset(found)


def shut(names: frozenset[str]) -> None:
    """Shut these sockets down in both directions. One that is gone already: nothing."""
    for fd, name in _ours():
        if name in names:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
                sock.shutdown(socket.SHUT_RDWR)


def end_children_of(directory: Path) -> None:
    """Terminate our own child processes (ssh) that were started with files of `directory`."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        tasks = [p.name for p in Path("/proc/self/task").iterdir()]
        for task in tasks:
            children += Path(f"/proc/self/task/{task}/children").read_text().split()
    except OSError:
        return
    for pid in set(children):
        with contextlib.suppress(OSError):
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGTERM)


def addresses_of(host: str) -> frozenset[str]:
    """The addresses of `host`. Raises OSError (socket.gaierror) when it does not resolve."""
    return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


def _ours() -> list[tuple[int, str]]:
    pairs = []
    for entry in _FDS.iterdir():
        with contextlib.suppress(OSError, ValueError):
            name = str(entry.readlink())
            if name.startswith("socket:"):
                pairs.append((int(entry.name), name))
    return pairs
