"""A small HTTP server that answers as a test tells it, for what a real API server does not do when asked to."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml
from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Server:
    """Answers by a function that a test gives, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.answer: Answer = self._ok
        self.url = ""

    async def _ok(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return await self.answer(request)


def write_kubeconfig(path: Path, url: str, token: str) -> None:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(document))
