"""`python -m docs.tables`: the tables of the documentation that come from the code, written into it or checked.

Settings, metrics, kinds and what is not supported yet stand between markers in the guides; docs/reasons.md is rendered
from docs/reasons.yaml, the one place where every reason of a condition or event is explained. Run by people who changed
one of these, and by tests/docs, which compare.
"""

import argparse
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from controllers import metrics
from controllers.config import PREFIX, Settings
from crds.kinds import KINDS
from crds.unsupported import TABLE

DOCS = Path(__file__).parent
REASONS = DOCS / "reasons.yaml"
MEND = "python -m docs.tables --write"
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: Condition types in the order of docs/reasons.md, with what a reader should know of each.
CONDITIONS = {
    "Ready": "True: usable now and as declared. On every object, always.",
    "Synced": "True: the operator's last attempt went through. On every object, always once it was looked at.",
    "Scheduled": "True: a host is decided. On Instances, always.",
    "Stalled": "True: neither waiting nor another object helps; this object has to be changed.",
    "Deleting": "True: it is being deleted and waits for something.",
    "ReconciliationPaused": "True: the object is annotated `stratiform.dev/paused`.",
    "RestartRequired": "True: something declared takes effect at the next restart.",
    "Drifted": "True: somebody changed the machine on its host.",
    "GuestPaused": "True: the guest stands still and the operator leaves it so.",
    "AgentConnected": "False: the guest agent in the machine does not answer.",
    "OutOfService": "True: the host was validly declared to be off.",
    "OutOfServiceVoid": "True: a declaration that the host is off counts for nothing.",
    "Maintenance": "True: the host takes nothing new.",
    "Degraded": "True: usable, but not from everywhere it should be.",
}


class Reason(BaseModel):
    """One reason, as docs/reasons.yaml has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...]
    """Kinds that show it; "all" for every one."""
    of: tuple[str, ...] = ("Ready",)
    """Condition types that carry it; Event for an event alone."""
    means: str
    do: str = "Nothing."


def reasons() -> dict[str, Reason]:
    """All of docs/reasons.yaml, checked."""
    raw = yaml.safe_load(REASONS.read_text())
    return {name: Reason.model_validate(entry) for name, entry in raw.items()}


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


_INTRODUCTION = """\
Every reason that a condition or an event of ours can carry: what it means and what to do. The message beside it names
the object, the field and what was found; read it first. How conditions work is in [api.md](api.md#conditions).
"""
_EVENTS = """\
## Events

A change of Ready or Scheduled makes an event with the condition's reason. These are events alone:
"""


def reasons_page() -> str:
    """docs/reasons.md."""
    known = reasons()
    parts = [
        f"<!-- Written by `{MEND}` from reasons.yaml: change that. -->\n",
        "# Conditions and reasons\n",
        _INTRODUCTION,
        *(_of_condition(kind, text, known) for kind, text in CONDITIONS.items()),
        _EVENTS,
        _reason_rows((n, r) for n, r in known.items() if "Event" in r.of),
        "## By kind\n\nWhich reasons each kind shows; those of every kind are left out.\n",
        _table(("kind", "reasons"), ((kind, _of_kind(kind, known)) for kind in KINDS)),
    ]
    return "\n".join(parts)


def _of_condition(kind: str, text: str, known: dict[str, Reason]) -> str:
    return f"## {kind}\n\n{text}\n\n" + _reason_rows((n, r) for n, r in known.items() if kind in r.of)


def _reason_rows(found: Iterable[tuple[str, Reason]]) -> str:
    rows = ((f"`{name}`", _kinds(r), r.means, r.do) for name, r in sorted(found))
    return _table(("reason", "on", "means", "what to do"), rows)


def _kinds(reason: Reason) -> str:
    return "every kind" if reason.kinds == ("all",) else ", ".join(reason.kinds)


def _of_kind(kind: str, known: dict[str, Reason]) -> str:
    return ", ".join(f"`{name}`" for name, r in sorted(known.items()) if kind in r.kinds)


def wanted() -> Iterator[tuple[Path, str]]:
    """Each page that has such a table, with the text it should have."""
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text()
        if path.name != "reasons.md" and "<!-- table: " in old:
            yield path, _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", old)
    yield DOCS / "reasons.md", reasons_page()


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
