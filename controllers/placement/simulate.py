"""`python -m controllers.placement.simulate`: replays arrivals, departures and lost hosts through the engine.

For tests, for tuning the default weights, and for whoever wants to know what a policy does to a load of their own. Pure
but for `compare_on` and `main`. How a new weight is judged stands in docs/placement.md.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np

from controllers.placement.core.asks import Ask, Shape
from controllers.placement.core.evaluation import FITS
from controllers.placement.core.hosts import POLICIES, HostRecord
from controllers.placement.core.narrow import narrow
from controllers.placement.core.planner import Planner
from controllers.placement.core.story import Placed, Story
from controllers.placement.trace import Event, read

GI = 2**30
NO_DISKS: Mapping[str, int] = {}
_NO_STORY = Story(candidates=0, fitting=0, lost=())
MIX: tuple[tuple[int, int, float], ...] = (
    (1, 1, 0.10), (1, 2, 0.16), (2, 4, 0.16), (2, 8, 0.14), (4, 8, 0.10), (4, 16, 0.12), (2, 16, 0.06), (8, 16, 0.05),
    (8, 32, 0.05), (4, 32, 0.03), (16, 64, 0.02), (8, 64, 0.01),
)  # fmt: skip
"""CPUs, GiB, share of requests: a private cloud's offerings, most small, a third each heavy on CPU (1:2 and less),
general (1:4) and heavy on memory (1:8)."""
HOSTS: tuple[tuple[int, int, int], ...] = ((48, 192, 2), (64, 256, 2), (32, 256, 1))
"""CPUs, GiB, how many of five hosts: three generations, one of them with more memory for each CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    asked: float
    rejected: float
    """Of one run whole numbers; means where several were put together."""
    first_rejection: float
    """Density, the mean of the given parts of CPU and memory, when the first was rejected; at the end if none was."""
    density: float
    """Mean over the second half of the trace."""
    fragments: float
    """Part of the free room that is on hosts where the mean request does not fit, at the end."""
    moves: float
    """Placed again because their host was lost."""
    homeless: float
    rejected_size: float = 0.0
    """Part of all that was asked for, CPUs and memory alike, that was rejected: a big one counts as what it is."""

    @property
    def rejection_rate(self) -> float:
        return self.rejected / max(self.asked, 1)


Chooser = Callable[[Planner, Ask, random.Random], Placed | None]
"""The host for it, and a pool for each volume; None when none fits."""


def by_engine(planner: Planner, ask: Ask, dice: random.Random) -> Placed | None:
    result = planner.decide(ask)
    return result if isinstance(result, Placed) else None


def _by_rows(choose: Callable[[Planner, Shape, np.ndarray, random.Random], int]) -> Chooser:
    """A reference that picks among the hosts that fit by a rule of its own; pools are the engine's choice."""

    def chosen(planner: Planner, ask: Ask, dice: random.Random) -> Placed | None:
        view = planner.evaluation(ask.shape)
        rows = np.flatnonzero(narrow(ask, view, planner.terms).score > FITS)
        if not len(rows):
            return None
        row = choose(planner, ask.shape, rows, dice)
        pools = dict(view.reaches.picked[planner.hosts.reach[row]]) if ask.shape.volumes else {}
        return Placed(planner.hosts.name(row), pools, _NO_STORY)

    return chosen


def _left(planner: Planner, shape: Shape, rows: np.ndarray) -> np.ndarray:
    """Mean of the free parts of CPU and memory once it is there."""
    hosts = planner.hosts
    cpus = (hosts.free_cpus[rows] - shape.cpus) * hosts.per_cpu[rows]
    memory = (hosts.free_memory[rows] - shape.memory) * hosts.per_memory[rows]
    found: np.ndarray = (cpus + memory) / 2
    return found


REFERENCES: Mapping[str, Chooser] = {
    "first fit": _by_rows(lambda planner, shape, rows, dice: int(rows[0])),
    "best fit": _by_rows(lambda planner, shape, rows, dice: int(rows[np.argmin(_left(planner, shape, rows))])),
    "random": _by_rows(lambda planner, shape, rows, dice: int(dice.choice(rows))),
    "least allocated": _by_rows(lambda planner, shape, rows, dice: int(rows[np.argmax(_left(planner, shape, rows))])),
}
"""What others do: the first host by name; the fullest; any; the emptiest (kube-scheduler's default)."""


