"""What differs between the machine, its definition and its spec: what a restart changes, and what somebody changed by
hand. Pure.

The mark carries short digests of what the present run was started with (`started`), so that "what waits for a restart"
can be answered by name after any restart of the operator.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crds.instance import InstanceSpec
from drivers.base import DiskAttachment, InstanceFacts, NicAttachment

DEFINITION = "definition"
"""The drivers' digest of the definition as we wrote it last."""


def started_with(spec: InstanceSpec, orders: Mapping[str, int]) -> dict[str, str]:
    """Digests of what takes effect at the next start only, by the field's path. Nothing secret goes in."""
    found: dict[str, str] = {}
    if spec.cloud_init is not None:
        found["spec.cloudInit"] = _digest(spec.cloud_init.to_yaml())
    for nic in spec.networks:
        if nic.addresses or nic.primary:
            path = f"spec.networks[{nic.name}]"
            found[path] = _digest({"addresses": sorted(nic.addresses), "primary": nic.primary})
    if orders:
        found["spec.volumes[*].bootOrder"] = _digest(dict(orders))
    return found


def waiting_for_restart(
    spec: InstanceSpec, facts: InstanceFacts, *, cpus: int, memory: int, orders: Mapping[str, int]
) -> tuple[str, ...]:
    """What a restart would change, in a person's words."""
    waits: list[str] = []
    field = "spec.resources" if spec.resources else "spec.instanceTypeRef"
    if facts.cpus and facts.cpus != cpus:
        waits.append(f"{field}: {facts.cpus} CPUs, declared {cpus}")
    if facts.memory and facts.memory != memory:
        waits.append(f"{field}: {_size(facts.memory)} memory, declared {_size(memory)}")
    pinned = spec.placement.host_ref.name if spec.placement and spec.placement.host_ref else facts.host
    if pinned != facts.host:
        waits.append(f"spec.placement.hostRef: runs on {facts.host}, declared {pinned}")
    before = dict(facts.mark.started) if facts.mark else {}
    if before:
        now = started_with(spec, orders)
        entries = {f"spec.networks[{n.name}]" for n in facts.nics}
        for path in sorted({*before, *now} - {DEFINITION}):
            if path.startswith("spec.networks[") and path not in entries:
                continue
            if before.get(path) != now.get(path):
                waits.append(path)
    return tuple(waits)


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody changed by hand, in a person's words; "" for nothing."""

    message: str


def drift(
    facts: InstanceFacts, disks: Iterable[DiskAttachment], nics: Iterable[NicAttachment], *, running: bool
) -> Drift:
    """Against what we defined last. `disks` and `nics` are those that it shall have now."""
    found: list[str] = []
    if not facts.persistent:
        found.append("its definition was removed from the host")
    if facts.autostart:
        found.append("autostart was switched on")
    there = {d.name: d for d in facts.disks if d.name}
    foreign = sorted(d.disk for d in facts.disks if not d.name)
    if foreign:
        found.append(f"a disk that is not ours is attached: {', '.join(foreign)}")
    unnamed = sorted(n.mac for n in facts.nics if not n.name)
    if unnamed:
        found.append(f"a NIC that is not ours is attached: {', '.join(unnamed)}")
    for nic in nics:
        seen = next((n for n in facts.nics if n.name == nic.name), None)
        if seen is not None and seen.mac != nic.mac:
            found.append(f"NIC {nic.name} has MAC address {seen.mac} instead of {nic.mac}")
    missing = [d.name for d in disks if running and d.name not in there]
    recorded = {name for name, _, _ in facts.mark.volumes} if facts.mark else set()
    lost = sorted(set(missing) & recorded)
    if lost:
        found.append(f"detached by hand: {', '.join(lost)}")
    before = dict(facts.mark.started).get(DEFINITION) if facts.mark else None
    if not found and before and facts.digest and before != facts.digest:
        found.append("its definition on the host was changed")
    return Drift("; ".join(found))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _size(amount: int) -> str:
    return f"{amount / 2**20:.0f}Mi"
