"""Thousands of running instances laid down at once: copies of one that the operator made, in etcd and on the hosts.

Used by tests/bench/test_ten_thousand.py, since to make 10,000 through the API server takes this machine longer than all
that is measured with them. Everything that identifies an instance is its own: uid, UUID, name, mark, host.
"""

import base64
import dataclasses
import itertools
import sqlite3
import uuid as uuids
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from controllers.logic.identity import object_uuid, platform_name
from drivers.marks import InstanceMark, decode, encode
from tests.bench.api import spread
from tests.bench.cloud import NAMESPACE, REFERENCE_GROUP

_REGISTRY = "/registry/{group}/instances/{namespace}/{name}"


@dataclass(frozen=True)
class Copy:
    """One instance to be."""

    name: str
    uid: str
    host: str

    @property
    def uuid(self) -> str:
        return object_uuid(None, self.uid)

    @property
    def title(self) -> str:
        return platform_name(NAMESPACE, self.name, self.uuid)


def copies(prefix: str, count: int, hosts: list[str]) -> list[Copy]:
    """So many, spread evenly."""
    turns = itertools.cycle(hosts)
    return [Copy(f"{prefix}-{n}", str(uuids.uuid4()), next(turns)) for n in range(count)]


def lay_on_hosts(state: Path, sample: str, wanted: list[Copy]) -> None:
    """Their domains, as the sample's is. The operator must not run; the hosts must have been seen. Blocks some
    seconds."""
    with sqlite3.connect(state) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(domains)")]
        found = [
            r for r in connection.execute("SELECT * FROM domains") if f'"name":"{sample}"' in r[names.index("mark")]
        ]
        assert len(found) == 1, f"{len(found)} domains of Instance {sample}"
        row = dict(zip(names, found[0], strict=True))
        mark = decode(row["mark"])
        assert isinstance(mark, InstanceMark), row["mark"]
        texts = {key: row[key] for key in ("shape", "live")}
        for one in wanted:
            own = dataclasses.replace(mark, name=one.name, uid=one.uid, uuid=one.uuid)
            row |= {"host": one.host, "uuid": one.uuid, "title": one.title, "mark": encode(own)}
            row |= {key: text and text.replace(mark.uuid, one.uuid) for key, text in texts.items()}
            connection.execute(f"INSERT INTO domains VALUES ({','.join('?' * len(names))})", [row[k] for k in names])
    connection.close()


async def lay_in_etcd(etcd: str, sample: dict[str, Any], wanted: list[Copy], group: str = "stratiform.dev") -> None:
    """Their objects, past the API server, which learns of them by its watch. `group`: also the reference's copies."""
    old = sample["metadata"], sample["status"]["uuid"], sample["status"]["placement"]["host"]
    async with aiohttp.ClientSession() as session:
        text = await _stored(session, etcd, "stratiform.dev", old[0]["name"])

        async def put(one: Copy) -> None:
            value = text.replace(platform_name(NAMESPACE, old[0]["name"], old[1]), one.title)
            value = value.replace(old[0]["uid"], one.uid).replace(old[1], one.uuid).replace(old[2], one.host)
            value = value.replace(f'"name":"{old[0]["name"]}"', f'"name":"{one.name}"')
            if group == REFERENCE_GROUP:
                value = value.replace('"apiVersion":"stratiform.dev/', f'"apiVersion":"{REFERENCE_GROUP}/')
            key = _REGISTRY.format(group=group, namespace=NAMESPACE, name=one.name)
            await _ask(session, f"{etcd}/v3/kv/put", {"key": _coded(key), "value": _coded(value)})

        await spread([lambda one=one: put(one) for one in wanted], 20)  # type: ignore[misc]


async def _stored(session: aiohttp.ClientSession, etcd: str, group: str, name: str) -> str:
    key = _REGISTRY.format(group=group, namespace=NAMESPACE, name=name)
    found = await _ask(session, f"{etcd}/v3/kv/range", {"key": _coded(key)})
    return base64.b64decode(found["kvs"][0]["value"]).decode()


async def _ask(session: aiohttp.ClientSession, url: str, body: dict[str, str]) -> dict[str, Any]:
    async with session.post(url, data=orjson.dumps(body)) as answer:
        raw = await answer.read()
        assert answer.status == 200, f"{url}: {answer.status} {raw[:300]!r}"
        found: dict[str, Any] = orjson.loads(raw)
        return found


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
