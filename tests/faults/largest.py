"""The largest spec that a kind's schema allows: each string as long, each list and map as full, each number as high as may
be. What a schema cannot say (a reference that shall lead somewhere, fields that exclude each other) is given by the test.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from crds.base import Kind
from crds.schema import Schema, structural

LEFT_OUT = object()
Given = Mapping[str, Any]
"""Path of a field (`volumes[].name`) → its value, LEFT_OUT, or a function of the item's number in its list."""

_UNION = re.compile(r"^\(self\.(\w+) == '(\w+)'\) == has\(self\.(\w+)\)$")
_MATCHES = re.compile(r"self\.matches\(r'(.*)'\)$")


def largest(kind: Kind, given: Given | None = None) -> dict[str, Any]:
    """Of a union the member that `given` names by its type, else the first."""
    return dict(_Filler(given or {}).fill(structural(kind.spec), "", 0))


class _Filler:
    def __init__(self, given: Given) -> None:
        self._given = given

    def fill(self, schema: Schema, path: str, number: int) -> Any:
        if path in self._given:
            value = self._given[path]
            return value(number) if callable(value) else value
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("x-kubernetes-int-or-string"):
            return "1073741824"
        kind: Callable[[Schema, str, int], Any] = getattr(self, f"_{schema['type']}")
        return kind(schema, path, number)

    def _object(self, schema: Schema, path: str, number: int) -> dict[str, Any]:
        if "additionalProperties" in schema:
            keys = [f"k.example/{'k' * 59}{n:04d}" for n in range(schema["maxProperties"])]
            return {key: self.fill(schema["additionalProperties"], f"{path}{{}}", 0) for key in keys}
        parts = dict(schema.get("properties", {}))
        found = {}
        members = [m for rule in schema.get("x-kubernetes-validations", ()) if (m := _UNION.match(rule["rule"]))]
        for by in {m[1] for m in members}:
            found[by] = self.fill(parts[by], _below(path, by), number)
            for _, value, member in (m.groups() for m in members if m[1] == by):
                if found[by] != value:
                    parts.pop(member, None)
        for name, part in parts.items():
            value = self.fill(part, _below(path, name), number)
            if value is not LEFT_OUT:
                found[name] = value
        return found

    def _array(self, schema: Schema, path: str, number: int) -> list[Any]:
        return [self.fill(schema["items"], f"{path}[]", n) for n in range(schema["maxItems"])]

    def _integer(self, schema: Schema, path: str, number: int) -> int:
        return int(schema["maximum"])

    def _boolean(self, schema: Schema, path: str, number: int) -> bool:
        return True

    def _string(self, schema: Schema, path: str, number: int) -> str:
        if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00.000000Z"
        rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]
        if any("isCIDR" in rule for rule in rules):
            return f"2001:db8:{number + 4096:x}::/48"
        if any("isIP" in rule for rule in rules):
            return f"2001:db8:1111:2222:3333:4444:5555:{number + 4096:x}"
        patterns = [schema["pattern"]] if "pattern" in schema else []
        patterns += [m[1] for rule in rules if (m := _MATCHES.match(rule))]
        for text in _words(schema["maxLength"], number):
            if len(text) <= schema["maxLength"] and all(re.search(p, text) for p in patterns):
                return text
        raise AssertionError(f"no long word is known for {path}: {patterns}")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _words(most: int, number: int) -> tuple[str, ...]:
    """As long as may be and another for each number; the first that fits is taken."""

    def padded(start: str, end: str = "") -> str:
        return f"{start}{'n' * (most - len(start) - len(end) - 4)}{number:04d}{end}"

    return (
        padded("n"), padded("/n"), padded("iqn.2026-01.example:"), padded("ssh-ed25519 AAAA "), padded("https://n/"),
        padded("n{vlan}"), padded("n="), padded("qemu+tls://", "/system"), f"{number + 1000}-{number + 1000}",
        f"00000000-0000-4000-8000-{number:012d}", f"sha512:{number:0128d}", f"{number:0{most}d}"[:most],
    )  # fmt: skip
