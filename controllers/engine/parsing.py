"""From a raw object of the API to the immutable snapshot that the cache holds. Pure; called by the cache only.

A spec or status that the models cannot read (a newer version wrote it, or somebody by hand) never raises here.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import orjson
import pydantic

from controllers.engine.base import Key, Obj
from crds.base import Kind, Model

M = TypeVar("M", bound=Model)
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""As long as all the rest, and nothing that is not in the spec."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_of(kind: str, raw: Mapping[str, Any]) -> Key:
    metadata = raw["metadata"]
    return Key(kind, metadata.get("namespace") or "", metadata["name"])


def parse(kind: Kind, raw: Mapping[str, Any], old: Obj[Any, Any] | None) -> Obj[Any, Any]:
    """The snapshot. What `old`, an earlier version of the same object, shares with it is not parsed again."""
    metadata = raw["metadata"]
    generation = metadata.get("generation") or 0
    raw_status: Mapping[str, Any] = raw.get("status") or {}
    # A copy, because orjson's own answer keeps the room that it was written in: four times as much.
    packed = bytes(memoryview(orjson.dumps(raw_status, option=orjson.OPT_SORT_KEYS)))
    same_status = old is not None and old.packed_status == packed
    spec, problem = _spec(kind, raw, old, generation)
    return Obj(
        key=key_of(kind.kind, raw),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=generation,
        created_at=_time(metadata.get("creationTimestamp")) or _EPOCH,
        deleting=bool(metadata.get("deletionTimestamp")),
        deleted_at=_time(metadata.get("deletionTimestamp")),
        labels=metadata.get("labels") or {},
        annotations={name: text for name, text in (metadata.get("annotations") or {}).items() if name != _APPLIED},
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=spec,
        status=old.status if old is not None and same_status else _status(kind, raw_status),
        conditions=old.conditions if old is not None and same_status else _conditions(raw_status),
        packed_status=packed,
        problem=problem,
    )


def _spec(kind: Kind, raw: Mapping[str, Any], old: Obj[Any, Any] | None, generation: int) -> tuple[Model, str]:
    if old is not None and old.generation == generation:
        return old.spec, old.problem
    spec, problem = _leniently(kind.spec, raw.get("spec") or {})
    if problem and old is not None:
        return old.spec, problem
    return spec, problem


def _status(kind: Kind, raw: Mapping[str, Any]) -> Model:
    """What could not be read of it was not observed either: it is written anew."""
    status, problem = _leniently(kind.status, {name: value for name, value in raw.items() if name != "conditions"})
    return status.model_copy(update={"observed_generation": None}) if problem else status


def _conditions(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Thousands of objects say the same of themselves: each word of theirs is kept once."""
    return tuple(
        {name: sys.intern(value) if type(value) is str and name != "message" else value for name, value in c.items()}
        for c in raw.get("conditions") or ()
    )


def _leniently(model: type[M], raw: Mapping[str, Any]) -> tuple[M, str]:
    """The model, without the top-level fields that make no sense, and what is wrong with those."""
    try:
        return model.model_validate(raw), ""
    except pydantic.ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        problem = "; ".join(f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in faults[:3])
        wrong = {str(fault["loc"][0]) for fault in faults if fault["loc"]}
    try:
        return model.model_validate({name: value for name, value in raw.items() if name not in wrong}), problem
    except pydantic.ValidationError:
        return cast(M, model.model_construct()), problem


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
