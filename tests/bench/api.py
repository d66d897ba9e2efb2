"""The API server as the benchmarks use it: a bare asyncio client with nothing behind it, and one watch that takes times.

The client is the reference too: what it needs for the same writes of as large bodies is what the API server and the
wire cost. Used by tests/bench and tests/counts.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from controllers.engine.credentials import CredentialSource

IN_FLIGHT = 50
JSON = {"Content-Type": "application/json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
Raw = dict[str, Any]


class Bare:
    """Requests without retries, cache or logic. Raises AssertionError for every answer but 2xx."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self.session, self.server = session, server

    async def ask(self, verb: str, path: str, body: Any = None, headers: dict[str, str] = JSON) -> Raw:
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(verb, self.server + path, data=data, headers=headers) as answer:
            raw = await answer.read()
            assert 200 <= answer.status < 300, f"{verb} {path}: {answer.status} {raw[:300]!r}"
            found: Raw = orjson.loads(raw)
            return found

    async def text(self, path: str) -> str:
        async with self.session.get(self.server + path) as answer:
            return await answer.text()

    async def there(self, path: str) -> bool:
        async with self.session.get(self.server + path) as answer:
            await answer.read()
            return answer.status == 200


@asynccontextmanager
async def bare(kubeconfig: Path) -> AsyncIterator[Bare]:
    credentials = CredentialSource(kubeconfig).current()
    connector = aiohttp.TCPConnector(ssl=credentials.ssl_context(), limit=0, keepalive_timeout=60.0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20.0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
        yield Bare(session, credentials.server)


async def spread(work: Iterable[Callable[[], Awaitable[Any]]], width: int = IN_FLIGHT) -> None:
    """Run all of it, `width` at a time."""
    waiting = iter(work)

    async def one() -> None:
        for call in waiting:
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(one())


@dataclass(slots=True)
class Times:
    """When the watch showed what of one object; monotonic seconds, 0 for not yet."""

    seen: float = 0.0
    placed: float = 0.0
    ready: float = 0.0
    gone: float = 0.0


@dataclass
class Watched:
    """Times of all objects of one collection. Bodies are looked at by text, because this process shares the cores."""

    times: dict[str, Times] = field(default_factory=dict)
    ready: int = 0
    gone: int = 0
    error: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, line: bytes, now: float) -> None:
        found = _NAME.search(line)
        if found is None:
            return
        times = self.times.setdefault(found[1].decode(), Times())
        times.seen = times.seen or now
        if line.startswith(b'{"type":"DELETED"'):
            times.gone = now
            self.gone += 1
            self.changed.set()
        if not times.placed and b'"host":"' in line:
            times.placed = now
        if not times.ready and b'"reason":"Running"' in line and b'"finalizers"' in line:
            times.ready = now
            self.ready += 1
            self.changed.set()

    async def until(self, holds: Callable[[], bool], deadline: float) -> None:
        """TimeoutError after so many seconds; AssertionError when the watch ended."""
        async with asyncio.timeout(deadline):
            while not holds():
                assert not self.error, self.error
                self.changed.clear()
                await self.changed.wait()

    def of(self, prefix: str) -> list[Times]:
        return [times for name, times in self.times.items() if name.startswith(prefix)]


_NAME = re.compile(rb'"name":"([^"]+)","namespace":"')
_VERSION = re.compile(rb'"resourceVersion":"([0-9]+)"')


@asynccontextmanager
async def watching(api: Bare, collection: str, watched: Watched | None = None) -> AsyncIterator[Watched]:
    """One watch from now on, opened again where it was when the server ends it. What it shows goes to `watched`."""
    watched = watched or Watched()
    version = (await api.ask("GET", f"{collection}?limit=1"))["metadata"]["resourceVersion"].encode()

    async def follow() -> None:
        nonlocal version
        path = f"{api.server}{collection}?watch=1&resourceVersion={version.decode()}&timeoutSeconds=7200"
        async with api.session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                now = time.monotonic()
                for line in lines:
                    assert not line.startswith(b'{"type":"ERROR"'), line
                    watched.take(line, now)
                    found = _VERSION.search(line)
                    version = found[1] if found else version

    async def keep() -> None:
        try:
            while True:
                await follow()
        except Exception as error:
            watched.error = f"the watch ended: {error!r}"
            watched.changed.set()

    task = asyncio.create_task(keep())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def seconds_of(pid: int) -> float:
    """CPU seconds that a process has used, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory_of(pid: int) -> int:
    """Resident bytes of a process that are its own: the simulated platform's file, which it maps, is page cache."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024
