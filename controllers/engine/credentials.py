"""Where the API server is and how we prove who we are: read from disk in this one place.

Used by the engine's client and by Kopf's login handler. Files are read again when they change and after a 401.
"""

import base64
import os
import ssl
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controllers.engine.base import ApiError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoCredentials(ApiError):
    """There is no usable way to the API server; the text says which file was looked at and what is missing."""

    def __init__(self, text: str) -> None:
        super().__init__(0, "NoCredentials", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One end-point and one identity. Never logged."""

    server: str
    ca: bytes | None = None
    insecure: bool = False
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(server={self.server!r})"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the CA and presents the client certificate. Raises NoCredentials for what is none."""
        try:
            return self._context()
        except (OSError, ValueError) as error:
            raise NoCredentials(f"{self.server}: its CA or client certificate cannot be used: {error}") from None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            # ssl loads certificates from files only; this one is gone before the function returns.
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(self.certificate + b"\n" + self.key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


class CredentialSource:
    """Thread-safe: the engine's loop and Kopf's thread both ask it."""

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._lock = threading.Lock()
        self._current: Credentials | None = None
        self._seen: dict[Path, int] = {}

    def current(self) -> Credentials:
        """The credentials, read again if a file has changed. Blocks for small files; raises NoCredentials."""
        with self._lock:
            if self._current is None or any(_mtime(path) != seen for path, seen in self._seen.items()):
                self._load()
            assert self._current is not None
            return self._current

    def reload(self) -> Credentials:
        """Read them again now (after a 401). Raises NoCredentials."""
        with self._lock:
            self._load()
            assert self._current is not None
            return self._current

    def _load(self) -> None:
        seen: dict[Path, int] = {}
        if self._kubeconfig is not None:
            self._current = _from_kubeconfig(self._kubeconfig, seen)
        elif "KUBERNETES_SERVICE_HOST" in os.environ:
            self._current = _from_service_account(seen)
        else:
            raise NoCredentials(
                "no way to the API server: give --kubeconfig or KUBECONFIG, or run in a pod with a service account"
            )
        self._seen = seen


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path, seen: dict[Path, int]) -> bytes:
    seen[path] = _mtime(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise NoCredentials(f"{path}: {error.strerror}") from None


def _from_service_account(seen: dict[Path, int]) -> Credentials:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    return Credentials(
        server=f"https://{host}:{port}",
        ca=_read(SERVICE_ACCOUNT / "ca.crt", seen),
        token=_read(SERVICE_ACCOUNT / "token", seen).decode().strip(),
    )


def _from_kubeconfig(path: Path, seen: dict[Path, int]) -> Credentials:
    try:
        document = yaml.safe_load(_read(path, seen))
        chosen = document["current-context"]
        context = _named(document["contexts"], chosen)["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        server = cluster["server"].rstrip("/")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise NoCredentials(f"{path} is no usable kubeconfig: {type(error).__name__}: {error}") from None

    def data(section: dict[str, Any], name: str) -> bytes | None:
        if section.get(f"{name}-data"):
            return base64.b64decode(section[f"{name}-data"])
        return _read(path.parent / section[name], seen) if section.get(name) else None

    token = user.get("token")
    if not token and user.get("tokenFile"):
        token = _read(path.parent / user["tokenFile"], seen).decode().strip()
    return Credentials(
        server=server,
        ca=data(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        certificate=data(user, "client-certificate"),
        key=data(user, "client-key"),
        token=token,
    )


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
