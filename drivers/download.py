"""HTTP(S) for one download, connecting only to addresses that are allowed (api.md, ImageStore.spec.allowedSources).

Called by `images.py`. The check is made on the very address that is then connected to, again after every redirect, so
that neither a name that answers differently the second time nor a redirect leads inside. No proxy, no cookies, no
compression.
"""

import http.client
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from drivers.base import ImageSource
from drivers.errors import BadImage, Invalid, Unreachable

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(slots=True)
class Download:
    """An answer whose body is about to be read. `total` is 0 when the server did not say."""

    url: str
    total: int
    _response: http.client.HTTPResponse
    _connection: http.client.HTTPConnection

    def read(self, size: int) -> bytes:
        """At most `size` bytes, b"" at the end. Raises Unreachable, also when the body ends early."""
        try:
            return self._response.read(size)
        except http.client.IncompleteRead as error:
            raise Unreachable(
                f"{self.url}: the server ended after {len(error.partial)} bytes of its last piece"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.url}: reading stopped: {error}") from error

    def close(self) -> None:
        self._connection.close()


def start(source: ImageSource) -> Download:
    """Follow redirects to the body. Raises Invalid (URL, refused address, 4xx), Unreachable (no answer, 5xx)."""
    url = source.url
    for _ in range(MAX_REDIRECTS + 1):
        connection, path = _connect(url, source)
        try:
            response = _ask(connection, url, path)
        except BaseException:
            connection.close()
            raise
        if response.status not in _REDIRECTS:
            try:
                return Download(url, _total(response, url), response, connection)
            except BaseException:
                connection.close()
                raise
        location = response.getheader("Location")
        connection.close()
        if not location:
            raise Invalid(f"{url}: answered {response.status} without saying where to go")
        url = urljoin(url, location)
    raise Invalid(f"{source.url}: redirected more than {MAX_REDIRECTS} times, last to {url}")


def _connect(url: str, source: ImageSource) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Invalid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid(f"{url!r} is not an http or https URL with a host")
    if parts.username or parts.password:
        raise Invalid(f"the URL at {host} carries a user name or password, which are not taken from URLs")
    sock = _open(url, host, port, source)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        try:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except OSError as error:
            sock.close()
            raise Unreachable(f"{url}: TLS failed: {error}") from error
        connection = http.client.HTTPSConnection(host, port, timeout=READ_SECONDS)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=READ_SECONDS)
    sock.settimeout(READ_SECONDS)
    connection.sock = sock
    path = parts.path or "/"
    return connection, f"{path}?{parts.query}" if parts.query else path


def _open(url: str, host: str, port: int, source: ImageSource) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{url}: {host} does not resolve to an address: {error}") from error
    refusals, failures = [], []
    for family, kind, protocol, _name, target in found:
        refusal = why_refused(str(target[0]), host, source)
        if refusal:
            refusals.append(refusal)
            continue
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(CONNECT_SECONDS)
        try:
            sock.connect(target)
        except OSError as error:
            sock.close()
            failures.append(f"{target[0]} port {port}: {error}")
            continue
        return sock
    if failures:
        raise Unreachable(f"{url}: no connection: {'; '.join(failures)}")
    raise Invalid(f"{url}: not an allowed source: {'; '.join(refusals)}; see the image store's allowedSources")


def why_refused(address: str, host: str, source: ImageSource) -> str:
    """ "" when connecting to `address`, got for the name `host`, is allowed. A CIDR that an administrator wrote wins
    over the built-in exclusions; a name does not, because whoever serves the name chooses the address."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(_within(ip, cidr) for cidr in source.allowed_cidrs):
        return ""
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return f"{ip} is a loopback, link-local or special address"
    for cidr in source.forbidden_cidrs:
        if _within(ip, cidr):
            return f"{ip} is in the cluster's own range {cidr}"
    if not source.allowed_cidrs and not source.allowed_hosts:
        return ""
    if host.lower().rstrip(".") in {h.lower().rstrip(".") for h in source.allowed_hosts}:
        return ""
    return f"neither {host} nor {ip} is listed"


def _within(ip: Address, cidr: str) -> bool:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        raise Invalid(f"{cidr!r} is not an address range: {error}") from error
    return ip.version == network.version and ip in network


def _ask(connection: http.client.HTTPConnection, url: str, path: str) -> http.client.HTTPResponse:
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "identity", "User-Agent": "stratiform"})
        response = connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{url}: no answer: {error}") from error
    if response.status in _REDIRECTS or response.status == 200:
        return response
    if response.status >= 500 or response.status in (408, 429):
        raise Unreachable(f"{url}: answered {response.status} {response.reason}")
    raise Invalid(f"{url}: answered {response.status} {response.reason}")


def _total(response: http.client.HTTPResponse, url: str) -> int:
    if response.getheader("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise BadImage(f"{url}: the server compresses the transfer ({response.getheader('Content-Encoding')})")
    return response.length or 0
