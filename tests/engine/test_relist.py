"""Lists that come in pages, and a continuation that has expired meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controllers.engine.cache import ObjectCache
from controllers.engine.client import Client
from controllers.engine.credentials import CredentialSource
from controllers.engine.intake import Intake
from controllers.engine.relist import Relist
from tests.engine.harness import until
from tests.engine.recorders import Racks
from tests.engine.server import Server, write_kubeconfig
from tests.engine.widgets import KINDS


def rack(name: str, version: int) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1}
    return {"metadata": metadata, "spec": {}}


def page(version: int, *items: dict[str, Any], more: str = "") -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache(KINDS, {"Rack": Racks()}, lambda key, why: None)


@pytest.fixture
async def relist(server: Server, cache: ObjectCache, tmp_path: Path) -> AsyncIterator[Relist]:
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "t")
    client = Client(CredentialSource(tmp_path / "kubeconfig"), timeout=5.0, connections=4)
    yield Relist(client, KINDS, cache, Intake(cache), page=1, retry=0.05)
    await client.close()


def names(cache: ObjectCache) -> list[str]:
    return sorted(obj.name for obj in cache.all("Rack"))


async def test_an_expired_continuation_starts_the_list_again(
    server: Server, relist: Relist, cache: ObjectCache
) -> None:
    cache.apply("Rack", rack("a", 1))
    cache.apply("Rack", rack("b", 2))
    cache.apply("Rack", rack("gone", 3))

    async def answer(request: web.Request) -> web.Response:
        token = request.query.get("continue")
        if token == "old":
            return web.json_response({"reason": "Expired"}, status=410)
        if token == "new":
            return page(20, rack("b", 2))
        return page(10, rack("a", 1), more="old") if len(server.requests) == 1 else page(20, rack("a", 1), more="new")

    server.answer = answer
    await relist.repair("Rack")
    assert names(cache) == ["a", "b"]


async def test_what_is_newer_than_the_list_is_not_removed_by_it(
    server: Server, relist: Relist, cache: ObjectCache
) -> None:
    async def answer(request: web.Request) -> web.Response:
        cache.apply("Rack", rack("new", 11))
        return page(10, rack("a", 1))

    cache.apply("Rack", rack("a", 1))
    cache.apply("Rack", rack("old", 9))
    server.answer = answer
    await relist.repair("Rack")
    assert names(cache) == ["a", "new"]


async def test_a_list_that_fails_changes_nothing(server: Server, relist: Relist, cache: ObjectCache) -> None:
    async def answer(request: web.Request) -> web.Response:
        return page(10, more="x") if "continue" not in request.query else web.Response(status=500)

    cache.apply("Rack", rack("a", 1))
    server.answer = answer
    await relist.repair("Rack")
    assert names(cache) == ["a"]


NO_SUCH_PATH = {"reason": "NotFound", "details": {}}


async def test_a_kind_that_is_not_there_yet_is_waited_for(server: Server, relist: Relist, cache: ObjectCache) -> None:
    """Its CRD is there, or nobody can say."""

    async def answer(request: web.Request) -> web.Response:
        if "customresourcedefinitions" in request.path:
            return web.json_response({}, status=200 if len(server.requests) % 2 else 403)
        if len(server.requests) < 20:
            return web.json_response(NO_SUCH_PATH, status=404)
        return page(10, rack("a", 1)) if request.path.endswith("/racks") else page(10)

    server.answer = answer
    await relist.fill()
    assert names(cache) == ["a"]


def without_crd(name: str) -> Any:
    """Answers as for a kind whose CRD is gone; the others have no objects."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(f"/customresourcedefinitions/{name}"):
            return web.json_response({"reason": "NotFound", "details": {"name": name}}, status=404)
        if request.path.endswith(name.partition(".")[0]):
            return web.json_response(NO_SUCH_PATH, status=404)
        return page(10)

    return answer


async def test_a_kind_without_a_crd_keeps_nothing_waiting_but_its_own_watch(
    server: Server, relist: Relist, cache: ObjectCache
) -> None:
    server.answer = without_crd(KINDS["Rack"].crd_name)
    await relist.fill()
    watch = asyncio.ensure_future(relist.begin_watch("Rack"))
    await until(lambda: len(server.requests) > 20)

    async def installed(request: web.Request) -> web.Response:
        return page(12, rack("a", 11))

    server.answer = installed
    assert await watch == "12"
    assert names(cache) == ["a"]


async def test_what_was_known_of_a_kind_goes_with_its_crd(server: Server, relist: Relist, cache: ObjectCache) -> None:
    cache.apply("Rack", rack("a", 1))
    server.answer = without_crd(KINDS["Rack"].crd_name)
    await relist.repair("Rack")
    assert names(cache) == []
