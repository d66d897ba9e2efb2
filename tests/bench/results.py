"""Where measurements are kept: docs/benchmarks.json, one line for each name, and docs/benchmarks.md made of it.

Called by every benchmark as it ends; entries of others stay, so that each may be run alone. Not safe for two processes
at once.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.bench import rates

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILE = DOCS / "benchmarks.json"
PAGE = DOCS / "benchmarks.md"
PLOT = DOCS / "benchmarks.svg"
RATES = DOCS / "benchmarks-placement.svg"
MARK = "<!-- Below: written by tests/bench/results.py. -->\n"
Entry = dict[str, Any]
_OPENING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}" font-family="sans-serif" font-size="12">'
)


def record(
    name: str, value: float, unit: str, *, reference: str = "", reference_value: float | None = None,
    goal: float | None = None, at_most: bool = False, limits: str = "",
) -> None:  # fmt: skip
    """`goal`: at least this (at most, with `at_most`). `limits`: where the time goes, or what limits it.
    Idempotent."""
    kept = {entry["name"]: entry for entry in (json.loads(FILE.read_text()) if FILE.exists() else [])}
    met = None if goal is None else (value <= goal if at_most else value >= goal)
    beside = {"name": reference, "value": reference_value} if reference else None
    kept[name] = {"name": name, "value": value, "unit": unit, "reference": beside, "goal": goal, "met": met}
    if at_most:
        kept[name]["atMost"] = True
    if limits:
        kept[name]["limits"] = limits
    entries = [kept[key] for key in sorted(kept)]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    FILE.write_text(f"[\n{lines}\n]\n")
    render(entries)


def render(entries: list[Entry]) -> None:
    """The table and the plots. What stands above the mark in the page is written by hand and kept."""
    head = PAGE.read_text().partition(MARK)[0] if PAGE.exists() else "# Benchmarks\n\n"
    rows = [f"| {e['name']} | {_figure(e['value'])} {e['unit']} | {_reference(e)} | {_goal(e)} |" for e in entries]
    limits = [f"- **{e['name']}**: {e['limits']}" for e in entries if e.get("limits")]
    text = [
        f"Last written on a machine of {machine()}.\n",
        "![Measured against the goal](benchmarks.svg)\n",
        "![Placement decisions a second over hosts](benchmarks-placement.svg)\n",
        "| what | measured | reference | goal |",
        "|---|---|---|---|",
        *rows,
    ]
    if limits:
        text += ["", "Where the time goes, and what limits:", "", *limits]
    PAGE.write_text(head + MARK + "\n" + "\n".join(text) + "\n")
    PLOT.write_text(plot(entries))
    RATES.write_text(rates.plot(entries))


def machine() -> str:
    """Cores, memory, and how busy it was, in words: without the last one no figure here means much."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = subprocess.run(["/bin/uname", "-m"], capture_output=True, text=True, check=False).stdout.strip()
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, load average {os.getloadavg()[1]:.0f} over 5 minutes"


def plot(entries: list[Entry]) -> str:
    """One bar for each goal: how much of it was reached, 100 % is the line."""
    goals = [e for e in entries if e["goal"]]
    height, left, scale = 22 * len(goals) + 40, 430, 2.0
    parts = [
        _OPENING.format(height=height),
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, entry in enumerate(goals):
        share = _share(entry)
        top, width = 22 * number + 10, min(share, 200) * scale
        colour = "#3a8f4d" if entry["met"] else "#c0562f"
        parts += [
            f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{_escaped(entry["name"])[:70]}</text>',
            f'<rect x="{left}" y="{top}" width="{width:.0f}" height="16" fill="{colour}"/>',
            f'<text x="{left + width + 4:.0f}" y="{top + 13}">{share:.0f} %</text>',
        ]
    line = left + 100 * scale
    parts += [
        f'<line x1="{line}" y1="4" x2="{line}" y2="{height - 26}" stroke="black" stroke-dasharray="3 3"/>',
        f'<text x="{line}" y="{height - 10}" text-anchor="middle">the goal</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _share(entry: Entry) -> float:
    """Percent of the goal, more is better whichever way it points."""
    value, goal = float(entry["value"]), float(entry["goal"])
    if entry.get("atMost"):
        return 200.0 if value <= 0 else min(100 * goal / value, 999)
    return min(100 * value / goal, 999)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _reference(entry: Entry) -> str:
    found = entry["reference"]
    if not found:
        return ""
    if isinstance(found, str):
        return found
    return f"{found['name']}{'' if found['value'] is None else ': ' + _figure(found['value'])}"


def _goal(entry: Entry) -> str:
    if entry["goal"] is None:
        return ""
    bound = "at most" if entry.get("atMost") else "at least"
    return f"{bound} {_figure(entry['goal'])}: {'met' if entry['met'] else '**not met**'}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
