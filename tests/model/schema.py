"""What an API server does with an object by the schema of its kind: drops, fills in, refuses. Used by `store`."""

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "boolean": (bool,), "number": (int, float),
}  # fmt: skip


def pruned(value: Any, schema: dict[str, Any]) -> Any:
    """A copy without unknown fields, with the defaults of those that are missing."""
    if isinstance(value, dict) and "properties" in schema:
        known = {
            name: pruned(inner, schema["properties"][name])
            for name, inner in value.items()
            if name in schema["properties"]
        }
        for name, inner in schema["properties"].items():
            if name not in known and "default" in inner:
                known[name] = pruned(inner["default"], inner)
        return known
    if isinstance(value, list):
        return [pruned(item, schema.get("items", {})) for item in value]
    return dict(value) if isinstance(value, dict) else value


def wrong(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Why the value is refused: types, required fields, enumerations and lengths. Rules in CEL are not looked at."""
    expected = _TYPES.get(schema.get("type", ""))
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected)):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from (f"{path}.{name} is required" for name in schema.get("required", ()) if name not in value)
        for name, inner in value.items():
            yield from wrong(inner, schema.get("properties", {}).get(name, {}), f"{path}.{name}")
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{path}: {len(value)} items are too many"
        keys = schema.get("x-kubernetes-list-map-keys", ())
        seen = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        yield from (f"{path}: {key} is there twice" for key in seen if seen.count(key) > 1)
        for number, item in enumerate(value):
            yield from wrong(item, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: too long"
