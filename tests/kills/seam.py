"""Where an operator dies: the seam around its external calls that counts them, holds them and kills between two.

An external call is one that changes the outside world for a tenant (a namespace of the test): a driver's action or
storage call, or a create, patch, put or delete at the API server. Events, Leases and the objects of the infrastructure
are no tenant's. Used by `operators` in this process, and by `mortal` in a process of its own.

A tenant that has come to its point is held there, and every later call of it too, so that one kill of the operator
kills every tenant at a point of its own.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from controllers.engine.client import Client
from controllers.engine.slots import outside
from controllers.logic.identity import object_uuid
from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.recording import Call, RecordingEndPoint

_PATH = re.compile(r"/apis/stratiform\.dev/v1alpha1/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/(status))?$")
_NAMED_BY_US = ("Instance", "Volume", "Template", "Network")
TENANT = re.compile(r"kill-.*")


class Killed(BaseException):
    """The operator is dead: nothing of it may run on."""


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Before or after the `number`th (from 1) such call of a tenant: `after Define web 1`."""

    call: str
    number: int
    done: bool

    def __str__(self) -> str:
        return f"{'after' if self.done else 'before'} {self.call} {self.number}"

    @classmethod
    def parse(cls, text: str) -> "Point":
        when, _, rest = text.partition(" ")
        call, _, number = rest.rpartition(" ")
        return cls(call, int(number), when == "after")


class Seam:
    """Thread-safe. `plan`: the point of each tenant. `held` is told of a tenant that has come to its point."""

    def __init__(self, plan: Mapping[str, Point] | None = None, held: Callable[[str], None] = lambda tenant: None):
        self._plan = dict(plan or {})
        self._tell = held
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._known: dict[str, tuple[str, str]] = {}
        self.held: set[str] = set()
        self.dead = threading.Event()
        self.points: dict[str, list[Point]] = {}
        """What each tenant came past, in order."""

    # ------------------------------------------------------------ what the operator is made with

    def client(self, *args: Any, **kwargs: Any) -> Client:
        return MortalClient(self, *args, **kwargs)

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        self.require_life()
        return RecordingEndPoint(registry.open_endpoint(connection, timeout), connection.host, self.driver_call)

    # ------------------------------------------------------------ calls

    def driver_call(self, call: Call) -> None:
        """The hook of `drivers.recording`, in a lane's thread."""
        self.require_life()
        known = self._known.get(call.subject) or self._known.get(call.subject.rpartition("-")[0])
        if known is not None and self.arrive(known[0], f"{call.name} {known[1]}", done=call.done):
            self.dead.wait()
        self.require_life()

    def arrive(self, tenant: str, call: str, *, done: bool) -> bool:
        """Note it; True when the tenant is held here."""
        with self._lock:
            if tenant in self.held:
                return True
            counts = self._counts.setdefault(tenant, Counter())
            if not done:
                counts[call] += 1
            point = Point(call, counts[call], done)
            self.points.setdefault(tenant, []).append(point)
            if self._plan.get(tenant) != point:
                return False
            self.held.add(tenant)
        self._tell(tenant)
        return True

    def learn(self, obj: Mapping[str, Any]) -> None:
        """Whose UUID is whose, from the API server's answers: they always come before the first call (W1)."""
        metadata, kind = obj.get("metadata", {}), obj.get("kind")
        tenant = metadata.get("namespace", "")
        if kind in _NAMED_BY_US and TENANT.fullmatch(tenant):
            uuid = object_uuid(obj.get("spec", {}).get("uuid"), metadata["uid"])
            self._known[uuid] = (tenant, metadata["name"])

    def kill(self) -> None:
        """From now on every call ends with Killed, those that are held first of all."""
        self.dead.set()

    def require_life(self) -> None:
        if self.dead.is_set():
            raise Killed


class MortalClient(Client):
    """The engine's client, with the seam around each write."""

    def __init__(self, seam: Seam, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seam = seam

    async def send(self, verb: str, path: str, **request: Any) -> bytes:
        self._seam.require_life()
        tenant, call = _written(verb, path)
        if tenant:
            await self._pass(tenant, call, done=False)
        answer = await super().send(verb, path, **request)
        self._seam.require_life()
        if tenant:
            self._seam.learn(orjson.loads(answer))
            await self._pass(tenant, call, done=True)
        return answer

    async def _pass(self, tenant: str, call: str, *, done: bool) -> None:
        if self._seam.arrive(tenant, call, done=done):
            await outside(asyncio.Event().wait())  # As one that waits for a driver: it takes no worker's place.


def _written(verb: str, path: str) -> tuple[str, str]:
    """(tenant, call) of a write of a tenant's object; ("", "") of anything else."""
    found = _PATH.match(path) if verb != "GET" else None
    if found is None or not TENANT.fullmatch(found[1]):
        return "", ""
    tenant, plural, name, sub = found.groups()
    # An address's name is chosen among those that are free.
    words = [verb, plural if plural == "networkaddresses" or not name else f"{plural}/{name}", sub]
    return tenant, " ".join(word for word in words if word)
