"""The yes/no filters of placement, in the order in which they count: each over all rows at once, with its reason and
the shortfall of one host in a person's words.

Adding one: a function that says which rows it blocks, one that tells why, its line in `FILTERS`, the same rule in
`tests/placement/reference.py`, its line in `docs/placement.md`. Those that look at what a host looks like come first;
`ROOM`, from which on what instances take matters too, come last. Filters of one instance rather than of its shape
(pin, affinity, a start that failed) are in `planner.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.placement.core.asks import Shape
from controllers.placement.core.hosts import Bools, Hosts, Interner, Rows
from controllers.placement.core.pools import Pools, Reaches, pick
from crds.base import shorten_quantity


class View(Protocol):
    """What a filter or weigher looks at."""

    shape: Shape
    hosts: Hosts
    pools: Pools
    reaches: Reaches

    def admits(self, audience: tuple[object, ...]) -> bool:
        """Whether all of them admit the shape's namespace."""


@dataclass(frozen=True, slots=True)
class Filter:
    reason: str
    blocks: Callable[[View, Rows], Bools]
    tells: Callable[[View, int], str]
    """In words that fit after the host's name."""


def _by_value(interner: Interner[Any], ids: NDArray[np.int32], rows: Rows, bad: Callable[[Any], bool]) -> Bools:
    """For a column of numbered values: judge each value once."""
    if not interner.values:
        return np.zeros(len(rows), np.bool_)
    table = np.fromiter((bad(value) for value in interner.values), np.bool_, len(interner.values))
    found: Bools = table[ids[rows]]
    return found


def _zone(view: View, rows: Rows) -> Bools:
    differs: Bools = view.hosts.zone[rows] != view.hosts.values["zone"].known(view.shape.zone)
    return differs


def _closed(view: View, rows: Rows) -> Bools:
    return view.hosts.closed[rows]


def _down(view: View, rows: Rows) -> Bools:
    return view.hosts.down[rows]


def _disabled(view: View, rows: Rows) -> Bools:
    return np.zeros(len(rows), np.bool_) if view.shape.ignore_disabled else view.hosts.disabled[rows]


def _dedicated(view: View, rows: Rows) -> Bools:
    return _by_value(view.hosts.values["audience"], view.hosts.audience, rows, lambda a: not view.admits(a))


def _other(view: View, rows: Rows, column: str, wanted: str) -> Bools:
    if not wanted:
        return np.zeros(len(rows), np.bool_)
    ids: NDArray[np.int32] = getattr(view.hosts, column)
    differs: Bools = ids[rows] != view.hosts.values[column].known(wanted)
    return differs


def _hypervisor(view: View, rows: Rows) -> Bools:
    return _other(view, rows, "hypervisor", view.shape.hypervisor)


def _architecture(view: View, rows: Rows) -> Bools:
    return _other(view, rows, "architecture", view.shape.architecture)


def _firmware(view: View, rows: Rows) -> Bools:
    values, wanted = view.hosts.values["firmware"], view.shape.firmware
    return _by_value(values, view.hosts.firmware, rows, lambda known: wanted not in known)


def _hardware(view: View, rows: Rows) -> Bools:
    values, machine = view.hosts.values["machines"], view.shape.machine_type
    if not machine:
        return np.zeros(len(rows), np.bool_)
    return _by_value(values, view.hosts.machines, rows, lambda known: bool(known) and machine not in known)


def _cpu_model(view: View, rows: Rows) -> Bools:
    return view.hosts.other_cpu[rows]


def _selector(view: View, rows: Rows) -> Bools:
    blocked = np.zeros(len(rows), np.bool_)
    for key, value in view.shape.selector:
        blocked |= ~view.hosts.labelled(key, value)[rows]
    return blocked


def _networks(view: View, rows: Rows) -> Bools:
    wanted = frozenset((network, vlan != 0) for _, network, vlan in view.shape.networks)
    if not wanted:
        return np.zeros(len(rows), np.bool_)
    values = view.hosts.values["networks"]
    return _by_value(values, view.hosts.networks, rows, lambda known: not wanted <= known)


def _bound(view: View, rows: Rows) -> Bools:
    wanted = frozenset(pool for _, pool in view.shape.bound)
    if not wanted:
        return np.zeros(len(rows), np.bool_)
    return _by_value(view.hosts.values["reach"], view.hosts.reach, rows, lambda known: not wanted <= known)


def _guest_size(view: View, rows: Rows) -> Bools:
    return view.shape.cpus > view.hosts.guest_cpus[rows]


def _instances(view: View, rows: Rows) -> Bools:
    return view.hosts.instances[rows] >= view.hosts.most_instances[rows]


def _volumes(view: View, rows: Rows) -> Bools:
    if not view.shape.volumes:
        return np.zeros(len(rows), np.bool_)
    found: Bools = view.reaches.blocked[view.hosts.reach[rows]]
    return found


def _cpus(view: View, rows: Rows) -> Bools:
    return view.hosts.free_cpus[rows] < view.shape.cpus


