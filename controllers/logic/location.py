"""Where an instance is, and which copy of it counts (safety.md W2, W4, W5, N3). Pure.

Everything that the hosts' listings show under the instance's UUID goes in; one verdict comes out. Nothing here makes
or starts anything: whether that is allowed (W3) is asked elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.base import InstanceFacts, Power, Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose marks count as this instance's."""

    uid: str
    installations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing may be touched; the condition says why. `stalled`: neither a retry nor another object can help. `after`:
    seconds until the next look, where what is waited for wakes nobody."""

    reason: str
    message: str
    stalled: bool = False
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody moved it (W4), or its status was lost and it was found (W2): write this placement, touch nothing."""

    host: str
    sequence: int
    why: str


@dataclass(frozen=True, slots=True)
class Stale:
    """A copy that does not count: `destroy` with its own sequence, else (off, same sequence) only undefine."""

    host: str
    sequence: int
    destroy: bool


@dataclass(frozen=True, slots=True)
class Here:
    """On its own host: `facts`, or None for missing there. `stale` are the copies that may be taken away now."""

    facts: InstanceFacts | None
    stale: tuple[Stale, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """Its own host does not answer (W5): it waits, wherever else it could run."""

    host: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A finalizer without a placement, and no copy seen that could be adopted (W2). `found`: one that is off or
    paused on this host, adopted once all others are clear."""

    found: Follow | None = None


AGAIN = 30.0
Verdict = Hold | Follow | Here | Unseen | Lost


def locate(
    owner: Owner, placement: tuple[str, int] | None, sightings: Mapping[str, InstanceFacts],
    unheard: Mapping[str, InstanceFacts], *, listed: bool, resume: bool,
) -> Verdict:  # fmt: skip
    """`unheard`: as last seen on hosts that do not answer now and are not declared off. `listed`: the placement's host
    was listed over its present connection. `resume`: the user said that the API may go on although it went back."""
    strangers = [(h, f) for h, f in sorted(sightings.items()) if not _ours(f, owner)]
    if strangers:
        return _stranger(*strangers[0])
    ours = dict(sorted(sightings.items()))
    running = [h for h, f in ours.items() if runs(f)]
    if placement is None:
        return _unheard(ours, "", max(map(_sequence, ours.values()), default=0), unheard) or _adopt(ours, running)
    host, sequence = placement
    higher = [h for h in ours if _sequence(ours[h]) > sequence]
    if higher:
        return _ahead(higher[0], _sequence(ours[higher[0]]), sequence, resume)
    same = [h for h in running if _sequence(ours[h]) == sequence]
    moving = any(ours[h].why is Why.MIGRATING for h in ours)
    held = _unheard(ours, host, sequence, unheard)
    if held:
        return held
    if len(same) > 1 and not moving:
        return _twice(same)
    if len(same) == 1 and same[0] != host and not moving:
        return Follow(same[0], sequence, f"somebody moved it from {host} to {same[0]}")
    if not listed:
        return Unseen(host)
    here = ours.get(host)
    if here is None:
        quiet = [h for h in ours if _sequence(ours[h]) == sequence and h != host]
        if quiet and not moving:
            return Follow(quiet[0], sequence, f"it is not on {host} any more but on {quiet[0]}")
    return Here(here, _stale(host, sequence, ours, here))


def runs(facts: InstanceFacts) -> bool:
    """Running, or paused by somebody else in the middle of a run; paused in the middle of our own start is not."""
    return facts.power is Power.RUNNING or (facts.power is Power.PAUSED and not starting(facts))


def starting(facts: InstanceFacts | None) -> bool:
    """W6: paused with `starting` in its mark is ours to resume."""
    return bool(
        facts and facts.power is Power.PAUSED and facts.mark and facts.mark.starting is not None
        and facts.why is Why.STARTED_PAUSED
    )  # fmt: skip


def _ours(facts: InstanceFacts, owner: Owner) -> bool:
    mark = facts.mark
    return mark is not None and mark.uid == owner.uid and mark.installation in owner.installations


def _sequence(facts: InstanceFacts) -> int:
    return facts.mark.sequence if facts.mark else 0


def _stranger(host: str, facts: InstanceFacts) -> Hold:
    if facts.unreadable:
        return Hold(
            "MarkUnreadable",
            f"domain {facts.name} on {host} has our UUID and a mark that cannot be read: nothing is touched. "
            "Restore its metadata, or remove the domain by hand if it is not needed.",
        )
    whose = f"is marked as {facts.mark.namespace}/{facts.mark.name}" if facts.mark else "bears no mark of ours"
    return Hold(
        "NotOurs",
        f"domain {facts.name} on {host} has the UUID of this instance ({facts.uuid}) but {whose}: nothing is touched. "
        "Remove it or change its UUID on the host.",
    )


def _adopt(ours: Mapping[str, InstanceFacts], running: list[str]) -> Verdict:
    """W2: the status was lost. The running copy counts; a quiet one only when no other can run."""
    if not ours:
        return Lost()
    best = max(_sequence(f) for f in ours.values())
    newest = [h for h in running if _sequence(ours[h]) == best]
    if len(running) > 1 and len(newest) != 1:
        return _twice(running)
    if running:
        host = (newest or running)[0]
        return Follow(host, _sequence(ours[host]), f"the status was lost; it was found running on {host}")
    host = next(h for h in ours if _sequence(ours[h]) == best)
    return Lost(Follow(host, best, f"the status was lost; it was found on {host}"))


def _ahead(host: str, found: int, known: int, resume: bool) -> Verdict:
    if resume:
        return Follow(host, found, f"resumed as asked: {host} has the newer record")
    return Hold(
        "AheadOfAPI",
        f"{host} has this instance with sequence {found}, status.placement.sequence says {known}: the API went back in "
        "time. Nothing is touched until the object is annotated stratiform.dev/resume: \"true\".",
    )  # fmt: skip


def _unheard(
    ours: Mapping[str, InstanceFacts], home: str, sequence: int, unheard: Mapping[str, InstanceFacts]
) -> Hold | None:
    """A host that shows it does not speak for one that is silent and showed it running under the same sequence: what
    was seen there may run on, beside the copy that is seen. Of its own host, when it is seen nowhere, W5 speaks."""
    risky = [h for h, f in sorted(unheard.items()) if runs(f) and _sequence(f) == sequence and (h != home or ours)]
    if not risky:
        return None
    beside = f" beside {', '.join(sorted(ours))}" if ours else ""
    return Hold(
        "HostUnreachable",
        f"Host {risky[0]} does not answer, and this machine ran there{beside} when it last did: nothing is touched "
        f"until it answers. If it is powered off for good, say so by its spec.outOfService.",
        after=AGAIN,
    )


def _twice(hosts: list[str]) -> Hold:
    return Hold(
        "RunsTwice",
        f"It runs on {' and '.join(hosts)} at once, and the records do not say which copy counts: neither is touched. "
        "Shut one of them down by hand on its host.",
        stalled=True,
    )


def _stale(
    host: str, sequence: int, ours: Mapping[str, InstanceFacts], here: InstanceFacts | None
) -> tuple[Stale, ...]:
    """W4: lower copies once the current one is seen, or once it is known to be missing (H1: a host that came back);
    a paused start or a left-over definition of the same sequence beside the one that runs. Never one that migrates."""
    stale: list[Stale] = []
    current = here is not None and _sequence(here) == sequence
    for other, facts in ours.items():
        if facts.why is Why.MIGRATING:
            continue
        if _sequence(facts) < sequence and (other == host or current or here is None):
            stale.append(Stale(other, _sequence(facts), destroy=True))
        elif other != host and current and here is not None and runs(here):
            if starting(facts):
                stale.append(Stale(other, sequence, destroy=True))
            elif not runs(facts):
                stale.append(Stale(other, sequence, destroy=False))
    return tuple(stale)
