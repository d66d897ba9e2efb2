"""Builds the manifests of the tests from the examples: one good object of each kind, and changes to it."""

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


class _Gone:
    """Of which there is one; its name is the same in every process, as those of tests must be."""

    def __repr__(self) -> str:
        return "GONE"


#: As a new value: take the field away.
GONE = _Gone()


def examples() -> list[Manifest]:
    """Every object of the examples, in the order of the files."""
    paths = [*sorted(EXAMPLES.glob("*.yaml")), *sorted(EXAMPLES.glob("more/*.yaml"))]
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


@functools.cache
def _first_of_kind() -> dict[str, Manifest]:
    found: dict[str, Manifest] = {}
    for manifest in examples():
        found.setdefault(manifest["kind"], manifest)
    return found


def good(kind: str, **changes: Any) -> Manifest:
    """The first example of the kind, with fields changed: `spec__nfs__path="/x"`, `spec__volumes__0__name=GONE`."""
    manifest = copy.deepcopy(_first_of_kind()[kind])
    for path, value in changes.items():
        _set(manifest, path.split("__"), value)
    return manifest


def _set(target: Any, path: list[str], value: Any) -> None:
    *parents, last = [int(part) if re.fullmatch(r"\d+", part) else part for part in path]
    for part in parents:
        target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
    if value is GONE:
        del target[last]
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value


def text(manifest: Manifest) -> str:
    """The manifest as kubectl takes it from its standard input."""
    return json.dumps(manifest)
