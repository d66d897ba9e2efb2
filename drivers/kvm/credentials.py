"""What libvirt's transports need on disk, written privately for the moment of opening. Used by `connection.py`.

libvirt reads certificates and ssh its key while the connection is opened and never again, so the directory goes as
soon as the attempt is over. Only we choose a URI's parameters: some of them run commands.
"""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from drivers.base import LibvirtConnection
from drivers.errors import Invalid


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A connection's URI, taken apart and checked."""

    transport: str
    host: str
    port: int
    user: str
    path: str


_PREFIX = "stratiform-libvirt-"
_PORTS = {"tls": 16514, "tcp": 16509, "ssh": 22}

_SSH = """#!/bin/sh
exec ssh -F /dev/null -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes \\
  -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 "$@" \\
  2>>{errors}
"""


def parse(connection: LibvirtConnection) -> Endpoint:
    """Check the URI and that its credentials are there. Raises Invalid, naming the field."""
    at = f"Host {connection.host}: spec.connection.libvirt"
    parts = urlsplit(connection.uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver != "qemu" or transport not in _PORTS:
        raise Invalid(f"{at}.uri: {connection.uri!r} is none of qemu+tls://, qemu+ssh:// or qemu+tcp://HOST/system")
    try:
        host, port = parts.hostname or "", parts.port or _PORTS[transport]
    except ValueError as error:
        raise Invalid(f"{at}.uri: {connection.uri!r}: {error}") from error
    if not host or parts.path not in ("/system", "/system/"):
        raise Invalid(f"{at}.uri: {connection.uri!r} needs a host and the path /system")
    if parts.query or parts.fragment or parts.password:
        raise Invalid(
            f"{at}.uri: parameters and passwords are not taken from the URI; remove what follows {host}/system"
        )
    if transport == "tcp" and not connection.allow_plaintext:
        raise Invalid(f"{at}.uri: qemu+tcp is neither encrypted nor authenticated; use qemu+tls, or set allowPlaintext")
    if transport == "tls" and connection.tls is None:
        raise Invalid(f"{at}.tlsSecretRef: qemu+tls needs a Secret with ca.crt, tls.crt and tls.key")
    if transport == "ssh" and connection.ssh is None:
        raise Invalid(f"{at}.sshSecretRef: qemu+ssh needs a Secret with ssh-privatekey and known_hosts")
    return Endpoint(transport, host, port, parts.username or "", "/system")


def _own_folder() -> Path:
    """This process's folder, made at first use, when those of processes that died with a key on disk are removed."""
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}"
    if folder.exists():
        return folder
    for left in folder.parent.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX)
        with contextlib.suppress(FileNotFoundError):  # Another process removes it too.
            if left.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise OSError(f"{folder} belongs to somebody else")
    return folder


class PrivateDirectory:
    """A directory of mode 0700 that holds one attempt's credentials, and the URI that points into it."""

    def __init__(self, connection: LibvirtConnection, endpoint: Endpoint) -> None:
        self.path = Path(tempfile.mkdtemp(dir=_own_folder()))
        try:
            self.uri = self._uri(connection, endpoint)
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)

    def ssh_said(self) -> str:
        """ssh's own words: libvirt passes them on only sometimes. "" for other transports, and once removed."""
        try:
            return " ".join((self.path / "stderr").read_text(errors="replace").split())[-500:]
        except OSError:
            return ""

    def _uri(self, connection: LibvirtConnection, endpoint: Endpoint) -> str:
        user = f"{quote(endpoint.user)}@" if endpoint.user else ""
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        base = f"qemu+{endpoint.transport}://{user}{host}:{endpoint.port}{endpoint.path}"
        if connection.tls is not None and endpoint.transport == "tls":
            self._write("cacert.pem", connection.tls.ca)
            self._write("clientcert.pem", connection.tls.certificate)
            self._write("clientkey.pem", connection.tls.key)
            return f"{base}?pkipath={quote(str(self.path))}"
        if connection.ssh is not None and endpoint.transport == "ssh":
            key = self._write("key", connection.ssh.private_key.rstrip("\n") + "\n")
            known = self._write("known_hosts", connection.ssh.known_hosts.rstrip("\n") + "\n")
            wrapper = self._write("ssh", _SSH.format(known=known, errors=self.path / "stderr"), 0o700)
            return f"{base}?keyfile={quote(str(key))}&command={quote(str(wrapper))}&no_tty=1"
        return base

    def _write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.path / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        return path
