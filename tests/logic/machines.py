"""Builders of what a host shows of an instance, for the tables of the instance's logic."""

from dataclasses import replace
from typing import Any

from drivers.base import DiskSeen, InstanceFacts, NicSeen, Power, Why
from drivers.marks import InstanceMark

UUID = "11111111-2222-5333-8444-555555555555"
MARK = InstanceMark(
    installation="here", namespace="team-a", name="web-1", uid="uid-1", uuid=UUID, sequence=100, run_count=1
)
DOMAIN = InstanceFacts(
    host="node-1",
    uuid=UUID,
    name="team-a.web-1.11111111",
    power=Power.RUNNING,
    why=Why.BOOTED,
    mark=MARK,
    cpus=1,
    memory=512 << 20,
)


def running(host: str = "node-1", **mark: Any) -> InstanceFacts:
    return replace(DOMAIN, host=host, mark=replace(MARK, **mark))


def off(host: str = "node-1", why: Why = Why.SHUTDOWN, power: Power = Power.OFF, **mark: Any) -> InstanceFacts:
    return replace(DOMAIN, host=host, power=power, why=why, mark=replace(MARK, **mark))


def paused(host: str = "node-1", why: Why = Why.STARTED_PAUSED, **mark: Any) -> InstanceFacts:
    return replace(DOMAIN, host=host, power=Power.PAUSED, why=why, mark=replace(MARK, **mark))


def with_devices(facts: InstanceFacts, disks: dict[str, str], nics: dict[str, str] | None = None) -> InstanceFacts:
    return replace(
        facts,
        disks=tuple(DiskSeen(name=n, disk=d, slot=i) for i, (n, d) in enumerate(disks.items())),
        nics=tuple(NicSeen(name=n, mac=m, slot=i) for i, (n, m) in enumerate((nics or {}).items())),
    )