def cloud(hosts: int, policy: str, seed: int = 0) -> Planner:
    """Hosts of three generations, in an order that tells nothing."""
    planner, dice = Planner(), random.Random(seed)
    kinds = [(cpus, memory) for cpus, memory, share in HOSTS for _ in range(share)]
    for number in range(hosts):
        cpus, memory = dice.choice(kinds)
        planner.put_host(
            HostRecord(
                name=f"host-{number:05}", zone="zone-1", pod=f"rack-{number // 40}", cluster=f"cluster-{number // 20}",
                cpus=cpus, memory=memory * GI, policy=policy,
            )
        )  # fmt: skip
    return planner


def filling(count: int, seed: int) -> Iterator[Event]:
    """Arrivals that stay for ever: how full does it get before one is rejected?"""
    dice = random.Random(seed)
    for number in range(count):
        yield Event(float(number), _ask(number, dice))


def living(hosts: int, load: float, count: int, seed: int, *, losses: int = 0) -> list[Event]:
    """Arrivals by chance that stay for a time by chance (many short, few long), so that on the average `load` of the
    CPUs is asked for; `losses` hosts are lost on the way, for good."""
    dice = random.Random(seed)
    cpus = hosts * mean(cpus for cpus, _, share in HOSTS for _ in range(share))
    each = sum(cpus * share for cpus, _, share in MIX)
    stay = 1000.0
    gap = stay * each / (cpus * load)
    events, at = [], 0.0
    for number in range(count):
        at += dice.expovariate(1 / gap)
        # Lognormal with mean `stay`: half of them stay less than 0.6 of it.
        events.append(Event(at, _ask(number, dice), dice.lognormvariate(-0.5, 1.0) * stay))
    lost = dice.sample(range(hosts), losses)
    events += [Event(at * dice.uniform(0.4, 0.9), host=f"host-{number:05}") for number in lost]
    return sorted(events, key=lambda event: event.at)


def _ask(number: int, dice: random.Random) -> Ask:
    ((cpus, memory, _),) = dice.choices(MIX, [share for *_, share in MIX])
    shape = Shape(namespace="team", zone="zone-1", cpus=cpus, memory=memory * GI)
    return Ask(uid=f"uid-{number}", shape=shape)


def replay(
    planner: Planner, events: Iterator[Event] | Sequence[Event], choose: Chooser = by_engine, seed: int = 0
) -> Report:
    """Claims what is placed; a departure gives it back; what was on a lost host is asked for again. The planner is
    used up."""
    run = _Run(planner, choose, random.Random(seed))
    for event in events:
        run.until(event.at)
        if event.host:
            run.lose(event.host)
        elif event.comes is not None:
            run.add(event.comes)
        elif event.pool is not None:
            planner.put_pool(event.pool)
        elif event.ask is not None:
            run.arrive(event.ask, event.at + event.lasts)
    return run.report()


