"""Who refers to an object, in the words of a condition. Pure; used by `controllers.deletion` for every kind."""

from collections.abc import Iterable
from itertools import groupby

from controllers.engine.base import Key

NAMED = 5
"""How many of each kind are named; the rest is counted."""


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
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} {_plural(kind) if len(names) > 1 else kind} ({shown})"


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _enumerate(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
