"""The plot of decisions a second over the number of hosts, one line for each kind of request. Called by `results`."""

import math
import re
from typing import Any

NAME = re.compile(r"placement engine, (?P<kind>[^:]+), (?P<hosts>\d+) hosts")
COLOURS = ("#1b6ca8", "#c0562f", "#3a8f4d", "#7d4fa3", "#b3852b", "#2a9d9d", "#8a8a8a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 70, 190, 20, 50
APART = 15
"""Pixels between two labels."""
_OPENING = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">'
Lines = dict[str, list[tuple[int, float]]]


def lines(entries: list[dict[str, Any]]) -> Lines:
    """Kind → (hosts, decisions a CPU second), fewest hosts first."""
    found: Lines = {}
    for entry in entries:
        named = NAME.fullmatch(entry["name"])
        if named and entry["unit"] == "decisions/CPU s":
            found.setdefault(named["kind"], []).append((int(named["hosts"]), float(entry["value"])))
    return {kind: sorted(points) for kind, points in sorted(found.items())}


def plot(entries: list[dict[str, Any]]) -> str:
    """Hosts by their logarithm, decisions from 0 on; the goal as a dashed line, up to where it is set."""
    found = lines(entries)
    hosts = sorted({many for points in found.values() for many, _ in points})
    top = 5000 * math.ceil(max((rate for points in found.values() for _, rate in points), default=1) / 5000)
    parts = [
        _OPENING,
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    if hosts:
        parts += _axes(hosts, top)
        parts += _goal(entries, hosts, top)
        labels = _spread({kind: _y(points[-1][1], top) for kind, points in found.items()})
        for colour, (kind, points) in zip(COLOURS, found.items(), strict=False):
            at = [(_x(many, hosts), _y(rate, top)) for many, rate in points]
            path = " ".join(f"{x:.0f},{y:.0f}" for x, y in at)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}"/>' for x, y in at]
            parts.append(f'<text x="{WIDTH - RIGHT + 14}" y="{labels[kind] + 4:.0f}" fill="{colour}">{kind}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes(hosts: list[int], top: int) -> list[str]:
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for rate in range(0, top + 1, 5000):
        y = _y(rate, top)
        parts.append(f'<line x1="{LEFT}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{rate:,}</text>')
    for many in hosts:
        parts.append(f'<text x="{_x(many, hosts):.0f}" y="{base + 18}" text-anchor="middle">{many:,}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">hosts</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 6}">decisions in a second of CPU</text>')
    return parts


def _goal(entries: list[dict[str, Any]], hosts: list[int], top: int) -> list[str]:
    goals = [(int(m["hosts"]), e["goal"]) for e in entries if (m := NAME.fullmatch(e["name"])) and e["goal"]]
    if not goals:
        return []
    many, rate = max(goals)
    x, y = _x(many, hosts), _y(rate, top)
    return [
        f'<line x1="{LEFT}" y1="{y:.0f}" x2="{x:.0f}" y2="{y:.0f}" stroke="black" stroke-dasharray="3 3"/>',
        f'<text x="{LEFT + 6}" y="{y - 5:.0f}">the goal, at {many:,} hosts</text>',
    ]


def _spread(wanted: dict[str, float]) -> dict[str, float]:
    """Heights of labels, as near to the wanted ones as they can be without touching."""
    placed: dict[str, float] = {}
    last = -math.inf
    for kind, y in sorted(wanted.items(), key=lambda pair: pair[1]):
        last = placed[kind] = max(y, last + APART)
    return placed


def _x(many: int, hosts: list[int]) -> float:
    low, high = math.log10(hosts[0]), math.log10(hosts[-1])
    return LEFT + (WIDTH - LEFT - RIGHT) * ((math.log10(many) - low) / (high - low) if high > low else 0.5)


def _y(rate: float, top: int) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / top