def _memory(view: View, rows: Rows) -> Bools:
    return view.hosts.free_memory[rows] < view.shape.memory


# ------------------------------------------------------------ in words


def _tell_selector(view: View, row: int) -> str:
    labels = view.hosts.records[row].labels
    key, value = min(pair for pair in view.shape.selector if labels.get(pair[0]) != pair[1])
    found = f"{key}={labels[key]}" if key in labels else "no such label"
    return f"needs label {key}={value}, has {found}"


def _tell_networks(view: View, row: int) -> str:
    known = view.hosts.records[row].networks
    entry, network, vlan = min(wanted for wanted in view.shape.networks if (wanted[1], wanted[2] != 0) not in known)
    if (network, vlan == 0) not in known:
        return f"has no uplink to physical network {network} (networks[{entry}])"
    if vlan:
        return f"reaches physical network {network} untagged only, networks[{entry}] has VLAN {vlan}"
    return f"reaches physical network {network} by VLAN only, networks[{entry}] is untagged"


def _tell_bound(view: View, row: int) -> str:
    known = view.hosts.records[row].pools
    entry, pool = min(pair for pair in view.shape.bound if pair[1] not in known)
    return f"does not reach pool {pool}, where volumes[{entry}] lies"


def _tell_volumes(view: View, row: int) -> str:
    found = pick(view.shape, view.hosts.records[row].pools, view.pools)
    return found if isinstance(found, str) else "has no pool for its volumes"


def _tell_cpus(view: View, row: int) -> str:
    free = max(int(view.hosts.free_cpus[row]), 0)
    return f"needs {view.shape.cpus} CPUs, {free} free"


def _tell_memory(view: View, row: int) -> str:
    free = max(int(view.hosts.free_memory[row]), 0)
    return f"needs {shorten_quantity(view.shape.memory)} memory, {shorten_quantity(free)} free"


def missing(view: View, row: int) -> str:
    """What a host lacks in room: `1 CPU and 2.8Gi memory`."""
    cpus = view.shape.cpus - int(view.hosts.free_cpus[row])
    memory = view.shape.memory - int(view.hosts.free_memory[row])
    parts = [f"{cpus} CPU{'s' if cpus != 1 else ''}"] if cpus > 0 else []
    if memory > 0:
        parts.append(f"{shorten_quantity(memory)} memory")
    return " and ".join(parts)


OTHER_ZONE = "OtherZone"
"""Its hosts are no candidates and are not counted."""

SHAPE: tuple[Filter, ...] = (
    Filter(OTHER_ZONE, _zone, lambda v, r: f"is in zone {v.hosts.records[r].zone}, not {v.shape.zone}"),
    Filter("Closed", _closed, lambda v, r: v.hosts.records[r].closed),
    Filter("NotReachable", _down, lambda v, r: v.hosts.records[r].down),
    Filter("Disabled", _disabled, lambda v, r: v.hosts.records[r].disabled),
    Filter("Dedicated", _dedicated, lambda v, r: f"is dedicated to other namespaces than {v.shape.namespace}"),
    Filter(
        "OtherHypervisor",
        _hypervisor,
        lambda v, r: f"runs {v.hosts.records[r].hypervisor}, needed {v.shape.hypervisor}",
    ),
    Filter(
        "OtherArchitecture",
        _architecture,
        lambda v, r: f"is {v.hosts.records[r].architecture}, needed {v.shape.architecture}",
    ),
    Filter("NoFirmware", _firmware, lambda v, r: f"has no {v.shape.firmware} firmware"),
    Filter(
        "OtherHardware",
        _hardware,
        lambda v, r: f"does not know machine type {v.shape.machine_type}, with which it was first started",
    ),
    Filter("OtherCPU", _cpu_model, lambda v, r: v.hosts.records[r].cpu),
    Filter("HostSelector", _selector, _tell_selector),
    Filter("NoUplink", _networks, _tell_networks),
    Filter("VolumeElsewhere", _bound, _tell_bound),
    Filter(
        "GuestTooLarge",
        _guest_size,
        lambda v, r: f"gives a guest at most {v.hosts.records[r].max_guest_cpus} CPUs, {v.shape.cpus} asked",
    ),
)
ROOM: tuple[Filter, ...] = (
    Filter("NoStoragePool", _volumes, _tell_volumes),
    Filter(
        "TooManyInstances",
        _instances,
        lambda v, r: f"has its {v.hosts.records[r].max_instances} instances, more are not allowed",
    ),
    Filter("InsufficientCPU", _cpus, _tell_cpus),
    Filter("InsufficientMemory", _memory, _tell_memory),
)
FILTERS = (*SHAPE, *ROOM)
CAPACITY = frozenset({"InsufficientCPU", "InsufficientMemory"})
REASONS = ("", *(f.reason for f in FILTERS))
"""By the code in an evaluation; 0: the host does."""
PINNED = "NotPinnedHost"
OF_INSTANCE = (PINNED, "FailedToStart", "Affinity")
"""Asked last, of hosts that every filter of the shape lets through; see `planner.py`."""
