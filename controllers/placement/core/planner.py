"""The engine: hosts, pools, claims and terms in; where one more goes, or why nowhere, out.

Called by the scheduler (live), what-if (a dump) and the simulator. One thread; a call never waits. Decisions see every
claim made before; a decision claims nothing by itself.
"""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from controllers.placement.core.asks import Ask, Claim, Shape
from controllers.placement.core.evaluation import FITS, Evaluation
from controllers.placement.core.filters import FILTERS, PINNED, REASONS
from controllers.placement.core.hosts import HostRecord, Hosts
from controllers.placement.core.narrow import narrow
from controllers.placement.core.pools import PoolRecord, Pools, sizes
from controllers.placement.core.story import Placed, Unplaced, alone
from controllers.placement.core.telling import tell_placed, tell_unplaced
from controllers.placement.core.terms import Terms

SHAPES_KEPT = 96
"""Evaluations that are kept: 22 bytes a host each."""
PRUNED_EVERY = 4096
"""Claims dropped between two looks for terms that nobody uses any more."""


class Planner:
    """See the module. Nothing here raises for what a record contains."""

    def __init__(self) -> None:
        self.hosts, self.pools = Hosts(), Pools()
        self.terms = Terms(self.hosts)
        self.claims: dict[str, Claim] = {}
        self.on_row: dict[int, dict[str, None]] = {}
        """uids of the claims on a host."""
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._evaluations: OrderedDict[Shape, Evaluation] = OrderedDict()
        self._dropped = 0

    # ------------------------------------------------------------ what there is

    def put_host(self, record: HostRecord) -> bool:
        """Idempotent; True if anything changed."""
        row = self.hosts.row(record.name)
        old = self.hosts.records[row] if row >= 0 else None
        moved = old is None or (old.zone, old.pod, old.cluster) != (record.zone, record.pod, record.cluster)
        held = {uid: self.claims[uid] for uid in self.on_row.get(row, ())} if moved else {}
        for uid, claim in held.items():
            self.terms.drop(uid, claim)
        changed = self.hosts.put(record)
        for uid, claim in held.items():
            self.terms.add(uid, claim)
        return changed

    def remove_host(self, name: str) -> None:
        self.hosts.remove(name)

    def put_pool(self, record: PoolRecord) -> bool:
        return self.pools.put(record)

    def remove_pool(self, name: str) -> None:
        self.pools.remove(name)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Labels of a namespace, for whom hosts are dedicated to; None: it is gone. True if anything changed."""
        if self._namespaces.get(name) == labels:
            return False
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = labels
        for shape in [shape for shape in self._evaluations if shape.namespace == name]:
            del self._evaluations[shape]
        return True

    # ------------------------------------------------------------ what is taken

    def claim(self, uid: str, claim: Claim) -> bool:
        """Replaces the uid's former claim. Idempotent; True if anything changed."""
        if self.claims.get(uid) == claim:
            return False
        self.release(uid)
        self.claims[uid] = claim
        self._take(claim, 1)
        for host in claim.hosts:
            self.on_row.setdefault(self.hosts.intern(host), {})[uid] = None
        self.terms.add(uid, claim)
        return True

    def release(self, uid: str) -> Claim | None:
        """What it held; None when it held nothing."""
        claim = self.claims.pop(uid, None)
        if claim is None:
            return None
        self.terms.drop(uid, claim)
        for host in claim.hosts:
            self.on_row[self.hosts.row(host)].pop(uid, None)
        self._take(claim, -1)
        self._dropped += 1
        if self._dropped % PRUNED_EVERY == 0:
            self.terms.prune()
        return claim

    def _take(self, claim: Claim, sign: int) -> None:
        for host in claim.hosts:
            row = self.hosts.intern(host)
            self.hosts.take(row, sign * claim.cpus, sign * claim.memory, sign * claim.counts, sign * claim.starting)
        for pool, size in claim.volumes.items():
            self.pools.take(pool, sign * size)

    # ------------------------------------------------------------ decisions

    def decide(self, ask: Ask) -> Placed | Unplaced:
        """The best host, with a pool for each volume; its own former claim does not count. Claims nothing."""
        held = self.release(ask.uid)
        try:
            return self._decide(ask)
        finally:
            if held is not None:
                self.claim(ask.uid, held)

    def _decide(self, ask: Ask) -> Placed | Unplaced:
        view = self.evaluation(ask.shape)
        narrowed = narrow(ask, view, self.terms)
        row, score, wished = narrowed.best()
        if score <= FITS:
            return Unplaced(tell_unplaced(ask, view, narrowed))
        record = self.hosts.records[row]
        pools = dict(view.reaches.picked[self.hosts.reach[row]]) if ask.shape.volumes else {}
        return Placed(record.name, pools, tell_placed(ask, view, narrowed, row, wished))

    def evaluation(self, shape: Shape) -> Evaluation:
        """Of that shape, up to date."""
        found = self._evaluations.get(shape)
        if found is None or found.capacity != self.hosts.capacity:
            found = self._evaluations[shape] = Evaluation(shape, self.hosts, self.pools, self._namespaces)
            while len(self._evaluations) > SHAPES_KEPT:
                self._evaluations.popitem(last=False)
        self._evaluations.move_to_end(shape)
        found.refresh()
        return found

    @property
    def judged(self) -> int:
        """Hosts that were judged by the filters so far, by all shapes that are kept."""
        return sum(view.refreshed for view in self._evaluations.values())

    def about(self, ask: Ask, host: str, refused: Unplaced) -> Unplaced:
        """The refusal of an instance that is pinned to the host, told of this host alone."""
        row = self.hosts.row(host)
        if row < 0 or not self.hosts.alive[row]:
            return alone(host, PINNED, "does not exist")
        view = self.evaluation(ask.shape)
        code = int(view.code[row])
        if code:
            return alone(host, REASONS[code], FILTERS[code - 1].tells(view, row), refused.story.near)
        lost = [lost for lost in refused.story.lost if host in lost.hosts]
        return alone(host, lost[-1].reason, lost[-1].message) if lost else refused

    def room(self, shape: Shape) -> dict[str, int]:
        """How many more of that shape fit now, by HostCluster; each alone, and storage counted by yes or no."""
        view = self.evaluation(shape)
        rows = np.flatnonzero(view.code[: self.hosts.size] == 0)
        hosts = self.hosts
        many = np.minimum(hosts.free_cpus[rows] // max(shape.cpus, 1), hosts.free_memory[rows] // max(shape.memory, 1))
        many = np.minimum(many, hosts.most_instances[rows] - hosts.instances[rows])
        names = hosts.values["cluster"].values
        sums = np.bincount(hosts.cluster[rows] + 1, weights=many, minlength=len(names) + 1)[1:]
        return {name: int(number) for name, number in zip(names, sums, strict=False) if number}

    @staticmethod
    def claim_of(ask: Ask, placed: Placed, *, starting: bool = True) -> Claim:
        """What the decision takes, once it is taken."""
        return Claim(
            namespace=ask.shape.namespace, name=ask.name, labels=ask.labels, hosts=(placed.host,), cpus=ask.shape.cpus,
            memory=ask.shape.memory, starting=starting, carried=ask.carried, volumes=sizes(ask.shape, placed.pools),
        )  # fmt: skip
