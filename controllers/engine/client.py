"""Raw requests to the API server: aiohttp and orjson, one pool of connections, counted and bounded in time.

Used by the rest of the engine only; kinds use `controllers.engine.base.Api`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson
import structlog

from controllers import metrics
from controllers.engine.base import ApiError
from controllers.engine.credentials import Credentials, CredentialSource
from crds.base import GROUP, VERSION, Kind

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
USER_AGENT = "stratiform"
_TRIES = 4
_LONGEST_RETRY_AFTER = 10.0

log = structlog.get_logger(__name__)


def path_of(kind: Kind, namespace: str = "", name: str = "", sub: str = "") -> str:
    """The path of a collection (all namespaces when none is given), an object or a subresource."""
    parts = ["/apis", GROUP, VERSION]
    if kind.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts.append(kind.plural)
    parts += [part for part in (name, sub) if part]
    return "/".join(parts)


def crd_path(kind: Kind) -> str:
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.crd_name}"


class Client:
    """Used from one loop. Raises ApiError for every answer but 2xx; `guard` runs before every write and may raise."""

    def __init__(
        self, source: CredentialSource, *, timeout: float, connections: int, guard: Callable[[], None] = lambda: None
    ) -> None:
        self._source = source
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connections = connections
        self._guard = guard
        self._credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None
        self._checked = 0.0
        self._silent = False
        self.recovered: Callable[[], None] = lambda: None
        """Called at the first answer after requests that had none."""

    async def get(self, path: str, *, kind: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _parsed(await self.send("GET", path, kind=kind, params=params))

    async def post(self, path: str, body: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
        return _parsed(await self.send("POST", path, kind=kind, body=body))

    async def put(self, path: str, body: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
        return _parsed(await self.send("PUT", path, kind=kind, body=body))

    async def patch(self, path: str, body: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
        """A merge patch."""
        return _parsed(await self.send("PATCH", path, kind=kind, body=body, content_type=MERGE_PATCH))

    async def delete(self, path: str, body: Mapping[str, Any], *, kind: str) -> None:
        await self.send("DELETE", path, kind=kind, body=body)

    async def send(
        self,
        verb: str,
        path: str,
        *,
        kind: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        guarded: bool = True,
    ) -> bytes:
        """One request; the body of a 2xx answer. A 401 is tried once more with credentials read again, a 429 after
        what it asks for. `guarded` False is for the Lease itself and for reviews."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Accept": accept, "User-Agent": USER_AGENT}
        if data is not None:
            headers["Content-Type"] = content_type
        renewed = False
        for attempt in range(_TRIES):
            if guarded and verb != "GET":
                self._guard()
            status, retry_after, answer = await self._once(verb, path, kind, data, params, headers)
            if 200 <= status < 300:
                return answer
            if status == 401 and not renewed:
                renewed = True
                await self._login(self._source.reload())
            elif status == 429 and attempt < _TRIES - 1:
                await asyncio.sleep(min(retry_after, _LONGEST_RETRY_AFTER))
            else:
                break
        raise _error(status, answer)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _once(
        self,
        verb: str,
        path: str,
        kind: str,
        data: bytes | None,
        params: Mapping[str, str] | None,
        headers: dict[str, str],
    ) -> tuple[int, float, bytes]:
        session = await self._ready()
        assert self._credentials is not None
        if self._credentials.token:
            headers["Authorization"] = f"Bearer {self._credentials.token}"
        started = time.monotonic()
        result = "NoAnswer"
        try:
            async with session.request(
                verb, self._credentials.server + path, data=data, params=params, headers=headers
            ) as response:
                answer = await response.read()
                result = str(response.status)
                self._answered()
                return response.status, _seconds(response.headers.get("Retry-After")), answer
        except TimeoutError:
            self._silent = True
            raise ApiError(0, "NoAnswer", f"{verb} {path}: no answer in {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: no thread to resolve a name in, or a session that was closed after new credentials.
            self._silent = True
            raise ApiError(0, "NoAnswer", f"{verb} {path}: {error or type(error).__name__}") from None
        finally:
            metrics.API_REQUESTS.labels(verb, kind, result).inc()
            if data is not None:
                metrics.API_BYTES.labels(verb, kind).inc(len(data))
            metrics.API_SECONDS.labels(verb).observe(time.monotonic() - started)

    def _answered(self) -> None:
        if self._silent:
            self._silent = False
            self.recovered()

    async def _ready(self) -> aiohttp.ClientSession:
        now = time.monotonic()
        if self._session is None or now - self._checked > 10.0:
            self._checked = now
            credentials = self._source.current()
            if self._session is None or credentials != self._credentials:
                await self._login(credentials)
        assert self._session is not None
        return self._session

    async def _login(self, credentials: Credentials) -> None:
        if self._session is not None and credentials == self._credentials:
            return
        old = self._session
        connector = aiohttp.TCPConnector(ssl=credentials.ssl_context(), limit=self._connections, keepalive_timeout=60.0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        self._credentials = credentials
        if old is not None:
            log.info("credentials read again")
            # Requests under way end on the old session's connections first.
            asyncio.get_running_loop().call_later(self._timeout.total or 30.0, _close_later, old)


def _close_later(session: aiohttp.ClientSession) -> None:
    task = asyncio.ensure_future(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set["asyncio.Future[None]"] = set()


def _parsed(answer: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise ApiError(0, "NotJSON", "the API server's answer is no JSON") from None
    if not isinstance(document, dict):
        raise ApiError(0, "NotJSON", "the API server's answer is no JSON object")
    return document


def _seconds(header: str | None) -> float:
    try:
        return float(header) if header else 1.0
    except ValueError:
        return 1.0


def _error(status: int, answer: bytes) -> ApiError:
    try:
        document = orjson.loads(answer)
        reason = document.get("reason") or "Error"
        if status == 404 and not (document.get("details") or {}).get("name"):
            reason = "NoSuchResource"  # Not the object is missing but its kind: no proof that the object is gone.
        return ApiError(status, reason, document.get("message") or "")
    except (orjson.JSONDecodeError, AttributeError):
        return ApiError(status, "Error", answer[:200].decode(errors="replace").strip())
