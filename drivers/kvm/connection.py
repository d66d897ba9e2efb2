"""One libvirt connection: opened within a time-out of our own, kept alive, dead for good once it breaks (safety.md W6).

Everything else in this package calls libvirt inside `Connection.calling(...)`, which refuses a dead connection,
translates errors and notices the break. Opening goes through a thread because libvirt's own can hang for ever.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt

from drivers.base import LibvirtConnection
from drivers.errors import AuthenticationFailed, DriverError, Invalid, Unreachable
from drivers.kvm import events, sockets
from drivers.kvm.credentials import Endpoint, PrivateDirectory, parse
from drivers.kvm.failure import translated

KNOCK_SECONDS = 5.0
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 2, 3
"""A silent peer breaks the connection after (count + 1) × seconds: 8 s, measured."""


class Connection:
    """A live connection and the only way to it. Thread-safe: libvirt's calls are, and `dead` only ever becomes true."""

    def __init__(self, host: str, raw: Any, names: frozenset[str], directory: PrivateDirectory) -> None:
        self.host = host
        self._raw = raw
        self._sockets = names
        self._directory = directory
        self._dead = threading.Event()
        self._why = "it was closed"
        self._on_dead: list[Callable[[str], None]] = []
        self._on_end: list[Callable[[Any], None]] = []
        self._lock = threading.Lock()
        self._closed_once = False

    def watch(self) -> None:
        """Turn keepalive on and notice the break by itself. Called once, before anything else."""
        with self.calling("switch keepalive on"):
            self._raw.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
            self._raw.registerCloseCallback(self._closed, None)

    def on_dead(self, call: Callable[[str], None]) -> None:
        """`call(why)` once, from whichever thread notices."""
        self._on_dead.append(call)

    def on_end(self, call: Callable[[Any], None]) -> None:
        """`call(raw)` while closing, to give back what was registered. It does not raise."""
        self._on_end.append(call)

    @property
    def alive(self) -> bool:
        return not self._dead.is_set()

    @contextlib.contextmanager
    def calling(self, what: str) -> Iterator[Any]:
        """Around libvirt calls: gives the raw connection, raises only drivers.errors. `what` completes
        "Host node-1: could not …"."""
        if self._dead.is_set():
            raise Unreachable(f"Host {self.host}: could not {what}: the connection is gone ({self._why})")
        try:
            yield self._raw
        except libvirt.libvirtError as error:
            raise self.failed(error, what) from error

    def failed(self, error: libvirt.libvirtError, what: str) -> DriverError:
        """Our error for a libvirt error of this connection; a break makes it dead."""
        text = f"Host {self.host}: could not {what}"
        if self._dead.is_set() or not self._is_open():
            self._die(error.get_error_message() or "connection lost")
            return Unreachable(f"{text}: {error.get_error_message()}")
        return translated(error, text)

    def end(self, why: str) -> None:
        """As `close`, without waiting: for the other connection of the same end-point. Idempotent."""
        self._die(why)
        threading.Thread(target=self.close, name=f"libvirt-end-{self.host}", daemon=True).start()

    def close(self) -> None:
        """Idempotent; blocks at most about a second, whatever the other side does. Pending calls raise Unreachable."""
        self._die("it was closed")
        with self._lock:
            if self._closed_once:
                return
            self._closed_once = True
        # First the socket, then libvirt's own closing, whose calls then fail at once. Asked the other way round, a
        # libvirtd that is slow just then takes the callbacks away twice and crashes (9.0; seen).
        sockets.shut(self._sockets)
        sockets.end_children_of(self._directory.path)
        self._directory.remove()
        ending = threading.Thread(target=self._end, name=f"libvirt-close-{self.host}", daemon=True)
        ending.start()
        ending.join(1.0)

    def _end(self) -> None:
        for call in self._on_end:
            call(self._raw)
        with contextlib.suppress(libvirt.libvirtError):
            self._raw.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self._raw.close()

    def _is_open(self) -> bool:
        try:
            return bool(self._raw.isAlive())
        except libvirt.libvirtError:
            return False

    def _closed(self, _conn: Any, reason: int, _opaque: Any) -> None:
        words = ("an error", "the end of the stream", "no answer to keepalive", "our own request")
        self._die(f"closed by {words[reason] if reason < len(words) else reason}")

    def _die(self, why: str) -> None:
        with self._lock:
            if self._dead.is_set():
                return
            self._why = why
            self._dead.set()
        for call in self._on_dead:
            call(why)


