"""The story of a decision, for status, condition and event. Pure; bounded whatever the number of hosts."""

from collections.abc import Iterable

from controllers.placement.firstfit import Fit, Miss, NoFit
from crds.instancestatus import Explanation, NearMiss, Rejection

NAMED_HOSTS = 3
"""Hosts whose shortfall is told one by one in a message; more are counted by reason."""
CAPACITY = ("InsufficientCPU", "InsufficientMemory")


def explain(result: Fit | NoFit, candidates: int) -> Explanation:
    """What `status.placement.explanation` says."""
    misses = result.misses
    rejected = tuple(_rejections(misses))
    if isinstance(result, Fit):
        passed = f" {len(misses)} before it did not fit." if misses else ""
        summary = f"{result.host}: the first of {candidates} hosts by name that every filter lets through.{passed}"
        return Explanation(winner=result.host, summary=summary, candidates=candidates, rejected=rejected)
    near = [
        NearMiss(host=m.host, reason=m.reason, shortfall=m.shortfall.nearest.removeprefix("short of "))
        for m in _nearest(misses)
    ]
    return Explanation(
        summary=message(misses, candidates)[:1024], candidates=candidates, rejected=rejected, nearest=tuple(near[:3])
    )


def message(misses: Iterable[Miss], candidates: int) -> str:
    """`0 of 3 hosts fit: node-1 needs 4Gi memory, 1.2Gi free; node-2 … Nearest: node-1, short of 2.8Gi memory.`"""
    listed = list(misses)
    if not candidates:
        return "No host is there yet: make a Host in a HostCluster of this zone."
    if len(listed) <= NAMED_HOSTS:
        told = "; ".join(f"{m.host} {m.shortfall.text}" for m in listed)
    else:
        told = "; ".join(
            f"{r.count} {r.reason} ({', '.join(r.hosts[:2])}{', …' if r.count > 2 else ''}: {r.message})"
            for r in _rejections(listed)
        )
    nearest = _nearest(listed)
    tail = f" Nearest: {nearest[0].host}, {nearest[0].shortfall.nearest}." if nearest else ""
    return f"0 of {candidates} hosts fit: {told}.{tail}"


def _rejections(misses: Iterable[Miss]) -> list[Rejection]:
    by_reason: dict[str, list[Miss]] = {}
    for miss in misses:
        by_reason.setdefault(miss.reason, []).append(miss)
    return [
        Rejection(
            reason=reason,
            count=len(found),
            hosts=tuple(sorted(m.host for m in found)[:8]),
            message=found[0].shortfall.text[:1024],
        )
        for reason, found in list(by_reason.items())[:16]
    ]


def _nearest(misses: Iterable[Miss]) -> list[Miss]:
    return sorted((m for m in misses if m.reason in CAPACITY), key=lambda m: (m.shortfall.short, m.host))
