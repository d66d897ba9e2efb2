"""What is told of a decision, as plain data. Text is made for the few hosts that are named."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lost:
    """Hosts lost to one filter, with some of them and what one lacked."""

    reason: str
    count: int
    hosts: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Near:
    """A host that lacks room alone."""

    host: str
    reason: str
    missing: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    candidates: int
    """Hosts of the zone."""
    fitting: int
    """That every filter lets through."""
    lost: tuple[Lost, ...]
    """By filter, in their order."""
    near: tuple[Near, ...] = ()
    helps: tuple[str, ...] = ()
    """What would make it fit: `free 2Gi memory on node-2`, `enable node-3`."""
    parts: tuple[tuple[str, float], ...] = ()
    """Of the winner's score."""
    texts: tuple[tuple[str, str], ...] = ()
    """(host, why not), for every host where they are few."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The winner, with a pool for each volume that had none."""

    host: str
    pools: dict[str, str]
    story: Story


@dataclass(frozen=True, slots=True)
class Unplaced:
    story: Story


def alone(host: str, reason: str, text: str, near: tuple[Near, ...] = ()) -> Unplaced:
    """Of one host that was asked alone."""
    lost = (Lost(reason, 1, (host,), text),)
    return Unplaced(Story(candidates=1, fitting=0, lost=lost, near=near, texts=((host, text),)))
