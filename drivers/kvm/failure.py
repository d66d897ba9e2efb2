"""The one place where libvirt's errors become ours. Used by every module of this package around its libvirt calls.

libvirt says what happened by `code`, for system calls by the errno in `int1`; its texts are for people and are passed
on. The exceptions to that are mount's words (`pools.py`) and TLS (`connection.py`), for which libvirt has no codes.
"""

import errno

import libvirt

from drivers.errors import (
    AuthenticationFailed,
    Busy,
    DriverError,
    Invalid,
    NoSpace,
    Retryable,
    Unreachable,
    Unsupported,
)

_BY_CODE: dict[int, type[DriverError]] = {
    libvirt.VIR_ERR_NO_CONNECT: Unreachable,
    libvirt.VIR_ERR_INVALID_CONN: Unreachable,
    libvirt.VIR_ERR_RPC: Unreachable,
    libvirt.VIR_ERR_UNKNOWN_HOST: Unreachable,
    libvirt.VIR_ERR_AUTH_FAILED: AuthenticationFailed,
    libvirt.VIR_ERR_AUTH_CANCELLED: AuthenticationFailed,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: AuthenticationFailed,
    libvirt.VIR_ERR_ACCESS_DENIED: AuthenticationFailed,
    libvirt.VIR_ERR_OPERATION_DENIED: AuthenticationFailed,
    libvirt.VIR_ERR_NO_SUPPORT: Unsupported,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Unsupported,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: Unsupported,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: Unsupported,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: Unsupported,
    libvirt.VIR_ERR_INVALID_ARG: Invalid,
    libvirt.VIR_ERR_XML_ERROR: Invalid,
    libvirt.VIR_ERR_XML_DETAIL: Invalid,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: Invalid,
    libvirt.VIR_ERR_DOM_EXIST: Invalid,
    libvirt.VIR_ERR_NO_DOMAIN: Invalid,
    libvirt.VIR_ERR_OPERATION_INVALID: Busy,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Busy,
    libvirt.VIR_ERR_RESOURCE_BUSY: Busy,
    libvirt.VIR_ERR_BLOCK_COPY_ACTIVE: Busy,
    libvirt.VIR_ERR_DEVICE_MISSING: Invalid,
}

_BY_ERRNO: dict[int, type[DriverError]] = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EBUSY: Busy,
    errno.ECONNREFUSED: Unreachable,
    errno.ECONNRESET: Unreachable,
    errno.EHOSTUNREACH: Unreachable,
    errno.ENETUNREACH: Unreachable,
    errno.ETIMEDOUT: Unreachable,
    errno.EPIPE: Unreachable,
    errno.EACCES: Invalid,
    errno.EROFS: Invalid,
}


def translated(error: libvirt.libvirtError, what: str) -> DriverError:
    """Our error for libvirt's, `what` saying in words what was tried. Unknown ones are Retryable: asking again is
    harmless because every call is idempotent."""
    code, text = error.get_error_code(), (error.get_error_message() or str(error)).strip()
    kind: type[DriverError] = _BY_CODE.get(code, Retryable)
    if code == libvirt.VIR_ERR_SYSTEM_ERROR:
        kind = _BY_ERRNO.get(error.get_int1() or 0, Retryable)
    elif code == libvirt.VIR_ERR_INTERNAL_ERROR and error.get_error_domain() == libvirt.VIR_FROM_RPC:
        kind = Unreachable
    if kind is Retryable and "No space left on device" in text:
        kind = NoSpace  # From a helper process of libvirtd, which has only words.
    return kind(f"{what}: {text}")


def is_taken(error: BaseException) -> bool:
    """True when libvirt did not make a volume because a file of its name is there."""
    if not isinstance(error, libvirt.libvirtError):
        return False
    said = str(error)
    return error.get_error_code() == libvirt.VIR_ERR_STORAGE_VOL_EXIST or "exists" in said


def is_absent(error: libvirt.libvirtError) -> bool:
    """True when libvirt says that the domain, pool or volume that was looked up is not there."""
    return error.get_error_code() in (
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
    )
