"""What a trace of the simulator consists of, and traces as files: JSON lines in the order of their time.

Their keys stand in docs/placement.md. A file has the cloud in it, so that it means the same everywhere. Pure but for
the reading of the file.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from controllers.placement.core.asks import Ask, Shape, TermKey, TermWant, VolumeWant
from controllers.placement.core.hosts import HostRecord
from controllers.placement.core.pools import PoolRecord
from crds.base import parse_quantity

ZONE, NAMESPACE = "zone-1", "trace"
Bytes = Annotated[int, BeforeValidator(parse_quantity), Field(ge=0)]
Names = Annotated[tuple[str, ...], Field(default=())]
Labels = Annotated[dict[str, str], Field(default_factory=dict)]


@dataclass(frozen=True, slots=True)
class Event:
    """At `at` (seconds): an arrival of `ask` that stays for `lasts`, the loss of `host`, or a host or a pool that
    comes."""

    at: float
    ask: Ask | None = None
    lasts: float = float("inf")
    host: str = ""
    comes: HostRecord | None = None
    pool: PoolRecord | None = None


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    time: Annotated[float, Field(ge=0)] = 0.0
    """Seconds."""


class Host(_Line):
    """It is there from then on: new, or back."""

    host: str
    cpus: int
    memory: Bytes
    cluster: str = "cluster-1"
    rack: str = "rack-1"
    labels: Labels
    pools: Names


class Pool(_Line):
    pool: str
    capacity: Bytes
    tags: Names


class Type(_Line):
    """A size that arrivals name."""

    type: str
    cpus: int
    memory: Bytes


class Volume(_Line):
    size: Bytes
    tags: Names


class Arrival(_Line):
    """An instance is asked for. It has a type, or CPUs and memory."""

    name: str
    type: str = ""
    cpus: int = 0
    memory: Bytes = 0
    volumes: tuple[Volume, ...] = ()
    labels: Labels
    apart: Names
    """Topologies of required anti-affinity against those that have all these labels."""
    lifetime: Annotated[float, Field(gt=0)] = float("inf")
    """Seconds; unset: it stays."""


class Lost(_Line):
    """The host is lost with all that runs there."""

    lost: str


KINDS: tuple[tuple[str, type[_Line]], ...] = (
    ("host", Host),
    ("pool", Pool),
    ("lost", Lost),
    ("name", Arrival),
    ("type", Type),
)
"""A line is of the first kind whose key it has."""


def read(path: Path, policy: str) -> Iterator[Event]:
    """The file's events, on hosts of that policy. Raises OSError; ValueError that names the line."""
    with path.open() as file:
        yield from events(file, policy, str(path))


def events(lines: Iterable[str], policy: str, source: str = "trace") -> Iterator[Event]:
    """As `read`."""
    sizes: dict[str, Type] = {}
    names: set[str] = set()
    now = 0.0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _parsed(json.loads(text))
            if line.time < now:
                raise ValueError(f"time {line.time:g} is before {now:g}, that of an earlier line")
            now = line.time
            if isinstance(line, Arrival):
                if line.name in names:
                    raise ValueError(f"{line.name} was asked for by an earlier line")
                names.add(line.name)
            if isinstance(line, Type):
                sizes[line.type] = line
            else:
                yield _event(line, sizes, policy)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            raise ValueError(f"{source}, line {number}: {told}") from error
        except ValueError as error:
            raise ValueError(f"{source}, line {number}: {error}") from error


def _parsed(found: Any) -> _Line:
    kind = next((kind for key, kind in KINDS if isinstance(found, dict) and key in found), None)
    if kind is None:
        raise ValueError(f"has none of the keys {', '.join(key for key, _ in KINDS)}")
    return kind.model_validate(found)


def _event(line: _Line, sizes: dict[str, Type], policy: str) -> Event:
    match line:
        case Host():
            record = HostRecord(
                name=line.host, zone=ZONE, pod=line.rack, cluster=line.cluster, cpus=line.cpus, memory=line.memory,
                labels=line.labels, pools=frozenset(line.pools), policy=policy,
            )  # fmt: skip
            return Event(line.time, comes=record)
        case Pool():
            size = line.capacity
            return Event(
                line.time, pool=PoolRecord(name=line.pool, free=size, capacity=size, tags=frozenset(line.tags))
            )
        case Lost():
            return Event(line.time, host=line.lost)
    assert isinstance(line, Arrival)
    return Event(line.time, ask=_ask(line, sizes), lasts=line.lifetime)


def _ask(line: Arrival, sizes: dict[str, Type]) -> Ask:
    if line.type and line.type not in sizes:
        raise ValueError(f"type {line.type} is not defined by an earlier line")
    size = sizes[line.type] if line.type else line
    if size.cpus < 1 or size.memory < 1:
        raise ValueError(f"{line.name} has neither a type nor CPUs and memory")
    wants = tuple(
        VolumeWant(entry=f"volume-{n}", size=v.size, tags=frozenset(v.tags)) for n, v in enumerate(line.volumes)
    )
    labels = frozenset(line.labels.items())
    ask = Ask(
        uid=line.name, name=line.name, labels=labels,
        shape=Shape(namespace=NAMESPACE, zone=ZONE, cpus=size.cpus, memory=size.memory, volumes=wants),
    )  # fmt: skip
    return replace(ask, terms=tuple(TermWant(TermKey(NAMESPACE, labels, where), True) for where in line.apart))
