"""`python -m controllers.placement`: what would be, asked of a dump of the API or of a live one. Writes nothing.

For administrators: would this fit and where, how many of these, what if a host were gone, what is in the way.
"""

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from controllers.engine.base import ApiError, Obj
from controllers.engine.credentials import NoCredentials
from controllers.placement import dump, picture, whatif
from controllers.placement.core.planner import Planner

NO = 1
"""Exit code when the answer is no: something does not fit. 2: the question cannot be answered."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What is printed as text or as JSON."""

    lines: list[str]
    data: Any
    yes: bool = True


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controllers.placement", description=__doc__)
    parser.add_argument("-d", "--dump", type=Path, action="append", metavar="PATH", help="files or folders of `kubectl "
                        "get -A -o json` or yaml; else the live API is read")  # fmt: skip
    parser.add_argument("--kubeconfig", type=Path, help="of the live API (default: $KUBECONFIG, else in the cluster)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    verbs = parser.add_subparsers(dest="verb", required=True)
    fit = verbs.add_parser("fit", help="would the Instances of these manifests fit, and where")
    fit.add_argument("manifest", type=Path, nargs="+")
    fit.add_argument("--count", action="store_true", help="how many copies of the first would fit")
    verbs.add_parser("room", help="how many more of each InstanceType fit, by cluster")
    gone = verbs.add_parser("without", help="what if these hosts were gone")
    gone.add_argument("host", nargs="*", help="none: each host in turn (N+1)")
    gone.add_argument("--html", type=Path, metavar="FILE", help="heat map of what would be, of named hosts")
    verbs.add_parser("blocks", help="hosts that take nothing, and Instances that have no host, with why")
    seen = verbs.add_parser("map", help="how full the hosts are")
    seen.add_argument("--html", type=Path, metavar="FILE", help="write a heat map there")
    return parser.parse_args(given)


def answer(snapshot: dump.Snapshot, asked: argparse.Namespace) -> Reply:
    match asked.verb:
        case "fit":
            return _fit(snapshot, asked)
        case "room":
            found = whatif.room(snapshot)
            rows = [(kind, cluster, str(n)) for kind, inside in found.items() for cluster, n in inside.items()]
            return Reply(table(("INSTANCETYPE", "CLUSTER", "MORE"), rows), found)
        case "without":
            return _without(snapshot, asked.host, asked.html)
        case "blocks":
            return _blocks(snapshot)
    fills = picture.fills(snapshot.planner)
    if asked.html:
        asked.html.write_text(picture.html(fills, "Hosts"))
    return Reply(picture.bars(fills), [dataclasses.asdict(fill) for fill in fills])


def _fit(snapshot: dump.Snapshot, asked: argparse.Namespace) -> Reply:
    instances = added(snapshot, asked.manifest)
    if asked.count:
        number, hosts, why = whatif.how_many(snapshot, instances[0])
        lines = [f"{number} more of {instances[0].name} fit."]
        lines += [f"  {n:5} on {host}" for host, n in sorted(hosts.items())]
        return Reply([*lines, f"Then: {why}"], {"fit": number, "hosts": hosts, "then": why}, number > 0)
    return _answers(whatif.fit(snapshot, instances))


def _answers(found: list[whatif.Answer]) -> Reply:
    rows = [(a.instance, a.host or "-", _pools(a), a.why) for a in found]
    lines = table(("INSTANCE", "HOST", "POOLS", "WHY NOT"), rows)
    return Reply(lines, [dataclasses.asdict(a) for a in found], all(a.host for a in found))


def _pools(found: whatif.Answer) -> str:
    return ",".join(f"{entry}={pool}" for entry, pool in sorted((found.pools or {}).items()))


def _without(snapshot: dump.Snapshot, hosts: list[str], page: Path | None) -> Reply:
    def draw(planner: Planner) -> None:
        if page is not None:
            page.write_text(picture.html(picture.fills(planner), f"Without {', '.join(hosts)}"))

    if page is not None and not hosts:
        raise LookupError("--html draws one picture: name the hosts that would be gone.")
    known = {record.name for record in snapshot.planner.hosts.live()}
    unknown = sorted(set(hosts) - known)
    if unknown:
        raise LookupError(f"There is no Host {', '.join(unknown)}; there are {', '.join(sorted(known)[:10])}.")
    found = [whatif.without(snapshot, hosts, draw)] if hosts else whatif.each_without(snapshot)
    lines: list[str] = []
    for result in found:
        verdict = "everything fits elsewhere" if result.holds else f"{len(result.homeless)} do not fit elsewhere"
        lines.append(f"Without {', '.join(result.hosts)}: {len(result.moved)} are placed elsewhere; {verdict}.")
        lines += [f"  {a.instance}: {a.why}" for a in result.homeless]
        if hosts:
            lines += [f"  {a.instance}: {a.was} → {a.host}" for a in result.moved]
    return Reply(lines, [dataclasses.asdict(result) for result in found], all(result.holds for result in found))


def _blocks(snapshot: dump.Snapshot) -> Reply:
    hosts, waiting = whatif.blocks(snapshot), whatif.waiting(snapshot)
    lines = table(["HOST", "TAKES NOTHING BECAUSE IT"], [(b.host, b.why) for b in hosts])
    waits = [a for a in waiting if not a.host]
    lines += ["", *table(["INSTANCE", "WAITS BECAUSE"], [(a.instance, a.why) for a in waits])]
    data = {"hosts": [dataclasses.asdict(b) for b in hosts], "instances": [dataclasses.asdict(a) for a in waits]}
    return Reply(lines, data, not waits)


def added(snapshot: dump.Snapshot, manifests: Iterable[Path]) -> list[Obj[Any, Any]]:
    """The Instances of the manifests, in their order; other objects in them are taken as there. Raises LookupError."""
    instances = []
    for number, raw in enumerate(dump.read(manifests)):
        problem = dump.put(snapshot.cache, raw, 2**40 + number)
        if problem:
            raise LookupError(problem)
        if raw["kind"] == "Instance":
            metadata = raw["metadata"]
            found = snapshot.cache.get("Instance", metadata.get("namespace") or "default", metadata["name"])
            assert found is not None
            instances.append(found)
    if not instances:
        raise LookupError(f"There is no Instance in {', '.join(map(str, manifests))}.")
    return instances


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; none of a table without rows."""
    if not rows:
        return []
    wide = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    return ["  ".join(f"{cell:{wide[n]}}" for n, cell in enumerate(row)).rstrip() for row in (head, *rows)]


def main(given: Sequence[str], write: Callable[[str], object] = print) -> int:
    """The exit code: 0 yes, 1 no, 2 the question cannot be answered."""
    asked = arguments(given)
    try:
        objects = dump.read(asked.dump) if asked.dump else asyncio.run(dump.fetch(asked.kubeconfig))
        snapshot = dump.build(objects)
        reply = answer(snapshot, asked)
    except (OSError, yaml.YAMLError, LookupError, ApiError, NoCredentials) as error:
        print(f"cannot be answered: {error}", file=sys.stderr)
        return 2
    for skipped in snapshot.skipped[:20]:
        print(f"not read: {skipped}", file=sys.stderr)
    write(json.dumps(reply.data, indent=2, default=str) if asked.output == "json" else "\n".join(reply.lines))
    return 0 if reply.yes else NO


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
