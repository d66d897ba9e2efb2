"""The one hierarchy of what can go wrong below the controllers.

Drivers raise these and nothing else; `controllers.engine` turns each into a condition and a back-off in one place.
An error means "we could not do it"; an answer such as "there is no such instance" is a value (None), not an error.
"""


class DriverError(Exception):
    """Base of all. `reason` is the CamelCase constant that a condition carries; the text is for people."""

    reason = "DriverFailed"


class Retryable(DriverError):
    """Asking again later can help without anybody changing anything."""

    reason = "Retrying"


class Unreachable(Retryable):
    """No answer: connection refused, reset, timed out, or the connection object is dead."""

    reason = "Unreachable"


class StorageUnreachable(Unreachable):
    """The host answers, the storage under it does not. Of an action: it was not begun."""


class Busy(Retryable):
    """The platform works on this object (a job, a lock, a detach in flight); it will be free again."""

    reason = "Busy"


class Rejected(DriverError):
    """The platform answered no; the same call gives the same answer until an object or the platform changes."""

    reason = "Rejected"


class Invalid(Rejected):
    """What was asked makes no sense to the platform (bad definition, wrong path, size too small)."""

    reason = "Invalid"


class Unsupported(Rejected):
    """This back-end cannot do that, by its nature or in this version."""

    reason = "Unsupported"


class AuthenticationFailed(Rejected):
    """Credentials or certificates were refused, by either side."""

    reason = "AuthenticationFailed"


class NotOurs(Rejected):
    """The thing is there but its mark is not the one the caller expected (safety.md N1, W4): nothing was changed."""

    reason = "NotOurs"


class NoSpace(Rejected):
    """The pool or the host has no room left for it."""

    reason = "NoSpace"


class WrongPool(Rejected):
    """The claim found on the storage names another pool, or there is none and was one (safety.md H3)."""

    reason = "WrongPool"


class BadImage(Rejected):
    """An image's bytes are not what was declared: checksum, format, size, or an unsafe reference."""

    reason = "BadImage"
