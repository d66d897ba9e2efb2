"""Cuts a status to the bounds of its schema, so that a long message never makes the API server refuse a whole status.

Called by the engine when it composes a status. Only what people read can grow that far: lists are given with what
matters first.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

from crds.base import Model
from crds.schema import Schema, structural


@dataclass(frozen=True)
class _Bound:
    most: int | None = None
    """Characters of a string or items of a list."""
    items: "_Bound | None" = None
    properties: dict[str, "_Bound"] = field(default_factory=dict)


def _bound_of(schema: Schema) -> _Bound | None:
    """The bounds at and below this schema; None where there are none."""
    properties = {name: bound for name, part in schema.get("properties", {}).items() if (bound := _bound_of(part))}
    items = _bound_of(schema["items"]) if "items" in schema else None
    most = schema.get("maxItems", schema.get("maxLength"))
    return _Bound(most, items, properties) if most is not None or properties else None


@functools.cache
def _bounds(model: type[Model]) -> _Bound:
    return _bound_of(structural(model, status=True)) or _Bound()


def within(model: type[Model], value: dict[str, Any]) -> dict[str, Any]:
    """The value with strings cut, an ellipsis at their end, and lists cut after what fits. Pure; tens of µs."""
    result: dict[str, Any] = _cut(value, _bounds(model))
    return result


def _cut(value: Any, bound: _Bound) -> Any:
    if isinstance(value, str):
        return value if bound.most is None or len(value) <= bound.most else value[: bound.most - 1] + "…"
    if isinstance(value, list):
        kept = value if bound.most is None else value[: bound.most]
        return [_cut(item, bound.items) for item in kept] if bound.items else kept
    if isinstance(value, dict):
        parts = bound.properties
        return {key: _cut(item, parts[key]) if key in parts else item for key, item in value.items()}
    return value
