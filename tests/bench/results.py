"""Where measurements are kept: docs/benchmarks.json, one line for each name, replaced by the newest."""

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.json"


def record(name: str, value: float, unit: str, *, reference: str = "", goal: float | None = None) -> None:
    """`goal`: at least this, where it is set. Idempotent."""
    kept = {entry["name"]: entry for entry in (json.loads(FILE.read_text()) if FILE.exists() else [])}
    met = None if goal is None else value >= goal
    kept[name] = {"name": name, "value": value, "unit": unit, "reference": reference, "goal": goal, "met": met}
    entries = [kept[key] for key in sorted(kept)]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    FILE.write_text(f"[\n{lines}\n]\n")