class _Attempt:
    """One opening, in a thread of its own, that its caller may stop waiting for."""

    def __init__(self, connection: LibvirtConnection, endpoint: Endpoint, addresses: frozenset[str]) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._addresses = addresses
        self._before = sockets.sockets_to(addresses, endpoint.port)
        self._directory = PrivateDirectory(connection, endpoint)
        self._lock = threading.Lock()
        self._abandoned = False
        self._done = threading.Event()
        self._raw: Any = None
        self._error: libvirt.libvirtError | None = None
        self._words = ""

    def run(self, timeout: float) -> Connection:
        threading.Thread(target=self._open, name=f"libvirt-open-{self._connection.host}", daemon=True).start()
        self._done.wait(timeout)
        with self._lock:
            if not self._done.is_set():
                self._abandoned = True
        names = self._new_sockets()
        if self._abandoned:
            sockets.shut(names)
            sockets.end_children_of(self._directory.path)
            self._directory.remove()
            raise Unreachable(
                f"Host {self._connection.host}: {self._connection.uri} did not answer within {timeout:.0f} s"
            )
        if self._error is not None:
            raise _refused(self._connection, self._error, self._words) from self._error
        return Connection(self._connection.host, self._raw, names, self._directory)

    def _new_sockets(self) -> frozenset[str]:
        if self._endpoint.transport == "ssh":
            return frozenset()  # Its port belongs to the ssh process.
        return sockets.sockets_to(self._addresses, self._endpoint.port) - self._before

    def _open(self) -> None:
        try:
            raw = libvirt.open(self._directory.uri)
        except libvirt.libvirtError as error:
            self._error, self._words = error, self._directory.ssh_said()
        else:
            self._raw = raw
        self._directory.remove()
        with self._lock:
            self._done.set()
            late = self._abandoned
        if late and self._raw is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._raw.close()


_opening: dict[tuple[str, int], threading.Lock] = {}
_opening_guard = threading.Lock()


def connect(connection: LibvirtConnection, timeout: float) -> Connection:
    """Open a new connection within about `timeout` seconds. Raises Unreachable, AuthenticationFailed, Invalid."""
    endpoint = parse(connection)
    events.ensure_loop()
    deadline = time.monotonic() + timeout
    try:
        addresses = sockets.addresses_of(endpoint.host)
    except OSError as error:
        raise Unreachable(
            f"Host {connection.host}: spec.connection.libvirt.uri: {endpoint.host!r} does not resolve to an address "
            f"({error.strerror}); check the name or write the address"
        ) from error
    _knock(connection, endpoint, min(timeout, KNOCK_SECONDS))
    with _opening_guard:
        turn = _opening.setdefault((endpoint.host, endpoint.port), threading.Lock())
    # One attempt per end-point at a time, so that its socket is known by being new.
    if not turn.acquire(timeout=timeout):
        raise Unreachable(f"Host {connection.host}: another attempt to open {connection.uri} is still under way")
    try:
        opened = _Attempt(connection, endpoint, addresses).run(max(deadline - time.monotonic(), 0.1))
    except OSError as error:
        raise Invalid(f"Host {connection.host}: the credentials could not be written for libvirt: {error}") from error
    finally:
        turn.release()
    try:
        opened.watch()
    except DriverError:
        opened.close()
        raise
    return opened


def _knock(connection: LibvirtConnection, endpoint: Endpoint, timeout: float) -> None:
    """Whether something takes TCP connections there, before a thread and credentials are spent on it: libvirt's own
    connect to a silent address lasts two minutes and cannot be ended. Raises Unreachable."""
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout).close()
    except OSError as error:
        raise Unreachable(
            f"Host {connection.host}: {connection.uri}: no connection to {endpoint.host} port {endpoint.port}: "
            f"{error.strerror or error}"
        ) from error


_CERTIFICATE_WORDS = ("certificate", "TLS confirmation", "TLS handshake", "x509", "does not match the hostname")
_SSH_WORDS = ("Host key verification failed", "Permission denied", "REMOTE HOST IDENTIFICATION HAS CHANGED")


def _refused(connection: LibvirtConnection, error: libvirt.libvirtError, said: str) -> DriverError:
    """Opening has no codes for what went wrong with certificates and keys: here the words decide."""
    text = said or (error.get_error_message() or str(error)).strip()
    at = f"Host {connection.host}: {connection.uri}"
    if any(word in text for word in _CERTIFICATE_WORDS):
        return AuthenticationFailed(
            f"{at}: {text}. The Secret's ca.crt must be the one that signed the host's certificate, its tls.crt one "
            "that the host's own CA signed, and the URI's host must be a name or address in the host's certificate."
        )
    if any(word in text for word in _SSH_WORDS):
        return AuthenticationFailed(f"{at}: {text}. Check ssh-privatekey and known_hosts in the Secret.")
    result = translated(error, at)
    if isinstance(result, AuthenticationFailed | Invalid):
        return result
    return Unreachable(f"{at}: {text}")
