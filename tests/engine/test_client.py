"""The raw client against a small HTTP server: credentials, time-outs, and what is asked for again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from controllers.engine.base import ApiError, NotLeader
from controllers.engine.client import Client
from controllers.engine.credentials import CredentialSource, NoCredentials
from tests.engine.harness import until
from tests.engine.server import Server, write_kubeconfig


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path) -> Path:
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "old")
    return tmp_path / "kubeconfig"


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    client = Client(CredentialSource(kubeconfig), timeout=0.3, connections=4)
    yield client
    await client.close()


async def test_after_a_401_the_credentials_are_read_again_and_the_request_is_sent_once_more(
    server: Server, client: Client, kubeconfig: Path
) -> None:
    async def only_new(request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if request.headers["Authorization"] == "Bearer new" else 401)

    server.answer = only_new
    with pytest.raises(ApiError) as refused:
        await client.get("/x", kind="other")
    assert refused.value.status == 401
    write_kubeconfig(kubeconfig, server.url, "new")
    assert await client.get("/x", kind="other") == {}
    assert len(server.requests) == 4


def _cut_short(kubeconfig: Path) -> None:
    kubeconfig.write_text("current-context: x")


async def test_a_kubeconfig_that_is_being_written_is_an_error_like_no_answer(
    server: Server, client: Client, kubeconfig: Path
) -> None:
    async def never(_: web.Request) -> web.Response:
        return web.json_response({}, status=401)

    server.answer = never
    _cut_short(kubeconfig)
    with pytest.raises(ApiError, match="no usable kubeconfig") as refused:
        await client.get("/x", kind="other")
    assert refused.value.retryable


async def test_a_429_is_obeyed(server: Server, client: Client) -> None:
    async def busy_once(request: web.Request) -> web.Response:
        if len(server.requests) == 1:
            return web.json_response({}, status=429, headers={"Retry-After": "0.05"})
        return web.json_response({"ok": True})

    server.answer = busy_once
    started = asyncio.get_running_loop().time()
    assert await client.get("/x", kind="other") == {"ok": True}
    assert asyncio.get_running_loop().time() - started >= 0.05


async def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_the_limit(
    server: Server, client: Client
) -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(2.0)
        return web.Response()

    server.answer = silent
    recovered: list[bool] = []
    client.recovered = lambda: recovered.append(True)
    with pytest.raises(ApiError, match=r"no answer in 0\.3 s") as error:
        await client.get("/x", kind="other")
    assert error.value.retryable
    server.answer = server._ok
    await client.get("/x", kind="other")
    await client.get("/x", kind="other")
    assert recovered == [True]


async def test_a_404_without_a_name_is_no_proof_that_an_object_is_gone(server: Server, client: Client) -> None:
    async def no_kind(request: web.Request) -> web.Response:
        return web.json_response({"reason": "NotFound", "message": "no such resource", "details": {}}, status=404)

    server.answer = no_kind
    with pytest.raises(ApiError) as error:
        await client.get("/x", kind="other")
    assert error.value.reason == "NoSuchResource"


async def test_a_write_is_refused_before_it_is_sent_when_the_guard_says_so(server: Server, kubeconfig: Path) -> None:
    def guard() -> None:
        raise NotLeader

    client = Client(CredentialSource(kubeconfig), timeout=1.0, connections=4, guard=guard)
    with pytest.raises(NotLeader):
        await client.post("/x", {}, kind="other")
    assert await client.get("/x", kind="other") == {"ok": True}
    assert [request.method for request in server.requests] == ["GET"]
    await client.close()


async def test_a_changed_file_is_read_again_without_a_401(server: Server, kubeconfig: Path) -> None:
    source = CredentialSource(kubeconfig)
    assert source.current().token == "old"
    write_kubeconfig(kubeconfig, server.url, "newer")
    await until(lambda: source.current().token == "newer")
    assert "newer" not in repr(source.current())


def test_an_unusable_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoCredentials, match="nowhere: No such file"):
        CredentialSource(tmp_path / "nowhere").current()
    (tmp_path / "odd").write_text("current-context: x\ncontexts: []\n")
    with pytest.raises(NoCredentials, match="odd is no usable kubeconfig"):
        CredentialSource(tmp_path / "odd").current()
