"""The yes/no filters of placement, in the order in which they are asked, each with the shortfall in a person's words.

Adding one: a function `(request, host, pools) -> Shortfall | None`, its line in `FILTERS`, its test, its line in
`docs/placement.md`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controllers.placement.cloud import HostRow, PoolRow, Request, VolumeWant
from crds.base import shorten_quantity

Pools = Mapping[str, PoolRow]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why one host does not do. `short` > 0 ranks near misses: the missing fraction of what was asked (0…1]."""

    text: str
    short: float = 0.0
    nearest: str = ""
    """What was missing, for "Nearest: node-1, short of 2.8Gi memory"; "" where nearness means nothing."""


Filter = Callable[[Request, HostRow, Pools], Shortfall | None]


def pin(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if request.pinned and host.name != request.pinned:
        return Shortfall(f"is not the pinned host {request.pinned}")
    return None


def zone(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    return None if host.zone == request.zone else Shortfall(f"is in zone {host.zone}, not {request.zone}")


def closed(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    return Shortfall(host.closed) if host.closed else None


def reachable(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    return Shortfall(host.down) if host.down else None


def enabled(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if host.disabled and not (request.pinned and request.ignore_disabled):
        return Shortfall(host.disabled)
    return None


def dedicated(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if not host.dedicated.get(request.namespace, True):
        return Shortfall(f"is dedicated to other namespaces than {request.namespace}")
    return None


def avoided(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    return Shortfall("just failed to start it") if host.name in request.avoid else None


def architecture(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if request.architecture and host.architecture != request.architecture:
        return Shortfall(f"is {host.architecture}, the template {request.architecture}")
    return None


def hypervisor(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if request.hypervisor and host.hypervisor != request.hypervisor:
        return Shortfall(f"runs {host.hypervisor}, needed {request.hypervisor}")
    return None


def firmware(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if request.firmware not in host.firmware:
        return Shortfall(f"has no {request.firmware} firmware")
    return None


def hardware(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if request.machine_type and host.machine_types and request.machine_type not in host.machine_types:
        return Shortfall(f"does not know machine type {request.machine_type}, with which it was first started")
    missing = request.cpu_features - host.cpu_features if host.cpu_features else frozenset()
    if missing:
        return Shortfall(f"lacks CPU features {', '.join(sorted(missing)[:5])}")
    return None


def selector(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    for key, value in request.selector.items():
        if host.labels.get(key) != value:
            found = f"{key}={host.labels[key]}" if key in host.labels else "no such label"
            return Shortfall(f"needs label {key}={value}, has {found}")
    return None


def affinity(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    for term in request.terms:
        inside = host.topology(term.topology) in term.domains
        if term.anti and inside:
            return Shortfall(f"already holds {term.text}")
        if not term.anti and term.domains and not inside:
            return Shortfall(f"is not where {term.text} runs")
    return None


def networks(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    for entry, network in request.networks.items():
        if network not in host.networks:
            return Shortfall(f"has no uplink to physical network {network} (networks[{entry}])")
    return None


def bound_volumes(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    for entry, pool in request.bound.items():
        if pool not in host.pools:
            return Shortfall(f"does not reach pool {pool}, where volumes[{entry}] lies")
    return None


def new_volumes(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    picked = pick_pools(request.volumes, host, pools)
    return picked if isinstance(picked, Shortfall) else None


def guest_size(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    if host.max_guest_cpus and request.cpus > host.max_guest_cpus:
        return Shortfall(f"gives a guest at most {host.max_guest_cpus} CPUs, {request.cpus} asked")
    return None


def cpus(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    free = host.cpus - host.cpus_used
    if request.cpus <= free:
        return None
    text = f"needs {request.cpus} CPUs, {max(free, 0)} free"
    lack = request.cpus - free
    return Shortfall(text, min(lack / request.cpus, 1.0), f"short of {lack} CPU{'s' if lack != 1 else ''}")


def memory(request: Request, host: HostRow, pools: Pools) -> Shortfall | None:
    free = host.memory - host.memory_used
    if request.memory <= free:
        return None
    text = f"needs {shorten_quantity(request.memory)} memory, {shorten_quantity(max(free, 0))} free"
    lack = request.memory - free
    return Shortfall(text, min(lack / request.memory, 1.0), f"short of {shorten_quantity(lack)} memory")


FILTERS: tuple[tuple[str, Filter], ...] = (
    ("NotPinnedHost", pin),
    ("OtherZone", zone),
    ("Closed", closed),
    ("NotReachable", reachable),
    ("Disabled", enabled),
    ("Dedicated", dedicated),
    ("OtherHypervisor", hypervisor),
    ("OtherArchitecture", architecture),
    ("NoFirmware", firmware),
    ("OtherHardware", hardware),
    ("HostSelector", selector),
    ("Affinity", affinity),
    ("NoUplink", networks),
    ("VolumeElsewhere", bound_volumes),
    ("NoStoragePool", new_volumes),
    ("GuestTooLarge", guest_size),
    ("FailedToStart", avoided),
    ("InsufficientCPU", cpus),
    ("InsufficientMemory", memory),
)
"""(reason, filter) in order: the first "no" is the reason that counts. Capacity comes last, so that a near miss in
capacity means that everything else would do."""


def pick_pools(wants: tuple[VolumeWant, ...], host: HostRow, pools: Pools) -> dict[str, str] | Shortfall:
    """First pool by name that takes each volume, or why none does. Volumes of one request count against each other."""
    free = {name: pools[name].free for name in host.pools if name in pools}
    picked: dict[str, str] = {}
    for want in wants:
        misses: list[str] = []
        for name in sorted(free):
            miss = _pool_misses(want, pools[name], free[name])
            if not miss:
                picked[want.entry] = name
                free[name] -= want.size
                break
            misses.append(miss)
        else:
            detail = "; ".join(misses[:4]) if misses else "it reaches no storage pool"
            return Shortfall(f"has no pool for volumes[{want.entry}] ({detail})")
    return picked


def _pool_misses(want: VolumeWant, pool: PoolRow, free: int) -> str:
    if want.pool and pool.name != want.pool:
        return f"{pool.name} is not {want.pool}, which is asked for"
    if pool.closed:
        return f"{pool.name} {pool.closed}"
    if not want.tags <= pool.tags:
        return f"{pool.name} lacks tags {', '.join(sorted(want.tags - pool.tags))}"
    if want.size > free:
        return f"{pool.name} has {shorten_quantity(free)} of the {shorten_quantity(want.size)} needed"
    return ""
