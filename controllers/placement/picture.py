"""How full the hosts are, for people: bars in the terminal, and one HTML file that needs nothing beside it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from controllers.placement.core.planner import Planner
from crds.base import shorten_quantity

WIDTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One host. Parts are of its limits, 0…1 (above it where limits were lowered)."""

    host: str
    zone: str
    cluster: str
    cpus: float
    memory: float
    free_cpus: int
    free_memory: int
    instances: int
    state: str = ""
    """Why it takes nothing now; "" for one that does."""


def fills(planner: Planner) -> list[Fill]:
    """By zone, cluster and name."""
    hosts, found = planner.hosts, []
    for row, record in enumerate(hosts.records):
        if hosts.alive[row]:
            cpus, memory = max(record.cpus, 1), max(record.memory, 1)
            found.append(
                Fill(
                    host=record.name,
                    zone=record.zone,
                    cluster=record.cluster,
                    cpus=1 - int(hosts.free_cpus[row]) / cpus,
                    memory=1 - int(hosts.free_memory[row]) / memory,
                    free_cpus=int(hosts.free_cpus[row]),
                    free_memory=int(hosts.free_memory[row]),
                    instances=int(hosts.instances[row]),
                    state=record.closed or record.down or record.disabled,
                )
            )
    return sorted(found, key=lambda f: (f.zone, f.cluster, f.host))


def bars(rows: Iterable[Fill]) -> list[str]:
    """One line a host."""
    listed = list(rows)
    wide = max((len(f.host) for f in listed), default=0)
    return [
        f"{f.host:{wide}}  cpu {bar(f.cpus)} {f.cpus:4.0%}  memory {bar(f.memory)} {f.memory:4.0%}  "
        f"{f.instances:3} instance{'' if f.instances == 1 else 's'}, "
        f"{max(f.free_cpus, 0)} CPUs and {shorten_quantity(max(f.free_memory, 0))} free"
        + (f"  ({f.state})" if f.state else "")
        for f in listed
    ]


def bar(part: float) -> str:
    full = min(max(round(part * WIDTH), 0), WIDTH)
    return "█" * full + "·" * (WIDTH - full)


def html(rows: Iterable[Fill], title: str) -> str:
    """A heat map: one square a host, by cluster, its colour by the fuller of CPU and memory."""
    clusters: dict[tuple[str, str], list[Fill]] = {}
    for fill in rows:
        clusters.setdefault((fill.zone, fill.cluster), []).append(fill)
    parts = [_HEAD.format(title=escape(title))]
    for (zone, cluster), inside in clusters.items():
        parts.append(f"<h2>{escape(zone)} / {escape(cluster)} <small>{len(inside)} hosts</small></h2><div>")
        parts += [_square(fill) for fill in inside]
        parts.append("</div>")
    return "\n".join([*parts, "</body></html>", ""])


def _square(fill: Fill) -> str:
    fuller = min(max(fill.cpus, fill.memory, 0.0), 1.0)
    colour = "#bbb" if fill.state else f"hsl({round(120 * (1 - fuller))} 65% 55%)"
    told = f"{fill.host}: CPU {fill.cpus:.0%}, memory {fill.memory:.0%}, {fill.instances} instances"
    told += f" ({fill.state})" if fill.state else ""
    return f'<a style="background:{colour}" title="{escape(told)}">{fuller:.0%}</a>'


_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px sans-serif; margin: 2em }} small {{ color: #777; font-weight: normal }}
a {{ display: inline-block; width: 3.2em; line-height: 2.4em; margin: 1px; text-align: center; border-radius: 3px }}
</style></head><body><h1>{title}</h1>
<p>Each square is a host, coloured by the fuller of CPU and memory; grey ones take nothing now.</p>"""
