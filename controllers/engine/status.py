"""Writes of an object's own turn: its whole status by one PUT, its finalizer, both bound to uid and resource version.

Called by `controllers.engine.turns`. Nothing is written that the API server has already.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pydantic

from controllers.engine.base import ApiError, Conflict, Obj
from controllers.engine.client import Client, path_of
from controllers.engine.intake import Intake
from crds.base import API_VERSION, FINALIZER, Kind, StatusModel
from crds.bounds import within

_BARE = {"observedGeneration", "conditions"}


def compose(status: StatusModel, conditions: Iterable[Mapping[str, Any]], generation: int) -> dict[str, Any]:
    """The whole status as it goes to the API: the kind's fields, our conditions, the generation it speaks of. Cut to
    the schema's bounds: one long message must not make the whole of it refused."""
    body = within(type(status), status.to_yaml())
    body["observedGeneration"] = generation
    body["conditions"] = list(conditions)
    return body


def same(kind: Kind, composed: Mapping[str, Any], obj: Obj[Any, Any]) -> bool:
    """Whether the API has that status already, by value: quantities, times, defaults and key order do not matter."""
    has = obj.raw_status
    if composed == has or _said_from_creation(kind, composed, has):
        return True
    if _told(composed) != _told(has):
        return False  # Most that differ differ here, and the long way costs as much as composing it.
    try:
        return _canonical(kind, composed) == _canonical(kind, has)
    except pydantic.ValidationError:
        return False  # The API server says what is wrong with it.


def _said_from_creation(kind: Kind, composed: Mapping[str, Any], has: Mapping[str, Any]) -> bool:
    """Whether the schema's default, which is still the status, says it all: a claim costs one write."""
    if kind.from_creation is None or "observedGeneration" in has or composed.keys() != _BARE:
        return False
    said = {c["type"]: (c["status"], c["reason"], c["message"]) for c in composed["conditions"]}
    ready, synced = said.pop("Ready", None), said.pop("Synced", None)
    return not said and ready == ("True", *kind.from_creation) and synced is not None and synced[0] == "True"


def _told(status: Mapping[str, Any]) -> object:
    """What has one way only of being written."""
    conditions = status.get("conditions") or ()
    said = sorted((str(c.get("type")), str(c.get("status")), str(c.get("reason"))) for c in conditions)
    return status.get("observedGeneration"), status.get("state"), said


def _canonical(kind: Kind, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Raises pydantic.ValidationError."""
    status = kind.status.model_validate(raw).to_yaml()
    status["conditions"] = sorted(status.get("conditions") or (), key=lambda condition: str(condition["type"]))
    return status


class Writer:
    """Every method raises Conflict when the object is not the version that the turn knows, ApiError, NotLeader."""

    def __init__(self, client: Client, kinds: Mapping[str, Kind], intake: Intake) -> None:
        self._client = client
        self._kinds = kinds
        self._intake = intake

    async def put_status(self, obj: Obj[Any, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        kind = self._kinds[obj.key.kind]
        metadata = {"name": obj.name, "uid": obj.uid, "resourceVersion": obj.resource_version}
        if kind.namespaced:
            metadata["namespace"] = obj.namespace
        body = {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": metadata, "status": status}
        path = path_of(kind, obj.namespace, obj.name, "status")
        return await self._write(obj, lambda: self._client.put(path, body, kind=kind.kind))

    async def add_finalizer(self, obj: Obj[Any, Any]) -> dict[str, Any]:
        return await self._put_finalizers(obj, [*obj.finalizers, FINALIZER])

    async def remove_finalizer(self, obj: Obj[Any, Any]) -> None:
        left = [finalizer for finalizer in obj.finalizers if finalizer != FINALIZER]
        await self._put_finalizers(obj, left)
        if obj.deleting and not left:
            self._intake.gone(obj.key, obj.uid)

    async def _put_finalizers(self, obj: Obj[Any, Any], finalizers: list[str]) -> dict[str, Any]:
        kind = self._kinds[obj.key.kind]
        # The resource version is unique in the cluster, so it stands for the uid too.
        body = {"metadata": {"resourceVersion": obj.resource_version, "finalizers": finalizers}}
        path = path_of(kind, obj.namespace, obj.name)
        return await self._write(obj, lambda: self._client.patch(path, body, kind=kind.kind))

    async def _write(self, obj: Obj[Any, Any], send: Callable[[], Any]) -> dict[str, Any]:
        with self._intake.writing(obj.key):
            try:
                answer: dict[str, Any] = await send()
            except ApiError as error:
                if error.status == 409 or error.reason == "NotFound":
                    raise Conflict(str(error)) from None
                raise
            self._intake.written(obj.key.kind, answer)
            return answer