class _Run:
    def __init__(self, planner: Planner, choose: Chooser, dice: random.Random) -> None:
        self._planner, self._choose, self._dice = planner, choose, dice
        self._ends: list[tuple[float, str]] = []
        self._asks: dict[str, Ask] = {}
        self._densities: list[float] = []
        self._first: float | None = None
        self._asked = self._rejected = self._moves = self._homeless = 0
        self._size = self._size_rejected = 0.0
        self._measure()

    def _measure(self) -> None:
        hosts = self._planner.hosts
        self._whole = max(int(hosts.cpus.sum()), 1), max(int(hosts.memory.sum()), 1)

    def add(self, host: HostRecord) -> None:
        self._planner.put_host(host)
        self._measure()

    def until(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, uid = heapq.heappop(self._ends)
            self._planner.release(uid)
            self._asks.pop(uid, None)

    def arrive(self, ask: Ask, ends: float) -> None:
        self._asked += 1
        size = ask.shape.cpus / self._whole[0] + ask.shape.memory / self._whole[1]
        self._size += size
        if self._asked % 64 == 0:
            self._densities.append(density(self._planner))
        if self._place(ask):
            if ends < float("inf"):
                heapq.heappush(self._ends, (ends, ask.uid))
            return
        self._rejected += 1
        self._size_rejected += size
        if self._first is None:
            self._first = density(self._planner)

    def lose(self, host: str) -> None:
        row = self._planner.hosts.row(host)
        uids = list(self._planner.on_row.get(row, ()))
        self._planner.remove_host(host)
        for uid in uids:
            held = self._planner.release(uid)
            if self._place(self._asks[uid], held.volumes if held else {}):
                self._moves += 1
            else:
                self._homeless += 1

    def _place(self, ask: Ask, disks: Mapping[str, int] = NO_DISKS) -> bool:
        """`disks`: pool → bytes that it has there already."""
        placed = self._choose(self._planner, ask, self._dice)
        if placed is None:
            return False
        claim = self._planner.claim_of(ask, placed)
        # Trace time is coarse: what arrived has started when the next one comes.
        self._planner.claim(ask.uid, replace(claim, starting=False, volumes={**disks, **claim.volumes}))
        bound = (*ask.shape.bound, *sorted(placed.pools.items()))
        self._asks[ask.uid] = replace(ask, shape=replace(ask.shape, volumes=(), bound=bound)) if placed.pools else ask
        return True

    def report(self) -> Report:
        later = self._densities[len(self._densities) // 2 :]
        now = density(self._planner)
        return Report(
            asked=self._asked, rejected=self._rejected, first_rejection=now if self._first is None else self._first,
            density=mean(later) if later else now, fragments=fragments(self._planner), moves=self._moves,
            homeless=self._homeless, rejected_size=self._size_rejected / max(self._size, 1e-9),
        )  # fmt: skip


def density(planner: Planner) -> float:
    """Mean of the given parts of all CPUs and all memory."""
    hosts = planner.hosts
    alive = np.flatnonzero(hosts.alive)
    cpus = 1 - hosts.free_cpus[alive].sum() / max(hosts.cpus[alive].sum(), 1)
    memory = 1 - hosts.free_memory[alive].sum() / max(hosts.memory[alive].sum(), 1)
    return float(cpus + memory) / 2


def fragments(planner: Planner) -> float:
    """Part of the free CPUs and memory on hosts that have no room for a request of 4 CPUs and 16 GiB."""
    hosts = planner.hosts
    rows = np.flatnonzero(hosts.alive)
    cpus, memory = hosts.free_cpus[rows], hosts.free_memory[rows]
    small = (cpus < 4) | (memory < 16 * GI)
    parts = (float(free[small].sum()) / max(float(free.sum()), 1.0) for free in (cpus, memory))
    return float(sum(parts)) / 2


def contenders() -> Iterator[tuple[str, str, Chooser]]:
    """Name, policy of the hosts, chooser: our policies, then the references."""
    for name in POLICIES:
        yield name, name, by_engine
    for name, choose in REFERENCES.items():
        yield name, "Balanced", choose


def compare(
    hosts: int, load: float, count: int, seeds: Sequence[int], losses: int = 0
) -> dict[str, tuple[Report, Report]]:
    """Policy or reference → (filling, living), each the mean over the seeds."""
    found = {}
    for name, policy, choose in contenders():
        pairs = []
        for seed in seeds:
            full = replay(cloud(hosts, policy, seed), filling(hosts * 40, seed), choose, seed)
            trace = living(hosts, load, count, seed, losses=losses)
            pairs.append((full, replay(cloud(hosts, policy, seed), trace, choose, seed)))
        found[name] = (_mean([a for a, _ in pairs]), _mean([b for _, b in pairs]))
    return found


def compare_on(path: Path) -> dict[str, tuple[Report, Report]]:
    """Policy or reference → its report on the trace of that file, twice. Raises OSError, ValueError."""
    found = {name: replay(Planner(), read(path, policy), choose) for name, policy, choose in contenders()}
    return {name: (report, report) for name, report in found.items()}


def _mean(reports: Sequence[Report]) -> Report:
    def of(name: str) -> float:
        return float(mean(getattr(report, name) for report in reports))

    return Report(
        asked=of("asked"), rejected=of("rejected"), first_rejection=of("first_rejection"),
        density=of("density"), fragments=of("fragments"), moves=of("moves"), homeless=of("homeless"),
        rejected_size=of("rejected_size"),
    )  # fmt: skip


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m controllers.placement.simulate", description=__doc__)
    parser.add_argument("--hosts", type=int, default=60)
    parser.add_argument("--load", type=float, default=0.97, help="part of the CPUs that is asked for on the average")
    parser.add_argument("--arrivals", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--losses", type=int, default=0, help="hosts that are lost on the way")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="replay this one instead (docs/placement.md)")
    asked = parser.parse_args(given)
    try:
        found = (
            compare_on(asked.trace)
            if asked.trace
            else compare(asked.hosts, asked.load, asked.arrivals, range(asked.seeds), asked.losses)
        )
    except (OSError, ValueError) as error:
        print(f"cannot be replayed: {error}", file=sys.stderr)
        return 2
    print(
        f"{'':16} {'first rejection at':>18} "
        f"{'rejected':>9} {'by size':>8} {'density':>8} {'fragments':>9} {'moves':>6} {'homeless':>8}"
    )
    for name, (full, lived) in found.items():
        print(
            f"{name:16} {full.first_rejection:18.2%} {lived.rejection_rate:9.2%} {lived.rejected_size:8.2%} "
            f"{lived.density:8.2%} {lived.fragments:9.2%} {lived.moves:6.0f} {lived.homeless:8.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
