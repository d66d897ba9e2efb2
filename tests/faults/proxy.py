"""A bad road between the operator and the API server: a proxy that fails requests as a test tells it.

It ends TLS with a certificate of its own, forwards with the operator's client certificate, and streams, so that watches
work. It runs in a thread of its own; tests change its rules from theirs. Used by tests/faults and tests/soak.
"""

import asyncio
import base64
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from aiohttp import web

from lab.controlplane import pki

_HOPS = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "authorization", "server", "date"}


@dataclass(frozen=True)
class Answer:
    """Nothing is forwarded; this is the answer."""

    status: int
    reason: str
    retry_after: int | None = None


@dataclass(frozen=True)
class CutBody:
    """The answer's body breaks off in its middle: the connection is reset."""


@dataclass(frozen=True)
class Silence:
    """The connection stays open and nothing comes any more."""


@dataclass(frozen=True)
class Slow:
    """The request is held back for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class LostAnswer:
    """The request is done, and its answer never comes."""


@dataclass(frozen=True)
class InStream:
    """A watch is answered by one event: an error."""

    status: int
    reason: str


Action = Answer | CutBody | Silence | Slow | LostAnswer | InStream


@dataclass
class Rule:
    """`verb` and `path` (with its query) are regular expressions; the Lease is spared unless `lease`."""

    do: Action
    verb: str = ".*"
    path: str = ""
    times: int | None = None
    every: int = 1
    lease: bool = False
    seen: int = 0
    hits: int = 0

    def takes(self, verb: str, path: str) -> bool:
        if "/leases" in path and not self.lease:
            return False
        if not re.fullmatch(self.verb, verb) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen % self.every or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


WATCH = "[?&]watch="
LIST = r"/(instances|volumes|hosts|networks|networkaddresses)\?(?!.*watch=)"


@dataclass(frozen=True)
class Request:
    at: float
    verb: str
    path: str
    status: int
    """0: it had no answer."""


@dataclass
class FaultProxy:
    """`start`, then `kubeconfig` leads through it. Every method is called from the test's thread and is thread-safe."""

    upstream: Path
    """The operator's own kubeconfig, with a client certificate."""
    folder: Path
    requests: list[Request] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    tokens: set[str] | None = None
    """Bearer tokens that are good; None: none is asked for."""
    port: int = 0

    def start(self) -> "FaultProxy":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._call(self._open())
        return self

    def close(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def add(self, do: Action, **rule: Any) -> Rule:
        added = Rule(do, **rule)
        self.rules = [*self.rules, added]
        return added

    def clear(self) -> None:
        """Every rule goes, and what is held back or silent is let go (silent connections are reset)."""
        self.rules = []
        self.tokens = None
        self._call(self._reset(silent_only=True))

    @contextmanager
    def during(self, do: Action, **rule: Any) -> Iterator[Rule]:
        added = self.add(do, **rule)
        try:
            yield added
        finally:
            self.rules = [rule for rule in self.rules if rule is not added]
            self._call(self._reset(silent_only=True))

    def break_connections(self) -> None:
        """Every open connection is reset; new ones are taken."""
        self._call(self._reset())

    def refuse(self) -> None:
        """Nobody listens any more, and what is open is reset."""
        self._call(self._refuse())

    def listen(self) -> None:
        self._call(self._listen())

    def stand_still(self) -> None:
        """Connections are taken and nothing is forwarded, until `go_on`: a network that swallows packets."""
        self._loop.call_soon_threadsafe(self._going.clear)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._going.set)

    def count(self, path: str, verb: str = ".*", since: float = 0.0) -> int:
        """Requests so far (finished or not answered), since a moment of time.monotonic()."""
        return sum(1 for r in self.requests if r.at >= since and re.fullmatch(verb, r.verb) and re.search(path, r.path))

    # ------------------------------------------------------------ its thread

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20.0)

    async def _open(self) -> None:
        document = yaml.safe_load(self.upstream.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._target = cluster["server"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        _load(context, *(base64.b64decode(user[name]) for name in ("client-certificate-data", "client-key-data")))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        authority = pki._authority()
        pair = pki._signed(authority, "fault-proxy", server=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(self._tls, pair.certificate_pem(), pair.key_pem())
        self._going = asyncio.Event()
        self._going.set()
        self._silent: set[asyncio.Future[None]] = set()
        self._server = web.Server(self._handle)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        cluster["server"] = f"https://127.0.0.1:{self.port}"
        cluster["certificate-authority-data"] = base64.b64encode(authority.certificate_pem()).decode()
        document["users"][0]["user"] = {"tokenFile": str(self.token_file)}
        self.token_file.write_text("first")
        self.kubeconfig.write_text(yaml.safe_dump(document))

    async def _close(self) -> None:
        self._going.set()
        await self._reset()
        await self._runner.cleanup()
        await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[-1][1]

    async def _refuse(self) -> None:
        await self._site.stop()
        await self._reset()

    async def _reset(self, *, silent_only: bool = False) -> None:
        for waiting in self._silent:
            if not waiting.done():
                waiting.set_result(None)
        if not silent_only:
            for handler in list(self._server.connections):
                if handler.transport is not None:
                    handler.transport.abort()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path_qs
        body = await request.read()
        await self._going.wait()
        action = next((rule.do for rule in self.rules if rule.takes(request.method, path)), None)
        if self.tokens is not None and request.headers.get("Authorization", "")[7:] not in self.tokens:
            action = Answer(401, "Unauthorized")
        status = 0
        try:
            match action:
                case Answer():
                    status = action.status
                    return _answer(action)
                case InStream():
                    status = 200
                    error = {"type": "ERROR", "object": _status(action.status, action.reason)}
                    return web.Response(body=orjson.dumps(error) + b"\n", content_type="application/json")
                case Slow():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._hold(), action.seconds)
            async with self._session.request(
                request.method, self._target + path, data=body or None, headers=_headers(request.headers)
            ) as answer:
                status = answer.status
                return await self._pass_on(request, answer, action)
        except (aiohttp.ClientError, OSError):
            self._abort(request)
            raise web.HTTPBadGateway from None
        finally:
            self.requests.append(Request(time.monotonic(), request.method, path, status))

    async def _pass_on(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, action: Action | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=_headers(answer.headers))
        if isinstance(action, LostAnswer):
            await answer.read()
            self._abort(request)
            return response
        if isinstance(action, CutBody):
            whole = await answer.content.readany()
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            self._abort(request)
            return response
        await response.prepare(request)
        if isinstance(action, Silence):
            await self._hold()
            self._abort(request)
            return response
        async for chunk in answer.content.iter_any():
            await self._going.wait()
            if self._silenced(request):
                await self._hold()
                self._abort(request)
                return response
            await response.write(chunk)
        await response.write_eof()
        return response

    def _silenced(self, request: web.BaseRequest) -> bool:
        """A rule of silence also takes streams that were open before it."""
        return any(
            isinstance(rule.do, Silence) and "watch=" in request.path_qs and rule.takes("GET", request.path_qs)
            for rule in self.rules
        )

    async def _hold(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._silent.add(waiting)
        try:
            await waiting
        finally:
            self._silent.discard(waiting)

    def _abort(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(certificate + b"\n" + key)
        pair.flush()
        context.load_cert_chain(pair.name)


def _headers(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOPS}


def _status(status: int, reason: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status, "reason": reason,
        "message": f"a test says {status}", "metadata": {},
    }  # fmt: skip


def _answer(action: Answer) -> web.Response:
    headers = {"Retry-After": str(action.retry_after)} if action.retry_after is not None else {}
    return web.Response(
        status=action.status,
        body=orjson.dumps(_status(action.status, action.reason)),
        content_type="application/json",
        headers=headers,
    )
