"""What a pool's source must look like before any platform is asked. One function a type; used by every back-end."""

import re
from pathlib import PurePosixPath

from drivers.base import LocalSource, NFSSource
from drivers.errors import Invalid

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]+\]?")
_OPTION = re.compile(r"[a-z0-9_]+(=[A-Za-z0-9_.:/-]+)?")
_REFUSED = frozenset({"exec", "suid", "dev", "user", "users", "ro", "bg", "soft", "softerr"})
"""`soft` turns an outage into I/O errors inside guests; `bg` says mounted before it is."""


def check_nfs(source: NFSSource, name: str) -> NFSSource:
    """Normalised. Raises Invalid, naming the field."""
    if not _SERVER.fullmatch(source.server):
        raise Invalid(f"{name}: nfs.server: {source.server!r} is neither a host name nor an address")
    path = _absolute(source.path, f"{name}: nfs.path")
    for option in source.options:
        if not _OPTION.fullmatch(option):
            raise Invalid(f"{name}: nfs.options: {option!r} is not a mount option of the form name or name=value")
        if option.partition("=")[0] in _REFUSED:
            raise Invalid(f"{name}: nfs.options: {option!r} is not allowed: it would endanger the guests' disks")
    return NFSSource(server=source.server.strip("[]"), path=path, options=source.options)


_DEFAULTS = ("retry=0", "acdirmin=0", "acdirmax=1")
"""A silent server is our caller's to wait for, not mount's (2 minutes otherwise); and what one host makes another sees
after a second, not after a minute."""
_ATTRIBUTE_CACHE = ("actimeo", "noac", "acdirmin", "acdirmax")


def nfs_options(source: NFSSource) -> tuple[str, ...]:
    """The user's mount options, and our own where the user says nothing about it."""
    named = {option.partition("=")[0] for option in source.options}
    keep_cache = bool(named & set(_ATTRIBUTE_CACHE))
    ours = [
        option
        for option in _DEFAULTS
        if option.partition("=")[0] not in named and not (keep_cache and option.startswith("ac"))
    ]
    return (*ours, *source.options)


_SYSTEM = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
    "/tmp",
)


def check_local(source: LocalSource, name: str) -> LocalSource:
    path = _absolute(source.path, f"{name}: local.path")
    if path in _SYSTEM or path.startswith(("/dev/", "/etc/", "/proc/", "/sys/", "/boot/")):
        raise Invalid(f"{name}: local.path: {path} belongs to the system; give the pool a folder of its own")
    return LocalSource(path=path)


def _absolute(path: str, field: str) -> str:
    if not path.startswith("/") or "\0" in path or "\n" in path or ".." in PurePosixPath(path).parts:
        raise Invalid(f"{field}: {path!r} is not an absolute path without '..'")
    return str(PurePosixPath("/" + path.lstrip("/")))
