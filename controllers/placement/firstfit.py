"""First fit: the first host, in the order given, that every filter lets through. Pure.

Called by `scheduler`. A later engine replaces this module behind the same functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from controllers.placement.cloud import HostRow, Request
from controllers.placement.filters import FILTERS, Pools, Shortfall, pick_pools


@dataclass(frozen=True, slots=True)
class Miss:
    """Why one host was passed over."""

    host: str
    reason: str
    shortfall: Shortfall


@dataclass(frozen=True, slots=True)
class Fit:
    """The winner, with a pool for each volume that had none, and the hosts that were asked before it."""

    host: str
    pools: dict[str, str]
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True)
class NoFit:
    misses: tuple[Miss, ...]


def judge(request: Request, host: HostRow, pools: Pools) -> Miss | None:
    """The first filter that says no to this host, or None."""
    for reason, passes in FILTERS:
        shortfall = passes(request, host, pools)
        if shortfall:
            return Miss(host.name, reason, shortfall)
    return None


def first_fit(request: Request, hosts: Iterable[HostRow], pools: Pools) -> Fit | NoFit:
    """Cost: linear in the hosts asked until one fits; no more are taken from `hosts`."""
    misses: list[Miss] = []
    for host in hosts:
        miss = judge(request, host, pools)
        if miss is None:
            picked = pick_pools(request.volumes, host, pools)
            if not isinstance(picked, Shortfall):
                return Fit(host.name, picked, tuple(misses))
            miss = Miss(host.name, "NoStoragePool", picked)
        misses.append(miss)
    return NoFit(tuple(misses))
