"""Who refers to an object, and lists of names, in the words of a condition. Pure; used for every kind."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from controllers.engine.base import Key

NAMED = 5
"""How many of each kind are named; the rest is counted."""


def some(names: Sequence[str], most: int = NAMED) -> str:
    """The first of them, and how many more there are: "node-1, node-2 and 7 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def in_use(key: Key, holders: Iterable[Key]) -> str:
    """Why `key` cannot go yet: how many objects refer to it, and the names of some. "" when none does."""
    listed = sorted(holders)
    if not listed:
        return ""
    parts = [_of_kind(kind, list(keys)) for kind, keys in groupby(listed, lambda holder: holder.kind)]
    verb = "refers" if len(listed) == 1 else "refer"
    return f"{_enumerate(parts)} {verb} to {key}: it goes when nothing does any more."


def _of_kind(kind: str, keys: list[Key]) -> str:
    names = [f"{k.namespace}/{k.name}" if k.namespace else k.name for k in keys]
    return f"{len(names)} {_plural(kind) if len(names) > 1 else kind} ({some(names)})"


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _enumerate(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
