"""`python -m docs.tables`: the tables of the documentation that come from the code, written into it or checked.

Settings, metrics, kinds and what is not supported yet stand between markers in the guides; docs/troubleshooting.md is
rendered from docs/troubleshooting.yaml (`docs.troubleshooting`). Run by people who changed one of these, and by
tests/docs, which compare.
"""

import argparse
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from controllers import metrics
from controllers.config import PREFIX, Settings
from crds.kinds import KINDS
from crds.unsupported import TABLE
from docs import troubleshooting

DOCS = Path(__file__).parent
MEND = "python -m docs.tables --write"
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Every setting of the operator."""
    hints = typing.get_type_hints(Settings, include_extras=True)
    rows = (
        (
            f"`--{entry.name.replace('_', '-')}`",
            f"`{PREFIX}{entry.name.upper()}`",
            f"`{_default(entry.default)}`" if _default(entry.default) else "",
            hints[entry.name].__metadata__[0],
        )
        for entry in dataclasses.fields(Settings)
    )
    return _table(("argument", "variable", "default", "meaning"), rows)


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def metrics_table() -> str:
    """Every metric, with its labels."""
    found = sorted((m for m in vars(metrics).values() if hasattr(m, "_labelnames")), key=lambda m: str(m._name))
    return _table(("metric", "labels", "type", "meaning"), (_metric(metric) for metric in found))


def _metric(metric: Any) -> tuple[str, str, str, str]:
    name = f"{metric._name}_total" if metric._type == "counter" else metric._name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"`{name}`", labels, metric._type, metric._documentation


def kinds_table() -> str:
    """Every kind with its names."""
    rows = (
        (k.kind, f"`{k.plural}`, `{k.short}`", "namespace" if k.namespaced else "cluster", k.description)
        for k in KINDS.values()
    )
    return _table(("kind", "names for kubectl", "scope", "what it is"), rows)


def unsupported_table() -> str:
    """What the schema takes and this version answers with Unsupported."""
    rows = (
        (e.kind, f"`{e.yaml_path}`", ", ".join(f"`{_value(v)}`" for v in sorted(e.values, key=str)) or "any", e.message)
        for e in TABLE
    )
    return _table(("kind", "field", "value", "what the condition says"), rows)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics": metrics_table,
    "kinds": kinds_table,
    "unsupported": unsupported_table,
}


def wanted() -> Iterator[tuple[Path, str]]:
    """Each page that has such a table, with the text it should have."""
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text()
        if path.name != "troubleshooting.md" and "<!-- table: " in old:
            yield path, _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", old)
    yield DOCS / "troubleshooting.md", troubleshooting.page(MEND)


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.tables", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write them; without it, name what is stale and fail")
    options = parser.parse_args(arguments)
    stale = [(path, text) for path, text in wanted() if not path.exists() or path.read_text() != text]
    if options.write:
        for path, text in stale:
            path.write_text(text)
        return 0
    for path, _ in stale:
        print(f"docs/{path.name} is stale. To mend: {MEND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
